"""`mmtui run`: the scenarios of a file or preset, run to their end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mmtui.exit_codes import ExitCode
from mmtui.headless.working import WatchedRun
from mmtui.model.documents import open_document
from sandbox.errors import NoEventError, NoProgressError, UsageError
from sandbox.printable import one_line
from sandbox.rules import Complaint
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Scenario
from sandbox.truth.text import step_lines, wrap

__all__ = ["choose", "run"]

COMPLAINTS_OF_A_STEP = 4
"""Lines of the kernel's that text shows of one step; JSON has all."""


def run(
    target: str, kernel: str | None, scenario: str | None, *, as_json: bool, events: bool
) -> ExitCode:
    """Run what is named and write its states; a rule that breaks does not change the exit status.

    An action that makes no progress ends its scenario with the steps done so far and an `error`;
    the others are run, and the exit status is FAILED.

    JSON is one object per scenario and line, as the state format has it; with
    `events` it has every memory event too.  What the kernel's own checks would print is under
    `complaints`, if anything.  The summary of broken rules goes to stdout with the text, to stderr
    with JSON.

    Raises:
        SandboxError: no such document, scenario or kernel, or a refused action.
    """
    document = open_document(target)
    on = document.kernels[0] if kernel is None else kernel
    write = _write_json if as_json else _write_text
    status = ExitCode.OK
    for chosen in choose(document.name, document.scenarios(on), scenario):
        error = write(chosen, on, events)
        sys.stdout.flush()
        if error is not None:
            status = ExitCode.FAILED
            sys.stderr.write(f"mmtui: {one_line(str(error))}\n")
    return status


def choose(document: str, scenarios: list[Scenario], name: str | None) -> list[Scenario]:
    """Pick the scenario of a name, or all of them.

    Raises:
        UsageError: the document has none of that name.
    """
    if name is None:
        return scenarios
    chosen = [scenario for scenario in scenarios if scenario.name == name]
    if not chosen:
        names = ", ".join(scenario.name for scenario in scenarios)
        raise UsageError(f"{document} has no scenario {name!r}", expected=f"one of {names}")
    return chosen


def _write_json(scenario: Scenario, kernel: str, events: bool) -> NoProgressError | None:
    import json  # here and below: text needs none, and start-up time counts

    running = WatchedRun(kernel, name=scenario.name, about=scenario.about)
    head: dict[str, Any] = {
        "scenario": scenario.name,
        "about": scenario.about,
        "kernel": kernel,
        "source": scenario.source,
    }
    # As text: a state of a thousand processes takes five times as much.
    steps: list[str] = []
    tail: dict[str, Any] = {}
    stopped: NoProgressError | None = None
    try:
        for step in scenario.steps:
            steps.append(json.dumps(running.do(step)))
    except NoProgressError as error:
        stopped = error
        tail["error"] = _told(error, len(steps) + 1, scenario.steps[len(steps)].text)
    told = [_complaint(complaint) for complaint in running.complaints()]
    if told:
        tail["complaints"] = told
    parts = [("steps", iter(steps))]
    if events:
        parts.append(("events", map(json.dumps, running.events())))
    _write_object(json.dumps(head), parts, json.dumps(tail))
    for line in (*_complaint_lines(running), *_broken_rules(running)):
        sys.stderr.write(one_line(f"{scenario.name}: {line}") + "\n")
    return stopped


def _told(error: NoProgressError, step: int, action: str) -> dict[str, Any]:
    """Why an action came to no end, as JSON has it."""
    return {
        "kind": "no event" if isinstance(error, NoEventError) else "no progress",
        "message": str(error),
        "step": step,
        "action": action,
        "function": error.function,
        "file": error.file,
        "line": error.line,
        "events": list(error.events),
    }


def _write_object(head: str, parts: list[tuple[str, Iterator[str]]], tail: str) -> None:
    """Write an object as a line, with arrays whose items are made when they are written."""
    sys.stdout.write(head.removesuffix("}"))
    for name, items in parts:
        sys.stdout.write(f', "{name}": [')
        for number, item in enumerate(items):
            sys.stdout.write(f", {item}" if number else item)
        sys.stdout.write("]")
    sys.stdout.write(f", {tail[1:]}\n" if tail != "{}" else "}\n")


