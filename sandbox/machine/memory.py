"""Words, handles and events: the only way a modelled kernel touches memory.

Memory is one flat list of words.  A *handle* (`Folio`, `Page`, `Mm`, `Vma`) is an
address that knows the names of its fields, never a value.  A kernel function yields
an *event*, a small tuple ``(op, address, operand, ...)``, and is answered with what
the operation returns.  Every operation changes at most one word, so one old value per
event is the whole journal.

Addresses: `struct page` is 16 words and 16-aligned, so ``pfn = address >> 4``; the low
four bits of a `Folio` carry its order, as a tagged pointer.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Generator
from typing import Any, TypeVar

from sandbox.machine.address_space import AnonVma, Avc, Mapping, Mm, Vma
from sandbox.machine.fields import DEFERRED_LIST, FIELDS, STRUCTS, Field, Struct
from sandbox.machine.handles import (
    ADDR_MASK,
    MAX_CPUS,
    PAGE_WORDS,
    TABLE_ALIGN,
    Fbatch,
    Folio,
    Globals,
    Page,
    PerCpu,
    page_of_pfn,
)
from sandbox.machine.offsets import COMPOUND_HEAD, REFCOUNT
from sandbox.machine.ranges import alignment

__all__ = [
    "ADD",
    "ADDR_MASK",
    "ALLOC",
    "BITS",
    "CAS",
    "COPY",
    "DECIDE",
    "FIRST_MUTATING",
    "LOAD",
    "LOCK",
    "LOCK_BIT",
    "MAX_CPUS",
    "NOTE",
    "OP_NAMES",
    "PAGE_WORDS",
    "READ",
    "STORE",
    "TABLE_ALIGN",
    "TLB_FLUSH",
    "TRYLOCK",
    "TRY_ADD",
    "UNLOCK",
    "USER_STORE",
    "WRITE",
    "XCHG",
    "Allocated",
    "AnonVma",
    "Avc",
    "Event",
    "Fbatch",
    "Folio",
    "Gen",
    "Globals",
    "Mapping",
    "MemoryImage",
    "Mm",
    "Page",
    "PerCpu",
    "Vma",
    "Word",
    "add",
    "alloc",
    "bits",
    "cas",
    "copy_page",
    "decide",
    "load",
    "lock",
    "lock_bit",
    "note",
    "page_of_pfn",
    "reused_frame",
    "store",
    "tlb_flush",
    "try_add",
    "trylock",
    "unlock",
    "user_store",
    "xchg",
]

T = TypeVar("T")
Word = Any
"""What a word holds (an int), or an event is answered with (an int, a truth value, nothing)."""
Event = tuple[Any, ...]
"""``(op, address, operands...)``; see the constructors below."""
Gen = Generator[Event, Any, T]
"""A running kernel function: yields events, is sent their answers, returns a `T`."""

# Operations. Those from STORE on may change the word at their address.
LOAD, NOTE, TLB_FLUSH, DECIDE = range(4)
STORE, ADD, TRY_ADD, CAS, BITS, XCHG, LOCK, TRYLOCK, UNLOCK, LOCK_BIT, COPY = range(4, 15)
ALLOC, USER_STORE = range(15, 17)
FIRST_MUTATING = STORE
OP_NAMES = (
    "load", "note", "tlb_flush", "load", "store", "add", "try_add", "cas", "bits", "xchg",
    "lock", "trylock", "unlock", "lock_bit", "copy", "alloc", "user_store",
)  # fmt: skip


def load(addr: int) -> Event:
    """Read one word; the answer is its value."""
    return (LOAD, addr)


def decide(addr: int, kind: str, *payload: Word) -> Event:
    """Read the word that a decision is taken by; the answer is its value.

    Rules are told of it as of a note: at a later one another CPU may have changed the word.
    """
    return (DECIDE, addr, kind, *payload)


def store(addr: int, value: Word) -> Event:
    """Write one word; no answer."""
    return (STORE, addr, value)


def add(addr: int, delta: int) -> Event:
    """Atomically add *delta*; the answer is the new value."""
    return (ADD, addr, delta)


def try_add(addr: int, delta: int) -> Event:
    """Add *delta* unless the word is zero; the answer says whether it was done."""
    return (TRY_ADD, addr, delta)


def cas(addr: int, old: Word, new: Word) -> Event:
    """Compare and exchange; the answer says whether the word was *old* and is now *new*."""
    return (CAS, addr, old, new)


def bits(addr: int, set_: int = 0, clear: int = 0) -> Event:
    """Set and clear bits in one atomic step; the answer is the old value."""
    return (BITS, addr, set_, clear)


def xchg(addr: int, value: Word) -> Event:
    """Exchange the word for *value*; the answer is the old value."""
    return (XCHG, addr, value)


READ, WRITE = 0, 1


def lock(addr: int, mode: int = WRITE) -> Event:
    """Take a lock word, blocking while another CPU holds it (READ may be shared)."""
    return (LOCK, addr, mode)


def trylock(addr: int, mode: int = WRITE) -> Event:
    """Take a lock word if it is free; the answer says whether it was."""
    return (TRYLOCK, addr, mode)


def unlock(addr: int) -> Event:
    """Release a lock word held by the executing CPU."""
    return (UNLOCK, addr)


def lock_bit(addr: int, bit: int) -> Event:
    """Set a lock bit in a word, blocking while it is set; the answer is the old word."""
    return (LOCK_BIT, addr, bit)


def user_store(addr: int, value: Word, mm: int, entry: int, pte: int) -> Event:
    """A process's store through *entry*; the answer says whether the entry was still *pte*.

    One step with the translation it uses: a flush of the TLB waits for the stores before it.
    """
    return (USER_STORE, addr, value, mm, entry, pte)


def copy_page(dst: Page, src: Page) -> Event:
    """Copy the content version of one page to another as one step."""
    return (COPY, dst.data, src.data)


def alloc(struct: Struct, order: int = 0) -> Event:
    """Allocate a structure (pages of *order* for `page`); the answer is its address."""
    return (ALLOC, 0, struct, order)


def tlb_flush(mm: int, start: int, end: int) -> Event:
    """Flush the TLB of *mm* for the virtual pages [start, end)."""
    return (TLB_FLUSH, 0, mm, start, end)


def note(kind: str, *payload: Word) -> Event:
    """Mark a point for rules and readers: ``begin``, ``end``, ``window_open``, ..."""
    return (NOTE, 0, kind, *payload)


Allocated = int | tuple[int, ...]
"""What is to be known of an allocation to take it back: the length of memory before it; where it is
not behind all others, that and its address; of a frame that is used again also the words it had."""


def reused_frame(was: Word) -> int:
    """The frame that an allocation took which was used before; 0 if it is new."""
    return was[1] if was.__class__ is tuple and len(was) > 2 else 0


class MemoryImage:
    """The words of a machine: values, and for each word which field it is.

    `cells` holds the values, `kinds` one field number (`sandbox.machine.fields`) per word.
    What a CPU allocates alone is appended; there are holes where several did (`ranges`).
    """

    __slots__ = ("cells", "kinds", "objects")

    def __init__(self) -> None:
        self.cells: list[int] = [0] * PAGE_WORDS
        self.kinds = bytearray(PAGE_WORDS)
        self.objects: list[tuple[int, Struct, int]] = []

    def allocate(self, struct: Struct, order: int = 0, at: int = 0) -> int:
        """Put a structure with its initial values behind all others, or *at* a free place.

        The answer is its address.
        """
        layout = STRUCTS[struct]
        count = 1 << order
        cells, kinds = self.cells, self.kinds
        base = at or len(cells) + -len(cells) % alignment(struct, order)
        pad = base - len(cells)
        if pad > 0:
            cells.extend([0] * pad)
            kinds.extend(bytes(pad))
        size = len(layout.initial) << order
        cells[base : base + size] = layout.initial * count
        kinds[base : base + size] = layout.kinds * count
        if struct is Struct.PAGE:
            self._prep_new_page(base, order)
            if order:
                kinds[Folio(base | order)._deferred_list] = DEFERRED_LIST
        if at and self.objects[-1][0] > base:
            insort(self.objects, (base, struct, order))
        else:
            self.objects.append((base, struct, order))
        return base

    def _prep_new_page(self, base: int, order: int) -> None:
        """What is not the same in every page of a folio."""
        cells, folio = self.cells, Folio(base | order)
        for i in range(base + COMPOUND_HEAD, base + (PAGE_WORDS << order), PAGE_WORDS):
            cells[i] = folio
        cells[base + REFCOUNT] = 1
        if order:  # the first tail holds the deferred list's node (mm_types.h, struct folio)
            cells[folio._deferred_list] = 0

    def renew(self, base: int, order: int) -> tuple[int, ...]:
        """Give a freed frame its initial values again; those it had."""
        end = base + (PAGE_WORDS << order)
        before = tuple(self.cells[base:end])
        self.cells[base:end] = STRUCTS[Struct.PAGE].initial * (1 << order)
        self._prep_new_page(base, order)
        return before

    def copied(self) -> MemoryImage:
        """The same words once more."""
        other = MemoryImage()
        other.cells, other.kinds = list(self.cells), bytearray(self.kinds)
        other.objects = list(self.objects)
        return other

    def release(self, was: Allocated) -> None:
        """Undo the last allocation."""
        if isinstance(was, int):
            del self.cells[was:]
            del self.kinds[was:]
            self.objects.pop()
            return
        length, base, *before = was
        if before:
            self.cells[base : base + len(before)] = before
            return
        at = bisect_left(self.objects, (base,))
        _, struct, order = self.objects.pop(at)
        size = len(STRUCTS[struct].initial) << order
        self.cells[base : base + size] = [0] * size
        self.kinds[base : base + size] = bytes(size)
        del self.cells[length:]
        del self.kinds[length:]

    def allocate_again(self, event: Event, was: Allocated) -> None:
        """Do an allocation as it was done on another image of the same words."""
        if isinstance(was, int):
            self.allocate(event[2], event[3])
        elif len(was) > 2:
            self.renew(was[1], event[3])
        else:
            self.allocate(event[2], event[3], was[1])

    def object_at(self, addr: int) -> tuple[int, Struct, int]:
        """The allocation (base, struct, order) that holds *addr*."""
        lo, hi = 0, len(self.objects)
        while lo < hi:
            mid = (lo + hi) // 2
            if self.objects[mid][0] <= addr:
                lo = mid + 1
            else:
                hi = mid
        return self.objects[lo - 1]

    def field_at(self, addr: int) -> Field:
        """Which field the word at *addr* is."""
        return FIELDS[self.kinds[addr]]
