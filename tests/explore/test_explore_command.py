"""`mmtui explore`: findings that replay, conditions, bounds, and what its exit status says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from sandbox.explore import compiled
from sandbox.explore.core import Core
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import parse_scenarios
from tests.explore.support import FOLIO_16K, ONE_PAGE

RACE = f"{ONE_PAGE}\ncpu0: fork A B\ncpu1: pin A R 0 1 1 w\n"
LARGE = f"{FOLIO_16K}\ncpu0: fork A B\ncpu1: pin A R 1 2 1 w\ncpu2: write A R 2 3\n"
SMALL = f"{ONE_PAGE}\ncpu0: dontneed A R 0 1\ncpu1: get A R 0 1 p w\n"

MINE = '''\
"""Does not copy pages."""

from sandbox.kernels.linux_7_2 import Linux72


class Mine(Linux72):
    """7.2, but it gives up where it would copy a page that is pinned."""

    id = "mine"

    def copy_present_page(self, *args):
        """Give up."""
        yield from ()
        raise ValueError("cannot copy")
'''


def explored(
    capsys: pytest.CaptureFixture[str], path: Path, text: str, *options: str
) -> tuple[int, list[dict[str, Any]]]:
    file = path / "block.scn"
    file.write_text(f"scenario block\n{text}end\n", encoding="utf-8")
    status = dispatch(["explore", str(file), "--json", *options])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("kernel", "text", "rules"),
    [
        ("no-seqcount", RACE, {"I-22", "I-24", "I-26"}),
        ("ryan-v2", f"{FOLIO_16K}\ncpu0: fork A B\ncpu1: pin A R 1 2 1 w\n", {"I-05", "I-09"}),
    ],
)
def test_each_finding_breaks_the_same_rule_at_the_same_event_when_it_is_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kernel: str, text: str, rules: set[str]
) -> None:
    status, lines = explored(capsys, tmp_path, text, "-k", kernel)
    *findings, summary = lines
    assert status == ExitCode.FAILED
    assert rules <= {finding["rule"] for finding in findings}
    assert summary["complete"]
    lengths = []
    for finding in findings:
        (scenario,) = parse_scenarios(finding["scenario"], "<finding>")
        run = ScenarioRun(kernel)
        for step in scenario.steps:
            run.do(step)
        violations = [
            (own.rule, own.event, own.subject)
            for own in run.violations()
            if own.known_window is None
        ]
        told = [(own.name, own.event, own.subject) for own in run.complaints()]
        key = finding["rule"], finding["event"], finding["subject"]
        assert key in violations + told
        earlier = [event for rule, event, _ in violations if rule == key[0] and event < key[1]]
        assert not earlier
        lengths.append(finding["event"])
    assert lengths == sorted(lengths)


def test_nothing_breaks_where_the_sequence_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = "--sometimes", "B.R 0 folio != F1", "--always", "rules ok"
    status, (summary,) = explored(capsys, tmp_path, RACE, "-k", "7.2", *asked)
    assert status == ExitCode.OK
    assert [each["ok"] for each in summary["conditions"]] == [True, True]
    assert summary["endings"]
    status, (summary,) = explored(
        capsys, tmp_path, RACE, "-k", "7.2", "--always", "B.R 0 folio != F1"
    )
    assert status == ExitCode.FAILED
    assert summary["conditions"][0]["schedule"]


def test_a_bound_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, (summary,) = explored(capsys, tmp_path, SMALL, "-k", "7.2", "--bound", "20")
    assert status == ExitCode.BOUND
    assert not summary["complete"]
    assert summary["stopped"]


@pytest.mark.parametrize("plain", [False, True])
def test_memory_is_a_bound_and_so_is_the_first_break(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain: bool,
) -> None:
    if plain:
        monkeypatch.setattr("sandbox.explore.search.library", lambda: None)
    asked = "-k", "7.2", "--memory"
    status, (summary,) = explored(capsys, tmp_path, LARGE, *asked, "2M")
    assert status == ExitCode.BOUND
    assert summary["stopped"].startswith("memory")
    assert 0 < summary["states"] < 155_063
    status, (*findings, summary) = explored(capsys, tmp_path, RACE, "-k", "no-seqcount", "--first")
    assert status == ExitCode.FAILED
    assert findings[0]["rule"] == "I-26"
    assert not summary["complete"]
    status, lines = explored(capsys, tmp_path, RACE, "-k", "no-seqcount", "--reduce")
    assert status == ExitCode.FAILED
    assert {"I-22", "I-24", "I-26"} <= {finding["rule"] for finding in lines[:-1]}
    assert lines[-1]["states"] < 3_169


def test_few_preemptions_are_a_bound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = "-k", "no-seqcount", "--preemptions"
    status, (summary,) = explored(capsys, tmp_path, RACE, *asked, "0")
    assert status == ExitCode.BOUND
    assert summary["stopped"] == "0 preemptions"
    status, (*findings, _) = explored(capsys, tmp_path, RACE, *asked, "1")
    assert status == ExitCode.FAILED
    assert {"I-22", "I-24", "I-26"} <= {finding["rule"] for finding in findings}


def test_without_a_compiler_the_same_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (compiled_one,) = explored(capsys, tmp_path, SMALL, "-k", "7.2")
    monkeypatch.setenv(compiled.OFF, "1")
    loaded, why = compiled._loaded.__wrapped__()
    assert (loaded, why) == (None, f"{compiled.OFF} is set")
    monkeypatch.setattr("sandbox.explore.search.library", lambda: loaded)
    monkeypatch.setattr("sandbox.explore.search.why_not", lambda: why)
    _, (plain,) = explored(capsys, tmp_path, SMALL, "-k", "7.2")
    assert plain["walker"].startswith("Python: ")
    for name in ("states", "transitions", "depth", "endings", "findings", "complete"):
        assert plain[name] == compiled_one[name]


def test_a_function_that_misbehaves_is_a_finding(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kernel = tmp_path / "mine.py"
    kernel.write_text(MINE, encoding="utf-8")
    asked = "-k", f"{kernel}:Mine"
    status, (*findings, summary) = explored(capsys, tmp_path, RACE, *asked)
    assert status == ExitCode.FAILED
    assert summary["complete"]
    assert "BUG" in {finding["rule"] for finding in findings}
    (text,) = (finding["text"] for finding in findings if finding["rule"] == "BUG")
    assert "cannot copy" in text
    assert "mine.py" in text


def test_what_has_no_block_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "one.scn"
    file.write_text(f"scenario one\n{ONE_PAGE}\nend\n", encoding="utf-8")
    assert dispatch(["explore", str(file)]) == ExitCode.USAGE
    assert "no block of several CPUs" in capsys.readouterr().err


def test_a_walker_that_miscounts_is_not_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled.library() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(Core, "states", property(lambda self: 2_141))
    file = tmp_path / "block.scn"
    file.write_text(f"scenario block\n{SMALL}end\n", encoding="utf-8")
    assert dispatch(["explore", str(file)]) == ExitCode.USAGE
    assert "cannot be trusted" in capsys.readouterr().err
