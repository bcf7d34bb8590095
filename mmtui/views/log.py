"""The log pane: every event so far under its action, and a bar of the whole timeline.

A log may hold millions of events; a line is made when it is looked at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmtui.model.bench import Bench
from mmtui.model.words import Words
from mmtui.views.lines import EMPTY, Line, clip, join, say
from sandbox.machine import Machine, Task
from sandbox.memory import ADD, FIRST_MUTATING, STORE, USER_STORE, XCHG, Event
from sandbox.session import Session, Step

__all__ = ["LogDoc", "timeline", "view"]

_TRACED, _TRACED_RUNNING = 50_000, 3_000
"""Functions are named in actions of up to so many events: finding them means running again,
once for an action that is over, at every step for one that is running."""


@dataclass(frozen=True)
class LogDoc:
    """The events of the present branch up to now, oldest first, and what comes next."""

    machine: Machine
    words: Words
    tasks: tuple[Task, ...]
    broken: tuple[int, ...]
    """Events that broke a rule, ascending."""
    functions: dict[tuple[int, int], list[tuple[str, int, str]]]
    """Functions by task and number of its events; shared between documents."""
    width: int
    position: int
    bar: Line
    spare: int
    """Empty lines at the end."""
    changed: range
    """The events of the last step."""
    turn: int | None
    """The CPU of the next event."""

    @cached_property
    def starts(self) -> list[int]:
        """Positions at which the actions start."""
        return [task.start for task in self.tasks]

    @cached_property
    def _heads(self) -> list[int]:
        """Line numbers of the actions' headlines."""
        return [start + number for number, start in enumerate(self.starts)]

    @cached_property
    def several(self) -> bool:
        """Whether more than one CPU did something."""
        return any(task.cpu for task in self.tasks)

    @property
    def head(self) -> tuple[Line, ...]:
        """The timeline."""
        return (self.bar,)

    @property
    def foot(self) -> tuple[Line, ...]:
        """Nothing stays at the bottom."""
        return ()

    @property
    def leaps(self) -> bool:
        """A step adds a line at the bottom; the others stay until the pane is full."""
        return True

    @property
    def last(self) -> int:
        """The last line: what is next."""
        return self.position + len(self.tasks)

    @property
    def height(self) -> int:
        """A line per event and per action, one for what is next, and room for some more."""
        return self.last + 1 + self.spare

    @property
    def focus(self) -> int | None:
        """The last line."""
        return self.last

    def line(self, y: int) -> Line:
        """Line *y* of the log."""
        if y == self.last:
            return self._next()
        number = bisect_right(self._heads, y)
        if number and self._heads[number - 1] == y:
            return clip(self._headline(self.tasks[number - 1]), self.width)
        index = y - number
        return clip(self._event(index), self.width) if 0 <= index < self.position else EMPTY

    def _headline(self, task: Task) -> Line:
        name = f"{task.payload.number} {task.name}" if isinstance(task.payload, Step) else task.name
        result = getattr(task.result, "ret", 0)
        failed = f"  ret {result}" if result else ""
        return join(((f" {name}", "strong"), (failed, "violation")))

    def _next(self) -> Line:
        task = None if self.turn is None else self.machine.running[self.turn]
        if task is None or not task.pending:
            return say(f">{self.position:>5}", "current")
        cpu = f"cpu{task.cpu} " if self.several else ""
        text = cpu + self.words.event(task.pending)
        return clip(join(((f">{self.position:>5} ", "current"), (text, "current"))), self.width)

    def _event(self, index: int) -> Line:
        event, old = self.machine.events[index], self.machine.olds[index]
        at = bisect_left(self.broken, index)
        broken = at < len(self.broken) and self.broken[at] == index
        fresh = index in self.changed and event[0] >= FIRST_MUTATING
        token = "violation" if broken else "changed" if fresh else ""
        glyph = "!" if broken else "*" if fresh else " "
        quiet = token or ("" if event[0] >= FIRST_MUTATING else "dim")
        text = self.words.event(event) + self._before(event, old)
        function = self._function(index)
        cpu = f"cpu{self.machine.cpus[index]} " if self.several else ""
        spans = [(glyph, token), (f"{index:>5} ", "dim"), (cpu, "dim"), (text, quiet)]
        return join((*spans, (f"  {function}", "dim")))

    def _before(self, event: Event, old: object) -> str:
        """The value the word had, where that says something."""
        op, addr = event[0], event[1]
        if op == ADD and isinstance(old, int):
            return f"  {old} -> {old + event[2]}"
        if op in (STORE, USER_STORE, XCHG) and isinstance(old, int):
            return f"  was {self.words.value(addr, old)}"
        return ""

    def _function(self, index: int) -> str:
        """The kernel function an event belongs to."""
        cpu = self.machine.cpus[index]
        number = bisect_right(self.starts, index) - 1
        while number >= 0 and self.tasks[number].cpu != cpu:
            number -= 1
        if number < 0:
            return ""
        task = self.tasks[number]
        if len(task.answers) > (_TRACED_RUNNING if task.running else _TRACED):
            return ""
        key = (id(task), len(task.answers))
        if key not in self.functions:
            if len(self.functions) > 64:
                self.functions.clear()
            self.functions[key] = self.machine.trace_functions(task)
        within = self.machine.cpus[task.start : index].count(cpu)
        traced = self.functions[key]
        return traced[within][0] if within < len(traced) else ""


_FUNCTIONS: dict[tuple[int, int], list[tuple[str, int, str]]] = {}


def view(bench: Bench, width: int, height: int = 0) -> LogDoc:
    """Look at the events."""
    session = bench.session
    broken = sorted({v.event for v in session.rules.violations if not v.known_window})
    start, end = bench.changes.start, bench.changes.end
    bar = timeline(session, broken, width)
    return LogDoc(
        session.machine, Words(session), tuple(session.machine.tasks), tuple(broken), _FUNCTIONS,
        width, session.position, bar, height // 2, range(start, max(start, end)),
        bench.turn,
    )  # fmt: skip


def timeline(session: Session, broken: Sequence[int], width: int) -> Line:
    """The whole branch as a bar: `|` actions, `!` broken rules, `=` done, `-` still to redo."""
    position = session.position
    end = position + len(session.machine.future_cpus)
    label = f" {position}/{end} "
    room = width - len(label) - 2
    if room < 8 or not end:
        return say(label)
    cells: list[list[Any]] = [["=" if c * end < position * room else "-", ""] for c in range(room)]
    for start in session.action_bounds()[:-1]:
        cells[min(start * room // end, room - 1)] = ["|", ""]
    for event in broken:
        cells[min(event * room // end, room - 1)] = ["!", "violation"]
    here = min(position * room // end, room - 1)
    cells[here] = ["^", "current"]
    return join(
        ((label, "strong"), ("[", "dim")),
        ((glyph, token) for glyph, token in cells),
        (("]", "dim"),),
    )
