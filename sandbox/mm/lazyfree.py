"""MADV_FREE and MADV_COLD (mm/madvise.c, 6.6).

MADV_FREE makes pages clean and marks their folios lazyfree; MADV_COLD makes them old.  A large
folio that the range covers only in part is split first, if nobody shares it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_SWP, pte_dirty, pte_present, pte_young
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import (
    EINVAL,
    MM_SWAPENTS,
    VM_LOCKED,
    VM_SHARED,
    PG_dirty,
    PG_locked,
    PG_lru,
    PG_referenced,
    PG_swapcache,
)
from sandbox.mm.pgalloc import pmd_is_leaf

STOP = -1
"""From a range step: give up on the rest of the range."""
RETRY = 0
"""From a range step: the folio was split; look at the entry again."""


class Advised(NamedTuple):
    """What a step did to the entries it looked at."""

    done: int
    """Entries done, `STOP` or `RETRY`."""
    folio: Folio | None = None
    """The folio that was isolated."""
    swapped: int = 0
    """Swap entries that were dropped: rss says so when the table is done."""


Step = Callable[[Vma, int, int, int, int], Gen[Advised]]
"""Takes the VMA, the entry, its lock and the range left: [address, end)."""
HugeStep = Callable[[Vma, int, int, int], Gen["tuple[bool, Folio | None]"]]
"""The same for a PMD leaf: whether it is dealt with, and the folio that was isolated."""


class MadviseWalk(NamedTuple):
    """What a walk does with entries and leaves, and in which VMAs."""

    step: Step
    huge: HugeStep | None
    fit: Callable[[Vma], Gen[bool]]


class LazyfreeMixin(KernelPart):
    """Advice about how soon pages will be needed."""

    # -- frame -------------------------------------------------------------------------

    def madvise_walk(
        self,
        mm: Mm,
        start: int,
        end: int,
        step: Step,
        huge: HugeStep | None = None,
        fit: Callable[[Vma], Gen[bool]] | None = None,
    ) -> Gen[int]:
        """Walk the VMAs of a range table by table; -EINVAL for one that is not fit.

        What the steps have isolated is reclaimed when the table is done, in the range's order.
        """
        yield lock(mm.mmap_lock, READ)
        walk = MadviseWalk(step, huge, fit or self.can_madv_lru_vma)
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, self.madvise_walk_vma, walk)
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_walk_vma(
        self, vma: Vma, addr: int, end: int, walk: MadviseWalk
    ) -> Gen[tuple[int, MadviseWalk]]:
        """One VMA's part, table by table."""
        if not (yield from walk.fit(vma)):
            return -EINVAL, walk
        yield from self.lru_add_drain()
        mm = Mm((yield load(vma.vm_mm)))
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            isolated = yield from self.madvise_table(mm, vma, addr, next_, walk.step, walk.huge)
            yield from self.reclaim_pages(isolated)
            addr = next_
        return 0, walk

    def can_madv_lru_vma(self, vma: Vma) -> Gen[bool]:
        """Pages that are locked in memory stay as they are."""
        return not (yield load(vma.vm_flags)) & VM_LOCKED

    def can_madv_free_vma(self, vma: Vma) -> Gen[bool]:
        """MADV_FREE is for anonymous memory alone (madvise_free_single_vma)."""
        if (yield load(vma.vm_flags)) & (VM_LOCKED | VM_SHARED):
            return False
        return not (yield load(vma.vm_file))

    def madvise_table(
        self, mm: Mm, vma: Vma, addr: int, end: int, step: Step, huge: HugeStep | None
    ) -> Gen[tuple[Folio, ...]]:
        """One table's entries under its lock, or its leaf; what was isolated."""
        pmd = yield from self.pmd_offset(mm, addr)
        if not pmd or not (yield load(pmd)):
            return ()
        isolated: tuple[Folio, ...] = ()
        if pmd_is_leaf((yield load(pmd))):
            if huge is None:
                yield from self.split_huge_pmd(vma, pmd, addr)
            else:
                whole, folio = yield from huge(vma, pmd, addr, end)
                isolated += (folio,) if folio is not None else ()
                if whole:
                    return isolated
        return isolated + (yield from self.madvise_ptes(mm, vma, pmd, addr, end, step))

    def madvise_ptes(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, end: int, step: Step
    ) -> Gen[tuple[Folio, ...]]:
        """The entries of a table; a step may drop the lock and ask to look again."""
        isolated: tuple[Folio, ...] = ()
        swapped = 0
        while addr < end:
            ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
            if not ptl:
                break
            advised, start = Advised(RETRY), addr
            while addr < end:
                advised = yield from step(vma, ptep + addr - start, ptl, addr, end)
                isolated += (advised.folio,) if advised.folio is not None else ()
                swapped += advised.swapped
                if advised.done <= 0:
                    break
                addr += advised.done
            if advised.done == RETRY:
                continue
            if swapped:
                yield add(mm.rss_stat(MM_SWAPENTS), -swapped)
            yield unlock(ptl)
            break
        return isolated

    # -- MADV_FREE ---------------------------------------------------------------------

    def madvise_free(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_FREE of [start, end)."""
        step, huge = self.madvise_free_pte_range, self.madvise_free_huge_pmd
        ret: int
        ret = yield from self.madvise_walk(mm, start, end, step, huge, self.can_madv_free_vma)
        yield tlb_flush(mm, start, end)
        return ret

    def madvise_free_pte_range(
        self, vma: Vma, ptep: int, ptl: int, addr: int, end: int
    ) -> Gen[Advised]:
        """The entry (or batch) at *addr*; a swap entry is dropped, for zeroes are cheaper."""
        pte = yield from self.ptep_get(ptep)
        if not pte:
            return Advised(1)
        if not pte_present(pte):
            return (yield from self.madvise_free_nonpresent(vma, ptep, pte, addr, end))
        page = yield from self.vm_normal_page(pte)
        if page is None:
            return Advised(1)
        folio = yield from self.page_folio(page)
        nr = 1
        if folio.large:
            nr = yield from self.madvise_folio_batch(folio, ptep, pte, end - addr)
            if nr < folio.nr_pages:
                return Advised((yield from self.madvise_split(folio, page, ptl, nr)))
        busy = (yield load(folio.flags)) & (PG_swapcache | PG_dirty)
        if busy and not (yield from self.madvise_free_clean(folio)):
            return Advised(nr)
        batch_young_dirty = yield from self.madvise_any_young_dirty(ptep, pte, nr)
        if batch_young_dirty:
            yield from self.clear_young_dirty_ptes(
                Mm((yield load(vma.vm_mm))), addr, ptep, nr, True, True
            )
        yield from self.folio_mark_lazyfree(folio)
        return Advised(nr)

    def madvise_free_nonpresent(
        self, vma: Vma, ptep: int, pte: int, addr: int, end: int
    ) -> Gen[Advised]:
        """Swap entries go, in batches; migration entries and markers stay."""
        if not pte & PTE_SWP:
            return Advised(1)
        nr = yield from self.swap_pte_batch(ptep, end - addr, pte)
        yield from self.free_swap_and_cache_nr(pte >> PFN_SHIFT, nr)
        mm = Mm((yield load(vma.vm_mm)))
        for i in range(nr):
            yield from self.pte_clear(mm, addr + i, ptep + i)
        return Advised(nr, swapped=nr)

    def madvise_folio_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """Entries from here on that map the folio: one by one before 6.10."""
        return 1
        yield  # pragma: no cover - makes this a generator

    def madvise_any_young_dirty(self, ptep: int, pte: int, nr: int) -> Gen[bool]:
        """Is there anything to clear?"""
        for i in range(nr):
            entry = pte if i == 0 else (yield from self.ptep_get(ptep + i))
            if pte_young(entry) or pte_dirty(entry):
                return True
        return False

    def madvise_shared(self, folio: Folio) -> Gen[bool]:
        """May somebody else map the folio? By the release's own estimate."""
        return (yield from self.folio_likely_mapped_shared(folio))

    def madvise_split(self, folio: Folio, page: Page, ptl: int, nr: int) -> Gen[int]:
        """A partly covered large folio: split it unless shared; drops the lock to do so."""
        if (yield from self.madvise_shared(folio)):
            return nr
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return nr
        if (yield from self.madvise_split_locked(folio, ptl)):
            return (yield from self.madvise_after_failed_split(ptl, nr))
        return RETRY

    def madvise_split_locked(self, folio: Folio, ptl: int) -> Gen[int]:
        """Split a locked folio, which ends unlocked; drops the page-table lock to do so."""
        yield from self.folio_get(folio)
        yield unlock(ptl)
        return (yield from self.madvise_split_referenced(folio))

    def madvise_split_referenced(self, folio: Folio) -> Gen[int]:
        """Split a locked folio and give up lock and reference."""
        ret: int = yield from self.split_folio(folio)
        left = yield from self.page_folio(folio.page(0))
        yield bits(left.flags, 0, PG_locked)
        yield from self.folio_put(left)
        return ret

    def madvise_after_failed_split(self, ptl: int, nr: int) -> Gen[int]:
        """Could not be split: go on behind it, under the lock again."""
        yield lock(ptl)
        return nr

    def madvise_free_clean(self, folio: Folio) -> Gen[bool]:
        """Clear the folio's dirty flag if all its mappings are ours; False to leave it alone."""
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        ok = (yield from self.folio_mapcount(folio)) == folio.nr_pages
        if ok and (yield load(folio.flags)) & PG_swapcache:
            ok = yield from self.folio_free_swap(folio)
        if ok:
            yield bits(folio.flags, 0, PG_dirty)
        yield bits(folio.flags, 0, PG_locked)
        return ok

    # -- MADV_COLD ---------------------------------------------------------------------

    def madvise_cold(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_COLD of [start, end)."""
        step, huge = self.madvise_cold_pte_range, self.madvise_cold_huge_pmd
        ret: int = yield from self.madvise_walk(mm, start, end, step, huge)
        yield tlb_flush(mm, start, end)
        return ret

    def madvise_cold_pte_range(
        self, vma: Vma, ptep: int, ptl: int, addr: int, end: int
    ) -> Gen[Advised]:
        """Make the entry (or batch) at *addr* old and its folio inactive."""
        nr, folio = yield from self.madvise_cold_batch(vma, ptep, ptl, addr, end)
        if folio is not None:
            yield bits(folio.flags, 0, PG_referenced)
            yield from self.folio_deactivate(folio)
        return Advised(nr)

    def madvise_cold_batch(
        self, vma: Vma, ptep: int, ptl: int, addr: int, end: int, pageout: bool = False
    ) -> Gen[tuple[int, Folio | None]]:
        """(entries done, the folio to deactivate if it may be); clears young on the way."""
        pte = yield from self.ptep_get(ptep)
        if not pte or not pte_present(pte):
            return 1, None
        page = yield from self.vm_normal_page(pte)
        if page is None:
            return 1, None
        folio = yield from self.page_folio(page)
        nr = 1
        if folio.large:
            nr = yield from self.madvise_folio_batch(folio, ptep, pte, end - addr)
            if nr < folio.nr_pages:
                return (yield from self.madvise_split(folio, page, ptl, nr)), None
        on_lru = (yield load(folio.flags)) & PG_lru
        if not on_lru or (yield from self.folio_mapcount(folio)) != nr:
            return nr, None
        if pte_young(pte) and not pageout:
            mm = Mm((yield load(vma.vm_mm)))
            yield from self.clear_young_dirty_ptes(mm, addr, ptep, nr, True, False)
        return nr, folio
