"""The source pane: what each CPU runs, the function's own text, its callers and its variables."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from pathlib import PurePath

from mmtui.model.bench import Bench
from mmtui.views.lines import EMPTY, Line, Lines, clip, join, pure_text, say
from mmtui.views.marks import GLYPHS, Marks
from sandbox.machine.frames import Frame
from sandbox.machine.history import Task
from sandbox.scenario.language import Action, CpuBlock
from sandbox.truth.names.words import Words

__all__ = ["CpuView", "SourceView", "document", "render", "view"]


@dataclass(frozen=True, slots=True)
class CpuView:
    """One CPU: its action and what it is about to do."""

    cpu: int
    action: str
    pending: str
    mark: str
    blocked: str | None
    shown: bool


@dataclass(frozen=True, slots=True)
class SourceView:
    """The CPUs, and the stack of the one that is shown, outermost call first."""

    cpus: tuple[CpuView, ...]
    stack: tuple[tuple[str, str, int], ...]
    """Function, file and line of each frame."""
    variables: tuple[tuple[str, str], ...]
    """Name and value in the innermost frame."""
    upcoming: str | None
    """The script's next action, when nothing runs."""


def view(bench: Bench, marks: Marks) -> SourceView:
    """Look at the CPUs; the function shown is that of the CPU whose turn it is."""
    session = bench.session
    words = Words(session.ledger)
    shown = _turn(bench)
    cpus = tuple(_cpu(bench, marks, words, task, shown) for task in session.running)
    frames = session.stack(shown.cpu) if shown is not None else []
    variables = tuple(words.local(frames[-1])) if frames else ()
    index = bench.next_item
    upcoming = None if index is None else _first_text(bench.script.items[index].action)
    return SourceView(cpus, tuple(_place(f) for f in frames), variables, upcoming)


def _turn(bench: Bench) -> Task | None:
    """The task that the next step will move."""
    turn = bench.turn
    return None if turn is None else bench.session.machine.running[turn]


def _cpu(bench: Bench, marks: Marks, words: Words, task: Task, shown: Task | None) -> CpuView:
    pending = words.event(task.pending) if task.pending else ""
    mark = marks.token(task.pending[1]) if task.pending else ""
    blocked = bench.session.machine.blocked(task.cpu)
    broken = mark if mark != "changed" else ""
    return CpuView(task.cpu, task.name, pending, broken, blocked, task is shown)


def _place(frame: Frame) -> tuple[str, str, int]:
    return frame.function, frame.filename, frame.line


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
    head = [clip(_cpu_line(cpu, len(seen.cpus) > 1), width) for cpu in seen.cpus]
    head.append(clip(_calls(seen.stack, width), width))
    foot = _variables(seen.variables, width, max(1, min(6, height // 4)))
    room = max(height - len(head) - len(foot), 1)
    return Lines(_source(seen.stack[-1], width, room), head=tuple(head), foot=foot)


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


def _cpu_line(cpu: CpuView, several: bool) -> Line:
    """`next: what will happen`, after the number of the CPU if there are several."""
    lead = f"{'>' if cpu.shown else ' '}cpu{cpu.cpu} " if several else " next "
    token = "current" if cpu.shown else ""
    parts: list[tuple[str, str]] = [(GLYPHS[cpu.mark] if cpu.mark else "", cpu.mark), (lead, "dim")]
    parts.append((cpu.pending, cpu.mark or token))
    if cpu.blocked:
        parts.append((f"  {cpu.blocked}", "violation"))
    return join(parts)


def _calls(stack: tuple[tuple[str, str, int], ...], width: int) -> Line:
    """The call stack, outermost first; the outer calls are dropped where it does not fit."""
    names = [frame[0] for frame in stack]
    function, filename, line = stack[-1]
    place = f"  {_short(filename)}:{line}"
    if len(function) + len(place) + 6 > width:
        place = f"  {PurePath(filename).name}:{line}"
    outer = names[:-1]
    while outer and 6 + len(" > ".join([*outer, function])) + len(place) > width:
        outer.pop(0)
    dots = "..> " if len(outer) < len(names) - 1 else ""
    calls = "".join(f"{name} > " for name in outer)
    return join(((f" {dots}{calls}", "dim"), (function, "strong"), (place, "dim")))


def _source(frame: tuple[str, str, int], width: int, room: int) -> tuple[Line, ...]:
    """The lines around the one that is next, without common indentation."""
    _, filename, current = frame
    text = linecache.getlines(filename)
    if not text:
        return (say(f" (no text of {_short(filename)})", "dim"),)
    low = _window(text, current - 1, room)
    window = [line.rstrip("\n") for line in text[low : low + room]]
    indents = [len(line) - len(line.lstrip()) for line in window if line.strip()]
    common = min(indents, default=0)
    lines = []
    for number, raw in enumerate(window, low + 1):
        body = pure_text(raw[common:])
        here = number == current
        token = "current" if here else _source_token(body)
        lines.append(
            clip(
                join(
                    (
                        (f"{'>' if here else ' '}{number:>4} ", "current" if here else "dim"),
                        (body, token),
                    )
                ),
                width,
            )
        )
    return tuple(lines)


def _window(text: list[str], current: int, room: int) -> int:
    """The first line to show: the function's own, or half a pane at a time in a long one.

    It depends on where the function begins, so that the text stands still within it.
    """
    start = current = min(current, len(text) - 1)  # a file may have been cut since it was run
    while start > 0 and not text[start].lstrip().startswith("def "):
        start -= 1
    half = max(room // 2, 1)
    if current - start >= room - 1:
        start += (current - start) // half * half - min(2, half - 1)
    return max(0, min(start, len(text) - room))


def _source_token(body: str) -> str:
    stripped = body.lstrip()
    if stripped.startswith("def "):
        return "strong"
    return "dim" if stripped.startswith(("#", '"""')) else ""


def _variables(variables: tuple[tuple[str, str], ...], width: int, rows: int) -> tuple[Line, ...]:
    """`name=value` in exactly so many lines; a value is never broken across lines."""
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
    lines += [[] for _ in range(rows - len(lines))]
    return tuple(clip(join(line), width) for line in lines)


def document(bench: Bench, marks: Marks, width: int, height: int) -> Lines:
    """The running function, for a pane."""
    return render(view(bench, marks), width, height)
