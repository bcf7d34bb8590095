"""`mmtui explore`: every interleaving of a block of CPUs, and what breaks in one of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmtui.exit_codes import ExitCode
from mmtui.headless.run import choose
from mmtui.headless.working import kept_apart
from mmtui.model.documents import open_document
from mmtui.streams import bare
from sandbox.explore.conditions import Held, conditions, hold
from sandbox.explore.search import Bounds, Progress, begin, block_of, check_walker
from sandbox.explore.search import explore as search
from sandbox.explore.telling import Ending, Exploration, Finding, schedule_text
from sandbox.printable import one_line
from sandbox.run.session import Session
from sandbox.scenario.language import CpuBlock, Scenario, format_scenario
from sandbox.scenario.schedule import format_schedule

__all__ = ["Asked", "explore"]

MIB = 1 << 20


class Asked(NamedTuple):
    """What a command line asks for."""

    target: str
    kernel: str | None
    scenario: str | None
    step: int | None
    """Number of the block among the scenario's steps; None for the last one."""
    bounds: Bounds
    always: tuple[str, ...]
    sometimes: tuple[str, ...]


def explore(asked: Asked, *, as_json: bool) -> ExitCode:
    """Walk every interleaving of one block, and tell what breaks, the shortest schedule first.

    JSON is one object a line: each finding, and last a summary.  FAILED if anything broke or a
    condition does not hold, BOUND if nothing did as far as the search came.

    Raises:
        SandboxError: no such document, scenario, block or kernel, or a refused action.
    """
    document = open_document(asked.target)
    kernel = asked.kernel or document.kernels[0]
    wanted = conditions(asked.always, asked.sometimes)
    check_walker()
    status = ExitCode.OK
    for scenario in choose(document.name, document.scenarios(kernel), asked.scenario):
        at = block_of(scenario, asked.step)
        session = Session(kernel)
        with kept_apart(session, "the kernel"):
            found = search(begin(scenario, at, session), asked.bounds, _meter())
            held = list(hold(wanted, scenario, at, kernel, found.endings))
        lines = (
            _json_lines(scenario, at, kernel, found, held)
            if as_json
            else _text_lines(scenario, at, kernel, found, held)
        )
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        status = _worse(status, _status(found, held))
    return status


def _worse(one: ExitCode, other: ExitCode) -> ExitCode:
    order = (ExitCode.OK, ExitCode.BOUND, ExitCode.FAILED)
    return max(one, other, key=order.index)


def _status(found: Exploration, held: list[Held]) -> ExitCode:
    """A condition that only more searching could meet is no failure at a bound."""
    failed = [each for each in held if not each.ok and (found.complete or each.condition.always)]
    if found.findings or failed:
        return ExitCode.FAILED
    return ExitCode.OK if found.complete else ExitCode.BOUND


def _meter() -> Any:  # noqa: ANN401  # a function, or None
    """What writes progress to a terminal on stderr."""
    screen = bare(sys.stderr)
    if screen is None or not screen.isatty():
        return None

    def tell(progress: Progress) -> None:
        rate = progress.states / max(progress.seconds, 0.001)
        screen.write(
            f"\r\x1b[K{progress.states:,} states, {rate:,.0f}/s, depth {progress.depth}, "
            f"{progress.frontier:,} to go on from, {progress.broken} broken"
        )
        if not progress.frontier:
            screen.write("\r\x1b[K")
        screen.flush()

    return tell


# -- text --------------------------------------------------------------------------------------


