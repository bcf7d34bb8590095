"""A lane for each CPU that runs: what it does next and where, the locks it holds and waits for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from mmtui.model.bench import Bench
from mmtui.model.held import held_locks
from mmtui.model.stack import kernel_frames
from mmtui.views.code import source_line
from mmtui.views.lines import Line, clip, join
from mmtui.views.marks import GLYPHS, Marks
from sandbox.machine.history import Task
from sandbox.run.stacks import Level
from sandbox.truth.names.words import Words

__all__ = ["CpuView", "cpu_view", "lane_lines"]


@dataclass(frozen=True, slots=True)
class CpuView:
    """One CPU: its action and what it is about to do."""

    cpu: int
    action: str
    pending: str
    mark: str
    blocked: str | None
    shown: bool
    place: Level | None = None
    """Where it stands, where several run."""
    locks: tuple[str, ...] = ()
    """The locks that it holds, where several run."""


def cpu_view(
    bench: Bench, marks: Marks, words: Words, task: Task, *, shown: bool, several: bool
) -> CpuView:
    """Look at one CPU; where several run, also at its place and its locks."""
    pending = words.event(task.pending) if task.pending else ""
    mark = marks.token(task.pending[1]) if task.pending else ""
    blocked = bench.session.machine.blocked(task.cpu)
    broken = mark if mark != "changed" else ""
    place: Level | None = None
    locks: tuple[str, ...] = ()
    if several:
        frames = kernel_frames(bench.session, task)
        place = Level(frames[-1].function, frames[-1].filename, frames[-1].line) if frames else None
        locks = tuple(
            f"{words.name(addr)} {how}".rstrip()
            for addr, how in held_locks(bench.session, task.cpu)
        )
    return CpuView(task.cpu, task.name, pending, broken, blocked, shown, place, locks)


def lane_lines(cpus: tuple[CpuView, ...], width: int, height: int) -> list[Line]:
    """The lines of all CPUs: one each in a small pane, three where there is room."""
    if len(cpus) < 2:
        return [clip(_next_line(cpu, several=False), width) for cpu in cpus]
    each = 3 if height >= 12 + 3 * len(cpus) else 2 if height >= 8 + 2 * len(cpus) else 1
    lines: list[Line] = []
    for cpu in cpus:
        lane = [_next_line(cpu, several=True)]
        if each > 1:
            lane.append(_locks_line(cpu))
        if each > 2:
            lane.append(_place_line(cpu))
        lines += [clip(line, width) for line in lane]
    return lines


def _next_line(cpu: CpuView, *, several: bool) -> Line:
    """`next: what will happen`, after the number of the CPU if there are several."""
    lead = f"{'>' if cpu.shown else ' '}cpu{cpu.cpu} " if several else " next "
    token = "current" if cpu.shown else ""
    glyph = ("" if several else ">", "current") if not cpu.mark else (GLYPHS[cpu.mark], cpu.mark)
    parts: list[tuple[str, str]] = [glyph, (lead, "dim"), (cpu.pending, cpu.mark or token)]
    if cpu.blocked:
        parts.append((f"  {cpu.blocked}", "violation"))
    elif several:
        parts.append(("  next" if cpu.shown else "  may go", "dim"))
    return join(parts)


def _locks_line(cpu: CpuView) -> Line:
    return join((("      holds ", "dim"), (", ".join(cpu.locks) or "nothing", "")))


def _place_line(cpu: CpuView) -> Line:
    place = cpu.place
    if place is None:
        return ((f"      {cpu.action}", "dim"),)
    at = f"      {PurePath(place.filename).name}:{place.line} "
    text = source_line(place.filename, place.line)
    return join(((at, "dim"), (place.function, "strong"), (f"  {text}", "dim")))
