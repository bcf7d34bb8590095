"""Which local variables of a generator may still be read after it goes on: of CPython's bytecode.

A variable that is never read again is no part of what a function will do, though it is bound.
"""

from __future__ import annotations

import dis
import functools
from types import CodeType

__all__ = ["live_locals"]

_ENDS = frozenset(("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"))
_JUMPS = frozenset(("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP"))
_LOADS = frozenset(
    ("LOAD_FAST", "LOAD_CLOSURE", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_BORROW")
)
_STORES = frozenset(("STORE_FAST", "DELETE_FAST", "STORE_FAST_MAYBE_NULL"))
_PAIRS = {
    "LOAD_FAST_LOAD_FAST": (False, False),
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": (False, False),
    "STORE_FAST_LOAD_FAST": (True, False),
    "STORE_FAST_STORE_FAST": (True, True),
}
"""Instructions that touch two: whether each is a store."""


class _Unknown(Exception):
    """The interpreter has an instruction that is not known here."""


def _accesses(one: dis.Instruction) -> tuple[tuple[bool, str], ...]:
    """(is it a store, name) of the locals that an instruction touches, in order."""
    if "_FAST" not in one.opname and one.opname != "LOAD_CLOSURE":
        return ()
    if one.opname in _LOADS:
        return ((False, one.argval),)
    if one.opname in _STORES:
        return ((True, one.argval),)
    kinds = _PAIRS.get(one.opname)
    if kinds is None:
        raise _Unknown
    return tuple(zip(kinds, one.argval, strict=True))


@functools.cache
def live_locals(code: CodeType) -> dict[int, frozenset[str]] | None:
    """By offset of an instruction, the locals that may be read after it; None: all of them."""
    listing = list(dis.get_instructions(code))
    try:
        touched = [_accesses(one) for one in listing]
    except _Unknown:
        return None
    follows = _successors(code, listing)
    live: list[frozenset[str]] = [frozenset()] * len(listing)
    after = list(live)
    changed = True
    while changed:
        changed = False
        for at in range(len(listing) - 1, -1, -1):
            out = frozenset().union(*(live[to] for to in follows[at]))
            before = out
            for store, name in reversed(touched[at]):
                before = before - {name} if store else before | {name}
            after[at] = out
            if before != live[at]:
                live[at], changed = before, True
    cells = frozenset(code.co_cellvars) | frozenset(code.co_freevars)
    return {one.offset: after[at] | cells for at, one in enumerate(listing)}


def _successors(code: CodeType, listing: list[dis.Instruction]) -> list[list[int]]:
    """By number of an instruction, those that may come after it, an exception's handler too."""
    place = {one.offset: at for at, one in enumerate(listing)}
    jumps = {*dis.hasjrel, *dis.hasjabs}
    follows: list[list[int]] = []
    for at, one in enumerate(listing):
        on = at + 1 < len(listing) and one.opname not in _ENDS | _JUMPS
        to = [at + 1] if on else []
        if one.opcode in jumps:
            to.append(place[one.argval])
        follows.append(to)
    for start, end, target in _handlers(code):
        for at, one in enumerate(listing):
            if start <= one.offset < end:
                follows[at].append(place[target])
    return follows


def _handlers(code: CodeType) -> list[tuple[int, int, int]]:
    """(start, end, handler) of the code's table of exceptions (CPython: exception_handling_notes).

    Each number is in groups of six bits, the highest first; 64 says that another one follows and
    128 that an entry begins.
    """
    numbers: list[int] = []
    value, going_on = 0, False
    for byte in code.co_exceptiontable:
        value = (value << 6 if going_on else 0) | (byte & 63)
        going_on = bool(byte & 64)
        if not going_on:
            numbers.append(value)
    entries = zip(numbers[::4], numbers[1::4], numbers[2::4], strict=False)
    return [(2 * start, 2 * (start + length), 2 * target) for start, length, target in entries]
