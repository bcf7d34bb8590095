"""Collapsing a PMD range into one folio (mm/khugepaged.c: MADV_COLLAPSE; 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PFN_SHIFT,
    PTE_HUGE,
    PTE_SPECIAL,
    pfn_pte,
    pte_mkdirty,
    pte_mkwrite,
    pte_present,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    WRITE,
    AnonVma,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    copy_page,
    load,
    lock,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import EAGAIN, EINVAL, MM_ANONPAGES, VM_WRITE, PG_locked, PG_lru, PG_uptodate
from sandbox.mm.pgalloc import PTL_OFFSET, pmd_is_leaf, pmd_table

Source = tuple[int, Page, Folio]
"""One present entry of the range: (index in the table, page, folio)."""


class KhugepagedMixin(KernelPart):
    """MADV_COLLAPSE of anonymous memory."""

    def madvise_collapse(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """Collapse every whole PMD range of [start, end); -EAGAIN when pages are in use."""
        yield lock(mm.mmap_lock, READ)
        visit = self.madvise_collapse_vma
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, visit, mm)
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_collapse_vma(self, vma: Vma, start: int, end: int, mm: Mm) -> Gen[tuple[int, Mm]]:
        """One VMA's part; each range of a PMD gives mmap_lock up."""
        ret = -EINVAL
        for haddr in range(-(-start // HPAGE_PMD_NR) * HPAGE_PMD_NR, end, HPAGE_PMD_NR):
            if haddr + HPAGE_PMD_NR <= end:
                yield unlock(mm.mmap_lock)
                ret = yield from self.collapse_huge_page(mm, haddr)
                yield lock(mm.mmap_lock, READ)
        return ret, mm

    def collapse_huge_page(self, mm: Mm, haddr: int) -> Gen[int]:
        """One PMD range: take the table out, check and isolate, copy, install the folio."""
        yield from self.lru_add_drain()
        folio = yield from self.vma_alloc_anon_folio_pmd()
        yield lock(mm.mmap_lock)
        vma = yield from self.find_vma(mm, haddr)
        pmd = yield from self.pmd_offset(mm, haddr)
        pmdval = (yield load(pmd)) if pmd else 0
        fits = vma is not None and (yield load(vma.vm_start)) <= haddr
        fits = fits and vma is not None and haddr + HPAGE_PMD_NR <= (yield load(vma.vm_end))
        if not fits or not pmdval or pmd_is_leaf(pmdval) or vma is None:
            yield unlock(mm.mmap_lock)
            yield from self.folio_put(folio)
            return 0 if pmdval and pmd_is_leaf(pmdval) else -EINVAL
        yield from self.anon_vma_prepare(vma)
        ret = yield from self.collapse_table(mm, vma, pmd, pmdval, haddr, folio)
        yield unlock(mm.mmap_lock)
        if ret:
            yield from self.folio_put(folio)
        return ret

    def collapse_table(
        self, mm: Mm, vma: Vma, pmd: int, pmdval: int, haddr: int, folio: Folio
    ) -> Gen[int]:
        """Between the PMD's clearing and its new value nobody can walk the range."""
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        yield from self.vma_start_write(vma)
        yield lock(anon_vma.rwsem, WRITE)
        pmd_ptl = self.pmd_lockptr(pmd, haddr)
        yield lock(pmd_ptl)
        yield xchg(pmd, 0)
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        yield unlock(pmd_ptl)
        table = pmd_table(pmdval)
        sources = yield from self.collapse_isolate(mm, table)
        yield unlock(anon_vma.rwsem)
        if sources is None:
            yield lock(pmd_ptl)
            yield store(pmd, pmdval)
            yield unlock(pmd_ptl)
            return -EAGAIN
        yield from self.collapse_copy(mm, vma, haddr, table, sources, folio)
        yield lock(pmd_ptl)
        yield from self.folio_add_new_anon_rmap(folio, vma, haddr)
        yield from self.folio_add_lru_vma(folio, vma)
        yield add(mm.rss_stat(MM_ANONPAGES), HPAGE_PMD_NR - len(sources))
        entry = pfn_pte(folio.pfn, (yield from self.vm_page_prot(vma))) | PTE_HUGE
        if (yield load(vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(pte_mkdirty(entry))
        yield store(pmd, entry)
        if self.queue_new_thp:
            yield from self.deferred_split_folio(folio, False)
        yield unlock(pmd_ptl)
        return 0

    def collapse_isolate(self, mm: Mm, table: int) -> Gen[tuple[Source, ...] | None]:
        """Lock and isolate every folio of the detached table; None when one is in use elsewhere."""
        ptl = table + PTL_OFFSET
        sources: list[Source] = []
        seen: list[Folio] = []
        ok = True
        yield lock(ptl)
        for i in range(HPAGE_PMD_NR):
            pte = yield from self.ptep_get(table + i)
            if not pte or pte & PTE_SPECIAL:
                continue
            ok = pte_present(pte)
            if not ok:
                break
            page = page_of_pfn(pte >> PFN_SHIFT)
            folio = yield from self.page_folio(page)
            if folio not in seen:
                ok = yield from self.collapse_isolate_folio(folio)
                if not ok:
                    break
                seen.append(folio)
            sources.append((i, page, folio))
        yield unlock(ptl)
        if ok:
            return tuple(sources)
        for folio in seen:
            yield bits(folio.flags, PG_lru, PG_locked)
            yield from self.folio_put(folio)
        return None

    def collapse_isolate_folio(self, folio: Folio) -> Gen[bool]:
        """Only mappings may refer to the folio (folio_expected_ref_count)."""
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        mapped = yield from self.folio_mapcount(folio)
        if (yield load(folio._refcount)) == mapped and (yield from self.folio_isolate_lru(folio)):
            return True
        yield bits(folio.flags, 0, PG_locked)
        return False

    def collapse_copy(
        self, mm: Mm, vma: Vma, haddr: int, table: int, sources: tuple[Source, ...], folio: Folio
    ) -> Gen[None]:
        """Copy the contents; then the old entries, mappings and references go."""
        for i, page, _ in sources:
            yield copy_page(folio.page(i), page)
        yield bits(folio.flags, PG_uptodate)
        ptl = table + PTL_OFFSET
        yield lock(ptl)
        for i in range(HPAGE_PMD_NR):
            if (yield load(table + i)):
                yield from self.ptep_get_and_clear(mm, haddr + i, table + i)
        for _, page, source in sources:
            yield from self.folio_remove_rmap_pte(source, page, vma)
        yield unlock(ptl)
        released: list[Folio] = []
        for _, _, source in sources:
            if source not in released:
                released.append(source)
                yield bits(source.flags, PG_lru, PG_locked)
                yield from self.folio_put(source)
            yield from self.folio_put(source)
