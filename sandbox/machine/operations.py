"""What each operation does to its word: the machine's dispatch table.

An operation is called as ``(cells, event, old, cpu)`` with the word's old value, changes at most
that word, and returns the kernel function's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.errors import KernelBug
from sandbox.machine.memory import (
    ADD,
    BITS,
    CAS,
    COPY,
    LOCK,
    LOCK_BIT,
    OP_NAMES,
    READ,
    STORE,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    USER_STORE,
    XCHG,
    Event,
    Word,
)

Cells = list[Any]
Operation = Callable[[Cells, Event, Word, int], Word]


def _store(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = event[2]
    return None


def _add(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = new = old + event[2]
    return new


def _try_add(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    if old == 0:
        return False
    cells[event[1]] = old + event[2]
    return True


def _cas(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    if old != event[2]:
        return False
    cells[event[1]] = event[3]
    return True


def _bits(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = (old | event[2]) & ~event[3]
    return old


def _xchg(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = event[2]
    return old


def _lock(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = -(cpu + 1) if event[2] != READ else old | (1 << cpu)
    return True


def _trylock(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    if old and (event[2] != READ or old < 0):
        return False
    return _lock(cells, event, old, cpu)


def _unlock(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    if old == -(cpu + 1):
        cells[event[1]] = 0
    elif old > 0 and old & (1 << cpu):
        cells[event[1]] = old & ~(1 << cpu)
    else:
        raise KernelBug(f"CPU {cpu} unlocks the word at {event[1]:#x}, which it does not hold")
    return None


def _lock_bit(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = old | event[2]
    return old


def _copy(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    cells[event[1]] = new = cells[event[2]]
    return new


def _user_store(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    if cells[event[4]] != event[5]:
        return False
    cells[event[1]] = event[2]
    return True


def _unknown(cells: Cells, event: Event, old: Word, cpu: int) -> Word:
    raise KernelBug(f"{event!r} is not an event", expected="one of " + ", ".join(OP_NAMES))


OPERATIONS: list[Operation] = [_unknown] * len(OP_NAMES)
"""By operation number; loads, notes, flushes and allocations are the machine's own."""
for _number, _operation in (
    (STORE, _store),
    (ADD, _add),
    (TRY_ADD, _try_add),
    (CAS, _cas),
    (BITS, _bits),
    (XCHG, _xchg),
    (USER_STORE, _user_store),
    (LOCK, _lock),
    (TRYLOCK, _trylock),
    (UNLOCK, _unlock),
    (LOCK_BIT, _lock_bit),
    (COPY, _copy),
):
    OPERATIONS[_number] = _operation


def value_after(event: Event, old: Word, cpu: int = 0) -> Word:
    """The word's value after *event*, for operations that look at no other word."""
    box: Any = {event[1]: old}
    OPERATIONS[event[0]](box, event, old, cpu)
    return box[event[1]]
