"""The story pane: the prose of a preset, its actions, and which expectations held."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mmtui.model.bench import Bench
from mmtui.views.lines import EMPTY, Line, Lines, clip, join, pure_text, say
from mmtui.views.prose import prose_lines
from sandbox.scenario.presets import Prose, StoryStep

__all__ = ["Check", "Command", "Phase", "StepView", "StoryView", "render", "view"]


class Phase(Enum):
    """Where an action or a step of the story stands."""

    DONE = "done"
    RUNNING = "running"
    NEXT = "next"
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Command:
    """One action of the story."""

    text: str
    phase: Phase
    note: str = ""
    """Why it was refused."""


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation: not looked at yet (None), held, or did not."""

    text: str
    ok: bool | None
    got: str = ""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the story."""

    number: int
    prose: str
    commands: tuple[Command, ...]
    after: tuple[str | tuple[Check, ...], ...]
    """Prose and blocks of expectations, in the order of the document."""
    phase: Phase


@dataclass(frozen=True, slots=True)
class StoryView:
    """The story, and what was done apart from it."""

    title: str
    about: str
    steps: tuple[StepView, ...]
    current: int
    own: tuple[str, ...]
    """One's own actions so far, with their numbers."""


def view(bench: Bench) -> StoryView:
    """Look at the story as it is told on the bench's kernel."""
    session, progress = bench.session, bench.progress
    current = progress.current(session)
    steps = tuple(
        _step(bench, number, step, current) for number, step in enumerate(bench.script.steps)
    )
    own = tuple(
        f"{step.number} {step.action.text}"
        for step in session.steps
        if progress.item_of(step) is None
    )
    mails = bench.source.mails
    about = "; ".join(f"{mail.author} {mail.date}" for mail in mails)
    return StoryView(bench.source.title, about, steps, current, own)


def _step(bench: Bench, number: int, step: StoryStep, current: int) -> StepView:
    results = iter(bench.progress.results(bench.session, number))
    after: list[str | tuple[Check, ...]] = []
    for part in step.after:
        if isinstance(part, Prose):
            after.append(part.text)
            continue
        checks = []
        for expectation in part.expectations:
            result = next(results, None)
            ok = None if result is None else result.ok
            checks.append(Check(expectation.text, ok, "" if result is None else result.got))
        after.append(tuple(checks))
    unexpected = tuple(Check(r.text, r.ok, r.got) for r in results)
    if unexpected:
        after.append(unexpected)
    phase = Phase.DONE if number < current else Phase.LATER
    if number == current:
        phase = Phase.NEXT
    return StepView(number, step.prose, _commands(bench, number), tuple(after), phase)


def _commands(bench: Bench, number: int) -> tuple[Command, ...]:
    session, progress = bench.session, bench.progress
    done = set(progress.done_items(session))
    running, upcoming = progress.running_item(session), progress.next_item(session)
    commands = []
    for index, item in enumerate(bench.script.items):
        if item.step != number:
            continue
        error = progress.refusal(index, session)
        if error is not None and index not in done:
            commands.append(Command(item.action.source, Phase.REFUSED, error.message))
            continue
        phase = Phase.DONE if index in done else Phase.LATER
        if index == running:
            phase = Phase.RUNNING
        elif index == upcoming and running is None:
            phase = Phase.NEXT
        commands += [Command(text, phase) for text in item.action.source.split("\n")]
    return tuple(commands)


# -- drawing -----------------------------------------------------------------------------

_MARKS = {
    Phase.DONE: ("+", ""),
    Phase.RUNNING: (">", "current"),
    Phase.NEXT: (">", "current"),
    Phase.LATER: (" ", "dim"),
    Phase.REFUSED: ("!", "violation"),
}


def render(seen: StoryView, width: int) -> Lines:
    """Draw the story; the line to keep in sight is the action that is next."""
    lines: list[Line] = []
    if not seen.steps:
        lines += prose_lines(_FREE_PLAY, width)
    if seen.about:
        lines += [*prose_lines(seen.about, width), EMPTY]
    focus = None
    for step in seen.steps:
        start = len(lines)
        lines += _step_lines(step, width)
        if step.number == seen.current:
            at = _active(lines, start)
            focus = at if at is not None else start
    if seen.own:
        lines.append(say(" your own actions", "strong"))
        lines += [clip(say(f"   {pure_text(text)}"), width) for text in seen.own]
    if seen.current >= len(seen.steps) and seen.steps:
        focus = len(lines) - 1
    return Lines(tuple(lines), focus)


_FREE_PLAY = """An empty machine. Start with

```
:mthp 64K madvise
:mmap A R 64K
:write A R 0 16
```

and then `f` to fork, `p` to pin what is selected, `d` to drop it, and so on.
`?` lists every key."""


def _active(lines: list[Line], start: int) -> int | None:
    for at in range(start, len(lines)):
        if any(token == "current" for _, token in lines[at]):
            return at
    return None


def _step_lines(step: StepView, width: int) -> list[Line]:
    lines: list[Line] = []
    if step.prose:
        lines += [*prose_lines(step.prose, width), EMPTY]
    for command in step.commands:
        glyph, token = _MARKS[command.phase]
        spans = ((f" {glyph} ", token), (command.text, token or "strong"))
        lines.append(clip(join(spans), width))
        if command.note:
            lines.append(clip(say(f"     {command.note}", "violation"), width))
    if step.commands:
        lines.append(EMPTY)
    for part in step.after:
        if isinstance(part, str):
            lines += [*prose_lines(part, width), EMPTY]
        else:
            lines += [*(clip(_check_line(check), width) for check in part), EMPTY]
    return lines


def _check_line(check: Check) -> Line:
    if check.ok is None:
        return say(f"     ? {check.text}", "dim")
    if check.ok:
        return join((("    ok ", "ok"), (check.text, "")))
    return join((("  FAIL ", "violation"), (check.text, ""), (f"  got {check.got}", "violation")))
