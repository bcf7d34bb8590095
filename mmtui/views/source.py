"""The source pane: the event just done and the next one, in the text of the kernel's function.

Where more than one CPU runs, each has a lane (`views.lanes`).  The frames of the call stack can be
selected; what only begins and ends an action is none of them.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from pathlib import PurePath

from mmtui.model.bench import Bench
from mmtui.model.done import last_done
from mmtui.model.stack import kernel_frames
from mmtui.views.code import code_lines, source_line, window
from mmtui.views.lanes import CpuView, cpu_view, lane_lines
from mmtui.views.lines import EMPTY, Line, Lines, clip, join, pure_text, say, wrap_line
from mmtui.views.marks import GLYPHS, Marks
from sandbox.machine.history import Task
from sandbox.machine.memory import ADD, DECIDE, FIRST_MUTATING, LOAD
from sandbox.run.stacks import Level
from sandbox.scenario.language import Action, CpuBlock
from sandbox.truth.names.words import Words

__all__ = ["CpuView", "DoneView", "SourceView", "document", "render", "view"]


@dataclass(frozen=True, slots=True)
class DoneView:
    """The last event: what it did, where, and whether it broke a rule."""

    event: int
    text: str
    mark: str
    """`violation`, `changed`, or nothing: it only read."""
    place: Level | None


@dataclass(frozen=True, slots=True)
class SourceView:
    """The CPUs, and the stack of the one that is shown, outermost call first."""

    cpus: tuple[CpuView, ...]
    done: DoneView | None
    stack: tuple[Level, ...]
    chosen: int
    """Which of them is looked at."""
    variables: tuple[tuple[str, str], ...]
    """Name and value in that frame."""
    upcoming: str | None
    """The script's next action, when nothing runs."""


def view(bench: Bench, marks: Marks) -> SourceView:
    """Look at the CPUs; the function shown is that of the CPU whose turn it is."""
    session = bench.session
    words = Words(session.ledger)
    shown = _turn(bench)
    running = session.running
    several = len(running) > 1
    cpus = tuple(
        cpu_view(bench, marks, words, task, shown=task is shown, several=several)
        for task in running
    )
    frames = kernel_frames(session, shown)
    chosen = max(len(frames) - 1 - bench.level_up, 0)
    variables = tuple(words.local(frames[chosen])) if frames else ()
    index = bench.next_item
    upcoming = None if index is None else _first_text(bench.script.items[index].action)
    places = tuple(Level(f.function, f.filename, f.line) for f in frames)
    return SourceView(cpus, _done(bench, words), places, chosen, variables, upcoming)


def _turn(bench: Bench) -> Task | None:
    """The task that the next step will move."""
    turn = bench.turn
    return None if turn is None else bench.session.machine.running[turn]


def _done(bench: Bench, words: Words) -> DoneView | None:
    session = bench.session
    if not session.position:
        return None
    number = session.position - 1
    event, old = session.machine.events[-1], session.machine.olds[-1]
    breaks = session.rules.breaks
    broke = bool(breaks) and breaks[-1] == number
    mark = "violation" if broke else "changed" if event[0] >= FIRST_MUTATING else ""
    text = words.at(number).event(event)
    if event[0] == ADD and isinstance(old, int):
        text += f"  {old} -> {old + event[2]}"
    elif event[0] in (LOAD, DECIDE):
        text += f" = {words.at(number).value(event[1], old)}"
    place = last_done(session, bench.done)
    where = None if place is None else Level(place.function, place.filename, place.line)
    return DoneView(number, text, mark, where)


def _first_text(action: Action | CpuBlock) -> str:
    return action.text


def _short(filename: str) -> str:
    """A file's path from the kernel's tree on, or its name."""
    parts = PurePath(filename).parts
    if "sandbox" in parts:
        return "/".join(parts[len(parts) - parts[::-1].index("sandbox") :])
    return parts[-1] if parts else filename


# -- drawing -----------------------------------------------------------------------------