def _text_lines(
    scenario: Scenario, at: int, kernel: str, found: Exploration, held: list[Held]
) -> Iterator[str]:
    whole = "all of them" if found.complete else f"stopped at {found.stopped}, there are more"
    yield one_line(f"{scenario.name} on {kernel}, step {at + 1}: {scenario.steps[at].text}")
    yield (
        f"  {found.states} states ({whole}), {found.transitions} events, at most {found.depth} "
        f"to one; {found.seconds:.1f} s, {found.walker}"
    )
    for finding in found.findings:
        yield from _finding_lines(finding)
    for (rule, window), times in sorted(found.windows.items()):
        yield "  " + one_line(f"known window {window}: {rule} in {times} places")
    for each in held:
        yield from _condition_lines(each, found)
    if not found.findings:
        yield "  nothing breaks" + ("" if found.complete else ", as far as was looked")
    more = f", {found.endings_left} more were not looked at" if found.endings_left else ""
    yield f"  it may end in {len(found.endings)} states{more}:"
    for ending in found.endings:
        broken = f", broken: {', '.join(ending.broken)}" if ending.broken else ""
        yield f"    {ending.reached:4}  schedule {schedule_text(ending.schedule)}{broken}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    until = "to the end" if finding.persists else "for a while"
    about = f" {finding.subject}" if finding.subject else ""
    told = (
        finding.text
        if finding.text.startswith(finding.rule)
        else f"{finding.rule} broken{about}: {finding.text}"
    )
    yield "  " + one_line(told)
    place = f" in {finding.function}" if finding.function else ""
    locks = ", ".join(finding.locks) or "no lock"
    times = f", in {finding.states} places" if finding.states else ""
    yield f"    {until}, under {locks}; event {finding.event}{place}{times}"
    yield f"    {format_schedule(finding.turns)}"
    if finding.real:
        yield "    (a real kernel can be made to do it: mmtui race)"


def _condition_lines(held: Held, found: Exploration) -> Iterator[str]:
    count = len(found.endings)
    if held.ending is None:
        what = f"in all {count} endings" if held.ok else f"in none of {count} endings"
        yield "  " + one_line(f"{held.condition.text}: {what}")
        return
    what = "here" if held.ok else f"not here: got {held.got}"
    yield "  " + one_line(f"{held.condition.text}: {what}")
    yield f"    schedule {schedule_text(held.ending.schedule)}"


# -- JSON --------------------------------------------------------------------------------------


def _json_lines(
    scenario: Scenario, at: int, kernel: str, found: Exploration, held: list[Held]
) -> Iterator[str]:
    import json  # text needs none

    def text(finding: Finding) -> str:
        """The scenario up to the block, with a schedule: what `mmtui run` plays."""
        block = scenario.steps[at]
        assert isinstance(block, CpuBlock)
        played = block._replace(schedule=finding.turns)
        return format_scenario(scenario._replace(steps=(*scenario.steps[:at], played)))

    for finding in found.findings:
        yield json.dumps(
            {
                "rule": finding.rule,
                "kernel": kernel,
                "scenario": text(finding),
                "schedule": format_schedule(finding.turns).removeprefix("schedule "),
                "events": schedule_text(finding.schedule),
                "real": finding.real,
                "event": finding.event,
                "class": "persistent" if finding.persists else "transient",
                "subject": finding.subject,
                "text": finding.text,
                "function": finding.function,
                "locks": list(finding.locks),
                "places": finding.states,
            }
        )
    yield json.dumps(_summary(scenario, at, kernel, found, held))


def _summary(
    scenario: Scenario, at: int, kernel: str, found: Exploration, held: list[Held]
) -> dict[str, Any]:
    def ending(own: Ending | None) -> str | None:
        return None if own is None else schedule_text(own.schedule)

    return {
        "name": scenario.name,
        "kernel": kernel,
        "step": at + 1,
        "block": scenario.steps[at].text,
        "complete": found.complete,
        "stopped": found.stopped or None,
        "findings": len(found.findings),
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "learned": found.learned,
        "bytes": found.bytes_used,
        "seconds": round(found.seconds, 3),
        "walker": found.walker,
        "windows": [
            {"rule": rule, "window": window, "places": times}
            for (rule, window), times in sorted(found.windows.items())
        ],
        "endings": [
            {
                "schedule": ending(own),
                "reached": own.reached,
                "broken": list(own.broken),
            }
            for own in found.endings
        ],
        "endings_left": found.endings_left,
        "conditions": [
            {
                "condition": each.condition.text,
                "ok": each.ok,
                "schedule": ending(each.ending),
                "got": each.got,
            }
            for each in held
        ],
    }
