"""Words and values in the terms of kernel and mails: `F1.page5._mapcount`, `F1.5 RW D Y C`."""

from __future__ import annotations

import sys
from copy import copy

from sandbox.arch.arm64 import pgtable as pt
from sandbox.fields import STRUCTS, Struct, field
from sandbox.frames import Frame
from sandbox.ledger import entry_kind
from sandbox.memory import (
    ADD,
    ADDR_MASK,
    ALLOC,
    BITS,
    CAS,
    COPY,
    LOCK_BIT,
    NOTE,
    OP_NAMES,
    STORE,
    TLB_FLUSH,
    TRY_ADD,
    USER_STORE,
    XCHG,
    AnonVma,
    Avc,
    Event,
    Folio,
    Mapping,
    Mm,
    Page,
    PerCpu,
    Vma,
)
from sandbox.mm import flags as kernel_flags
from sandbox.session import Session

__all__ = ["PTE_BITS", "Words", "pte_flags"]

PTE_BITS = (
    ("VALID", pt.PTE_VALID),
    ("WRITE", pt.PTE_WRITE),
    ("RDONLY", pt.PTE_RDONLY),
    ("DIRTY", pt.PTE_DIRTY),
    ("AF", pt.PTE_AF),
    ("CONT", pt.PTE_CONT),
    ("SPECIAL", pt.PTE_SPECIAL),
    ("PRESENT_INVALID", pt.PTE_PRESENT_INVALID),
    ("UFFD_WP", pt.PTE_UFFD_WP),
    ("HUGE", pt.PTE_HUGE),
)
"""Bits of an entry by their kernel names (without `PTE_`), in the order they are shown."""

_PAGE_BITS = tuple(
    (name.removeprefix("PG_"), value)
    for name, value in vars(kernel_flags).items()
    if name.startswith("PG_")
)
_PER_PAGE = ("_mapcount", "flags", "data", "compound_head")
_PT_MM, _PT_START = 513, 514
_HEAD = field(Struct.PAGE, "compound_head")
_FIRST = {struct: layout.kinds[0] for struct, layout in STRUCTS.items()}
"""The field that a structure begins with: nothing else has it, so it tells what an address is."""


def pte_flags(pte: int) -> str:
    """Flags of a present entry in the words of mails: `RW D Y C`."""
    words = ["RW" if pt.pte_write(pte) else "RO"]
    words += [w for w, on in (("D", pt.pte_dirty(pte)), ("Y", pt.pte_young(pte))) if on]
    return " ".join([*words, "C"] if pte & pt.PTE_CONT else words)


