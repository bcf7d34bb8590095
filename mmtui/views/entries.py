"""Reading page tables for display: entries by page of a region, and their glyphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmtui.model.selection import Area
from sandbox.arch.arm64 import pgtable as pt
from sandbox.machine.memory import Mm, Page
from sandbox.machine.offsets import LAST_ENTRY
from sandbox.truth.ledger import entry_kind, vmas_of

__all__ = ["GLYPH_LEGEND", "Entry", "attribute", "glyph", "in_vma", "read_entries"]

GLYPH_LEGEND = (
    ("W", "present and writable"),
    ("r", "present and read-only"),
    (".", "mapped by the VMA, no entry yet"),
    (" ", "no VMA there"),
    ("z", "the zero page"),
    ("n", "PROT_NONE"),
    ("s", "swapped out"),
    ("m", "a migration entry"),
    ("P p", "part of a PMD leaf, writable or read-only"),
    ("[ ]", "around a block of 16 entries with PTE_CONT"),
    ("( )", "around a block of which only some entries have PTE_CONT"),
    ("d y b", "second row: dirty, young (access flag), both"),
    ("X", "third row: the page is AnonExclusive"),
)
"""What the glyphs of the page tables mean, for the help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What translates one page: the word it stands in and its value, 0 and 0 for none."""

    word: int
    value: int

    @property
    def page(self) -> Page | None:
        """The `struct page` it points at, if it points at one that is counted."""
        kinds = ("present", "protnone", "migration", "pmd")
        if not self.value or entry_kind(self.value) not in kinds:
            return None
        return pt.pte_page(self.value)


def read_entries(cells: list[Any], area: Area, first: int, count: int) -> list[Entry]:
    """The entries of pages [first, first + count) of a region."""
    out: list[Entry] = []
    addr, end = area.base + first, area.base + first + count
    mm = Mm(area.mm)
    while addr < end:
        stop = min((addr | LAST_ENTRY) + 1, end)
        table = cells[mm.pud(addr)]
        pmd_word = table + pt.pmd_index(addr) if table else 0
        pmd = cells[pmd_word] if pmd_word else 0
        if pmd & pt.PTE_HUGE:
            frame = pmd + (pt.pte_index(addr) << pt.PFN_SHIFT)
            out += [Entry(pmd_word, frame + (i << pt.PFN_SHIFT)) for i in range(stop - addr)]
        elif pmd:
            start = pt.pmd_table(pmd) + pt.pte_index(addr)
            out += [Entry(word, cells[word]) for word in range(start, start + stop - addr)]
        else:
            out += [Entry(0, 0)] * (stop - addr)
        addr = stop
    return out


def in_vma(cells: list[Any], area: Area, first: int, count: int) -> list[bool]:
    """Whether each page of [first, first + count) lies in a VMA."""
    inside = [False] * count
    for start, end in _spans(cells, area):
        low, high = max(start - first, 0), min(end - first, count)
        if low < high:
            inside[low:high] = [True] * (high - low)
    return inside


def _spans(cells: list[Any], area: Area) -> Iterator[tuple[int, int]]:
    for vma in vmas_of(cells, area.mm):
        yield cells[vma.vm_start] - area.base, cells[vma.vm_end] - area.base


_KINDS = {"zero": "z", "protnone": "n", "swap": "s", "migration": "m", "special": "?"}


def glyph(pte: int, inside: bool) -> str:
    """One glyph for an entry."""
    if not pte:
        return "." if inside else " "
    kind = entry_kind(pte)
    if kind in _KINDS:
        return _KINDS[kind]
    writable = pt.pte_write(pte)
    if kind == "pmd":
        return "P" if writable else "p"
    return "W" if writable else "r"


def attribute(pte: int) -> str:
    """One glyph for dirty and young."""
    if not pt.pte_present(pte):
        return " "
    dirty, young = pt.pte_dirty(pte), pt.pte_young(pte)
    return ("b" if young else "d") if dirty else ("y" if young else "-")
