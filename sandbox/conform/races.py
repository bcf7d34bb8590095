"""The model under the schedules that a real kernel was raced with.

A schedule by landmarks does not stop both at the very same place (a kernel has other events), so
what is held against each other is not each race but the set of outcomes: an outcome of the kernel's
must be one that the model has under some schedule of the recording.  How many races end the same
under their own schedule is reported beside it, and how many switches find the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.conform.outcomes import Outcome, differences, outcome
from sandbox.conform.switches import Compared, Watcher, compare_switches, kernel_switches
from sandbox.errors import Cancelled, SandboxError, UsageError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Action, CpuBlock, parse_lines

__all__ = ["RaceReport", "conform_race"]

SHOWN = 4
"""Values of an outcome that a mismatch names."""


@dataclass(slots=True)
class RaceReport:
    """The races of one block."""

    scenario: str
    races: int = 0
    same: int = 0
    """Races that end on the model as on the kernel, under the same schedule."""
    unreached: int = 0
    """Schedules with a landmark that the model does not come to."""
    outcomes: int = 0
    """Of the kernel."""
    found: int = 0
    """Of them, those that the model has."""
    only_model: int = 0
    """Outcomes that only the model has under these schedules."""
    switches: int = 0
    """Of the kernel's CPUs, in races that the model comes through."""
    met: int = 0
    """Of them, those before the first that the model does not have."""
    words: int = 0
    """Of these, those with the same watched words."""
    waits: int = 0
    """How often a CPU of the kernel's waited for the other one."""
    waited: int = 0
    """Of these, where the model's did so too, in the same way."""
    switch: str | None = None
    """The first switch with other words, or where one side alone waits."""
    mismatch: str | None = None
    """The first outcome that the model does not have, or an error of the engine."""


def conform_race(race: Mapping[str, Any], kernel: str, file: str) -> RaceReport:
    """Play the schedules of a recording on a modelled kernel.

    `race` is one that `read_race` has checked.

    Raises:
        SandboxError: its source is no scenario with that block, with the place.
    """
    steps = parse_lines("\n".join(race["source"]), file)
    index = race["step"] - 1
    block = steps[index] if index < len(steps) else None
    if not isinstance(block, CpuBlock):
        raise SandboxError(f"{file}: step {race['step']} is no block", expected="cpu0:, cpu1:")
    report = RaceReport(race["scenario"], len(race["races"]), outcomes=len(race["outcomes"]))
    theirs = [
        outcome(one["state"], race.get("before") or _NOTHING, one.get("dead", ()))
        for one in race["outcomes"]
    ]
    ours: list[Outcome] = []
    for one in race["races"]:
        line = f"schedule {one['schedule']}" if one["schedule"] else ""
        calls = "\n".join(action.source for action in block.actions)
        (played,) = parse_lines(f"{calls}\n{line}", file)
        try:
            got, compared = _play(kernel, steps[:index], played, race, one)
        except Cancelled:
            raise
        except UsageError:
            report.unreached += 1
            continue
        except SandboxError as error:
            report.mismatch = f"{type(error).__name__}: {error}"
            return report
        _count(report, one["schedule"], compared)
        if got not in ours:
            ours.append(got)
        report.same += 0 < one["outcome"] <= len(theirs) and got == theirs[one["outcome"] - 1]
    _judge(report, race, theirs, ours)
    return report


_NOTHING: dict[str, Any] = {"procs": {}, "folios": {}}


def _play(
    kernel: str,
    before: list[Action | CpuBlock],
    block: Action | CpuBlock,
    race: Mapping[str, Any],
    one: Mapping[str, Any],
) -> tuple[Outcome, Compared]:
    """The model's outcome of one schedule, and what came of its switches."""
    run = ScenarioRun(kernel, rig=True)
    state: Mapping[str, Any] = _NOTHING
    for step in before:
        state = run.do(step)
    watcher = Watcher(run.session, state)
    got = outcome(run.do(block, watcher), state)
    theirs = kernel_switches(one, race.get("before") or _NOTHING)
    return got, compare_switches(theirs, watcher.switches)


def _count(report: RaceReport, schedule: str, compared: Compared) -> None:
    """Add what came of the switches of one race."""
    report.switches += compared.switches
    report.met += compared.met
    report.words += compared.same
    report.waits += compared.waits
    report.waited += compared.waited
    told = compared.words or compared.wait
    if report.switch is None and told is not None:
        report.switch = f'"{schedule or "cpu0 all"}" {told}'


def _judge(
    report: RaceReport, race: Mapping[str, Any], theirs: list[Outcome], ours: list[Outcome]
) -> None:
    """Count the outcomes that both have, and describe the first one that is missing."""
    for one, want in zip(race["outcomes"], theirs, strict=True):
        if want in ours:
            report.found += 1
        elif report.mismatch is None:
            near = min((differences(want, got) for got in ours), key=len, default={})
            shown = [f"{key}: {kernel} not {model}" for key, (kernel, model) in near.items()]
            text = "; ".join(shown[:SHOWN]) or "the model comes to no end"
            schedule = one["schedules"][0] or "cpu0 all"
            report.mismatch = f'"{schedule}" and {len(one["schedules"]) - 1} more: {text}'
    report.only_model = sum(got not in theirs for got in ours)
