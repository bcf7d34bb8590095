"""What an action changed, word by word, in terms that mean the same on every kernel."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from sandbox.machine.fields import FIELDS, POINTS_TO, Struct
from sandbox.machine.memory import (
    ADD,
    ALLOC,
    BITS,
    CAS,
    COPY,
    FIRST_MUTATING,
    LOAD,
    LOCK,
    LOCK_BIT,
    NOTE,
    STORE,
    TLB_FLUSH,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    USER_STORE,
    XCHG,
    Word,
)
from sandbox.truth.events import after, describe_events, show
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["Change", "Cost", "changes", "cost_of", "keys", "told"]

_LOCKS = (LOCK, TRYLOCK, UNLOCK, LOCK_BIT)
_NO_WORD = (NOTE, TLB_FLUSH, ALLOC)
_TABLES = (Struct.PTE_TABLE, Struct.PMD_TABLE)
_ENTRIES = frozenset(f.number for f in FIELDS if f.struct in _TABLES and f.name in ("pte", "pmd"))
_PRIVATE = frozenset(f.number for f in FIELDS if f.struct is Struct.CPU)
"""A CPU's own words: batches and what it gathers, which no other CPU looks at."""


class Change(NamedTuple):
    """One store that changed a word; two are the same if all but the event's number is."""

    n: int
    """The event's number in its run, from 0."""
    word: str
    """As panes have it: `F1.page5._mapcount`."""
    field: str
    old: Word
    new: Word
    """As people read them; None where the word leads to an object, whose address says nothing."""

    @property
    def same(self) -> Hashable:
        """What it has in common with the change of another kernel that does the same."""
        return self[1:]


def changes(session: Session, start: int, end: int) -> Iterator[Change]:
    """Yield what events [start, end) changed that another CPU can see, locks left out."""
    machine, names = session.machine, Words(session.ledger)
    for n in range(start, end):
        event = machine.events[n]
        op, addr = event[0], event[1]
        if op < FIRST_MUTATING or op in _LOCKS or op == ALLOC:
            continue
        kind = machine.memory.kinds[addr]
        if kind in _PRIVATE:
            continue
        old = machine.olds[n]
        new = after(event, old, True)
        if old == new and op != COPY:
            continue
        words = names.at(n)
        place = words.place(addr)
        if kind in POINTS_TO and kind not in _ENTRIES:
            yield Change(n, place.name, place.field, None, None)
        else:
            shown = show(words, addr, old), show(words, addr, new)
            yield Change(n, place.name, place.field, *shown)


def keys(session: Session, start: int, end: int) -> list[Hashable]:
    """What each of events [start, end) does to which word, values left out: to align two runs."""
    machine, names = session.machine, Words(session.ledger)
    out: list[Hashable] = []
    for n in range(start, end):
        event = machine.events[n]
        if event[0] == NOTE:
            out.append((NOTE, event[2]))
        elif event[0] in _NO_WORD:
            out.append(event[0])
        else:
            out.append((event[0], names.at(n).name(event[1])))
    return out


def told(session: Session, n: int) -> dict[str, Any]:
    """The event as a dictionary, with the kernel function that does it, its file and line."""
    return next(describe_events(session, n, n + 1))


# -- cost ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cost:
    """How often an action did what costs a real kernel time; counts of events."""

    atomics: int = 0
    """Read-modify-write of a word that is no page-table entry."""
    entries: int = 0
    """Writes of page-table entries of either level."""
    flushes: int = 0
    locks: int = 0
    """Locks taken, trylocks and bit locks among them."""
    allocations: int = 0
    copies: int = 0
    """Pages whose content was copied."""
    stores: int = 0
    """Plain stores to other words."""
    loads: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)))

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield each kind and its count."""
        for each in fields(Cost):
            yield each.name, getattr(self, each.name)


_KIND = {
    LOAD: "loads", STORE: "stores", ADD: "atomics", TRY_ADD: "atomics", CAS: "atomics",
    BITS: "atomics", XCHG: "atomics", LOCK: "locks", TRYLOCK: "locks", LOCK_BIT: "locks",
    COPY: "copies", ALLOC: "allocations", TLB_FLUSH: "flushes", USER_STORE: "stores",
}  # fmt: skip


def cost_of(session: Session, start: int, end: int) -> Cost:
    """What events [start, end) cost."""
    machine, cost = session.machine, Cost()
    for n in range(start, end):
        op, addr = machine.events[n][:2]
        kind = _KIND.get(op)
        if kind in ("stores", "atomics") and machine.memory.kinds[addr] in _ENTRIES:
            kind = "entries"
        if kind is not None:
            setattr(cost, kind, getattr(cost, kind) + 1)
    return cost
