"""Which locks each CPU holds, read off the events since what runs was begun."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from sandbox.machine.memory import LOCK, LOCK_BIT, TRYLOCK
from sandbox.run.session import Session

__all__ = ["held_locks"]

_MOST = 20_000
"""Events that are looked through at once; a lock that was taken earlier is not known."""


@dataclass
class _Seen:
    """The words that were locked since a position, and the CPUs that set lock bits."""

    start: int
    forks: int
    upto: int
    words: dict[int, None] = field(default_factory=dict)
    bits: dict[int, tuple[int, int]] = field(default_factory=dict)


_SEEN: WeakKeyDictionary[Session, _Seen] = WeakKeyDictionary()


def held_locks(session: Session, cpu: int) -> list[tuple[int, str]]:
    """The words of the locks that a CPU holds: as a writer `w`, as a reader `r`, a bit ``."""
    seen, cells = _caught_up(session), session.machine.memory.cells
    found = []
    for addr in seen.words:
        value = cells[addr] if addr < len(cells) else 0
        if value == -(cpu + 1):
            found.append((addr, "w"))
        elif value > 0 and value & 1 << cpu:
            found.append((addr, "r"))
    for addr, (bit, owner) in seen.bits.items():
        if owner == cpu and addr < len(cells) and cells[addr] & bit:
            found.append((addr, ""))
    return found


def _caught_up(session: Session) -> _Seen:
    machine = session.machine
    start = min((task.start for task in session.running), default=machine.position)
    seen = _SEEN.get(session)
    if (
        seen is None
        or (seen.start, seen.forks) != (start, machine.forks)
        or seen.upto > machine.position
    ):
        low = max(start, machine.position - _MOST)
        seen = _SEEN[session] = _Seen(start, machine.forks, low)
    for at in range(max(seen.upto, machine.position - _MOST), machine.position):
        event = machine.events[at]
        if event[0] in (LOCK, TRYLOCK):
            seen.words[event[1]] = None
        elif event[0] == LOCK_BIT:
            seen.bits[event[1]] = event[2], machine.cpus[at]
    seen.upto = machine.position
    return seen
