"""How the rules' tables follow undo: for each event that changed one, how to take that back.

Entries are plain numbers, so that a long log is packed as the journal is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.journal import CHUNK, History, pack

if TYPE_CHECKING:
    from sandbox.machine import Machine

KEEP = 1 << 17
"""Entries that are kept as they are."""


class UndoLog:
    """Changes of derived tables, each with the position of the event that made it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.entries: History = []
        """``(position, number of the undo function, its arguments ...)``."""
        self._undoers: list[Callable[..., None]] = []

    def undoer(self, undo: Callable[..., None]) -> int:
        """Number by which `add` is told to undo with this function."""
        self._undoers.append(undo)
        return len(self._undoers) - 1

    def add(self, undoer: int, *args: int) -> None:
        """The present event changed a table: the function with these arguments takes that back."""
        entries = self.entries
        entries.append((len(self.machine.events) - 1, undoer, *args))
        if len(entries) & (CHUNK - 1) == 0:
            self.entries = pack(entries, KEEP, CHUNK)

    def undone(self, position: int) -> None:
        """Take back the changes of all events from *position* on."""
        entries = self.entries
        while entries and entries[-1][0] >= position:
            _, undoer, *args = entries.pop()
            self._undoers[undoer](*args)