class Words:
    """Names of the words of one session, for people.

    Every address and every value has a name, also one that belongs to another position: what is
    not there now, or is not what the handle says, is named as gone (`vma(gone)`, `page(gone)`).
    """

    def __init__(self, session: Session) -> None:
        self._ledger = session.ledger
        self._memory = session.machine.memory
        self._cells = session.machine.memory.cells
        self._procs = {int(mm): name for name, mm in session.ledger.processes().items()}
        self._limit = sys.maxsize

    def before(self, size: int) -> Words:
        """The same words for values from before a move that left *size* words at its shortest.

        What such a value points at beyond them was taken away: what stands there now is another
        object, whose name would be wrong.
        """
        other = copy(self)
        other._limit = size
        return other

    def _is(self, addr: int, struct: Struct) -> bool:
        """Whether a structure of that kind begins at an address."""
        kinds = self._memory.kinds
        return 0 <= addr < min(len(kinds), self._limit) and kinds[addr] == _FIRST[struct]

    def _head(self, addr: int) -> Folio | None:
        """The folio that the page around an address belongs to, None if there is no page."""
        at = (addr & ADDR_MASK) + 6
        kinds = self._memory.kinds
        if not 0 <= at < min(len(kinds), self._limit) or kinds[at] != _HEAD:
            return None
        head = self._cells[at]
        return Folio(head) if self._is_page(head) else None

    def _is_page(self, addr: int) -> bool:
        return self._is(addr & ADDR_MASK, Struct.PAGE)

    # -- names -------------------------------------------------------------------------

    def name(self, addr: int) -> str:
        """The object and field of a word; an address alone where there is none."""
        if not 0 < addr < min(len(self._cells), self._limit):
            return f"{addr:#x}"
        base, struct, _order = self._memory.object_at(addr)
        field = self._memory.field_at(addr)
        if addr < base or field.struct is not struct:  # between two objects
            return f"{addr:#x}"
        match struct:
            case Struct.PAGE:
                return self._page_word(base, addr, field.name)
            case Struct.PTE_TABLE | Struct.PMD_TABLE:
                return self._table_word(base, addr, field.name)
            case Struct.MM:
                return f"{self._mm(base)}.{field.name}"
            case Struct.VMA:
                return f"{self.vma(base)}.{field.name}"
            case Struct.CPU:
                return f"cpu{(base - PerCpu.BASE) // PerCpu.SIZE}.{field.name}"
            case _:
                return field.name

    def _page_word(self, base: int, addr: int, field: str) -> str:
        head = self._head(base)
        if head is not None and head.order and field in _PER_PAGE:
            return f"{self.folio(base)}.page{(addr - base) >> 4}.{field}"
        return f"{self.folio(base)}.{field}"

    def _table_word(self, base: int, addr: int, field: str) -> str:
        owner = self.proc(self._cells[base + _PT_MM])
        if addr - base >= 512:
            return f"{owner} {field}"
        index = addr - base
        shift = 9 if field == "pmd" else 0
        region, page = self._ledger.region_of(self._cells[base + _PT_START] + (index << shift))
        return f"{owner}.{region} {field} {page}"

    def proc(self, mm: int) -> str:
        """Name of the process that owns an mm; `new` before it has one, `gone` if there is none."""
        if self._limit > mm and (name := self._procs.get(int(mm))) is not None:
            return name
        return "new" if not mm or self._is(mm, Struct.MM) else "gone"

    def _mm(self, mm: int) -> str:
        return f"mm({self.proc(mm)})"

    def vma(self, vma: int) -> str:
        """A VMA by its process, region and first page."""
        if not self._is(vma, Struct.VMA):
            return "vma(gone)"
        handle = Vma(vma)
        start = self._cells[handle.vm_start]
        if not start and not self._cells[handle.vm_end]:
            return "vma(new)"
        region, page = self._ledger.region_of(start)
        where = f"{self.proc(self._cells[handle.vm_mm])}.{region}"
        return f"vma({where})" if not page else f"vma({where}+{page})"

    def folio(self, addr: int) -> str:
        """Name of the folio that contains an address."""
        head = self._head(addr)
        return "folio(gone)" if head is None else self._ledger.name_of(head)

    def page(self, page: int) -> str:
        """A page as `F1.5`."""
        if not page:
            return "NULL"
        head = self._head(page)
        if head is None:
            return "page(gone)"
        return f"{self._ledger.name_of(head)}.{head.index_of(page)}"

    # -- values ------------------------------------------------------------------------

    def entry(self, pte: int) -> str:
        """An entry of a page table as an expectation would write it."""
        if not pte:
            return "none"
        kind = entry_kind(pte)
        if kind in ("swap", "special", "zero"):  # swap and special ones point at no page
            return kind if kind != "zero" else f"zero {pte_flags(pte)}"
        target = self.page(pt.pte_pfn(pte) << 4)
        prefix = "" if kind == "present" else f"{kind} "
        return f"{prefix}{target} {pte_flags(pte)}"

    def value(self, addr: int, value: object) -> str:
        """A value of a word, shown as what the word holds."""
        field = self._memory.field_at(addr) if 0 < addr < len(self._cells) else None
        if field is not None and isinstance(value, int):
            if field.name == "pte":
                return self.entry(value)
            if field.name == "pmd":
                return "table" if value and not value & pt.PTE_HUGE else self.entry(value)
            if field.name == "flags" and field.struct is Struct.PAGE:
                return self.page_flags(value)
            if field.name.startswith("_mm_id["):
                return f"{value:#x}"
        return self.thing(value)

    def page_flags(self, value: int) -> str:
        """Page flags by their kernel names."""
        return ",".join(name for name, bit in _PAGE_BITS if value & bit) or "0"

    def thing(self, value: object, depth: int = 3) -> str:
        """Any value a kernel function may hold, in a few words; lists within lists to a depth."""
        match value:
            case bool() | None | str():
                return repr(value)
            case int():
                return self._number(value)
            case list() | tuple() if len(value) <= 3 and depth:
                return "[" + ", ".join(self.thing(item, depth - 1) for item in value) + "]"
            case list() | tuple() | dict():
                return f"[{len(value)} items]"
            case _:
                return type(value).__name__

    def _number(self, value: int) -> str:
        """A number, or what a handle points at."""
        match value:
            case Folio() | Page() | Mm() | Vma() | AnonVma() | Avc() | Mapping():
                return self._handle(value)
            case _:
                return str(value) if -1 << 16 < value < 1 << 16 else f"{value:#x}"

    def _handle(self, value: int) -> str:
        """What a handle points at."""
        if not value:
            return "NULL"
        match value:
            case Folio():
                return self.folio(value)
            case Page():
                return self.page(value)
            case Mm():
                return self._mm(value)
            case Vma():
                return self.vma(value)
        kind = type(value).__name__.lower()
        structs = {AnonVma: Struct.ANON_VMA, Avc: Struct.AVC}
        struct = structs.get(type(value), Struct.MAPPING)
        return f"{kind}:{value:#x}" if self._is(value, struct) else f"{kind}(gone)"

    # -- events and functions --------------------------------------------------------------

    def operands(self, event: Event) -> str:
        """What an event does to its word, without the word: `+16`, `= F1.0 RO`, `set anon`."""
        op, addr, rest = event[0], event[1], event[2:]
        if op in (ADD, TRY_ADD):
            return f"{rest[0]:+d}"
        if op in (STORE, USER_STORE, XCHG):
            return f"= {self.value(addr, rest[0])}"
        if op == CAS:
            return f"{self.value(addr, rest[0])} -> {self.value(addr, rest[1])}"
        if op == BITS:
            parts = [("set", rest[0]), ("clear", rest[1])]
            return " ".join(f"{word} {self.value(addr, bits)}" for word, bits in parts if bits)
        if op == LOCK_BIT:
            return f"bit {rest[0].bit_length() - 1}"
        if op == COPY:
            return f"from {self.name(rest[0])}"
        return ""

    def event(self, event: Event) -> str:
        """An event in a few words: the operation, the word, the operands.

        What a kernel of one's own yields may be no event at all; it is shown as the value it is.
        """
        try:
            return self._event(event)
        except (TypeError, ValueError, IndexError, AttributeError):
            return self.thing(event)

    def _event(self, event: Event) -> str:
        op, addr, rest = event[0], event[1], event[2:]
        if op == NOTE:
            return "note " + " ".join(v if isinstance(v, str) else self.thing(v) for v in rest)
        if op == TLB_FLUSH:
            region, page = self._ledger.region_of(rest[1])
            if region == "?":  # no region begins there: the flush of a whole mm
                return f"tlb_flush {self.proc(rest[0])}"
            return f"tlb_flush {self.proc(rest[0])}.{region} {page} {page + rest[2] - rest[1]}"
        if op == ALLOC:
            order = f" order {rest[1]}" if rest[1] else ""
            return f"alloc {rest[0].name.lower()}{order}"
        name = self.name(addr) if addr else ""
        return " ".join(part for part in (OP_NAMES[op], name, self.operands(event)) if part)

    def local(self, frame: Frame) -> list[tuple[str, str]]:
        """Arguments and variables of a function, arguments first."""
        found = frame.locals.items()
        return [(name, self._local(name, value)) for name, value in found if name[:2] != "__"]

    def _local(self, name: str, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, (bool, Folio, Page, Mm, Vma)):
            bare = name.removeprefix("orig_").removeprefix("old_")
            if bare in ("pte", "ptent", "entry", "pteval", "newpte") and value > pt.FLAGS_MASK:
                return self.entry(value)
            if bare.endswith(("ptep", "_pte", "ptl", "pmd")) and value > 512:
                return "&" + self.name(value)
            if bare in ("addr", "start", "end", "next_", "address") and value >= 0:
                region, page = self._ledger.region_of(value)
                return f"{region}+{page}" if region != "?" else str(value)
        return self.thing(value)