def _write_text(scenario: Scenario, kernel: str, events: bool) -> NoProgressError | None:
    running = WatchedRun(kernel, name=scenario.name, about=scenario.about)
    words = f"{scenario.name} on {kernel} {scenario.about}".split()
    _write_lines(wrap("== ", words, "   "))
    seen = 0
    stopped: NoProgressError | None = None
    for step in scenario.steps:
        try:
            state = running.do(step)
        except NoProgressError as error:
            stopped = error
            _write_lines(wrap("error: ", str(error).split(), "  "))
            _write_lines(wrap("  its events: ", ", ".join(error.events).split(), "  "))
            break
        if events:
            for event in running.session.event_log(seen):
                _write_lines(wrap("    . ", _event_words(event), "        "))
                seen += 1
        _write_lines(step_lines(state))
    _write_lines(_complaint_lines(running))
    _write_lines(_broken_rules(running))
    return stopped


def _write_lines(lines: Iterator[str]) -> None:
    text = "\n".join(lines)
    if text:
        sys.stdout.write(f"{text}\n")


def _event_words(event: dict[str, Any]) -> Iterator[str]:
    """Spell an event as `name=value` words, lists without blanks so that each stays one word."""
    import json

    for name, value in event.items():
        if value is not None:
            shown = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            yield f"{name}={shown}"


def _complaint(complaint: Complaint) -> dict[str, Any]:
    """A line that the kernel would print, as JSON has it."""
    return {
        "name": complaint.name,
        "text": complaint.text,
        "step": complaint.action + 1,
        "event": complaint.event,
        "function": complaint.function,
    }


def _complaint_lines(running: ScenarioRun) -> Iterator[str]:
    """Yield a line for each line that the kernel would print, the first few of a step's."""
    of_step: dict[int, list[str]] = {}
    for complaint in running.complaints():
        of_step.setdefault(complaint.action + 1, []).append(complaint.text)
    for number, texts in of_step.items():
        for text in texts[:COMPLAINTS_OF_A_STEP]:
            yield from wrap(f"kernel in step {number}: ", text.split(), "  ")
        if len(texts) > COMPLAINTS_OF_A_STEP:
            yield f"kernel in step {number}: {len(texts) - COMPLAINTS_OF_A_STEP} lines more"


def _first_break(running: ScenarioRun) -> Iterator[str]:
    """Yield where a person's own kernel first broke a rule: its words, and every frame."""
    # Imported here: only a person's own kernel has a need for them.
    from sandbox.run.stacks import own_first, stack_at
    from sandbox.truth.events import short_path
    from sandbox.truth.names.words import Words

    violations = running.violations()
    first = next((v for v in violations if v.known_window is None), violations[0])
    words = Words(running.session.ledger).at(first.event)
    names = ", ".join(words.name(word) for word in first.words)
    yield from wrap(f"first: {first.rule} at event {first.event}: ", first.text.split(), "  ")
    if names:
        yield from wrap("  words: ", names.split(), "    ")
    for level in own_first(stack_at(running.session, first.event)):
        yield f"  {level.function} ({short_path(level.filename)}:{level.line})"


def _broken_rules(running: ScenarioRun) -> Iterator[str]:
    """Yield a line for each rule that broke: how often, how long at a time, how badly."""
    known: dict[str, bool] = {}
    steps: dict[str, dict[int, int]] = {}
    for violation in running.violations():
        by_step = steps.setdefault(violation.rule, {})
        by_step[violation.action + 1] = by_step.get(violation.action + 1, 0) + 1
        known[violation.rule] = known.get(violation.rule, True) and bool(violation.known_window)
    if not known:
        yield "rules: none broken"
    elif running.session.machine.checked:
        yield from _first_break(running)
    for rule in sorted(known):
        count = running.broken(rule)
        line = f"rule {rule} broken in {count.micro_states} micro-states"
        line += f", {count.consecutive} consecutive, worst deficit {count.worst}"
        yield line + (" (known windows)" if known[rule] else "")
        if len(steps[rule]) > 1:
            counts = (f"{number} in step {step}" for step, number in steps[rule].items())
            yield from wrap("  ", ", ".join(counts).split(), "  ")
