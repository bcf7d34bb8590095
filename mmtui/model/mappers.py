"""Who maps a folio: the places in processes where its pages are, or would be found by rmap."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmtui.model.entries import Entry, read_entries
from mmtui.model.selection import Area
from sandbox.machine.memory import ADDR_MASK, Folio, Mm, Vma
from sandbox.mm.flags import PG_anon
from sandbox.run.session import Session

__all__ = ["MOST", "Mapper", "mappers_of", "window_of"]

MOST = 24
"""Processes that are looked at for one folio; where more map it, so many of them."""


@dataclass(frozen=True, slots=True)
class Mapper:
    """A stretch of a process's addresses that stands for all pages of a folio, in their order."""

    proc: str
    mm: int
    region: str
    first: int
    """The page of the region at which page 0 of the folio is; may be below 0."""
    base: int
    """The virtual page of page 0."""
    spans: tuple[tuple[int, int], ...]
    """The pages of the folio that lie in VMAs there: [low, high) of each."""

    def entries(self, cells: list[int], low: int, high: int) -> list[Entry | None]:
        """The entries for pages [low, high) of the folio, None outside of the VMA."""
        found: list[Entry | None] = [None] * (high - low)
        for start, end in self.spans:
            first, after = max(low, start), min(high, end)
            if first < after:
                area = Area(self.proc, self.mm, self.region, self.base, after)
                found[first - low : after - low] = read_entries(cells, area, first, after - first)
        return found


def mappers_of(session: Session, folio: Folio) -> list[Mapper]:
    """Where a folio is mapped or would be: processes that map it, and those that share the region.

    In the order of the processes; of more than `MOST` processes only those that map it.
    """
    ledger = session.ledger
    owners = ledger.owners.get(folio & ADDR_MASK, {})
    procs = list(ledger.book.processes.items())
    if len(procs) > MOST:
        procs = [(name, mm) for name, mm in procs if mm in owners][:MOST]
    found = [place for name, mm in procs for place in _joined(_places(session, folio, name, mm))]
    shared = {
        (place.region, place.base)
        for place in found
        if place.mm in owners and _points_at(session, place, folio)
    }
    return [place for place in found if (place.region, place.base) in shared]


def _places(session: Session, folio: Folio, name: str, mm: Mm) -> list[Mapper]:
    """The VMAs of a process that have room for pages of the folio, as rmap computes it."""
    cells, kernel = session.machine.memory.cells, session.cpus[0]
    anon, index = cells[folio.flags] & PG_anon, cells[folio.index]
    mapping = cells[folio.mapping]
    found = []
    for vma in session.ledger.vmas(mm):
        if not anon and cells[vma.vm_file] != mapping:
            continue
        word = kernel.anon_pgoff_word(vma) if anon else vma.vm_pgoff
        start, end = cells[vma.vm_start], cells[vma.vm_end]
        base = start + index - cells[word]
        low, high = max(start - base, 0), min(end - base, folio.nr_pages)
        if low < high:
            region, first = _named(session, mm, vma, base + low)
            found.append(Mapper(name, int(mm), region, first - low, base, ((low, high),)))
    return found


def _joined(places: list[Mapper]) -> list[Mapper]:
    """One place where several VMAs continue each other."""
    found: dict[tuple[str, int], Mapper] = {}
    for place in places:
        key = place.region, place.base
        known = found.get(key)
        found[key] = place if known is None else replace(known, spans=known.spans + place.spans)
    return list(found.values())


def window_of(session: Session, place: Mapper, first: int, base: int) -> Mapper:
    """The 16 pages of a region from *first* on, in the process of a place."""
    cells = session.machine.memory.cells
    spans = []
    for vma in session.ledger.vmas(place.mm):
        low, high = max(cells[vma.vm_start] - base, 0), min(cells[vma.vm_end] - base, 16)
        if low < high:
            spans.append((low, high))
    return replace(place, first=first, base=base, spans=tuple(spans))


def _named(session: Session, mm: Mm, vma: Vma, addr: int) -> tuple[str, int]:
    """The region of a process that an address is in, and the page of it."""
    for region in session.book.regions(mm):
        if region.base <= addr < region.base + region.pages:
            return region.name, addr - region.base
    return "?", addr - session.machine.memory.cells[vma.vm_start]


def _points_at(session: Session, place: Mapper, folio: Folio) -> bool:
    """Whether an entry of a place leads to a page of the folio."""
    cells = session.machine.memory.cells
    head = folio & ADDR_MASK
    for entry in place.entries(cells, 0, folio.nr_pages):
        page = None if entry is None else entry.page
        if page is not None and cells[page.compound_head] & ADDR_MASK == head:
            return True
    return False
