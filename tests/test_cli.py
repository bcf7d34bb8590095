"""The command line: what goes where, and what each end tells the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmtui import __version__, cli
from mmtui.exit_codes import ExitCode
from sandbox.errors import SandboxError, Where
from tests.conftest import read, recorded

ROOT = Path(__file__).parent.parent
SEED = str(ROOT / "tests/scenarios/00-seed.scn")

Outcome = tuple[int, str, str]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Return a function that makes `mmtui rules` raise."""

    def install(error: BaseException) -> None:
        def fail(_args: object) -> ExitCode:
            raise error

        command = cli.COMMANDS["rules"]._replace(run=fail)
        monkeypatch.setitem(cli.COMMANDS, "rules", command)

    return install


def assert_one_line_error(outcome: Outcome, words: str) -> None:
    status, out, err = outcome
    assert status == ExitCode.USAGE
    assert not out
    assert err.startswith("mmtui: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(mmtui: Callable[..., Outcome], flag: str) -> None:
    assert mmtui(flag) == (ExitCode.OK, f"mmtui {__version__}\n", "")


def test_help_lists_every_command(mmtui: Callable[..., Outcome]) -> None:
    status, out, err = mmtui("--help")
    assert (status, err) == (ExitCode.OK, "")
    for command in cli.COMMANDS.values():
        assert f"{command.name} " in out
        assert command.summary in out


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_each_command_has_help(mmtui: Callable[..., Outcome], name: str) -> None:
    status, out, err = mmtui(name, "--help")
    assert (status, err) == (ExitCode.OK, "")
    assert out.startswith(f"usage: mmtui {name}")


@pytest.mark.parametrize(
    "line",
    [["--wrong"], ["run"], ["run", SEED, "--json", "--text"], ["conform"], ["presets", "extra"]],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused(mmtui: Callable[..., Outcome], line: list[str]) -> None:
    status, out, err = mmtui(*line)
    assert (status, out) == (ExitCode.USAGE, "")
    assert "usage: mmtui" in err


def test_an_unknown_target_is_refused(mmtui: Callable[..., Outcome]) -> None:
    assert_one_line_error(mmtui("no-such-thing"), "no-such-thing")
    assert_one_line_error(mmtui("run", "no-such-thing"), "no-such-thing")
    assert_one_line_error(mmtui("run", "no/such/file.scn"), "no/such/file.scn")
    assert_one_line_error(mmtui("run", "no-such.md"), "no-such.md")


def test_a_near_command_is_suggested(mmtui: Callable[..., Outcome]) -> None:
    assert_one_line_error(mmtui("chekc"), "did you mean `mmtui check`?")


def test_a_malformed_file_is_refused_with_its_place(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "broken.scn"
    file.write_text("scenario x\nmmap A R 64K\nfrok A B\nend\n", encoding="utf-8")
    assert_one_line_error(mmtui("run", str(file)), f"{file}:3:1: ")
    file.write_bytes(b"scenario x\n\xff\n")
    assert_one_line_error(mmtui("run", str(file)), f"{file}:2:1: ")
    file.write_text("# nothing\n", encoding="utf-8")
    assert_one_line_error(mmtui("run", str(file)), "scenario")


def test_the_application_needs_a_terminal(mmtui: Callable[..., Outcome]) -> None:
    assert_one_line_error(mmtui(SEED), "terminal")


def test_an_error_of_the_sandbox_is_one_line(
    mmtui: Callable[..., Outcome], failing: Callable[[BaseException], None]
) -> None:
    failing(SandboxError("two\nlines", Where("f", 1, 2), "one"))
    assert mmtui("rules") == (ExitCode.USAGE, "", "mmtui: f:1:2: two lines; expected one\n")


def test_an_interrupt_is_quiet(
    mmtui: Callable[..., Outcome], failing: Callable[[BaseException], None]
) -> None:
    failing(KeyboardInterrupt())
    assert mmtui("rules") == (ExitCode.INTERRUPTED, "", "")


def test_a_defect_leaves_a_report_and_one_line(
    mmtui: Callable[..., Outcome],
    failing: Callable[[BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("no\nnumber"))
    with pytest.raises(SystemExit) as end:
        mmtui("rules")
    assert end.value.code == ExitCode.INTERNAL
    (report,) = tmp_path.iterdir()
    seen = capsys.readouterr()
    line = f"internal error: ZeroDivisionError: no number; please report it with {report}\n"
    assert (seen.out, seen.err) == ("", f"mmtui: {line}")
    assert "Traceback" in report.read_text(encoding="utf-8")


def test_a_closed_pipe_is_quiet() -> None:
    command = [sys.executable, "-m", "mmtui", "run", SEED, "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Error" not in process.stderr.read()
    assert process.returncode == ExitCode.BROKEN_PIPE


def scenario_objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_run_writes_one_json_object_per_scenario(mmtui: Callable[..., Outcome]) -> None:
    status, out, _err = mmtui("run", SEED, "--kernel", "7.2", "--json")
    assert status == ExitCode.OK
    names = [result["scenario"] for result in scenario_objects(out)]
    wanted = [
        line.split()[1] for line in Path(SEED).read_text().splitlines() if "scenario " in line
    ]
    assert names == wanted
    recording = read(recorded("7.2", names[0]))
    first = scenario_objects(out)[0]
    assert set(first) == {"scenario", "about", "kernel", "source", "steps"}
    assert first["kernel"] == "7.2"
    assert (first["source"], first["about"]) == (recording["source"], recording["about"])
    assert [set(step) for step in first["steps"]] == [set(step) for step in recording["steps"]]


def test_run_writes_the_named_scenario_with_its_events(mmtui: Callable[..., Outcome]) -> None:
    status, out, _err = mmtui("run", SEED, "--scenario", "seed-fork-64k", "--json", "--events")
    assert status == ExitCode.OK
    (result,) = scenario_objects(out)
    assert result["scenario"] == "seed-fork-64k"
    assert len(result["events"]) > 100


def test_run_refuses_a_scenario_that_is_not_there(mmtui: Callable[..., Outcome]) -> None:
    assert_one_line_error(mmtui("run", SEED, "--scenario", "nope"), "seed-fork-64k")


def test_run_refuses_a_kernel_that_is_not_there(mmtui: Callable[..., Outcome]) -> None:
    assert_one_line_error(mmtui("run", SEED, "--kernel", "5.0"), "5.0")


def test_run_writes_text_that_fits_a_mail(mmtui: Callable[..., Outcome]) -> None:
    status, out, err = mmtui("run", SEED, "--text")
    assert (status, err) == (ExitCode.OK, "")
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 72


def test_a_refused_action_ends_the_run_with_its_place(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "refused.scn"
    file.write_text("scenario x\nmmap A R 64K\nwrite A Q 0 1\nend\n", encoding="utf-8")
    status, _out, err = mmtui("run", str(file))
    assert status == ExitCode.USAGE
    assert err.startswith(f"mmtui: {file}:3:")


def test_conform_says_whether_all_matched(mmtui: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "7.2"
    folder.mkdir()
    recording = read(recorded("7.2", "seed-fork-64k"))
    (folder / "same.json").write_text(json.dumps(recording))
    status, out, _err = mmtui("conform", str(folder))
    assert status == ExitCode.OK
    assert "all match" in out
    recording["steps"][3]["folios"]["F1"]["refcount"] += 1
    (folder / "same.json").write_text(json.dumps(recording))
    status, out, _err = mmtui("conform", str(tmp_path), "--markdown")
    assert status == ExitCode.FAILED
    assert "| seed-fork-64k | 4 | fork A B | F1 | refcount | 33 | 32 |" in out


def test_conform_with_nothing_to_compare_fails(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "9.9").mkdir()
    file = tmp_path / "9.9" / "x.json"
    file.write_text("{}")
    status, _out, err = mmtui("conform", str(tmp_path))
    assert status == ExitCode.USAGE
    assert "not a recording" in err
    file.write_text('{"scenario": "x", "source": [], "steps": []}')
    status, out, err = mmtui("conform", str(tmp_path))
    assert status == ExitCode.FAILED
    assert "skipped 9.9" in out
    assert "nothing was compared" in err


def test_check_names_what_does_not_hold(mmtui: Callable[..., Outcome], tmp_path: Path) -> None:
    file = tmp_path / "own.md"
    text = (
        "+++\ntitle = 'x'\nkernels = ['7.2']\nsummary = 'x.'\ntags = []\nmails = []\n+++\n"
        "Words.\n\n```mm\nmthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n```\n\n"
        "```expect\nrefcount = 16\nlarge = 17\n```\n"
    )
    file.write_text(text, encoding="utf-8")
    status, out, _err = mmtui("check", str(file))
    assert status == ExitCode.FAILED
    assert out.splitlines()[0] == "FAILED own on 7.2: 1 of 2 hold"
    assert out.splitlines()[1].strip().startswith(f"{file}:18:1: large = 17: got 16")


def test_check_holds_the_library(mmtui: Callable[..., Outcome]) -> None:
    status, out, _err = mmtui("check")
    assert status == ExitCode.OK, out


@pytest.mark.parametrize("what", ["kernels", "rules", "presets"])
def test_lists_are_text_or_json(mmtui: Callable[..., Outcome], what: str) -> None:
    status, text, err = mmtui(what)
    assert (status, err) == (ExitCode.OK, "")
    status, out, err = mmtui(what, "--json")
    assert (status, err) == (ExitCode.OK, "")
    rows = [line for line in text.splitlines() if "  " in line]  # the others are headings
    assert len(scenario_objects(out)) == len(rows) > 5


def test_rules_explains_the_ones_named(mmtui: Callable[..., Outcome]) -> None:
    status, out, _err = mmtui("rules", "I-05")
    assert status == ExitCode.OK
    assert out.startswith("rule: I-05\nstatement: ")
    assert_one_line_error(mmtui("rules", "I-99"), "I-99")


PRESET = """\
+++
title = "x"
kernels = ["7.2", "6.9"]
summary = "x."
tags = []
+++
```mm
mmap A R 64K
```
"""


def test_check_writes_one_json_object_per_preset_and_kernel(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "own.md"
    file.write_text(PRESET + "```expect\nret = 0\nret = 1\n```\n", encoding="utf-8")
    status, out, _err = mmtui("check", str(file), "--json")
    assert status == ExitCode.FAILED
    first, second = scenario_objects(out)
    assert (first["scenario"], first["kernel"], first["ok"]) == ("own", "7.2", False)
    assert second["kernel"] == "6.9"
    good, bad = first["expectations"]
    assert (good["text"], good["ok"]) == ("ret = 0", True)
    wanted = {"file": str(file), "line": 12, "column": 1, "text": "ret = 1", "ok": False}
    assert bad == wanted | {"got": "0"}


def test_check_without_a_verdict_fails(mmtui: Callable[..., Outcome], tmp_path: Path) -> None:
    file = tmp_path / "own.md"
    for text in (PRESET, PRESET + "```expect\n# nothing\n```\n"):
        file.write_text(text, encoding="utf-8")
        status, out, _err = mmtui("check", str(file))
        assert status == ExitCode.FAILED
        assert out.splitlines()[0] == "FAILED own on 7.2: nothing is expected"
    file.write_text(PRESET + "```expect 7.2\nret = 0\n```\n", encoding="utf-8")
    assert mmtui("check", str(file), "-k", "7.2")[0] == ExitCode.OK
    assert mmtui("check", str(file), "-k", "6.9")[0] == ExitCode.FAILED


def test_check_takes_the_scenario_of_a_name(mmtui: Callable[..., Outcome]) -> None:
    status, out, _err = mmtui("check", "1", "3", "--scenario", "seed-pin-middle", "-k", "6.9")
    assert (status, out.count("\n")) == (ExitCode.OK, 1)
    assert_one_line_error(mmtui("check", "1", "--scenario", "nope"), "seed-v2-order")


def test_proc_writes_json(mmtui: Callable[..., Outcome]) -> None:
    status, text, _err = mmtui("proc", "3", "status", "-k", "6.9", "--step", "4")
    assert status == ExitCode.OK
    status, out, _err = mmtui("proc", "3", "status", "-k", "6.9", "--step", "4", "--json")
    (found,) = scenario_objects(out)
    assert found.pop("lines") == text.splitlines()[1:]
    assert found == {
        "scenario": "seed-pin-middle", "kernel": "6.9", "step": 4, "what": "status", "process": None
    }  # fmt: skip


@pytest.mark.parametrize("command", ["run", "check", "proc"])
def test_what_takes_a_document_takes_the_common_options(
    mmtui: Callable[..., Outcome], command: str
) -> None:
    _status, out, _err = mmtui(command, "--help")
    for option in ("-k KERNEL, --kernel KERNEL", "--scenario NAME", "--json"):
        assert option in out


def test_a_step_is_a_plain_number(mmtui: Callable[..., Outcome]) -> None:
    for text in ("-1", "1_0", "x", "9" * 5000, "\u0661", ""):
        assert_one_line_error(mmtui("proc", "3", "smaps", f"--step={text}"), "no number from 0")


def test_an_empty_kernel_is_none(mmtui: Callable[..., Outcome]) -> None:
    for command in (["run", "3"], ["check", "3"], ["proc", "3", "smaps"], ["3"]):
        assert_one_line_error(mmtui(*command, "--kernel="), "unknown kernel ''")


def test_a_name_with_a_newline_is_no_line_of_its_own(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "a\nok other on 7.2: 1 of 1 hold.md"
    file.write_text(PRESET + "```expect\nret = 1\n```\n", encoding="utf-8")
    _status, out, _err = mmtui("check", str(file), "-k", "7.2")
    assert [line[:6] for line in out.splitlines()] == ["FAILED", "  /" + str(tmp_path)[1:4]]
    _status, out, _err = mmtui("run", str(file))
    assert out.splitlines()[0].startswith("== a ok other")
