"""Commands on a person's own kernel: it can neither end them, nor speak for them, nor be quiet."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from sandbox.machine import watchdog

HEAD = '''from sandbox.kernels.linux_6_9 import Linux69
from sandbox.memory import *


class K(Linux69):
    """Of a test."""

    id = "k"
    title = summary = "t"

    def folio_try_dup_anon_rmap_ptes(self, folio, page, nr, dst_mm, src_vma):
'''
STORY = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n"
SCENARIOS = f"scenario one\n{STORY}fork A B\nend\nscenario two\n{STORY}end\n"
REST = "return (yield from super().folio_try_dup_anon_rmap_ptes(folio, page, nr, dst_mm, src_vma))"


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two scenarios, of which the first forks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.scn").write_text(SCENARIOS)
    return tmp_path


def kernel(where: Path, body: str) -> str:
    """Write a kernel whose fork does *body*."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    (where / "k.py").write_text(HEAD + lines)
    return "k.py:K"


@pytest.mark.parametrize("command", ["run", "run --json", "proc", "check"])
@pytest.mark.parametrize(
    "body", ["raise SystemExit(0)\nyield", "raise KeyboardInterrupt\nyield",
             "yield (LOAD, -5)", "import os\nos._exit(0)\nyield", "input()\nyield",
             "import os\nos.fork()\nyield"],
)  # fmt: skip
def test_no_kernel_ends_a_command_or_makes_it_a_success(
    where: Path, command: str, body: str, capfd: pytest.CaptureFixture[str]
) -> None:
    verb, *options = command.split()
    target = {"proc": ["s.scn", "smaps"], "check": ["3"]}.get(verb, ["s.scn"])
    status = dispatch([verb, *target, *options, "--kernel", kernel(where, body)])
    said = capfd.readouterr()
    assert status == (ExitCode.FAILED if verb == "check" else ExitCode.USAGE)
    text = said.out if verb == "check" else said.err
    assert "k.py:" in text
    assert "folio_try_dup_anon_rmap_ptes" in text
    assert "Traceback" not in said.err
    if verb == "check":
        assert text.startswith("FAILED")


