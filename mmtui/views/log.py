"""The log pane: every event so far under its action, and a bar of the whole timeline.

A log may hold millions of events; a line is made when it is looked at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from mmtui.model.bench import Bench
from mmtui.views.lines import EMPTY, Line, clip, join, say
from mmtui.views.marks import Marks
from sandbox.errors import KernelBug
from sandbox.machine.history import History, Task
from sandbox.machine.memory import ADD, FIRST_MUTATING, STORE, USER_STORE, XCHG, Event
from sandbox.run.session import Session, Step
from sandbox.truth.names.words import Words

__all__ = ["LogDoc", "document", "timeline", "view"]

_TRACED, _TRACED_RUNNING = 50_000, 3_000
"""Functions are named in actions of up to so many events: finding them means running again,
once for an action that is over, at every step for one that is running."""


@dataclass(frozen=True)
class LogDoc:
    """The events of the present branch up to now, oldest first, and what comes next."""

    machine: History
    words: Words
    tasks: Sequence[Task]
    """All tasks; those begun after the document was made are not looked at."""
    begun: int
    several: bool
    """Whether more than one CPU did something."""
    broken: Sequence[int]
    """Events that broke a rule, ascending; one that broke several is there as often."""
    functions: _Functions
    width: int
    position: int
    bar: Line
    spare: int
    """Empty lines at the end."""
    changed: range
    """The events of the last step."""
    turn: int | None
    """The CPU of the next event."""

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
        return self.position + self.begun

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
        number = bisect_right(range(self.begun), y, key=self._head)
        if number and self._head(number - 1) == y:
            return clip(self._headline(self.tasks[number - 1]), self.width)
        index = y - number
        return clip(self._event(index), self.width) if 0 <= index < self.position else EMPTY

    def _head(self, number: int) -> int:
        """The line of a task's headline."""
        return self.tasks[number].start + number

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
        try:
            function = self.machine.running_function(task).gi_code.co_name
        except KernelBug:  # a person's own that cannot be made live again: what it does is known
            function = "?"
        named = f"  {function}" if 9 + len(text) + len(function) <= self.width else ""
        parts = ((f">{self.position:>5} ", "current"), (text, "current"), (named, "dim"))
        return clip(join(parts), self.width)

    def _event(self, index: int) -> Line:
        event, old = self.machine.events[index], self.machine.olds[index]
        at = bisect_left(self.broken, index)
        broken = at < len(self.broken) and self.broken[at] == index
        fresh = index in self.changed and event[0] >= FIRST_MUTATING
        token = "violation" if broken else "changed" if fresh else ""
        glyph = "!" if broken else "*" if fresh else " "
        quiet = token or ("" if event[0] >= FIRST_MUTATING else "dim")
        words = self.words.at(index)
        text, before = words.event(event), _before(words, event, old)
        cpu = f"cpu{self.machine.cpus[index]} " if self.several else ""
        spans = [(glyph, token), (f"{index:>5} ", "dim"), (cpu, "dim")]
        used = sum(len(part) for part, _ in spans)
        room = self.width - used - len(text) - len(before) - 2
        function = self._function(index)
        if room < len(function) and event[0] == ADD and before:
            text = text.rpartition(" ")[0]  # the values say by how much
            room = self.width - used - len(text) - len(before) - 2
        return join((*spans, (text + before, quiet), (f"  {self._named(index, room)}", "dim")))

    def _named(self, index: int, room: int) -> str:
        """The function of an event, where there is room for so many cells.

        Where it does not fit, `"` says that it is that of the line above, else its ends are shown.
        """
        function = self._function(index)
        if len(function) <= room:
            return function
        if room > 0 and index and self._function(index - 1) == function:
            return '"'
        return (
            f"{function[: (room - 2) // 2]}..{function[-((room - 1) // 2) :]}" if room > 7 else ""
        )

    def _function(self, index: int) -> str:
        """The kernel function an event belongs to."""
        cpu = self.machine.cpus[index]
        number = bisect_right(self.tasks, index, hi=self.begun, key=_start) - 1
        while number >= 0 and self.tasks[number].cpu != cpu:
            number -= 1
        if number < 0:
            return ""
        task = self.tasks[number]
        if len(task.answers) > (_TRACED_RUNNING if task.running else _TRACED):
            return ""
        return self.functions.name(task, self.machine.cpus.count(cpu, task.start, index))


