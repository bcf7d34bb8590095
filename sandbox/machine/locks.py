"""Who holds a lock, who waits for it, and when nobody can go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import DeadlockError
from sandbox.machine.memory import LOCK, LOCK_BIT, READ, Event

if TYPE_CHECKING:
    from sandbox.machine.performing import Performer

__all__ = ["BLOCKING", "deadlock", "lock_owner"]

BLOCKING = frozenset((LOCK, LOCK_BIT))
"""Operations that may have to wait."""


def lock_owner(machine: Performer, event: Event, cpu: int) -> int | None:
    """The CPU that *event* of *cpu* has to wait for, None when it can happen now."""
    if event[0] == LOCK:
        value = machine.memory.cells[event[1]]
        if value < 0:
            return int(-value - 1)
        others = value & ~(1 << cpu)
        if value and (event[2] != READ or value & (1 << cpu)):
            return int((others or value).bit_length() - 1)
    elif event[0] == LOCK_BIT and machine.memory.cells[event[1]] & event[2]:
        return machine.holder_of_bit(event[1], cpu)
    return None


def deadlock(machine: Performer, cpu: int, event: Event) -> DeadlockError:
    """Say who waits for whom, from *cpu* on, whose *event* cannot happen."""
    waiting = machine.running[cpu]
    if waiting is not None:
        waiting.pending = event
    chain, seen = [], set()
    at: int | None = cpu
    while at is not None and at not in seen:
        seen.add(at)
        task = machine.running[at]
        owner = lock_owner(machine, task.pending, at) if task and task.pending else None
        if task and task.pending and owner is not None:
            name = machine.memory.field_at(task.pending[1]).name
            chain.append(f"CPU {at} ({task.name}) waits for {name} held by CPU {owner}")
        at = owner
    kind = "deadlock" if at in seen and at is not None else "blocked"
    return DeadlockError(f"{kind}: " + "; ".join(chain))