def test_a_loop_that_changes_nothing_is_a_result_and_the_rest_is_run(
    where: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    on = kernel(where, "while True:\n    yield load(folio.flags)")
    assert dispatch(["run", "s.scn", "--json", "--kernel", on]) == ExitCode.FAILED
    said = capfd.readouterr()
    one, two = map(json.loads, said.out.splitlines())
    assert [step["step"] for step in one["steps"]] == [1, 2, 3]
    assert len(two["steps"]) == 3
    assert "error" not in two
    error = one["error"]
    assert error["kind"] == "no progress"
    assert (error["step"], error["action"]) == (4, "fork A B")
    assert error["function"] == "folio_try_dup_anon_rmap_ptes"
    assert error["file"].endswith("k.py")
    assert error["line"] == 13
    assert error["events"] == [event for event in error["events"] if event.startswith("load flags")]
    assert "makes no progress" in error["message"]
    assert "s.scn:5:1: fork A B makes no progress" in said.err
    assert dispatch(["run", "s.scn", "--kernel", on]) == ExitCode.FAILED
    said = capfd.readouterr()
    assert "error: s.scn:5:1: fork A B makes no progress" in said.out
    assert "== two on k.py:K" in said.out


def test_check_goes_on_after_a_loop(where: Path, capfd: pytest.CaptureFixture[str]) -> None:
    on = kernel(where, "while True:\n    yield load(folio.flags)")
    assert dispatch(["check", "3", "1", "--kernel", on]) == ExitCode.FAILED
    said = capfd.readouterr()
    assert said.out.count("FAILED") == 2
    assert said.out.count("makes no progress") == 2
    assert "2 presets, 2 failures" in said.err


def test_a_kernel_that_comes_to_no_event_is_a_result(
    where: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.2)
    monkeypatch.setattr(watchdog, "LOOK", 0.02)
    on = kernel(where, "while True: pass\nyield")
    assert dispatch(["run", "s.scn", "--json", "--kernel", on]) == ExitCode.FAILED
    one, two = map(json.loads, capfd.readouterr().out.splitlines())
    assert one["error"]["kind"] == "no event"
    assert one["error"]["line"] == 12
    assert len(two["steps"]) == 3


@pytest.mark.parametrize(
    ("text", "line", "function"),
    [("while True: pass\n", 1, "<module>"),
     ("import k2\n", 1, "<module>"),
     (f"{HEAD}        yield\n\n\ndef f():\n    while True: pass\n\n\nf()\n", 16, "f")],
)  # fmt: skip
def test_a_file_that_is_never_loaded_is_refused_with_its_place(
    where: Path,
    text: str,
    line: int,
    function: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "LOADING", 0.2)
    monkeypatch.setattr(watchdog, "LOOK", 0.02)
    (where / "k.py").write_text(text)
    (where / "k2.py").write_text("while True: pass\n")
    assert dispatch(["run", "s.scn", "--kernel", "k.py:K"]) == ExitCode.USAGE
    said = capfd.readouterr().err
    file = "k2.py" if "k2" in text else "k.py"
    assert re.match(rf"mmtui: {file}:{line}:\d+: no end for 0.2 s at {function} \({file}:", said)


def test_an_impure_kernel_is_named(where: Path, capfd: pytest.CaptureFixture[str]) -> None:
    on = kernel(
        where,
        f"box = globals()\nbox['n'] = box.get('n', 0) + 1\nyield load(folio.flags + n)\n{REST}",
    )
    assert dispatch(["run", "s.scn", "--kernel", on]) == ExitCode.USAGE
    err = capfd.readouterr().err
    assert "not a pure function of its answers" in err
    assert "(k.py:14)" in err


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("os.close(1)", "stdout"),
        ("os.dup2(os.open('other', os.O_CREAT | os.O_WRONLY), 1)", "stdout"),
        ("os.close(0)", "stdin"),
        ("os.close(2)", "stderr"),
        ("sys.__stdout__.close()", "sys.__stdout__"),
    ],
)
def test_what_a_kernel_does_to_the_streams_is_undone_and_named(
    where: Path, body: str, names: str
) -> None:
    body = f"import contextlib, os, sys\nwith contextlib.suppress(OSError): {body}\n{REST}"
    on = kernel(where, body)
    done = subprocess.run(
        [sys.executable, "-m", "mmtui", "run", "s.scn", "--kernel", on],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert f"fork A B: the kernel closed or replaced {names}" in done.stderr
    assert "step 3: touch A R 0 16 w" in done.stdout


def test_prints_are_notes_on_stderr_and_never_data(
    where: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    on = kernel(where, f"print('\\x1b[31mhello', end='')\nprint(' you')\n{REST}")
    assert dispatch(["run", "s.scn", "--json", "--kernel", on]) == ExitCode.OK
    said = capfd.readouterr()
    assert len([json.loads(line) for line in said.out.splitlines()]) == 2
    assert "kernel: \\x1b[31mhello you\n" in said.err


def test_ctrl_c_is_still_ctrl_c(where: Path) -> None:
    on = kernel(where, "print('now')\nwhile True: pass\nyield")
    env = os.environ | {"MMTUI_WATCHDOG": "1000"}
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "mmtui", "run", "s.scn", "--kernel", on],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env,
    )  # fmt: skip
    assert child.stderr is not None
    assert child.stderr.readline() == "kernel: now\n"
    child.send_signal(signal.SIGINT)
    with child.stderr:
        said = child.stderr.read()
    assert child.wait() == ExitCode.INTERRUPTED
    assert said.startswith("mmtui: stopped")
    assert "Traceback" not in said


def test_a_word_changed_behind_the_journals_back_is_named(
    where: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    find = "import gc\nfrom sandbox.machine.history import History\nfor it in gc.get_objects():\n"
    find += "    if isinstance(it, History) and any(it.running):\n"  # not one of another test
    find += "        it.memory.cells[folio._refcount] += 5\n"
    assert dispatch(["run", "s.scn", "--kernel", kernel(where, find + REST)]) == ExitCode.USAGE
    assert "fork A B: the kernel changed" in capfd.readouterr().err


def test_a_constant_that_cannot_be_is_refused_at_once(
    where: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (where / "k.py").write_text(HEAD.partition("    def")[0] + "    CONT_PTES = 0\n")
    assert dispatch(["run", "s.scn", "--kernel", "k.py:K"]) == ExitCode.USAGE
    assert "K.CONT_PTES is 0; expected a power of two" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return True", "k.py:11:5: K.folio_try_dup_anon_rmap_ptes() is a plain function"),
        ("self.folio_put(folio)\nyield load(folio.flags)", "k.py:12:9: self.folio_put(folio) is"),
        ("self.n = 1\nyield load(folio.flags)", "k.py:12:9: self.n is changed"),
    ],
)
def test_a_mistake_in_the_text_is_one_line_with_its_place(
    where: Path, body: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    on = kernel(where, body)
    for arguments in (["run", "s.scn"], ["check", "3"], ["proc", "s.scn", "smaps"], ["3"]):
        assert dispatch([*arguments, "--kernel", on]) == ExitCode.USAGE
        said = capfd.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert said.err.startswith(f"mmtui: {says}")
