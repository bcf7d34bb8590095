"""Whether what a kernel function yields is an event: the promises of `memory`, checked.

Every machine refuses an address that is no word's.  One whose kernel is a person's own (`foreign`)
looks at each event before it becomes pending, so that nothing but words gets into words: what
reads them later - rules, views, other functions - need not defend itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.machine.fields import ENTRIES, FIELDS, STRUCTS, Struct, field
from sandbox.machine.memory import (
    ADD,
    ADDR_MASK,
    ALLOC,
    BITS,
    CAS,
    COPY,
    DECIDE,
    LOAD,
    LOCK,
    LOCK_BIT,
    NOTE,
    OP_NAMES,
    READ,
    STORE,
    TLB_FLUSH,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    USER_STORE,
    WRITE,
    XCHG,
    Event,
    Word,
)

if TYPE_CHECKING:
    from sandbox.machine.memory import MemoryImage

__all__ = ["PLACELESS", "event_fault", "event_text", "no_such_word", "shown"]

PLACELESS = frozenset((NOTE, TLB_FLUSH, ALLOC))
"""Operations that are about no word."""

ARITY = {
    LOAD: 2, TLB_FLUSH: 5, STORE: 3, ADD: 3, TRY_ADD: 3, CAS: 4, BITS: 4, XCHG: 3,
    LOCK: 3, TRYLOCK: 3, UNLOCK: 2, LOCK_BIT: 3, COPY: 3, ALLOC: 4, USER_STORE: 6,
}  # fmt: skip
"""How long each event is; a note may have any payload."""
NUMBERS = frozenset((ADD, TRY_ADD, BITS, LOCK, TRYLOCK, LOCK_BIT, TLB_FLUSH, ALLOC, USER_STORE))
"""Operations whose operands are all numbers."""
NEW_VALUE = {STORE: 2, CAS: 3, XCHG: 2, USER_STORE: 2}
"""Where in an event the word's new value is."""
MOST_BITS = 128
"""Room enough for any word of the kernel's; what does not fit is no word."""
MAX_ORDER = 26
MAX_WORDS = 1 << 27
"""Memory of a machine: 8 GiB of pages, a gigabyte of ours."""
DEEP = 6

PTE = field(Struct.PTE_TABLE, "pte")
COMPOUND_HEAD = field(Struct.PAGE, "compound_head")


def event_fault(event: object, memory: MemoryImage) -> str | None:
    """Say why something yielded is not an event that this memory can do, None if it is one."""
    if type(event) is not tuple or len(event) < 2:
        return f"yielded {shown(event)}, which is not an event"
    fields: Event = event
    op, addr = fields[0], fields[1]
    if op.__class__ is not int or not 0 <= op < len(OP_NAMES):
        return f"yielded {shown(event)}: no operation has the number {shown(op)}"
    if op == NOTE:
        return None if _is_note(fields) else f"yielded a note of {shown(fields[2:])}"
    if op == DECIDE and not _is_note(fields):
        return f"yielded a decision by {shown(fields[2:])}"
    if op != DECIDE and len(fields) != ARITY[op]:
        return f"yielded {shown(event)}: {OP_NAMES[op]} takes {ARITY[op] - 1} operands"
    if op not in PLACELESS:
        for at in (addr, *_further_words(fields)):
            if not isinstance(at, int) or not 1 <= at < len(memory.cells):
                return no_such_word(fields, at, len(memory.cells))
    if op in NUMBERS and not all(_is_number(operand) for operand in fields[2:]):
        return f"yielded {shown(event)}: {OP_NAMES[op]} takes numbers"
    return _wrong_operand(fields, memory)


def no_such_word(event: Event, addr: object, end: int) -> str:
    """Say that an event is about a word that is not there."""
    if not 0 <= event[0] < len(OP_NAMES):
        return f"{shown(event)} is not an event: no operation has the number {event[0]}"
    name = OP_NAMES[event[0]]
    where = f"{addr:#x}" if isinstance(addr, int) else shown(addr)
    return f"did a {name} at {where}: words have the addresses 0x1 to {end - 1:#x}"


