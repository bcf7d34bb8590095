"""The measurements run, at sizes that take no time; no figure is judged."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.actions import resident, scenario, writes
from benchmarks.report import Figure
from benchmarks.timing import alternate, percentile
from benchmarks.workload import machine_like, pages_of, populated, run_tasks
from sandbox.scenario.language import parse_scenarios

TINY = ["--runs", "1", "--folios", "2", "--size", "1M", "--kernel", "6.9", "--json"]


def sections(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main([*arguments, *TINY]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_engine_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = sections("engine", "history", "sizes", capsys=capsys)
    assert len(found) == 3
    for section in found:
        figures = section["figures"]
        assert isinstance(figures, list)
        assert all(figure["value"] > 0 for figure in figures)


def test_going_back_inside_a_huge_action_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (section,) = sections("deep", "--deep-size", "1M", "--presses", "10", capsys=capsys)
    figures = section["figures"]
    assert isinstance(figures, list)
    names = {figure["name"]: figure["value"] for figure in figures}
    assert names["first step back, displayed"] > 0
    assert names["events of the fork"] > 500


def test_commands_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    (section,) = sections("commands", capsys=capsys)
    assert section["figures"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_tells_frames_apart() -> None:
    from benchmarks.startup import environment
    from benchmarks.terminal import Terminal

    frame = r"import sys; w = sys.stdout.write; w('\x1b[?2026$p\x1b[?2026hx\x1b[?2026l'); w('\n')"
    program = f"{frame}; sys.stdout.flush(); input(); {frame}"
    with Terminal((sys.executable, "-c", program), environment()) as terminal:
        first = terminal.start_up(quiet=0.05)
        assert 0 < first.first <= first.settled < float("inf")
        assert terminal.press(b"\n", quiet=0.05).bytes


def test_a_wrong_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "expected some of" in capsys.readouterr().err


def test_sizes_are_read() -> None:
    assert [pages_of(text) for text in ("4K", "64K", "2M", "1G")] == [1, 16, 512, 262_144]
    for wrong in ("", "64", "K", "2K", "-4K", "1T"):
        with pytest.raises(ValueError, match="not a size"):
            pages_of(wrong)


def test_a_goal_is_met_from_the_right_side() -> None:
    assert Figure("ms", 5, "ms", 16, 8).verdict == "stretch"
    assert Figure("ms", 17, "ms", 16, 8).verdict == "missed"
    assert Figure("rate", 0.7, "M/s", 0.5, 1.0, exceed=True).verdict == "good"
    assert not Figure("ms", 5, "ms").verdict


def test_measurements_alternate_and_the_first_round_is_thrown_away() -> None:
    calls: list[str] = []

    def call(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    found = alternate({"a": lambda: call("a"), "b": lambda: call("b")}, 2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": 4.5, "b": 4.5}
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0


def test_a_bare_machine_does_the_same_events() -> None:
    session = populated("6.9", "64K", 32, ("fork A B",))
    machine = machine_like(session)
    run_tasks(machine, session.machine.tasks)
    assert machine.events == session.machine.events
    assert machine.memory.cells == session.machine.memory.cells


def test_what_is_opened_for_the_cost_of_a_key_is_a_scenario(tmp_path: Path) -> None:
    (found,) = parse_scenarios(scenario(str(tmp_path), "few", writes(3)).read_text(), "few")
    assert [step.text for step in found.steps][-1] == "write A R 2 3"
    assert resident(os.getpid()) > 1 or not Path("/proc").is_dir()
