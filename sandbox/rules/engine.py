"""Bookkeeping of rules: what is broken now, since when, and by which event."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sandbox.machine.derived import GONE
from sandbox.machine.frames import innermost
from sandbox.machine.machine import Machine
from sandbox.machine.memory import Event
from sandbox.rules.catalogue import RULES
from sandbox.rules.complaints import Complaint, told_by
from sandbox.truth.ledger import Ledger

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel


class Violation(NamedTuple):
    """One state in which a rule did not hold."""

    rule: str
    subject: str
    """What broke it: a folio, a page of it, a process."""
    text: str
    """What is wrong, with the numbers."""
    event: int
    """Index of the event that led to this state."""
    action: int
    """Index (from 0) of the action in flight."""
    function: str
    """Kernel function the event belongs to."""
    words: tuple[int, ...]
    """Addresses of the words it is about."""
    deficit: int
    """By how much, at least 1."""
    run: int
    """How many states in a row, this one included, the rule has been broken for the subject."""
    known_window: str | None = None
    """Name of the window of upstream's own that covers it, if any."""
    line: int = 0
    """Line of the function's text that the event is of, 0 where no function runs."""
    file: str = ""
    """The file of that line."""

    @property
    def statement(self) -> str:
        """The rule's statement."""
        return RULES[self.rule].statement


Key = tuple[str, int]
BALANCE = frozenset(("I-05", "I-06", "I-09"))
"""The rules that upstream's own windows are about."""


EVERY_ENGINE: list[Callable[[RuleEngine], None]] = []
"""What else watches an engine from its beginning on: rules of a person's own, once one is named.

So an engine does not load what reads a person's files, which is a fifth of the start of a run.
"""


class RuleEngine:
    """Checks rules as events happen; `violations` and `broken` follow undo and redo."""

    def __init__(self, machine: Machine, ledger: Ledger, kernel: type[Kernel]) -> None:
        from sandbox.rules.formulas import Checks

        self.machine, self.ledger, self.kernel = machine, ledger, kernel
        self.violations: list[Violation] = []
        """Every state in which a rule did not hold, in order (known windows included)."""
        self.breaks: list[int] = []
        """The event of each violation that no known window covers, ascending."""
        self.restored: list[tuple[str, str, int]] = []
        """Rule and subject of what held again, and the event that made it so, in order."""
        self.complaints: list[Complaint] = []
        """What the kernel's own checks would have printed, in order."""
        derived = machine.derived
        self.now: dict[Key, Violation] = derived.table("broken", {}, follows=True)
        self._uncomplain = derived.undoer(self._uncomplained)
        self._unbreak, self._unset = derived.undoer(self._unbroken), derived.undoer(self._put)
        self._unrestore = derived.undoer(self._unrestored)
        self.windows: dict[int, tuple[tuple[int, str], ...]] = derived.table("windows", {})
        """By folio: upstream's own windows that are open for it, each with the CPU in it."""
        self.checks = Checks(self)
        machine.note_watchers.append(self._note)
        machine.idle_watchers.append(self.checks.quiet)
        for begin in EVERY_ENGINE:
            begin(self)

    @property
    def broken(self) -> dict[tuple[str, str], Violation]:
        """What is broken in the present state, by (rule, subject)."""
        return {(v.rule, v.subject): v for v in self.now.values()}

    def broken_from(self, position: int) -> int | None:
        """The first event at *position* or after it that broke a rule, known windows left out."""
        at = bisect_left(self.breaks, position)
        return self.breaks[at] if at < len(self.breaks) else None

    def counts(self, rule: str) -> tuple[int, int, int]:
        """(states broken, longest run, worst deficit) of one rule, known windows left out."""
        mine = [v for v in self.violations if v.rule == rule and v.known_window is None]
        return (
            len(mine),
            max((v.run for v in mine), default=0),
            max((v.deficit for v in mine), default=0),
        )

    # -- reporting -----------------------------------------------------------------------

    def holds(self, rule: str, key: int) -> None:
        """The rule holds for this subject now."""
        if (rule, key) in self.now:
            self._holds_again((rule, key))

    def fails(
        self,
        rule: str,
        key: int,
        subject: str,
        text: str,
        words: tuple[int, ...],
        deficit: int = 1,
        window: str | None = None,
    ) -> None:
        """The rule does not hold for this subject now; *window* names what upstream knows of it."""
        if rule in self.kernel.rules_off:
            return
        machine = self.machine
        before = self.now.get((rule, key))
        index = machine.position - 1
        function, line, file = self._place()
        violation = Violation(
            rule,
            subject,
            text,
            index,
            machine.action_in_flight(),
            function,
            words,
            max(deficit, 1),
            before.run + 1 if before else 1,
            window or (self.window_of(key) if rule in BALANCE else None),
            line,
            file,
        )
        self.violations.append(violation)
        if violation.known_window is None:
            self.breaks.append(index)
        machine.derived.add(self._unbreak)
        self._set((rule, key), violation)
        if violation.run == 1:
            task = machine.running[machine.acting]
            for told in told_by(rule, self.kernel, task.gen if task else None):
                self.complain(told.partition(": VM_")[0], told, subject)

    def complain(self, name: str, text: str, subject: str) -> None:
        """A check of the kernel's own would print a line at the present event."""
        machine = self.machine
        at, action = machine.position - 1, machine.action_in_flight()
        self.complaints.append(Complaint(name, text, subject, at, action, self._place()[0]))
        machine.derived.add(self._uncomplain)

    def _uncomplained(self) -> None:
        """The last complaint is taken back."""
        self.complaints.pop()

    def _set(self, key: Key, violation: Violation | None) -> None:
        self.machine.derived.add(self._unset, key, self.now.get(key))
        self._put(key, violation)

    def _put(self, key: Key, violation: Violation | None) -> None:
        if violation is None:
            self.now.pop(key, None)
        else:
            self.now[key] = violation

    def _unbroken(self) -> None:
        """The last violation is taken back."""
        if self.violations.pop().known_window is None:
            self.breaks.pop()

    def _holds_again(self, key: Key) -> None:
        subject = self.now[key].subject
        self._set(key, None)
        self.restored.append((key[0], subject, self.machine.position - 1))
        self.machine.derived.add(self._unrestore)

    def _unrestored(self) -> None:
        """The last rule that held again is taken back."""
        self.restored.pop()

    def _place(self) -> tuple[str, int, str]:
        """The function that the present event is of, with its line and file."""
        task = self.machine.running[self.machine.acting]
        if task is None or task.gen is None:
            return "", 0, ""
        return innermost(task.gen)

    def another_folio(self, frame: int, end: int) -> None:
        """The words [frame, end) are another folio's now: what was broken was the one before's."""
        for key in [key for key in self.now if frame <= key[1] < end]:
            self._holds_again(key)
        self.machine.derived.put("windows", frame, GONE)

    # -- windows -------------------------------------------------------------------------

    def window_of(self, folio: int) -> str | None:
        """The window that was opened first of those that are open for a folio."""
        return next((name for _, name in self.windows.get(folio, ())), None)

    def _note(self, event: Event, cpu: int) -> None:
        kind = event[2]
        if kind == "window_open":
            opened = (*self.windows.get(event[4], ()), (cpu, event[3]))
            self.machine.derived.put("windows", event[4], opened)
        elif kind == "window_close":  # another CPU may be in one of its own, for another mm
            left = tuple(w for w in self.windows.get(event[4], ()) if w != (cpu, event[3]))
            self.machine.derived.put("windows", event[4], left or GONE)
        self.checks.note(event, cpu)
