"""The descriptor under the cursor as the hardware has it: every field, its bits, what it says.

Bits are those of arm64 Linux with 4K pages (arch/arm64/include/asm/pgtable-hwdef.h,
pgtable-prot.h and pgtable.h, 7.2); what the model does not keep is as Linux sets it.
"""

from __future__ import annotations

from mmtui.model.bench import Bench
from mmtui.model.entries import read_entries
from mmtui.model.selection import areas_of
from mmtui.views.lines import EMPTY, Line, join, say
from sandbox.arch.arm64 import pgtable as pt
from sandbox.truth.ledger import entry_kind
from sandbox.truth.names.words import Words

__all__ = ["descriptor_lines", "fields_of"]

Field = tuple[str, str, str, str]
"""Bits, name, value, and what it says."""


_CONSTANT = ("-", "AttrIndx")
"""Fields that are the same in every entry of the model."""


def descriptor_lines(bench: Bench, *, brief: bool = False) -> tuple[Line, ...]:
    """The entry of the selected page, field by field; nothing where there is no region.

    *brief* leaves out fields that never differ, and the blank line at the end.
    """
    area = bench.selection.area(areas_of(bench.session))
    if area is None:
        return ()
    cells, page = bench.session.machine.memory.cells, bench.selection.page
    value = read_entries(cells, area, page, 1)[0].value
    words = Words(bench.session.ledger)
    place = f" {area.proc}.{area.region} {page}"
    head = join(((place, "strong"), (f" = {words.entry(value)}", "")))
    if not value:
        return head, say("   0: nothing is mapped, an access faults", "dim"), EMPTY
    bit, label, number = (6, 14, 6) if brief else (9, 16, 10)
    rows = [
        join(
            ((f"{bits:>{bit}} ", "dim"), (f"{name:<{label}} ", "strong")),
            ((f"{shown:<{number}} ", ""),),
            ((meaning.removeprefix("software: ") if brief else meaning, "dim"),),
        )
        for bits, name, shown, meaning in fields_of(value, words.page(pt.pte_page(value)))
        if not (brief and name in _CONSTANT)
    ]
    return (head, *rows) if brief else (head, *rows, EMPTY)


def fields_of(pte: int, page: str = "") -> list[Field]:
    """The fields of an entry from bit 63 down; *page* is what its frame is called."""
    kind = entry_kind(pte)
    if kind in ("present", "zero", "pmd", "protnone"):
        return _present(pte, kind, page)
    return _swap(pte, kind, page)


def _bit(pte: int, mask: int) -> str:
    return "1" if pte & mask else "0"


def _present(pte: int, kind: str, page: str) -> list[Field]:
    """A page or block descriptor."""
    valid, writable = bool(pte & pt.PTE_VALID), bool(pte & pt.PTE_WRITE)
    clean = bool(pte & pt.PTE_RDONLY)
    dirty = "the hardware refuses a write" if clean else "a write needs no fault"
    frame = f"the frame of {page}" if page else "the frame"
    young = "young: used since cleared" if pte & pt.PTE_AF else "old"
    leaf = "a block of 2M" if kind == "pmd" else "a page of 4K"
    low = "21" if kind == "pmd" else "12"
    cont = "of 16 that one TLB entry holds" if pte & pt.PTE_CONT else "by itself"
    return [
        ("63:59", "-", "0", "ignored by the hardware, PBHA"),
        ("58", "UFFD_WP", _bit(pte, pt.PTE_UFFD_WP), "software: userfaultfd wants to see writes"),
        ("56", "SPECIAL", _bit(pte, pt.PTE_SPECIAL), "software: no struct page is counted"),
        ("55", "DIRTY", _bit(pte, pt.PTE_DIRTY), "software: written to, whatever bit 7 says"),
        ("54:53", "UXN PXN", "1 1", "no execution, user or kernel"),
        ("52", "CONT", _bit(pte, pt.PTE_CONT), cont),
        (
            "51",
            "DBM (WRITE)",
            _bit(pte, pt.PTE_WRITE),
            "software: writable" if writable else "software: read-only",
        ),
        (f"47:{low}", "address", f"{pt.pte_pfn(pte):#x}", frame),
        (
            "11",
            "nG",
            "1",
            "of one address space (ASID)" if valid else "PTE_PRESENT_INVALID: bit 0 is clear",
        ),
        ("10", "AF", _bit(pte, pt.PTE_AF), young),
        ("9:8", "SH", "3", "inner shareable"),
        ("7", "AP[2] (RDONLY)", _bit(pte, pt.PTE_RDONLY), dirty),
        (
            "6",
            "AP[1] (USER)",
            "1" if valid else "0",
            "processes may use it" if valid else "no process may use it",
        ),
        ("4:2", "AttrIndx", "0", "normal memory"),
        ("1", "type", "0" if kind == "pmd" else "1", leaf),
        (
            "0",
            "valid",
            _bit(pte, pt.PTE_VALID),
            "the hardware uses it" if valid else "an access faults",
        ),
    ]


def _swap(pte: int, kind: str, page: str) -> list[Field]:
    """An entry that is not present: what software has put where the hardware does not look."""
    kinds = {
        "swap": "of a swap device",
        "migration": "SWP_MIGRATION_*: the page is being moved, or a leaf split",
    }
    exclusive = pte & (pt.PTE_SWP_EXCLUSIVE | pt.PTE_MIGRATION_EXCLUSIVE)
    what = f"of {page}" if kind == "migration" else "the slot" if kind == "swap" else "of a marker"
    return [
        ("61:12", "offset", f"{pte >> pt.PFN_SHIFT:#x}", what),
        ("11", "nG", "0", "not PTE_PRESENT_INVALID"),
        ("10:6", "type", kind, kinds.get(kind, "SWP_PTE_MARKER or of a device")),
        ("3", "SWP_UFFD_WP", _bit(pte, pt.PTE_UFFD_WP), "userfaultfd's protection outlives it"),
        ("2", "SWP_EXCLUSIVE", "1" if exclusive else "0", "the page was AnonExclusive"
         if exclusive else "others may have the page"),
        ("1:0", "valid", "0", "an access faults; software reads the rest"),
    ]  # fmt: skip
