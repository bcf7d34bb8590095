"""Finds an action that makes no progress: it goes round in a circle, or on and on for nothing.

Kernel functions are pure functions of their answers.  So when, after some events, all words are as
they were before them and the function is in the middle of the same thing (`configuration`), it will
do these events for ever, unless another CPU steps in.  That is proof, and no real run gives a false
alarm.  Where it is looked for is a guess that costs little: at the 1st, 2nd, 4th, 8th ... and every
32nd of the machine's looks between events, is what was done lately a repetition?

Two bounds catch what goes on for nothing without coming round: `CIRCLES` events that are repetition
whatever the words say (a counter that is counted up for ever), and a number of events with hardly a
word changed that no walk over all there is to walk over can need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from os.path import basename
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from sandbox.errors import NoProgressError
from sandbox.machine.checked import event_text
from sandbox.machine.configuration import configuration, generators
from sandbox.machine.frames import is_own
from sandbox.machine.memory import ALLOC, FIRST_MUTATING, Event

if TYPE_CHECKING:
    from sandbox.machine.history import History, Task

__all__ = ["Guard"]

SHORT_WINDOW, WINDOW, LONG_WINDOW = 1 << 8, 1 << 13, 1 << 16
"""Events in which a repetition is looked for: a sixteenth of what was done, within these."""
CIRCLES = 1 << 18
"""Events of pure repetition that are enough, whatever the words say."""
IDLE = 1 << 18
"""Events for nothing that are enough on an empty machine."""
FEW = 16
"""Words that an action may have changed in so many events and still have got nowhere."""
SHOWN = 12
"""Events of a loop that a message can carry."""


class _Suspect(NamedTuple):
    """A repetition was seen: what there was when it was, to be held against what there is then."""

    task: Task
    position: int
    period: int
    config: object
    stack: list[Any]


class Guard:
    """Looks at a machine between two events; `look` raises `NoProgressError`."""

    def __init__(self, machine: History) -> None:
        self._ref = ref(machine)  # a machine is freed as soon as nobody has it any more
        self.room: Callable[[], int] = lambda: 0
        """Events that one walk over all that is mapped may need."""
        self._on = True
        self.suspicions = 0
        """How often a repetition was followed up, for tests."""
        self._task: Task | None = None
        self._looks = self._last = 0
        self._suspect: _Suspect | None = None
        self._circle: tuple[int, int] = (0, 0)
        self._restart(0)

    @property
    def _machine(self) -> History:
        machine = self._ref()
        assert machine is not None  # it is who asks
        return machine

    def _restart(self, position: int) -> None:
        """Begin to count what changes from here."""
        self._mark = self._scanned = position
        self._first: dict[int, Any] = {}
        self._stack: list[Any] = []

    @contextmanager
    def off(self) -> Iterator[None]:
        """Do not look for a while: what is done inside has an end."""
        before, self._on = self._on, False
        try:
            yield
        finally:
            self._on = before

    def changed(self, start: int, end: int) -> bool:
        """Whether a word has another value now than at *start*, for what [start, end) did."""
        return self._changed_words(start, end, {}) > 0

    def look(self) -> int:
        """Look at what was done last; events until the next look, 0 to leave that alone.

        Raises:
            NoProgressError: what runs makes no progress.
        """
        machine = self._machine
        position = len(machine.events)
        if not self._on or machine.future_cpus:  # what was done before had an end
            return 0
        suspect, self._suspect = self._suspect, None
        task = machine.running[machine.cpus[-1]] if position else None
        if task is None or task is not self._task or position <= self._last:
            self._task, self._looks, self._circle = task, 0, (0, 0)
            self._restart(position)
        self._last = position
        if task is None or task.gen is None:
            return 0
        if suspect is not None:
            self._confirm(suspect, task, position)
        self._looks += 1
        often = self._looks & (self._looks - 1) != 0
        if often and self._looks & 31:
            return 0
        self._idle(task, position)
        done = position - task.start
        window = min(WINDOW if often else LONG_WINDOW, max(SHORT_WINDOW, done // 16))
        period = self._period(task, position, window)
        if not period:
            return 0
        self.suspicions += 1
        config = configuration(task.gen)
        if config is None:
            return 0
        self._suspect = _Suspect(task, position, period, config, generators(task.gen))
        return period

    # -- going round -------------------------------------------------------------------------

    def _period(self, task: Task, position: int, window: int) -> int:
        """How many events are repeated over a window of what was done last, 0 if none are."""
        machine = self._machine
        start = max(task.start, position - window)
        cpus = machine.cpus[start:position]
        alone = len(cpus) - len(cpus.rstrip(bytes((task.cpu,))))
        if alone < 64:
            return 0
        last = list(machine.events[position - alone : position])
        try:
            counts = Counter(last)
        except TypeError:  # an event that cannot be hashed is no promise kept
            return 0
        rarest = min(counts, key=counts.__getitem__)
        if counts[rarest] == 1:
            self._circle = (0, 0)
            return 0
        last.reverse()
        first = at = last.index(rarest)
        for _ in range(1024):
            try:
                at = last.index(rarest, at + 1)
            except ValueError:
                break
            period = at - first
            if 2 * period > len(last):
                break
            few = last[period : period + 64] == last[:64]  # most are none, and seen not to be here
            if few and last[period:] == last[:-period]:
                self._round(task, position, period, len(last))
                return period
        self._circle = (0, 0)
        return 0

    def _round(self, task: Task, position: int, period: int, seen: int) -> None:
        """The last events repeat: has it been so for too long?"""
        since = self._circle[1] if self._circle[0] == period else position - seen
        self._circle = (period, since)
        if position - since < CIRCLES:
            return
        events = self._machine.events
        later = islice(events[since:position], period, None)
        if all(one == other for one, other in zip(later, events[since:position], strict=False)):
            raise self._error(task, generators(task.gen), period, f"{position - since:,} events")
        self._circle = (0, 0)

    def _confirm(self, suspect: _Suspect, task: Task, position: int) -> None:
        """A period later: is everything as it was?"""
        machine, start = self._machine, suspect.position
        if task is not suspect.task or position != start + suspect.period:
            return
        if machine.cpus.count(task.cpu, start, position) != suspect.period:
            return
        first: dict[int, Any] = {}
        if self._changed_words(start, position, first):
            return
        if configuration(task.gen) != suspect.config:
            return
        now = generators(task.gen)
        stack = [a for a, b in zip(suspect.stack, now, strict=False) if a is b]
        text = f"{suspect.period} event{'s' if suspect.period > 1 else ''} without changing memory"
        raise self._error(task, stack, suspect.period, text)

    # -- going nowhere -----------------------------------------------------------------------

    def _changed_words(self, start: int, end: int, first: dict[int, Any]) -> int:
        """How many words differ now from what they were, *first*; adds what [start, end) changed.

        An allocation counts as more than enough; so is the rest not looked at when it is.
        """
        machine = self._machine
        cells, most = machine.memory.cells, max(64, 2 * len(first))
        for event, old in zip(machine.events[start:end], machine.olds[start:end], strict=True):
            if event[0] < FIRST_MUTATING:
                continue
            if event[0] == ALLOC:
                return FEW + 1
            first.setdefault(event[1], old)
            if len(first) > most:
                if self._differing(first, cells) > FEW:
                    return FEW + 1
                most = 2 * len(first)
        return self._differing(first, cells)

    @staticmethod
    def _differing(first: dict[int, Any], cells: list[Any]) -> int:
        return sum(cells[addr] != old for addr, old in first.items())

    def _idle(self, task: Task, position: int) -> None:
        """Has it changed next to nothing for longer than anything takes?"""
        changed = self._changed_words(self._scanned, position, self._first)
        self._scanned = position
        now = generators(task.gen)
        if changed > FEW:
            self._restart(position)
        common = [a for a, b in zip(self._stack, now, strict=False) if a is b]
        self._stack = common or now
        count = position - self._mark
        if count >= IDLE and count >= IDLE + self.room() + 8 * len(self._machine.memory.cells):
            words = "a word" if changed == 1 else f"{changed} words"
            text = f"that changed only {words}" if changed else "without changing memory"
            raise self._error(task, self._stack, 0, f"{count:,} events {text}")

    # -- saying so ---------------------------------------------------------------------------

    def _error(self, task: Task, stack: list[Any], period: int, what: str) -> NoProgressError:
        """The error, which names the innermost function that was there all the time."""
        machine = self._machine
        code = stack[-1].gi_code
        frame = stack[-1].gi_frame
        line = frame.f_lineno if frame is not None else code.co_firstlineno
        size = min(period or SHOWN, SHOWN)
        last: list[Event] = list(machine.events[len(machine.events) - (period or size) :])
        others = [t for t in machine.running if t is not None and t is not task]
        verb = "repeats" if period else "did"
        tail = f", unless CPU {others[0].cpu} goes on" if others else ""
        file = code.co_filename if is_own(code.co_filename) else _in_tree(code.co_filename)
        place = f"{code.co_name} ({basename(file) if file == code.co_filename else file}:{line})"
        error = NoProgressError(f"{task.name} makes no progress: {place} {verb} {what}{tail}")
        error.function, error.file, error.line = code.co_name, file, line
        error.waits = bool(others)
        error.events = tuple(event_text(event, machine.memory) for event in last[:SHOWN])
        self._restart(len(machine.events))
        self._looks, self._circle = 0, (0, 0)
        return error


def _in_tree(filename: str) -> str:
    """A file of the models by its path in the kernel's tree: ``mm/gup.py``."""
    return filename.replace("\\", "/").rpartition("/sandbox/")[2] or filename
