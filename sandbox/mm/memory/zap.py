"""Unmapping: zap, and the gather that delays references (mm/memory.c, mm/mmu_gather.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MIGRATION,
    PTE_SWP,
    pte_dirty,
    pte_pfn,
    pte_present,
    pte_young,
)
from sandbox.kernels.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Page,
    PerCpu,
    Vma,
    bits,
    load,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import MM_SWAPENTS, PG_anon, PG_referenced
from sandbox.mm.pgalloc import pmd_is_leaf

MAX_GATHER_BATCH = 510
"""Items a gather holds before it must be flushed (one page of them; the kernel chains several)."""


class MmuGather:
    """What a zap collects on its stack: the TLB range and whether it must flush early."""

    __slots__ = ("delayed_rmap", "end", "fullmm", "items", "mm", "start")

    def __init__(self, mm: Mm, *, fullmm: bool = False) -> None:
        self.mm = mm
        self.fullmm = fullmm
        self.start = self.end = -1
        self.delayed_rmap = False
        self.items: list[tuple[Folio, Page, int, bool]] = []


class ZapMixin(KernelPart):
    """zap_pte_range and the gather."""

    # -- gather ------------------------------------------------------------------------

    def tlb_remove_tlb_entries(self, tlb: MmuGather, addr: int, nr: int) -> None:
        """Widen the range to flush (local, no memory touched)."""
        tlb.start = addr if tlb.start < 0 else min(tlb.start, addr)
        tlb.end = max(tlb.end, addr + nr)

    def tlb_remove_folio_pages(
        self, tlb: MmuGather, folio: Folio, page: Page, nr: int, delay: bool
    ) -> Gen[bool]:
        """Park *nr* references in the gather; True when it is full (`__tlb_remove_folio_pages`)."""
        i = yield load(PerCpu.gather_nr(self.cpu))
        yield store(PerCpu.gather_page(self.cpu, i), page << 11 | nr << 1 | delay)
        yield store(PerCpu.gather_nr(self.cpu), i + 1)
        tlb.items.append((folio, page, nr, delay))
        return i + 1 >= MAX_GATHER_BATCH

    def tlb_flush_mmu_tlbonly(self, tlb: MmuGather) -> Gen[None]:
        """Flush the translations recorded so far."""
        if tlb.end >= 0 or tlb.fullmm:
            yield tlb_flush(tlb.mm, tlb.start, tlb.end)
        tlb.start = tlb.end = -1

    def tlb_flush_mmu(self, tlb: MmuGather) -> Gen[None]:
        """Flush, then drop the parked references (free_pages_and_swap_cache)."""
        yield from self.tlb_flush_mmu_tlbonly(tlb)
        yield from self.lru_add_drain()
        items, tlb.items = tlb.items, []
        for folio, _page, nr, _delay in items:
            yield from self.free_swap_cache(folio)
            yield from self.folio_put(folio, nr)
        if items:
            yield store(PerCpu.gather_nr(self.cpu), 0)

    def tlb_flush_rmaps(self, tlb: MmuGather, vma: Vma) -> Gen[None]:
        """Remove the delayed rmaps, after the flush and still under the page-table lock."""
        for folio, page, nr, delay in tlb.items:
            if delay:
                yield from self.folio_remove_rmap_ptes(folio, page, nr, vma)
        tlb.items = [(f, p, n, False) for f, p, n, _ in tlb.items]
        tlb.delayed_rmap = False

    # -- walking -----------------------------------------------------------------------

    def unmap_vmas(self, tlb: MmuGather, vmas: list[Vma], start: int, end: int) -> Gen[None]:
        """Zap the parts of *vmas* within [start, end)."""
        for vma in vmas:
            lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
            if lo < hi:
                yield from self.unmap_page_range(tlb, vma, lo, hi)

    def unmap_page_range(self, tlb: MmuGather, vma: Vma, addr: int, end: int) -> Gen[None]:
        """Walk the PMDs of a range (zap_pmd_range)."""
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(tlb.mm, addr)
            if pmd:
                pmdval = yield load(pmd)
                if pmd_is_leaf(pmdval):
                    pmdval = yield from self.zap_huge(tlb, vma, pmd, addr, next_)
                if pmdval:
                    yield from self.zap_pte_range(tlb, vma, pmd, addr, next_)
            addr = next_

    def zap_huge(self, tlb: MmuGather, vma: Vma, pmd: int, addr: int, end: int) -> Gen[int]:
        """A PMD leaf: gone whole, or split; the PMD value to go on with (0: done)."""
        return (yield load(pmd))

    def zap_pte_range(self, tlb: MmuGather, vma: Vma, pmd: int, addr: int, end: int) -> Gen[None]:
        """Zap one table's entries, flushing early when the gather says so."""
        while addr < end:
            rss: dict[int, int] = {}
            pte, ptl = yield from self.pte_offset_map_lock(tlb.mm, pmd, addr)
            if not ptl:
                return
            start, full = addr, False
            while addr < end and not full:
                nr, full = yield from self.zap_one(tlb, vma, pte + addr - start, addr, end, rss)
                addr += nr
            yield from self.add_mm_rss_vec(tlb.mm, rss)
            if full or tlb.delayed_rmap:
                yield from self.tlb_flush_mmu_tlbonly(tlb)
                yield from self.tlb_flush_rmaps(tlb, vma)
            yield unlock(ptl)
            if full:
                yield from self.tlb_flush_mmu(tlb)

    def zap_one(
        self, tlb: MmuGather, vma: Vma, pte: int, addr: int, end: int, rss: dict[int, int]
    ) -> Gen[tuple[int, bool]]:
        """One entry or batch: (entries done, gather full)."""
        ptent = yield from self.ptep_get(pte)
        if not ptent:
            return 1, False
        if pte_present(ptent):
            return (yield from self.zap_present_ptes(tlb, vma, pte, ptent, addr, end, rss))
        return (yield from self.zap_nonpresent_ptes(tlb, vma, pte, ptent, addr, end, rss)), False

    def zap_present_ptes(
        self,
        tlb: MmuGather,
        vma: Vma,
        pte: int,
        ptent: int,
        addr: int,
        end: int,
        rss: dict[int, int],
    ) -> Gen[tuple[int, bool]]:
        """A present entry (6.6: one at a time)."""
        page = yield from self.vm_normal_page(ptent)
        ptent = yield from self.ptep_get_and_clear_full(tlb.mm, addr, pte, tlb.fullmm)
        self.tlb_remove_tlb_entries(tlb, addr, 1)
        if page is None:
            return 1, False
        folio = yield from self.page_folio(page)
        delay = yield from self.zap_file_bits(tlb, folio, ptent)
        member = yield from self.mm_counter(folio)
        rss[member] = rss.get(member, 0) - 1
        if not delay:
            yield from self.folio_remove_rmap_ptes(folio, page, 1, vma)
        return 1, (yield from self.tlb_remove_folio_pages(tlb, folio, page, 1, delay))

    def ptep_get_and_clear_full(self, mm: Mm, addr: int, pte: int, full: bool) -> Gen[int]:
        """Clear one entry; *full* says the whole mm goes away."""
        return (yield from self.ptep_get_and_clear(mm, addr, pte))

    def zap_file_bits(self, tlb: MmuGather, folio: Folio, ptent: int) -> Gen[bool]:
        """Carry dirty and young of a file entry to the folio; True to delay its rmap removal."""
        if (yield load(folio.flags)) & PG_anon:
            return False
        delay = False
        if pte_dirty(ptent):
            yield from self.folio_mark_dirty(folio)
            tlb.delayed_rmap = delay = True
        if pte_young(ptent):
            yield bits(folio.flags, PG_referenced)
        return delay

    def zap_nonpresent_ptes(
        self,
        tlb: MmuGather,
        vma: Vma,
        pte: int,
        ptent: int,
        addr: int,
        end: int,
        rss: dict[int, int],
    ) -> Gen[int]:
        """Swap, migration and marker entries."""
        if ptent & PTE_SWP:
            rss[MM_SWAPENTS] = rss.get(MM_SWAPENTS, 0) - 1
            yield from self.free_swap_and_cache(ptent >> PFN_SHIFT)
        elif ptent & PTE_MIGRATION:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(ptent)))
            member = yield from self.mm_counter(folio)
            rss[member] = rss.get(member, 0) - 1
        yield from self.pte_clear(tlb.mm, addr, pte)
        return 1

    # -- entry points ------------------------------------------------------------------

    def zap_page_range_single(self, vma: Vma, start: int, end: int) -> Gen[None]:
        """Zap part of one VMA (MADV_DONTNEED): drain, gather, zap, release."""
        mm = Mm((yield load(vma.vm_mm)))
        yield from self.lru_add_drain()
        tlb = MmuGather(mm)
        yield from self.unmap_page_range(tlb, vma, start, end)
        yield from self.tlb_flush_mmu(tlb)
