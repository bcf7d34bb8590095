"""MADV_FREE, MADV_COLD and MADV_PAGEOUT of a folio that a PMD maps.

Source: mm/huge_memory.c madvise_free_huge_pmd and mm/madvise.c
madvise_cold_or_pageout_pte_range (6.6 to 7.2).  Advice for the whole folio leaves it whole;
advice for a part splits the folio, unless somebody shares it.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_SPECIAL,
    pte_dirty,
    pte_mkclean,
    pte_mkold,
    pte_pfn,
    pte_present,
    pte_young,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Vma,
    bits,
    load,
    lock,
    lock_bit,
    page_of_pfn,
    store,
    unlock,
)
from sandbox.mm.flags import PG_dirty, PG_locked, PG_referenced
from sandbox.mm.pgalloc import pmd_is_leaf


class MadviseHugeMixin(KernelPart):
    """Advice about PMD-mapped folios; each function says whether the entry is dealt with."""

    def madvise_free_huge_pmd(
        self, vma: Vma, pmd: int, addr: int, end: int
    ) -> Gen[tuple[bool, None]]:
        """Clean the folio and its entry and mark it lazyfree; split it for a part."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        if not pmd_is_leaf((yield load(pmd))):  # pmd_trans_huge_lock()
            yield unlock(ptl)
            return False, None
        folio = yield from self.madvise_huge_folio(pmd)
        if folio is None or (yield bits(folio.flags, PG_locked)) & PG_locked:
            yield unlock(ptl)
            return True, None
        if end - addr != HPAGE_PMD_NR:
            yield from self.madvise_split_locked(folio, ptl)
            return False, None
        if (yield load(folio.flags)) & PG_dirty:
            yield bits(folio.flags, 0, PG_dirty)
        yield bits(folio.flags, 0, PG_locked)
        entry = yield load(pmd)
        if pte_young(entry) or pte_dirty(entry):
            yield from self.madvise_set_pmd(vma, pmd, addr, clean=True)
        yield from self.folio_mark_lazyfree(folio)
        yield unlock(ptl)
        return True, None

    def madvise_cold_huge_pmd(
        self, vma: Vma, pmd: int, addr: int, end: int
    ) -> Gen[tuple[bool, None]]:
        """Make the entry old and the folio inactive; split it for a part."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        if not pmd_is_leaf((yield load(pmd))):
            yield unlock(ptl)
            return False, None
        folio = yield from self.madvise_huge_folio(pmd)
        if folio is None or end - addr != HPAGE_PMD_NR:
            return (yield from self.madvise_huge_part(folio, ptl)), None
        if pte_young((yield load(pmd))):
            yield from self.madvise_set_pmd(vma, pmd, addr, clean=False)
        yield bits(folio.flags, 0, PG_referenced)
        yield from self.folio_deactivate(folio)
        yield unlock(ptl)
        return True, None

    def madvise_pageout_huge_pmd(
        self, vma: Vma, pmd: int, addr: int, end: int
    ) -> Gen[tuple[bool, Folio | None]]:
        """Isolate the folio for reclaim; split it for a part."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        if not pmd_is_leaf((yield load(pmd))):
            yield unlock(ptl)
            return False, None
        folio = yield from self.madvise_huge_folio(pmd)
        if folio is None or end - addr != HPAGE_PMD_NR:
            return (yield from self.madvise_huge_part(folio, ptl)), None
        yield bits(folio.flags, 0, PG_referenced)
        isolated = yield from self.folio_isolate_lru(folio)
        yield unlock(ptl)
        return True, folio if isolated else None

    def madvise_huge_folio(self, pmd: int) -> Gen[Folio | None]:
        """The folio a leaf maps, or None if it is to be left alone (the zero folio, shared)."""
        entry = yield load(pmd)
        if not pmd_is_leaf(entry) or not pte_present(entry) or entry & PTE_SPECIAL:
            return None
        folio: Folio = yield from self.page_folio(page_of_pfn(pte_pfn(entry)))
        return None if (yield from self.madvise_shared(folio)) else folio

    def madvise_huge_part(self, folio: Folio | None, ptl: int) -> Gen[bool]:
        """Nothing to do, or a part: True unless the pages are to be looked at one by one."""
        if folio is None:
            yield unlock(ptl)
            return True
        yield from self.folio_get(folio)
        yield unlock(ptl)
        yield lock_bit(folio.flags, PG_locked)
        return (yield from self.madvise_split_referenced(folio)) != 0

    def madvise_set_pmd(self, vma: Vma, pmd: int, addr: int, clean: bool) -> Gen[None]:
        """Invalidate the leaf and set it again old (and clean)."""
        mm = Mm((yield load(vma.vm_mm)))
        entry = pte_mkold((yield from self.pmdp_invalidate(mm, addr, pmd)))
        yield store(pmd, pte_mkclean(entry) if clean else entry)
