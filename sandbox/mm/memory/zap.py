"""Unmapping: zap, and the gather that delays references (mm/memory.c, mm/mmu_gather.c, 6.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MARKER,
    PTE_MIGRATION,
    PTE_SWP,
    PTE_UFFD_WP,
    PTRS_PER_PTE,
    UFFD_WP_MARKER,
    pte_dirty,
    pte_pfn,
    pte_present,
    pte_young,
)
from sandbox.machine.part import KernelPart
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
    trylock,
    unlock,
)
from sandbox.mm.flags import MM_SWAPENTS, VM_UFFD_WP, PG_anon, PG_referenced
from sandbox.mm.memory.rss import NO_RSS, Rss, count_rss
from sandbox.mm.pgalloc import pmd_is_leaf

MAX_GATHER_BATCH = 510
"""Items a gather holds before it must be flushed (one page of them; the kernel chains several)."""


MMU_GATHER_BUNDLE = 8
"""Items that a gather has room for in itself (include/asm-generic/tlb.h)."""


class ZapDetails(NamedTuple):
    """What a zap is to take (struct zap_details, include/linux/mm.h)."""

    even_cows: bool = True
    """Whether private copies of file pages go as well."""
    reclaim_pt: bool = False
    """Whether page tables that are empty then go as well."""
    drop_markers: bool = False
    """Whether a file's write protection by userfaultfd goes as well (ZAP_FLAG_DROP_MARKER)."""


UNMAP = ZapDetails(drop_markers=True)
"""What munmap and exit take: everything."""


class MmuGather(NamedTuple):
    """What a zap has collected so far: a value, and who collects more returns another one."""

    mm: Mm
    fullmm: bool = False
    start: int = -1
    """First page of the range to flush, -1 when there is none."""
    end: int = -1
    delayed_rmap: bool = False
    """Whether rmaps are to be removed after the flush."""
    items: tuple[tuple[Folio, Page, int, bool], ...] = ()
    """References parked: folio, first page, pages, and whether their rmap was delayed."""
    rss: Rss = NO_RSS
    """What the present table adds to rss; the kernel keeps it beside the gather."""
    details: ZapDetails = ZapDetails()

    def charge(self, member: int, nr: int) -> MmuGather:
        """The gather with *nr* pages more of a counter in its rss vector."""
        mm, fullmm, start, end, delayed_rmap, items, rss, details = self
        rss = count_rss(rss, member, nr)
        return MmuGather(mm, fullmm, start, end, delayed_rmap, items, rss, details)


