"""Reading file pages around a fault that misses the cache (mm/readahead.c, mm/filemap.c; 6.12).

The device is a fast one: what is read is up to date when the call returns.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import HPAGE_PMD_NR, HPAGE_PMD_ORDER
from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mapping, Vma, bits, load, store
from sandbox.mm.flags import VM_HUGEPAGE, PG_locked, PG_uptodate
from sandbox.mm.xarray import xa_to_disk

RA_PAGES = 32
"""Pages of the window around a fault (VM_READAHEAD_PAGES, 128K)."""


class ReadaheadMixin(KernelPart):
    """What a fault reads besides its page."""

    def do_sync_mmap_readahead(self, vma: Vma, mapping: Mapping, index: int) -> Gen[None]:
        """Read around a page: small folios, or large ones where the VMA has MADV_HUGEPAGE."""
        size = yield load(mapping.i_size)
        if (yield load(vma.vm_flags)) & VM_HUGEPAGE:
            start = index & -HPAGE_PMD_NR
            yield from self.page_cache_ra_order(mapping, start, min(start + 2 * HPAGE_PMD_NR, size))
            return
        start = max(index - RA_PAGES // 2, 0)
        yield from self.page_cache_ra_unbounded(mapping, start, min(start + RA_PAGES, size))

    def page_cache_ra_order(self, mapping: Mapping, index: int, end: int) -> Gen[None]:
        """Fill [index, end) by the largest aligned folios, until a page is there already."""
        while index < end:
            order = min(HPAGE_PMD_ORDER, (end - index).bit_length() - 1)
            while index & ((1 << order) - 1):
                order -= 1
            if (yield from self.ra_alloc_folio(mapping, index, order)):
                yield from self.page_cache_ra_unbounded(mapping, index, end)
                return
            index += 1 << order

    def page_cache_ra_unbounded(self, mapping: Mapping, index: int, end: int) -> Gen[None]:
        """Fill the gaps of [index, end) by small folios."""
        slots = yield load(mapping.i_pages)
        for at in range(index, end):
            if not (yield load(slots + at)):
                yield from self.ra_alloc_folio(mapping, at, 0)

    def ra_alloc_folio(self, mapping: Mapping, index: int, order: int) -> Gen[int]:
        """A folio in the cache with what the disk has; -EEXIST when a page is cached already."""
        folio = yield from self.vma_alloc_folio(order)
        err: int = yield from self.add_to_page_cache(folio, mapping, index)
        if not err:
            disk = (yield load(mapping.i_disk)) + index
            for i in range(folio.nr_pages):
                yield store(folio.page(i).data, xa_to_disk((yield load(disk + i))))
            yield bits(folio.flags, PG_uptodate, PG_locked)
        yield from self.folio_put(folio)
        return err
