"""What the last move changed: words by address, with the value they had before."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.machine.history import History
from sandbox.machine.memory import ALLOC, FIRST_MUTATING, Event, reused_frame

__all__ = ["NO_CHANGES", "ChangeRecorder", "Changes"]


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between the state before a move and the state after it."""

    start: int
    """Position before the move."""
    end: int
    """Position after it; smaller than `start` after going back."""
    olds: Mapping[int, Any] = field(default_factory=dict)
    """Value before the move by address, of the words that changed."""
    unmarked: bool = False
    """The move was too long to say what it changed."""
    size: int = sys.maxsize
    """Words of memory when it was at its shortest: where an old value points beyond it, there is
    another object now, or none."""

    def __contains__(self, addr: int) -> bool:
        return addr in self.olds

    def mark(self, addr: int) -> str:
        """The token of a word: `changed`, or none."""
        return "changed" if addr in self.olds else ""


NO_CHANGES = Changes(0, 0)
MARKED = 1 << 21
"""A move of more events is not marked: nobody reads so many marks, and they take memory."""


def _changed(event: Event, old: Any) -> Iterable[tuple[int, Any]]:  # noqa: ANN401  # a word
    """The words that an event changed with what they were: all of a frame that is used again."""
    if event[0] != ALLOC:
        return ((event[1], old),)
    frame = reused_frame(old)
    return enumerate(old[2:], frame) if frame else ()


class ChangeRecorder:
    """Collects what changes while a machine is moved forth, back, or both.

    Going forward is read off the journal at the end.  Going back has to be done through
    `undo`, which keeps what the journal forgets.
    """

    def __init__(self, machine: History) -> None:
        self._machine = machine
        self._olds: dict[int, Any] = {}
        self.restart()

    def restart(self) -> None:
        """Forget what was collected: the move begins here."""
        self._start = self._low = self._machine.position
        self._size = self._purged = len(self._machine.memory.cells)
        self._olds.clear()
        self._unmarked = False

    def undo(self) -> None:
        """Take back one event."""
        machine = self._machine
        self._settle()
        if machine.events:
            event = machine.events[-1]
            if event[0] >= FIRST_MUTATING and not self._unmarked:
                cells = machine.memory.cells
                for addr, _ in _changed(event, machine.olds[-1]):
                    self._olds.setdefault(addr, cells[addr])
                self._unmarked = len(self._olds) > MARKED
        machine.undo()
        self._low = machine.position
        self._size = min(self._size, len(machine.memory.cells))

    def _settle(self) -> None:
        """Note the old values of what the journal gained since the last look."""
        machine = self._machine
        if machine.position - self._low > MARKED:
            self._unmarked = True
            self._olds.clear()
            self._low = machine.position
        if self._low < machine.position and self._size < self._purged:
            # What was changed there was changed in objects that are no more.
            self._olds = {addr: old for addr, old in self._olds.items() if addr < self._size}
            self._purged = self._size
        for index in range(self._low, machine.position):
            event = machine.events[index]
            if event[0] >= FIRST_MUTATING:
                for addr, old in _changed(event, machine.olds[index]):
                    self._olds.setdefault(addr, old)
        self._low = machine.position

    def result(self) -> Changes:
        """The words whose value differs from that at the beginning."""
        self._settle()
        if self._unmarked:
            return Changes(self._start, self._machine.position, {}, True, self._size)
        cells = self._machine.memory.cells
        size, kinds = len(cells), self._machine.memory.kinds
        olds = self._olds.items()  # no word is where an object was that is no more
        kept = {a: old for a, old in olds if a < size and kinds[a] and cells[a] != old}
        return Changes(self._start, self._machine.position, kept, size=self._size)
