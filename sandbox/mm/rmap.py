"""Reverse-map counters: how many page-table entries map a folio and its pages.

Source: mm/rmap.c and include/linux/rmap.h (6.6).  The release works page by page with
`_mapcount`, `_entire_mapcount` and `_nr_pages_mapped`; the names are those the later releases
kept.  All require the page-table lock of the entry concerned.  Counters are raw (-1 based).
"""

from __future__ import annotations

from sandbox.machine.address_space import Avc
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    ENTIRELY_MAPPED,
    FOLIO_PAGES_MAPPED,
    GUP_PIN_COUNTING_BIAS,
    MMF_HAS_PINNED,
    PG_anon,
    PG_anon_exclusive,
    PG_swapbacked,
    PG_swapcache,
)


class RmapMixin(KernelPart):
    """Mapcount accounting of 6.6."""

    has_page_mapcount = True
    """False with CONFIG_NO_PAGE_MAPCOUNT."""

    # -- pins ------------------------------------------------------------------------

    def folio_maybe_dma_pinned(self, folio: Folio) -> Gen[bool]:
        """Exact for large folios (_pincount); a refcount of 1024 or more for small ones."""
        if folio.large:
            return (yield load(folio._pincount)) > 0
        return (yield load(folio._refcount)) >= GUP_PIN_COUNTING_BIAS

    def folio_needs_cow_for_dma(self, mm: Mm, folio: Folio) -> Gen[bool]:
        """Whether a page of *folio* may be pinned through *mm* (include/linux/mm.h)."""
        if not (yield load(mm.flags)) & MMF_HAS_PINNED:
            return False
        return (yield from self.folio_maybe_dma_pinned(folio))

    # -- new mappings ------------------------------------------------------------------

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """First mapping of a fresh folio: plain stores, nobody else can see it yet.

        What others may read from swap too is not *exclusive* (RMAP_EXCLUSIVE).
        """
        yield bits(folio.flags, PG_swapbacked)
        if not folio.large:
            yield store(folio._mapcount, 0)
        elif self.is_pmd_mapping(folio):
            yield store(folio._entire_mapcount, 0)
            yield store(folio._nr_pages_mapped, ENTIRELY_MAPPED)
        else:
            yield from self.new_anon_pages(folio, exclusive)
            yield store(folio._nr_pages_mapped, folio.nr_pages)
        yield add(Globals.nr_anon_mapped, folio.nr_pages)
        yield from self._folio_set_anon(folio, vma, addr, exclusive)
        if exclusive and (not folio.large or self.is_pmd_mapping(folio)):
            yield bits(folio.page(0).flags, PG_anon_exclusive)

    def is_pmd_mapping(self, folio: Folio) -> bool:
        """Is a folio of this order mapped by a PMD when it is fresh?"""
        return folio.order >= 9

    def new_anon_pages(self, folio: Folio, exclusive: bool = True) -> Gen[None]:
        """Per-page part for a PTE-mapped fresh folio."""
        for i in range(folio.nr_pages):
            page = folio.page(i)
            yield store(page._mapcount, 0)
            if exclusive:
                yield bits(page.flags, PG_anon_exclusive)

    def _folio_set_anon(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """Mapping and index (`__page_set_anon_rmap` until 6.6).

        What others may map as well (from swap) belongs to the root of the VMA's anon_vmas.
        """
        if not (yield load(folio.mapping)):
            yield bits(folio.flags, PG_anon)
            anon_vma = yield load(vma.anon_vma)
            if not exclusive:  # anon_vma->root: that of the link made first
                avc = Avc((yield load(vma.anon_vma_chain)))
                while older := (yield load(avc.same_vma)):
                    avc = Avc(older)
                anon_vma = yield load(avc.anon_vma)
            yield store(folio.mapping, anon_vma)
            pgoff = yield load(self.anon_pgoff_word(vma))
            yield store(folio.index, addr - (yield load(vma.vm_start)) + pgoff)

    def anon_pgoff_word(self, vma: Vma) -> int:
        """The word that numbers a VMA's anonymous pages: with the file's until 7.3."""
        return vma.vm_pgoff

    def linear_page_index(self, vma: Vma, addr: int) -> Gen[int]:
        """Index of virtual page *addr* in what the VMA maps."""
        return addr - (yield load(vma.vm_start)) + (yield load(vma.vm_pgoff))

    def folio_move_anon_rmap(self, folio: Folio, vma: Vma) -> Gen[None]:
        """Move a folio that is ours alone to this VMA's anon_vma."""
        yield store(folio.mapping, (yield load(vma.anon_vma)))

    def folio_add_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        """Map existing anon pages; 6.6 takes them one call at a time (`page_add_anon_rmap`)."""
        for i in range(nr):
            p = Page(page + 16 * i)
            if (yield from self.add_one_mapcount(folio, p)):
                yield add(Globals.nr_anon_mapped, 1)
            if exclusive:
                yield bits(p.flags, PG_anon_exclusive)
        yield from self.mlock_vma_folio(folio, nr, vma)

    def folio_add_file_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        """Map pages of the page cache (`folio_add_file_rmap_range`)."""
        mapped = 0
        for i in range(nr):
            if (yield from self.add_one_mapcount(folio, Page(page + 16 * i))):
                mapped += 1
        if mapped:
            yield add(Globals.nr_file_mapped, mapped)
        yield from self.mlock_vma_folio(folio, nr, vma)

    def folio_add_file_rmap_pmd(self, folio: Folio, vma: Vma) -> Gen[None]:
        """Map a folio of the page cache by a leaf (`page_add_file_rmap`, compound)."""
        mapped = yield from self.folio_add_entire(folio, Mm((yield load(vma.vm_mm))))
        if mapped:
            yield add(Globals.nr_file_mapped, mapped)
        yield from self.mlock_vma_folio(folio, folio.nr_pages, vma)

    def folio_add_entire(self, folio: Folio, mm: Mm) -> Gen[int]:
        """At PMD level: how many pages count as newly mapped; the total comes last."""
        nr = 0
        if (yield add(folio._entire_mapcount, 1)) == 0:
            mapped = yield add(folio._nr_pages_mapped, ENTIRELY_MAPPED)
            if mapped < 2 * ENTIRELY_MAPPED:
                nr = folio.nr_pages - (mapped & FOLIO_PAGES_MAPPED)
        if self.has_large_mapcount:
            yield from self.folio_add_large_mapcount(folio, 1, mm)
        return nr

    def add_one_mapcount(self, folio: Folio, page: Page) -> Gen[bool]:
        """Raise one page's mapcount; True when the page counts as newly mapped."""
        if (yield add(page._mapcount, 1)) != 0:
            return False
        if not folio.large:
            return True
        return (yield add(folio._nr_pages_mapped, 1)) < ENTIRELY_MAPPED

    # -- duplication at fork -----------------------------------------------------------

    def folio_try_dup_anon_rmap_pte(
        self, folio: Folio, page: Page, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        """Duplicate one anon mapping; False (nothing done) when the page may be pinned.

        6.6 calls it page_try_dup_anon_rmap().
        """
        if (yield load(page.flags)) & PG_anon_exclusive:
            mm = Mm((yield load(src_vma.vm_mm)))
            if (yield from self.folio_needs_cow_for_dma(mm, folio)):
                return False
            yield bits(page.flags, 0, PG_anon_exclusive)
        yield add(page._mapcount, 1)
        return True

    def folio_dup_file_rmap_ptes(self, folio: Folio, page: Page, nr: int, dst_mm: Mm) -> Gen[None]:
        """Duplicate file mappings (`page_dup_file_rmap`)."""
        for i in range(nr):
            yield add(page._mapcount + 16 * i, 1)

    # -- removal -----------------------------------------------------------------------

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        """Unmap pages one by one (`page_remove_rmap`)."""
        for i in range(nr):
            yield from self.page_remove_rmap(folio, Page(page + 16 * i))

    def page_remove_rmap(self, folio: Folio, page: Page) -> Gen[None]:
        """Lower one mapcount; an anon large folio that lost a page is queued for splitting."""
        last = (yield add(page._mapcount, -1)) < 0
        nr = 0
        if last and folio.large:
            nr = int((yield add(folio._nr_pages_mapped, -1)) < ENTIRELY_MAPPED)
        elif last:
            nr = 1
        if nr:
            anon = (yield load(folio.flags)) & PG_anon
            yield add(Globals.nr_anon_mapped if anon else Globals.nr_file_mapped, -nr)
            if anon and folio.large:
                yield from self.deferred_split_folio(folio, True)

    def folio_remove_rmap_pte(self, folio: Folio, page: Page, vma: Vma) -> Gen[None]:
        """Unmap one page."""
        yield from self.folio_remove_rmap_ptes(folio, page, 1, vma)

    def deferred_split_folio(self, folio: Folio, partially: bool) -> Gen[None]:
        """Queue a folio whose unmapped pages may be given back, unless reclaim is at it."""
        if folio.order <= 1 or (yield load(folio.flags)) & PG_swapcache:
            return
        if (yield load(folio._deferred_list)) == 1:
            return
        yield lock(Globals.split_queue_lock)
        if (yield load(folio._deferred_list)) != 1:
            yield store(folio._deferred_list, 1)
        yield unlock(Globals.split_queue_lock)

    # -- estimating --------------------------------------------------------------------

    def folio_likely_mapped_shared(self, folio: Folio) -> Gen[bool]:
        """Guess from the first page alone (`folio_estimated_sharers`, 6.6)."""
        mapcount = (yield load(folio._mapcount)) + 1
        if folio.large:
            mapcount += (yield load(folio._entire_mapcount)) + 1
        return mapcount != 1

    # -- reading -----------------------------------------------------------------------

    def folio_mapcount(self, folio: Folio) -> Gen[int]:
        """All mappings of a folio: one load per page plus the entire mapcount (6.6)."""
        if not folio.large:
            return (yield load(folio._mapcount)) + 1
        count = (yield load(folio._entire_mapcount)) + 1
        if (yield load(folio._nr_pages_mapped)) & FOLIO_PAGES_MAPPED == 0:
            return count
        for i in range(folio.nr_pages):
            count += (yield load(folio.page(i)._mapcount)) + 1
        return count

    def folio_expected_ref_count(self, folio: Folio) -> Gen[int]:
        """References of an anonymous folio's mappings, and of the swap cache (include/linux/mm.h).

        Before 6.16 it is_refcount_suitable().
        """
        cached = folio.nr_pages if (yield load(folio.flags)) & PG_swapcache else 0
        return cached + (yield from self.folio_mapcount(folio))
