"""Derived words: what follows from the events so far and is kept, so that nobody reads them again.

The ledger's counts follow from memory alone; what rules remember between events (what is frozen,
which translations are stale, what a CPU touched under the locks it holds) does not, and is a part
of a machine's state as its words are.  All of it is in named tables here.  A table that follows
from memory is put right by its watchers when an event is taken back; every change of another one
is noted with the position of its event, and taken back from there.

Notes are plain numbers, so that a long log is packed as the journal is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sandbox.machine.journal import CHUNK, Records, pack

__all__ = ["GONE", "Derived"]

T = TypeVar("T")

KEEP = 1 << 17
"""Notes that are kept as they are."""
GONE: Final = None
"""What `Derived.put` is given to take a word out of its table."""


class Derived:
    """The tables of one machine, and how their changes are taken back."""

    def __init__(self) -> None:
        self.position: Callable[[], int] = int
        """Counts the events done: the machine's."""
        self.tables: dict[str, Any] = {}
        """By name; what is in them is the affair of whoever asked for them."""
        self._remembered: list[str] = []
        self.entries: Records = []
        """``(position, number of the undo function, its arguments ...)``."""
        self._undoers: list[Callable[..., None]] = [self._unput]

    # -- tables --------------------------------------------------------------------------

    def table(self, name: str, empty: T, *, follows: bool = False) -> T:
        """The table of that name: the one that a clone brought along, or *empty* as a new one.

        With *follows* it follows from memory alone, and two states that agree in their words agree
        in it.
        """
        found: T = self.tables.setdefault(name, empty)
        if not follows and name not in self._remembered:
            self._remembered.append(name)
        return found

    def remembered(self) -> tuple[Any, ...]:
        """What a state is besides its words, as a value: tables that do not follow from memory."""
        return tuple(_frozen(self.tables[name]) for name in sorted(self._remembered))

    def copied(self) -> Derived:
        """A copy of the tables; what was done so far cannot be taken back in it."""
        other = Derived()
        other.tables = {name: _copy(table) for name, table in self.tables.items()}
        other._remembered = list(self._remembered)
        return other

    # -- changes -------------------------------------------------------------------------

    def put(self, name: str, key: int | str, value: Any) -> None:  # noqa: ANN401  # a word
        """Set a word of the table of that name, or take it out (`GONE`).

        It is taken back as it was, in the same place of the table's order.
        """
        table = self.tables[name]
        before = table.get(key, GONE)
        if before == value:
            return
        place = next(at for at, own in enumerate(table) if own == key) if value is GONE else -1
        self.add(0, name, key, before, place)
        _set(table, key, value)

    def _unput(self, name: str, key: int | str, before: Any, place: int) -> None:  # noqa: ANN401  # a word
        table = self.tables[name]
        later = list(table.items())[place:] if place >= 0 else []
        for other, _ in later:
            del table[other]
        _set(table, key, before)
        table.update(later)

    def undoer(self, undo: Callable[..., None]) -> int:
        """Number by which `add` is told to undo with this function."""
        self._undoers.append(undo)
        return len(self._undoers) - 1

    def add(self, undoer: int, *args: Any) -> None:  # noqa: ANN401  # numbers, or text of a few
        """The present event changed a table: the function with these arguments takes that back."""
        entries = self.entries
        entries.append((self.position() - 1, undoer, *args))
        if len(entries) & (CHUNK - 1) == 0:
            self.entries = pack(entries, KEEP, CHUNK)

    def undone(self, position: int) -> None:
        """Take back the changes of all events from *position* on."""
        entries = self.entries
        while entries and entries[-1][0] >= position:
            _, undoer, *args = entries.pop()
            self._undoers[undoer](*args)


def _set(table: dict[Any, Any], key: int | str, value: Any) -> None:  # noqa: ANN401  # a word
    if value is GONE:
        del table[key]
    else:
        table[key] = value


def _copy(table: Any) -> Any:  # noqa: ANN401  # any container
    """A copy as deep as tables are: containers of plain values, or of such containers."""
    if isinstance(table, dict) and any(isinstance(value, (dict, list)) for value in table.values()):
        new = copy.copy(table)
        for key, value in table.items():
            new[key] = _copy(value)
        return new
    if isinstance(table, list) and any(isinstance(value, (dict, list)) for value in table):
        return [_copy(value) for value in table]
    return copy.copy(table)


def _frozen(table: Any) -> Any:  # noqa: ANN401  # any container
    """A table as a value; the order in which a dictionary was filled is no part of it."""
    if isinstance(table, dict):
        items = ((key, _frozen(value)) for key, value in table.items())
        return frozenset(item for item in items if item[1] or item[1] == 0)
    if isinstance(table, list):
        return tuple(_frozen(value) for value in table)
    return table
