"""/proc/PID/smaps: per VMA, what of it is resident, shared, dirty (fs/proc/task_mmu.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.arch.arm64.pgtable import (
    CONT_PTES,
    HPAGE_PMD_NR,
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_SPECIAL,
    PTE_SWP,
    pte_dirty,
    pte_present,
    pte_valid_cont,
    pte_young,
)
from sandbox.machine.memory import PAGE_WORDS, Folio, Mm, Page, Vma, page_of_pfn
from sandbox.machine.offsets import TABLE_MAP
from sandbox.mm import flags as f
from sandbox.truth.procfs.pages import average_mapcount, maybe_mapped_shared, precise_mapcount

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["MemSizeStats", "smaps"]

PAGE_SIZE = 4096
PSS_SHIFT = 12


@dataclass(slots=True)
class MemSizeStats:
    """Sums over one VMA, in bytes; those of `pss` and its parts in 1/4096 bytes."""

    vma: Vma
    size: int = 0
    resident: int = 0
    shared_clean: int = 0
    shared_dirty: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    referenced: int = 0
    anonymous: int = 0
    ksm: int = 0
    lazyfree: int = 0
    anonymous_thp: int = 0
    swap: int = 0
    pss: int = 0
    pss_dirty: int = 0
    pss_locked: int = 0
    swap_pss: int = 0

    def kilobytes(self, name: str) -> int:
        """A sum as smaps shows it, rounded down to kB."""
        value: int = getattr(self, name)
        return value >> (10 + (PSS_SHIFT if "pss" in name else 0))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry as smaps_account() is told of it."""

    young: bool
    dirty: bool
    locked: bool
    present: bool


def smaps(session: Session, mm: Mm) -> list[MemSizeStats]:
    """What each VMA of a process maps, in address order."""
    cells = session.ledger.cells
    out = [MemSizeStats(vma) for vma in session.ledger.vmas(mm)]
    at = 0
    for stats in out:
        stats.size = (cells[stats.vma.vm_end] - cells[stats.vma.vm_start]) * PAGE_SIZE
    for addr, word, pte in session.ledger.leaf_entries(mm):
        while at < len(out) and addr >= cells[out[at].vma.vm_end]:
            at += 1
        if at < len(out) and addr >= cells[out[at].vma.vm_start]:
            _walk_entry(session, out[at], word, pte)
    return out


def _walk_entry(session: Session, stats: MemSizeStats, word: int, pte: int) -> None:
    """`smaps_pte_entry` and `smaps_pmd_entry`."""
    cells = session.ledger.cells
    if pte & PTE_SWP:
        count = cells[session.ledger.slot_word(TABLE_MAP, pte >> PFN_SHIFT)]
        stats.swap += PAGE_SIZE
        stats.swap_pss += (PAGE_SIZE << PSS_SHIFT) // max(count, 1)
        return
    if pte & PTE_SPECIAL or not (pte_present(pte) or pte & PTE_MIGRATION):
        return
    present = pte_present(pte)
    young, dirty = _young_dirty(session, word, pte) if present else (False, False)
    locked = bool(cells[stats.vma.vm_flags] & f.VM_LOCKED)
    page = page_of_pfn(pte >> PFN_SHIFT)
    nr = 1
    if pte & PTE_HUGE:
        nr = HPAGE_PMD_NR
        if cells[session.ledger.folio(page).flags] & f.PG_anon:
            stats.anonymous_thp += nr * PAGE_SIZE
    _account(session, stats, page, nr, _Entry(young, dirty, locked, present))


def _young_dirty(session: Session, word: int, pte: int) -> tuple[bool, bool]:
    """Young and dirty as ptep_get() gives them: gathered over a contiguous block."""
    young, dirty = pte_young(pte), pte_dirty(pte)
    if pte_valid_cont(pte) and not pte & PTE_HUGE:
        n = getattr(session.kernel, "CONT_PTES", CONT_PTES)
        block = session.ledger.cells[word & -n : (word & -n) + n]
        young = any(pte_young(entry) for entry in block)
        dirty = any(pte_dirty(entry) for entry in block)
    return young, dirty


def _account(session: Session, stats: MemSizeStats, page: Page, nr: int, entry: _Entry) -> None:
    """`smaps_account` of *nr* pages; how sharing is told differs by release."""
    cells, kernel = session.ledger.cells, session.kernel
    folio = session.ledger.folio(page)
    flags, size = cells[folio.flags], nr * PAGE_SIZE
    dirty = entry.dirty or bool(flags & f.PG_dirty)
    if flags & f.PG_anon:
        stats.anonymous += size
        stats.lazyfree += size * (not flags & f.PG_swapbacked and not dirty)
    stats.ksm += size * bool(flags & f.PG_ksm)
    stats.resident += size
    stats.referenced += size * (entry.young or bool(flags & f.PG_referenced))
    if cells[folio._refcount] == 1 or not entry.present:
        # One reference: mapped once. Not present: once as well, and since 6.11 "maybe shared".
        private = entry.present or not kernel.has_large_mapcount
        _accumulate(stats, size, size << PSS_SHIFT, dirty, entry.locked, private)
        return
    for i in range(nr):
        mapcount, private = _sharing(session, folio, Page(page + PAGE_WORDS * i))
        pss = (PAGE_SIZE << PSS_SHIFT) // max(mapcount, 1)
        _accumulate(stats, PAGE_SIZE, pss, dirty, entry.locked, private)


def _sharing(session: Session, folio: Folio, page: Page) -> tuple[int, bool]:
    """(mappings that share the page, is it private)."""
    if session.kernel.has_page_mapcount:
        mapcount = precise_mapcount(session, page)
        return mapcount, mapcount < 2
    return average_mapcount(session, folio), not maybe_mapped_shared(session, folio)


def _accumulate(
    stats: MemSizeStats, size: int, pss: int, dirty: bool, locked: bool, private: bool
) -> None:
    """`smaps_page_accumulate`."""
    stats.pss += pss
    stats.pss_dirty += pss * dirty
    stats.pss_locked += pss * locked
    name = f"{'private' if private else 'shared'}_{'dirty' if dirty else 'clean'}"
    setattr(stats, name, getattr(stats, name) + size)