class ZapMixin(KernelPart):
    """zap_pte_range and the gather."""

    unmap_drains = True
    """Before 7.2: unmapping, MADV_DONTNEED and exit drain the LRU batches first."""
    gather_spare = 0
    """Slots that stay free in a batch: since 6.9 an item may take two, a page and their number."""
    free_drains = True
    """Before 7.2: the LRU batches are drained before a gather's references drop."""

    # -- gather ------------------------------------------------------------------------

    def tlb_remove_tlb_entries(self, tlb: MmuGather, addr: int, nr: int) -> MmuGather:
        """Widen the range to flush (local, no memory touched)."""
        mm, fullmm, start, end, delayed_rmap, items, rss, details = tlb
        if start < 0 or addr < start:
            start = addr
        end = max(end, addr + nr)
        return MmuGather(mm, fullmm, start, end, delayed_rmap, items, rss, details)

    def _tlb_remove_folio_pages(
        self, tlb: MmuGather, folio: Folio, page: Page, nr: int, delay: bool
    ) -> Gen[tuple[MmuGather, bool]]:
        """Park *nr* references in the gather; True when it is full."""
        i = yield load(PerCpu.gather_nr(self.cpu))
        yield store(PerCpu.gather_page(self.cpu, i), page << 11 | nr << 1 | delay)
        yield store(PerCpu.gather_nr(self.cpu), i + 1)
        mm, fullmm, start, end, delayed_rmap, items, rss, details = tlb
        items = (*items, (folio, page, nr, delay))
        tlb = MmuGather(mm, fullmm, start, end, delayed_rmap, items, rss, details)
        return tlb, i + 1 >= MAX_GATHER_BATCH

    def tlb_flush_mmu_tlbonly(self, tlb: MmuGather) -> Gen[MmuGather]:
        """Flush the translations recorded so far."""
        if tlb.end >= 0 or tlb.fullmm:
            yield tlb_flush(tlb.mm, tlb.start, tlb.end)
        return tlb._replace(start=-1, end=-1)

    def tlb_flush_mmu(self, tlb: MmuGather) -> Gen[MmuGather]:
        """Flush, then drop the parked references (free_pages_and_swap_cache)."""
        tlb = yield from self.tlb_flush_mmu_tlbonly(tlb)
        if self.free_drains:
            yield from self.lru_add_drain()
        for pages in self.tlb_batches(tlb):
            yield from self.free_pages_and_swap_cache(pages)
        if tlb.items:
            yield store(PerCpu.gather_nr(self.cpu), 0)
        return tlb._replace(items=())

    def tlb_batches(self, tlb: MmuGather) -> Iterator[tuple[tuple[Folio, int], ...]]:
        """References by the batch that they are parked in, each of which is freed by itself.

        The first one has eight slots, the others a page of them (`MMU_GATHER_BUNDLE`).
        """
        batch: tuple[tuple[Folio, int], ...] = ()
        slots, room = 0, MMU_GATHER_BUNDLE
        for folio, _page, nr, _delay in tlb.items:
            batch, slots = (*batch, (folio, nr)), slots + (2 if nr > 1 else 1)
            if slots >= room - self.gather_spare:
                yield batch
                batch, slots, room = (), 0, MAX_GATHER_BATCH
        if batch or not tlb.items:
            yield batch

    def tlb_flush_rmaps(self, tlb: MmuGather, vma: Vma) -> Gen[MmuGather]:
        """Remove the delayed rmaps, after the flush and still under the page-table lock."""
        for folio, page, nr, delay in tlb.items:
            if delay:
                yield from self.folio_remove_rmap_ptes(folio, page, nr, vma)
        items = tuple((folio, page, nr, False) for folio, page, nr, _ in tlb.items)
        return tlb._replace(items=items, delayed_rmap=False)

    # -- walking -----------------------------------------------------------------------

    def unmap_vmas(
        self, tlb: MmuGather, vmas: Sequence[Vma], start: int, end: int
    ) -> Gen[MmuGather]:
        """Zap the parts of *vmas* within [start, end)."""
        for vma in vmas:
            lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
            if lo < hi:
                tlb = yield from self.unmap_page_range(tlb, vma, lo, hi)
        return tlb

    def unmap_page_range(self, tlb: MmuGather, vma: Vma, addr: int, end: int) -> Gen[MmuGather]:
        """Walk the PMDs of a range (zap_pmd_range)."""
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(tlb.mm, addr)
            if pmd:
                pmdval = yield load(pmd)
                if pmd_is_leaf(pmdval):
                    tlb, pmdval = yield from self.zap_huge_pmd(tlb, vma, pmd, addr, next_)
                if pmdval:
                    tlb = yield from self.zap_pte_range(tlb, vma, pmd, addr, next_)
            addr = next_
        return tlb

    def zap_pte_range(
        self, tlb: MmuGather, vma: Vma, pmd: int, addr: int, end: int
    ) -> Gen[MmuGather]:
        """Zap one table's entries, flushing early when the gather says so."""
        reclaim = tlb.details.reclaim_pt and end - addr == PTRS_PER_PTE
        while addr < end:
            pte, ptl = yield from self.pte_offset_map_lock(tlb.mm, pmd, addr)
            if not ptl:
                return tlb
            tlb, start, full = tlb._replace(rss=NO_RSS), addr, False
            while addr < end and not full:
                tlb, nr, full = yield from self.zap_one(tlb, vma, pte + addr - start, addr, end)
                addr += nr
            if reclaim and addr == end and (yield from self.zap_empty_pte_table(pmd, ptl, end)):
                tlb = self.tlb_remove_tlb_entries(tlb, end - PTRS_PER_PTE, PTRS_PER_PTE)
            yield from self.add_mm_rss_vec(tlb.mm, tlb.rss)
            force_flush = full or tlb.delayed_rmap
            if force_flush:
                tlb = yield from self.tlb_flush_mmu_tlbonly(tlb)
                tlb = yield from self.tlb_flush_rmaps(tlb, vma)
            yield unlock(ptl)
            if force_flush:  # what it gathered is freed as well
                tlb = yield from self.tlb_flush_mmu(tlb)
        return tlb

    def zap_empty_pte_table(self, pmd: int, ptl: int, end: int) -> Gen[bool]:
        """Unlink a table whose entries are all gone; its lock is held (CONFIG_PT_RECLAIM).

        Source: mm/memory.c zap_empty_pte_table and zap_pte_table_if_empty (7.x).
        """
        pml = self.pmd_lockptr(pmd, end - PTRS_PER_PTE)
        if not (yield trylock(pml)):
            return False
        ptep = self.pte_offset_map((yield load(pmd)), end - PTRS_PER_PTE)
        empty = True
        for i in range(PTRS_PER_PTE):
            if (yield load(ptep + i)):
                empty = False
                break
        if empty:
            yield store(pmd, 0)
        yield unlock(pml)
        return empty

    def zap_one(
        self, tlb: MmuGather, vma: Vma, pte: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        """One entry or batch: (the gather, entries done, gather full)."""
        ptent = yield from self.ptep_get(pte)
        if not ptent or not (
            tlb.details.even_cows or (yield from self.should_zap_folio(tlb, ptent))
        ):
            return tlb, 1, False
        if pte_present(ptent):
            return (yield from self.zap_present_ptes(tlb, vma, pte, ptent, addr, end))
        tlb, nr = yield from self.zap_nonpresent_ptes(tlb, vma, pte, ptent, addr, end)
        return tlb, nr, False

    def should_zap_folio(self, tlb: MmuGather, ptent: int) -> Gen[bool]:
        """Is an entry of a file's page, not of a private copy? Markers go with the file's."""
        if not ptent & PTE_MIGRATION and not pte_present(ptent):
            return bool(ptent & PTE_MARKER) and tlb.details.drop_markers
        page = page_of_pfn(pte_pfn(ptent))
        folio = yield from self.page_folio(page)
        return not (yield load(folio.flags)) & PG_anon

    def zap_present_ptes(
        self, tlb: MmuGather, vma: Vma, pte: int, ptent: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        """A present entry (6.6: one at a time)."""
        page = yield from self.vm_normal_page(ptent)
        ptent = yield from self.ptep_get_and_clear_full(tlb.mm, addr, pte, tlb.fullmm)
        tlb = self.tlb_remove_tlb_entries(tlb, addr, 1)
        if page is None:
            yield from self.zap_install_uffd_wp_if_needed(tlb, vma, addr, pte, 1, ptent)
            return tlb, 1, False
        folio = yield from self.page_folio(page)
        tlb, delay = yield from self.zap_file_bits(tlb, folio, ptent)
        tlb = tlb.charge((yield from self.mm_counter(folio)), -1)
        yield from self.zap_install_uffd_wp_if_needed(tlb, vma, addr, pte, 1, ptent)
        if not delay:
            yield from self.folio_remove_rmap_ptes(folio, page, 1, vma)
        tlb, full = yield from self._tlb_remove_folio_pages(tlb, folio, page, 1, delay)
        return tlb, 1, full

    def ptep_get_and_clear_full(self, mm: Mm, addr: int, pte: int, full: bool) -> Gen[int]:
        """Clear one entry; *full* says the whole mm goes away."""
        return (yield from self.ptep_get_and_clear(mm, addr, pte))

    def zap_file_bits(
        self, tlb: MmuGather, folio: Folio, ptent: int
    ) -> Gen[tuple[MmuGather, bool]]:
        """Carry dirty and young of a file entry to the folio; True to delay its rmap removal."""
        if (yield load(folio.flags)) & PG_anon:
            return tlb, False
        delay = False
        if pte_dirty(ptent):
            yield from self.folio_mark_dirty(folio)
            tlb, delay = tlb._replace(delayed_rmap=True), True
        if pte_young(ptent):
            yield bits(folio.flags, PG_referenced)
        return tlb, delay

    def zap_nonpresent_ptes(
        self, tlb: MmuGather, vma: Vma, pte: int, ptent: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int]]:
        """Swap, migration and marker entries."""
        nr = 1
        if ptent & PTE_SWP:
            nr = yield from self.swap_pte_batch(pte, end - addr, ptent)
            tlb = tlb.charge(MM_SWAPENTS, -nr)
            yield from self.free_swap_and_cache_nr(ptent >> PFN_SHIFT, nr)
        elif ptent & PTE_MIGRATION:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(ptent)))
            tlb = tlb.charge((yield from self.mm_counter(folio)), -1)
        elif ptent & PTE_MARKER and not tlb.details.drop_markers and (yield load(vma.vm_file)):
            return tlb, 1
        for i in range(nr):
            yield from self.pte_clear(tlb.mm, addr + i, pte + i)
        yield from self.zap_install_uffd_wp_if_needed(tlb, vma, addr, pte, nr, ptent)
        return tlb, nr

    def zap_install_uffd_wp_if_needed(
        self, tlb: MmuGather, vma: Vma, addr: int, pte: int, nr: int, ptent: int
    ) -> Gen[None]:
        """Leave markers where *nr* protected entries of a file were, unless they are to go."""
        if not ptent & PTE_UFFD_WP or tlb.details.drop_markers:
            return
        for i in range(nr):
            yield from self.pte_install_uffd_wp_if_needed(tlb.mm, vma, addr + i, pte + i, ptent)

    def pte_install_uffd_wp_if_needed(
        self, mm: Mm, vma: Vma, addr: int, pte: int, pteval: int
    ) -> Gen[None]:
        """Leave a marker in an empty entry that was *pteval* (include/linux/mm_inline.h).

        Not for anonymous memory, whose protection goes with the page or into a swap entry.
        """
        if not pteval & PTE_UFFD_WP or not (yield load(vma.vm_file)):
            return
        if (yield load(vma.vm_flags)) & VM_UFFD_WP:
            yield from self.set_pte_at(mm, addr, pte, UFFD_WP_MARKER)

    # -- entry points ------------------------------------------------------------------

    def zap_page_range_single(self, vma: Vma, start: int, end: int) -> Gen[None]:
        """Zap part of one VMA (MADV_DONTNEED before 6.16): drain, gather, zap, release."""
        mm = Mm((yield load(vma.vm_mm)))
        if self.unmap_drains:
            yield from self.lru_add_drain()
        tlb = yield from self.unmap_page_range(MmuGather(mm), vma, start, end)
        yield from self.tlb_flush_mmu(tlb)
