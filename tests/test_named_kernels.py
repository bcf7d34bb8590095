"""A kernel of one's own is run when the person names it, and never because a document does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from mmtui.__main__ import main
from mmtui.app import MmtuiApp
from mmtui.commands.registry import execute
from mmtui.exit_codes import ExitCode
from mmtui.model.script import open_source
from sandbox import kernels
from sandbox.errors import SandboxError, UnknownKernelError
from sandbox.kernels import KERNEL_IDS, kernel_by_name, name_kernel
from sandbox.run.session import Session
from tests.tui.support import machine

MODULE = """\
import os
from sandbox.kernels.linux_6_9 import Linux69

with open(os.path.join(os.path.dirname(__file__), "RAN"), "a") as file:
    file.write("x")


class K(Linux69):
    id = "own"
    title = "a kernel of one's own"
"""
DOCUMENT = (
    '+++\ntitle = "t"\nnumber = 3\nkernels = [{}]\ntags = []\nsummary = "s"\n+++\n'
    "```mm\nmmap A R 64K\n```\n```expect\nret = 0\n```\n"
)

Outcome = tuple[int, str, str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a module, and with nothing named yet."""
    monkeypatch.setattr(kernels, "_named", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def times_run(folder: Path) -> int:
    file = folder / "RAN"
    return len(file.read_text(encoding="utf-8")) if file.exists() else 0


@pytest.mark.parametrize("listed", ['"evil.py:K"', '"7.2", "evil.py:K"', '"evil.py:K-hwaf", "7.2"'])
def test_a_document_that_names_a_file_runs_nothing(
    mmtui: Callable[..., Outcome], folder: Path, listed: str
) -> None:
    document = folder / "p.md"
    document.write_text(DOCUMENT.format(listed), encoding="utf-8")
    for arguments in (
        ["run", "p.md"], ["run", "p.md", "-k", "7.2"], ["proc", "p.md", "smaps"], ["check", "p.md"],
        ["check", "p.md", "-k", "7.2"], ["p.md"], ["-k", "7.2", "p.md"],
    ):  # fmt: skip
        status, out, err = mmtui(*arguments)
        assert (status, out) == (ExitCode.USAGE, ""), arguments
        assert err.startswith("mmtui: p.md:4:1: unknown kernel 'evil.py:K")
        assert "only if --kernel or :kernel names it" in err
    with pytest.raises(SandboxError):
        open_source("p.md")
    assert times_run(folder) == 0


def test_other_places_of_a_file_run_nothing(folder: Path) -> None:
    scenario = folder / "x.scn"
    scenario.write_text(
        "# mmtui 0.1, kernel evil.py:K\nscenario x\nabout --kernel evil.py:K\nmmap A R 64K\nend\n",
        encoding="utf-8",
    )
    assert main(["run", "x.scn"]) == ExitCode.OK
    (folder / "evil.py:K").mkdir()
    (folder / "evil.py:K" / "x.json").write_text(
        '{"scenario": "x", "source": [], "steps": []}', encoding="utf-8"
    )
    assert main(["conform", str(folder / "evil.py:K")]) == ExitCode.FAILED
    for use in (kernel_by_name, Session):
        with pytest.raises(UnknownKernelError):
            use("evil.py:K")
    assert times_run(folder) == 0


def test_a_kernel_that_the_person_names_is_run_and_then_known(
    mmtui: Callable[..., Outcome], folder: Path
) -> None:
    (folder / "p.md").write_text(DOCUMENT.format('"evil.py:K", "7.2"'), encoding="utf-8")
    status, out, _ = mmtui("run", "p.md", "--kernel", "evil.py:K")
    assert (status, times_run(folder)) == (ExitCode.OK, 1)
    assert "p on evil.py:K" in out
    assert kernel_by_name("evil.py:K").id == "own"
    assert kernel_by_name("evil.py:K-hwaf").hw_afdbm
    assert open_source("p.md").kernels[0] == "evil.py:K"
    assert times_run(folder) == 1


def test_naming_again_reads_an_edited_file(folder: Path) -> None:
    file = folder / "evil.py"
    assert name_kernel("evil.py:K").id == "own"
    stamp = file.stat()
    file.write_text(MODULE.replace('"own"', '"new"'), encoding="utf-8")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as large and as old as before
    assert name_kernel("evil.py:K", again=False).id == "own"
    assert name_kernel("evil.py:K").id == "new"
    assert not (folder / "__pycache__").exists()


def test_a_typed_kernel_is_named_by_the_person(folder: Path) -> None:
    desk = MagicMock()
    desk.bench = machine("7.2", "mmap A R 64K")
    desk.work.side_effect = lambda job, done: done(job())
    execute(desk, "kernel evil.py:K")
    assert times_run(folder) == 1
    assert kernel_by_name("evil.py:K").id == "own"
    with pytest.raises(UnknownKernelError):
        execute(desk, "kernel evil.py:Other")


def test_whoever_starts_the_application_names_its_kernel(folder: Path) -> None:
    MmtuiApp(kernel="evil.py:K")
    MmtuiApp(kernel="evil.py:K")  # as after the command line has looked whether it is there
    assert times_run(folder) == 1


BROKEN = {
    "class K(:\n": "evil.py:1:9: SyntaxError: ",
    "x = 1\nif x:\n    1 / 0\n": "evil.py:3:5: ZeroDivisionError: division by zero",
    "def f():\n    raise SystemExit(0)\nf()\n": "evil.py:2:5: SystemExit: 0",
    "raise KeyboardInterrupt\n": "evil.py:1:1: KeyboardInterrupt",
    "raise GeneratorExit('x')\n": "evil.py:1:1: GeneratorExit: x",
    "class E(Exception):\n    def __str__(self):\n        raise SystemExit\nraise E\n": "E: (its",
    "(" * 5000: "evil.py:1:",
    "\0": "null bytes",
    "x = '\udcff'\n": "evil.py:1:",
    "raise ValueError('x' * 10**6)\n": "evil.py:1:1: ValueError: xxx",
    "raise ValueError('a\\nb\\x1b[31m')\n": "evil.py:1:1: ValueError: a b\\u001b[31m",
    "def __getattr__(name):\n    raise SystemExit\n": "has no kernel class 'K'",
    MODULE
    + "    def __init__(self, cpu=0):\n        raise SystemExit(0)\n": "evil.py:12:9: SystemExit",
    MODULE + "    def __init__(self):\n        pass\n": "TypeError",
    MODULE + "    id = '\\x1b]0;x\\x07'\n": "evil.py:8:1: id has control characters: \\u001b]0;x",
    MODULE + "    id = 7\n": "evil.py:8:1: id is no text",
    MODULE + "    id = ''\n": "evil.py:8:1: the id is ''",
    MODULE + "    title = ['x']\n": "evil.py:8:1: title is no text",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_module_is_one_line_with_its_place(
    mmtui: Callable[..., Outcome], folder: Path, text: str
) -> None:
    (folder / "evil.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    for arguments in (["run", "3"], ["check", "3"], ["proc", "3", "smaps"], ["3"], []):
        status, out, err = mmtui(*arguments, "-k", "evil.py:K")
        assert (status, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
        assert BROKEN[text] in err
        assert len(err) < 500


def test_a_real_interrupt_while_a_file_is_run_is_one(
    mmtui: Callable[..., Outcome], folder: Path
) -> None:
    (folder / "evil.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    assert mmtui("run", "3", "-k", "evil.py:K") == (ExitCode.INTERRUPTED, "", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    "name",
    ["7.2-hwaf-hwaf", "7.2" + "-hwaf" * 20_000, "-hwaf", "", "x" * 100_000, "evil.py", "evil.py:"],
    ids=lambda name: name[:20],
)
def test_a_name_of_no_kernel_is_one_short_line(
    mmtui: Callable[..., Outcome], folder: Path, name: str
) -> None:
    assert folder.exists()
    status, out, err = mmtui("run", "3", f"--kernel={name}")
    assert (status, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert len(err) < 500


def test_the_suffix_for_hardware_marks_is_for_every_kernel_once() -> None:
    for name in KERNEL_IDS:
        assert kernel_by_name(f"{name}-hwaf").id == f"{name}-hwaf"
        with pytest.raises(UnknownKernelError):
            kernel_by_name(f"{name}-hwaf-hwaf")