def _before(words: Words, event: Event, old: object) -> str:
    """The value the word had, where that says something."""
    op, addr = event[0], event[1]
    if op == ADD and isinstance(old, int):
        return f"  {old} -> {old + event[2]}"
    if op in (STORE, USER_STORE, XCHG) and isinstance(old, int):
        return f"  was {words.value(addr, old)}"
    return ""


def _start(task: Task) -> int:
    return task.start


class _Functions:
    """The functions of the actions that were looked at last, shared between documents."""

    def __init__(self, machine: History) -> None:
        self._trace = machine.trace_functions
        self._traced: dict[int, tuple[Task, int, list[str]]] = {}
        """By the identity of a task, which is kept alive here: it, its events, their functions."""
        self._held = 0

    def name(self, task: Task, event: int) -> str:
        """The kernel function that an event of a task belongs to, by its number from 0."""
        events = len(task.answers)
        found = self._traced.get(id(task))
        if found is None or found[1] != events:
            if self._held > _HELD:
                self._traced.clear()
                self._held = 0
            self._held += events - (found[1] if found is not None and self._held else 0)
            found = task, events, [function for function, _, _ in self._trace(task)]
            self._traced[id(task)] = found
        return found[2][event] if event < len(found[2]) else ""


_HELD = 500_000
"""Events whose functions are kept: some 4 MB."""

_FUNCTIONS: WeakKeyDictionary[Bench, _Functions] = WeakKeyDictionary()


def view(bench: Bench, width: int, height: int = 0) -> LogDoc:
    """Look at the events."""
    session, machine = bench.session, bench.session.machine
    functions = _FUNCTIONS.get(bench)
    if functions is None:
        functions = _FUNCTIONS[bench] = _Functions(machine)
    start, end = bench.changes.start, bench.changes.end
    bar = timeline(session, width)
    return LogDoc(
        machine, Words(session.ledger), machine.tasks, len(machine.tasks), session.several_cpus,
        session.rules.breaks, functions, width, session.position, bar, max(1, height // 5),
        range(start, max(start, end)), bench.turn,
    )  # fmt: skip


def timeline(session: Session, width: int) -> Line:
    """The whole branch as a bar: `|` actions, `!` broken rules, `=` done, `-` still to redo."""
    position = session.position
    end = position + len(session.machine.future_cpus)
    label = f" {position}/{end} "
    room = width - len(label) - 2
    if room < 8 or not end:
        return say(label)
    cells: list[list[Any]] = [["=" if c * end < position * room else "-", ""] for c in range(room)]
    for cell in _marked(session.start_from, end, room):
        cells[cell] = ["|", ""]
    for cell in _marked(session.rules.broken_from, end, room):
        cells[cell] = ["!", "violation"]
    here = min(position * room // end, room - 1)
    cells[here] = ["^", "current"]
    return join(
        ((label, "strong"), ("[", "dim")),
        ((glyph, token) for glyph, token in cells),
        (("]", "dim"),),
    )


def _marked(following: Callable[[int], int | None], end: int, room: int) -> Iterator[int]:
    """The cells of a bar that something falls into, one look for each; it tells what follows."""
    at = following(0)
    while at is not None and at < end:
        cell = at * room // end
        yield cell
        at = following(-(-(cell + 1) * end // room))


def document(bench: Bench, _marks: Marks, width: int, height: int) -> LogDoc:
    """The events, for a pane."""
    return view(bench, width, height)
