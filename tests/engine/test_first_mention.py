"""What holds for processes in recordings: they start at their first mention, and inherit files."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import UsageError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import parse_action


def play(run: ScenarioRun, lines: str) -> list[dict[str, Any]]:
    """The step objects of some lines."""
    return [run.do(parse_action(line)) for line in lines.splitlines()]


def test_a_process_that_died_starts_again_when_it_is_named() -> None:
    run = ScenarioRun("7.2", rig=True)
    steps = play(run, "mmap A R 4p\nread A R 3 6\nwrite A R 0 1\nmmap A R 4p\nwrite A R 0 1")
    assert [step["ret"] for step in steps] == [0, -130, -130, 0, 0]
    assert [list(step["procs"]) for step in steps] == [["A"], [], [], ["A"], ["A"]]


def test_elsewhere_a_process_must_be_there() -> None:
    run = ScenarioRun("7.2")
    play(run, "mmap A R 4p\nread A R 3 6")
    with pytest.raises(UsageError, match="no process A"):
        play(run, "write A R 0 1")


def test_a_file_is_known_to_who_starts_later_and_to_children() -> None:
    lines = (
        "mmap A R 4p\nmemfd F 4p\nmmap A S 4p fd=F\nmmap B T 4p fd=F\nfork A C\n"
        "mmap C T 4p fd=F\nfork B D\nmmap D U 4p fd=F"
    )
    assert [s["ret"] for s in play(ScenarioRun("7.2", rig=True), lines)][2::2] == [-9, 0, 0]
    assert [s["ret"] for s in play(ScenarioRun("7.2", rig=True), lines)][5::2] == [-9, 0]
    assert {s["ret"] for s in play(ScenarioRun("7.2"), lines)} == {0}