def _further_words(event: Event) -> Sequence[Any]:
    """The other words an operation reads: what is copied, the entry that is stored through."""
    if event[0] == COPY:
        return (event[2],)
    return (event[4],) if event[0] == USER_STORE else ()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and value.bit_length() <= MOST_BITS


def _is_note(event: Event) -> bool:
    return len(event) > 2 and isinstance(event[2], str) and _is_said(event[2:], DEEP)


def _is_said(value: object, deep: int) -> bool:
    """Whether something is what a note may say: a number, a text, a tuple of such."""
    if value.__class__ is tuple or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return deep > 0 and all(_is_said(item, deep - 1) for item in value)
    return value is None or isinstance(value, str) or _is_number(value)


def _wrong_operand(event: Event, memory: MemoryImage) -> str | None:
    op = event[0]
    if op == ALLOC:
        return _wrong_allocation(event, memory)
    if op in (LOCK, TRYLOCK):
        return None if event[2] in (READ, WRITE) else f"took a lock in the mode {shown(event[2])}"
    if op in PLACELESS:
        return None
    kind = memory.kinds[event[1]]
    value: Word = event[NEW_VALUE[op]] if op in NEW_VALUE else None
    name = FIELDS[kind].name
    if op in NEW_VALUE:
        if not _is_number(value):
            return f"stored {shown(value)} in {name}"
        return _wrong_pointer(value, kind, memory)
    return None


def _wrong_pointer(value: int, kind: int, memory: MemoryImage) -> str | None:
    """An entry, or a page's head, must lead to a page: the ledger of mappings follows it."""
    if kind in ENTRIES:
        if (leads := ENTRIES[kind](value)) is None:
            return None
        addr, table = leads
        if table and not _is_kind(addr, PTE, memory):
            return f"stored the entry {value:#x}, which leads to no page table"
        if not table and not _is_page(addr, memory):
            return f"stored the entry {value:#x}, which maps no page that there is"
    elif kind == COMPOUND_HEAD and not _is_page(value & ADDR_MASK, memory):
        return f"stored {value:#x} in compound_head, which is no page"
    return None


def _is_page(addr: int, memory: MemoryImage) -> bool:
    return _is_kind(addr + FIELDS[COMPOUND_HEAD].offset, COMPOUND_HEAD, memory)


def _is_kind(addr: int, kind: int, memory: MemoryImage) -> bool:
    return 0 < addr < len(memory.cells) and memory.kinds[addr] == kind


def _wrong_allocation(event: Event, memory: MemoryImage) -> str | None:
    struct, order = event[2], event[3]
    if struct not in STRUCTS or not 0 <= order <= MAX_ORDER:
        return f"allocated {shown(struct)} of order {shown(order)}"
    if len(memory.cells) + (len(STRUCTS[struct].initial) << order) > MAX_WORDS:
        return f"allocated beyond {MAX_WORDS:,} words of memory"
    return None


def event_text(event: Event, memory: MemoryImage) -> str:
    """An event in a few words: ``add _refcount at 0x400 by -1``, without its names."""
    op, addr = event[0], event[1]
    name = OP_NAMES[op]
    if op == NOTE:
        return f"note {shown(event[2])}"
    if op == ALLOC:
        return f"alloc {Struct(event[2]).name.lower()}"
    if op in PLACELESS:
        return name
    operands = "".join(f" {shown(operand)}" for operand in event[2:])
    where = memory.field_at(addr).name if 0 < addr < len(memory.kinds) else "(nothing)"
    return f"{name} {where} at {int(addr):#x}{operands}"


def shown(value: object) -> str:
    """Something of a person's own in a few printable characters, whatever its `repr` does."""
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001  # a person's own `repr` may raise anything
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    if not isinstance(text, str):  # of a subclass of str it may be anything
        text = f"<{type(value).__name__}>"
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:200])
    return plain + ("..." if len(text) > 200 else "")
