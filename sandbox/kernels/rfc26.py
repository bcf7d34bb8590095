"""David Hildenbrand, "[PATCH RFC 00/13] mm/rmap: support arbitrary folio mappings", 12 Apr 2026.

<20260412-mapcount-v1-0-05e8dfab52e0@kernel.org>.  CONFIG_NO_PAGE_MAPCOUNT for everybody, and the
entire mapcount becomes the number of pages all mappings together map ("total mapped pages"), kept
beside the mapcount under its lock.  The model keeps that number in the word `_nr_pages_mapped`,
which the series frees and which starts at 0 as the new one does.
"""

from __future__ import annotations

from sandbox.kernels.linux_6_9 import Linux69
from sandbox.kernels.linux_7_2 import Linux72NoPageMapcount
from sandbox.memory import Folio, Gen, Globals, Mm, Page, Vma, add, bits, load
from sandbox.mm.flags import PG_anon_exclusive, PG_swapbacked


class Rfc26(Linux72NoPageMapcount):
    """Mapcount and total mapped pages; no entire mapcount, no page mapcounts."""

    id = "rfc26"
    title = "RFC of 12 Apr 2026: total mapped pages"
    summary = "A mapcount and the sum of mapped pages; neither per-page nor entire mapcounts."

    def total_mapped_pages(self, folio: Folio) -> int:
        """The word that holds the new counter."""
        return folio._nr_pages_mapped

    def folio_add_mapped_pages(
        self, folio: Folio, mappings: int, pages: int, mm: Mm
    ) -> Gen[tuple[int, int]]:
        """`folio_add_return_large_mapcount` with both counts; (mapcount, mapped pages)."""
        mapcount = yield from self.folio_add_return_large_mapcount(folio, mappings, mm)
        return mapcount, (yield add(self.total_mapped_pages(folio), pages))

    def folio_sub_mapped_pages(
        self, folio: Folio, mappings: int, pages: int, mm: Mm
    ) -> Gen[tuple[int, int]]:
        """`folio_sub_return_large_mapcount` with both counts; (mapcount, mapped pages)."""
        mapcount = yield from self.folio_sub_large_mapcount(folio, mappings, mm)
        return mapcount, (yield add(self.total_mapped_pages(folio), -pages))

    def _folio_certainly_partially_mapped(self, folio: Folio, mapped_pages: int) -> bool:
        """Less than one mapping per page on average."""
        return 0 < mapped_pages < folio.nr_pages

    # -- entries -------------------------------------------------------------------------

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """A PMD leaf is one mapping of 512 pages; it has no count of its own any more."""
        if not self.is_pmd_mapping(folio):
            yield from super().folio_add_new_anon_rmap(folio, vma, addr, exclusive)
            return
        yield bits(folio.flags, PG_swapbacked)
        yield from self._folio_set_anon(folio, vma, addr, exclusive)
        mm = Mm((yield load(vma.vm_mm)))
        yield from self.folio_set_large_mapcount(folio, 1, mm)
        yield from self.set_nr_pages_mapped(folio, folio.nr_pages)
        if exclusive:
            yield bits(folio.flags, PG_anon_exclusive)
        yield add(Globals.nr_anon_mapped, folio.nr_pages)

    def set_nr_pages_mapped(self, folio: Folio, value: int) -> Gen[None]:
        """Initial total; a fresh folio is mapped whole, by one leaf or by many."""
        yield from Linux69.set_nr_pages_mapped(self, folio, folio.nr_pages)

    def folio_add_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[None]:
        """Fork's batches: as many pages as mappings."""
        yield from self.folio_add_mapped_pages(folio, diff, diff, mm)

    def _folio_add_rmap(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[int]:
        """All pages count as mapped with the first mapping."""
        if not folio.large:
            return int((yield add(folio._mapcount, 1)) == 0)
        mm = Mm((yield load(vma.vm_mm)))
        mapcount, _ = yield from self.folio_add_mapped_pages(folio, nr, nr, mm)
        return folio.nr_pages if mapcount == nr else 0

    def folio_remove_large_ptes(
        self, folio: Folio, page: Page, nr: int, mm: Mm
    ) -> Gen[tuple[int, bool]]:
        """(pages no longer mapped, partially mapped for certain)."""
        mapcount, pages = yield from self.folio_sub_mapped_pages(folio, nr, nr, mm)
        gone = 0 if mapcount else folio.nr_pages
        return gone, self._folio_certainly_partially_mapped(folio, pages)

    # -- PMD leaves ----------------------------------------------------------------------

    def folio_try_dup_anon_rmap_pmd(self, folio: Folio, dst_mm: Mm, src_vma: Vma) -> Gen[bool]:
        """One mapping more, 512 pages more."""
        mm = Mm((yield load(src_vma.vm_mm)))
        maybe_pinned = yield from self.folio_needs_cow_for_dma(mm, folio)
        if (yield load(folio.flags)) & PG_anon_exclusive:
            if maybe_pinned:
                return False
            yield bits(folio.flags, 0, PG_anon_exclusive)
        yield from self.folio_add_mapped_pages(folio, 1, folio.nr_pages, dst_mm)
        return True

    def folio_remove_entire(self, folio: Folio, mm: Mm) -> Gen[tuple[int, bool]]:
        """One mapping less, 512 pages less."""
        mapcount, pages = yield from self.folio_sub_mapped_pages(folio, 1, folio.nr_pages, mm)
        gone = 0 if mapcount else folio.nr_pages
        return gone, self._folio_certainly_partially_mapped(folio, pages)
