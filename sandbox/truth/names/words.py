"""Words and values in the terms of kernel and mails: `F1.page5._mapcount`, `F1.5 RW D Y C`."""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import dataclass

from sandbox.arch.arm64 import pgtable as pt
from sandbox.machine.fields import STRUCTS, Struct, field
from sandbox.machine.frames import Frame
from sandbox.machine.memory import (
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
from sandbox.machine.offsets import COMPOUND_HEAD, PT_MM, PT_START
from sandbox.truth.ledger import Ledger, entry_kind
from sandbox.truth.names.values import page_flags, pte_flags, vm_flags

__all__ = ["Place", "Words"]

_PER_PAGE = ("_mapcount", "flags", "data", "compound_head")
_HEAD = field(Struct.PAGE, "compound_head")
_FIRST = {struct: layout.kinds[0] for struct, layout in STRUCTS.items()}
"""The field that a structure begins with: nothing else has it, so it tells what an address is."""
_SHIFTS = {"pte": 0, "pmd": 9}
"""log2 of the pages that an entry of the field translates."""
_STRUCT_NAMES = {
    Struct.ANON_VMA: "anon_vma",
    Struct.AVC: "anon_vma_chain",
    Struct.MAPPING: "address_space",
    Struct.XARRAY: "i_pages",
    Struct.SWAP: "swap_info",
    Struct.SWAP_TABLE: "swap_table",
    Struct.GLOBALS: "machine",
}


_BARE = (Struct.GLOBALS, Struct.SWAP, Struct.SWAP_TABLE)
"""Structures whose words are called by their field alone."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a word is: the object it belongs to, the kernel's name of the field, which one of it.

    The index counts pages of the folio, of the region (entries of a table), or words of an array.
    """

    object: str
    field: str
    index: int
    name: str
    """All of it in one word or a few: `F1.page5._mapcount`, `vma(A.R).vm_end`, `A.R pte 5`."""


class Words:
    """Names of the words of one machine, for people.

    Every address and every value has a name, also one that belongs to another position: what is
    not there now, or is not what the handle says, is named as gone (`vma(gone)`, `page(gone)`).
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._memory = ledger.machine.memory
        self._cells = ledger.machine.memory.cells
        self._procs = {int(mm): name for name, mm in ledger.processes().items()}
        self._limit = sys.maxsize
        self._now: int | None = None

    def at(self, event: int) -> Words:
        """The same words when an event happened: a frame is used by one folio after another."""
        if not self._ledger.former:
            return self
        other = copy(self)
        other._now = event
        return other

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
        at = (addr & ADDR_MASK) + COMPOUND_HEAD
        kinds = self._memory.kinds
        if not 0 <= at < min(len(kinds), self._limit) or kinds[at] != _HEAD:
            return None
        head = self._cells[at]
        return Folio(head) if self._is_page(head) else None

    def _is_page(self, addr: int) -> bool:
        return self._is(addr & ADDR_MASK, Struct.PAGE)

    def object_at(self, addr: int) -> tuple[int, Struct, int]:
        """The object that a word belongs to: its address, what it is, its order."""
        return self._memory.object_at(addr)

    # -- names -------------------------------------------------------------------------

    def name(self, addr: int) -> str:
        """The object and field of a word; an address alone where there is none."""
        return self.place(addr).name

    def place(self, addr: int) -> Place:
        """The object, field and index of a word; an address alone where there is none."""
        if not 0 < addr < min(len(self._cells), self._limit):
            return Place("?", "?", 0, f"{addr:#x}")
        base, struct, _order = self._memory.object_at(addr)
        field = self._memory.field_at(addr)
        if addr < base or field.struct is not struct:  # between two objects
            return Place("?", "?", 0, f"{addr:#x}")
        index = addr - base - field.offset
        match struct:
            case Struct.PAGE:
                return self._page_word(addr, field.name)
            case Struct.PTE_TABLE | Struct.PMD_TABLE:
                return self._table_word(base, addr, field.name)
            case Struct.MM:
                owner = self._mm(base)
            case Struct.VMA:
                owner = self.vma(base)
            case Struct.CPU:
                owner = f"cpu{PerCpu.cpu_of(base)}"
            case _:
                owner = _STRUCT_NAMES[struct]
        name = field.name if struct in _BARE else f"{owner}.{field.name}"
        return Place(owner, field.name, index, f"{name}[{index}]" if field.per_index else name)

    def _page_word(self, addr: int, field: str) -> Place:
        head, folio = self._head(addr), self.folio(addr)
        if head is None or field not in _PER_PAGE:
            return Place(folio, field, 0, f"{folio}.{field}")
        index = head.index_of(addr & ADDR_MASK)
        page = f".page{index}" if head.order else ""
        return Place(folio, field, index, f"{folio}{page}.{field}")

    def _table_word(self, base: int, addr: int, field: str) -> Place:
        start = self._cells[base + PT_START]
        if field in _SHIFTS:
            start += addr - base << _SHIFTS[field]
        region, page = self._ledger.region_of(start)
        owner = f"{self.proc(self._cells[base + PT_MM])}.{region}"
        return Place(owner, field, page, f"{owner} {field} {page}")

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
        return "folio(gone)" if head is None else self._ledger.name_of(head, self._now)

    def page(self, page: int) -> str:
        """A page as `F1.5`."""
        if not page:
            return "NULL"
        head = self._head(page)
        if head is None:
            return "page(gone)"
        return f"{self._ledger.name_of(head, self._now)}.{head.index_of(page)}"

    # -- values ------------------------------------------------------------------------

    def entry(self, pte: int) -> str:
        """An entry of a page table as an expectation would write it."""
        if not pte:
            return "none"
        kind = entry_kind(pte)
        if kind in ("swap", "special", "zero"):  # swap and special ones point at no page
            return kind if kind != "zero" else f"zero {pte_flags(pte)}"
        target = self.page(pt.pte_page(pte))
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
                return page_flags(value)
            if field.name == "vm_flags":
                return vm_flags(value)
            if field.name.startswith("_mm_id["):
                return f"{value:#x}"
        return self.thing(value)

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
