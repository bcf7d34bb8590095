"""Reading page tables: the entries of a region's pages, and which of them lie in a VMA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmtui.model.selection import Area
from sandbox.arch.arm64 import pgtable as pt
from sandbox.machine.memory import Mm, Page
from sandbox.machine.offsets import LAST_ENTRY
from sandbox.truth.ledger import entry_kind, vmas_of

__all__ = ["Entry", "in_vma", "read_entries"]


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