def render(seen: SourceView, width: int, height: int) -> Lines:
    """Draw the source with its surroundings, filling exactly the pane."""
    if not seen.stack:
        return Lines(_idle(seen, width))
    place = seen.stack[seen.chosen]
    text = linecache.getlines(place.filename)
    foot = _variables(seen.variables, width, max(1, min(6, height // 4)))
    lanes = lane_lines(seen.cpus, width, height)
    room = max(height - len(lanes) - 2 - len(foot), 1)
    done = seen.done
    at = done.place if done is not None else None
    same = at.line - 1 if at is not None and at.filename == place.filename else None
    low = window(text, (place.line - 1, same), room) if text else 0
    inside = same is not None and low <= same < low + room
    head = [clip(_done_line(done, inside), width)]
    head += lanes
    head.append(clip(_calls(seen, width), width))
    if not text:
        body: tuple[Line, ...] = (say(f" (no text of {_short(place.filename)})", "dim"),)
    else:
        marked = same if inside and same is not None else -1
        mark = done.mark if done is not None else ""
        lines = range(low, min(low + room, len(text)))
        body = _source(text, lines, (place.line - 1, marked, mark), width)
    return Lines(body, head=tuple(head), foot=foot)


def _idle(seen: SourceView, width: int) -> tuple[Line, ...]:
    if seen.upcoming is None:
        return (say(" idle: nothing is left to run", "dim"),)
    return (
        say(" idle", "dim"),
        EMPTY,
        clip(join(((" next ", "dim"), (seen.upcoming, "strong"))), width),
        EMPTY,
        clip(
            join(((" s ", "key"), ("its first event   ", ""), ("n ", "key"), ("all of it", ""))),
            width,
        ),
    )


def _done_line(done: DoneView | None, inside: bool) -> Line:
    """The event just done; where its line is not among those below, the line instead."""
    if done is None:
        return say(" nothing was done yet", "dim")
    glyph = GLYPHS[done.mark] if done.mark else "-"
    if (
        inside
        or done.place is None
        or not (text := source_line(done.place.filename, done.place.line))
    ):
        return join(((glyph, done.mark), (" done ", "dim"), (done.text, done.mark)))
    at = f"{done.place.line:>4} "
    return join(
        (
            (glyph, done.mark),
            (at, "dim"),
            (done.place.function, "strong"),
            (": ", "dim"),
            (text, done.mark),
        )
    )


def _calls(seen: SourceView, width: int) -> Line:
    """The call stack, outermost first; what is furthest from the chosen frame is dropped."""
    names = [frame.function for frame in seen.stack]
    frame = seen.stack[seen.chosen]
    place = f"  {_short(frame.filename)}:{frame.line}"
    if len(frame.function) + len(place) + 6 > width:
        place = f"  {PurePath(frame.filename).name}:{frame.line}"
    first, last = 0, len(names)
    while last - first > 1 and _cells(names, first, last) + len(place) > width:
        if last - 1 - seen.chosen > seen.chosen - first:
            last -= 1
        else:
            first += 1
    parts: list[tuple[str, str]] = [(" ..> " if first else " ", "dim")]
    for number in range(first, last):
        chosen = number == seen.chosen
        parts.append((names[number], "strong" if chosen else "dim"))
        if number == seen.chosen and number + 1 < len(names):
            parts.append((f":{frame.line}", "dim"))
        parts.append((" > " if number + 1 < last else " > .." if last < len(names) else "", "dim"))
    return join(parts, ((place, "dim"),))


def _cells(names: list[str], first: int, last: int) -> int:
    marks = 4 * (first > 0) + 5 * (last < len(names)) + 6
    return sum(len(name) + 3 for name in names[first:last]) + marks


def _source(
    text: list[str], lines: range, marked: tuple[int, int, str], width: int
) -> tuple[Line, ...]:
    """Lines of a file without common indentation; the next one and the one just done are marked."""
    raw = [text[at].rstrip("\n") for at in lines]
    common = min((len(line) - len(line.lstrip()) for line in raw if line.strip()), default=0)
    current, done, mark = marked
    found = []
    for at, code in zip(lines, code_lines(text, lines), strict=True):
        body = _cut(code, common)
        glyph, token = " ", "dim"
        if at == done:
            glyph, token = (GLYPHS[mark] if mark else "-"), mark or "strong"
            body = tuple((part, f"{kind}+done" if kind else "done") for part, kind in body)
        if at == current:
            glyph = ">" if at != done or not mark else GLYPHS[mark]
            token = "current" if at != done or not mark else token
            body = tuple((part, "current") for part, _ in body)
        shown = join(((f"{glyph}{at + 1:>4} ", token),), body)
        deeper = 10 + len(raw[at - lines.start]) - len(raw[at - lines.start].lstrip()) - common
        found.append((at, wrap_line(shown, width, deeper)))
    return _fitting(found, len(lines), (current, done))


def _fitting(
    found: list[tuple[int, list[Line]]], rows: int, wanted: tuple[int, int]
) -> tuple[Line, ...]:
    """As many rows as there are lines: those furthest from the marked ones make room for breaks."""
    marked = [at for at in wanted if found and found[0][0] <= at <= found[-1][0]]
    while len(found) > 1 and sum(len(parts) for _, parts in found) > rows:
        before = min(marked, default=found[0][0]) - found[0][0]
        behind = found[-1][0] - max(marked, default=found[0][0])
        if max(before, behind) <= 0:
            break
        del found[0 if before > behind else -1]
    return tuple(line for _, parts in found for line in parts)[:rows]


def _cut(line: Line, cells: int) -> Line:
    """A line without its first cells, which are blanks."""
    out: list[tuple[str, str]] = []
    for text, token in line:
        gone = min(cells, len(text))
        cells -= gone
        out.append((text[gone:], token))
    return tuple(out)


def _variables(variables: tuple[tuple[str, str], ...], width: int, rows: int) -> tuple[Line, ...]:
    """`name=value` in up to so many lines, two if there are fewer; no value is broken in two."""
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0
    for name, value in variables:
        size = len(name) + len(value) + 2
        if used and used + size > width:
            if len(lines) == rows:
                lines[-1].append((" ~", "dim"))
                break
            lines.append([])
            used = 0
        lines[-1] += [(f" {name}=", "dim"), (pure_text(value), "")]
        used += size
    lines += [[] for _ in range(min(rows, 2) - len(lines))]
    return tuple(clip(join(line), width) for line in lines)


def document(bench: Bench, marks: Marks, width: int, height: int) -> Lines:
    """The running function, for a pane."""
    return render(view(bench, marks), width, height)
