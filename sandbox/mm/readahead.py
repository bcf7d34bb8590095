"""Reading file pages around a fault that misses the cache (mm/readahead.c, mm/filemap.c; 6.12).

The device is a fast one: what is read is up to date when the call returns.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import HPAGE_PMD_NR, HPAGE_PMD_ORDER
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Mapping, Vma, bits, load, store
from sandbox.mm.flags import VM_HUGEPAGE, PG_locked, PG_readahead, PG_uptodate, PG_writeback
from sandbox.mm.xarray import xa_to_disk

XA_CHUNK_SIZE = 64
"""Slots of a node of the tree that is a page cache (include/linux/xarray.h)."""


class Window(NamedTuple):
    """Pages of a file to read (`struct file_ra_state`)."""

    start: int
    size: int
    ahead: int
    """How many of them are left when the next window is to be read (`async_size`)."""

    @property
    def mark(self) -> int:
        """The page whose use asks for the next window."""
        return self.start + self.size - self.ahead


class ReadaheadMixin(KernelPart):
    """What a fault reads besides its page."""

    ra_pages = 32
    """Pages of the window around a fault (VM_READAHEAD_PAGES, 128K; 7.x has more on some disks)."""
    ra_order_grows = True
    """Before 6.16: even what asks for small folios gets some that are two orders larger; behind a
    mark the orders of its folio count, later what the file remembers; and where a window meets what
    is cached, a whole one is read from there."""
    ra_marks_end = True
    """Before 6.17: a window that is cut off by the end of the file has a mark as well."""

    def do_sync_mmap_readahead(self, vma: Vma, mapping: Mapping, index: int) -> Gen[None]:
        """Read around a page: small folios, or large ones where the VMA has MADV_HUGEPAGE."""
        if (yield load(vma.vm_flags)) & VM_HUGEPAGE:  # where that window is is not remembered
            window = Window(index & -HPAGE_PMD_NR, 2 * HPAGE_PMD_NR, HPAGE_PMD_NR)
            start, order = (yield load(mapping.f_ra_start)), HPAGE_PMD_ORDER
        else:
            start = max(index - self.ra_pages // 2, 0)
            window, order = Window(start, self.ra_pages, self.ra_pages // 4), 0
        yield from self.file_ra_set(mapping, window._replace(start=start))
        yield from self.page_cache_ra_order(mapping, window, order)

    def file_ra_set(self, mapping: Mapping, window: Window) -> Gen[None]:
        """Remember a window: the file is open once, for all processes (`file->f_ra`)."""
        yield store(mapping.f_ra_start, window.start)
        yield store(mapping.f_ra_size, window.size)
        yield store(mapping.f_ra_async_size, window.ahead)

    def get_next_ra_size(self, size: int) -> int:
        """The size of the window behind one of *size* pages."""
        if size < self.ra_pages // 16:
            return 4 * size
        return 2 * size if size <= self.ra_pages // 2 else self.ra_pages

    def do_async_mmap_readahead(self, mapping: Mapping, index: int) -> Gen[bool]:
        """A marked page is met: read on behind it.

        The mark is that of a page which reclaim waits to be written, too.  False: not marked; then
        the one reference that the kernel has taken is that of the fault, which goes on with it.
        """
        found = yield load((yield load(mapping.i_pages)) + index)
        if found <= 0 or not (yield load(Folio(found).flags)) & PG_readahead:
            return False
        folio = yield from self.filemap_get_folio(mapping, index)
        if folio is None:
            return False
        flags = yield load(folio.flags)
        if flags & (PG_readahead | PG_writeback) == PG_readahead:
            yield bits(folio.flags, 0, PG_readahead)
            yield from self.page_cache_async_ra(mapping, folio, index)
        yield from self.folio_put(folio)
        return bool(flags & PG_readahead)

    def page_cache_async_ra(self, mapping: Mapping, folio: Folio, index: int) -> Gen[None]:
        """Read the next window: behind the last one, or from the first gap, by larger folios.

        The last one, if the mark is where its start and size say.
        """
        start, size = (yield load(mapping.f_ra_start)), (yield load(mapping.f_ra_size))
        ahead = yield load(mapping.f_ra_async_size)
        if index == (start + size - ahead) & -folio.nr_pages:
            start, size = start + size, max(size, self.get_next_ra_size(size))
        else:
            start = yield from self.page_cache_next_miss(mapping, index + 1, self.ra_pages)
            if not start or start - index > self.ra_pages:
                return
            size = self.get_next_ra_size(start - index + self.ra_pages)
        order = folio.order
        if not self.ra_order_grows:
            order = (yield load(mapping.f_ra_order)) + 2
            align = min(order, (self.ra_pages & -self.ra_pages).bit_length() - 1)
            last = (start + size) & -(1 << align)
            size = last - start if last > start else size
        window = Window(start, size, size)
        yield from self.file_ra_set(mapping, window)
        yield from self.page_cache_ra_order(mapping, window, order)

    def page_cache_next_miss(self, mapping: Mapping, index: int, most: int) -> Gen[int]:
        """The first gap in the cache from *index* on; 0 if there is none among *most* pages.

        Begun within a large folio, the walk is behind its index by the pages of that before it,
        until it leaves the node of the tree (`xas_next`): its answer is too far (mm/filemap.c).
        """
        slots, end = (yield load(mapping.i_pages)), (yield load(mapping.i_size))
        lag = 0
        if index < end and (yield load(slots + index)) > 0:
            folio = Folio((yield load(slots + index)))
            lag = index & (folio.nr_pages - 1) if folio.nr_pages < XA_CHUNK_SIZE else 0
        for at in range(index, index + most):
            if at > index and not (at - lag) % XA_CHUNK_SIZE:
                lag = 0
            if at - lag >= end or not (yield load(slots + at - lag)):
                return at
        return 0

    def page_cache_ra_order(self, mapping: Mapping, window: Window, most: int) -> Gen[None]:
        """Fill a window by aligned folios of an order, until a page is there already."""
        size = yield load(mapping.i_size)
        index, end = window.start, min(window.start + window.size, size)
        mark = window.mark if self.ra_marks_end or end < size else -1
        if self.ra_order_grows and most < HPAGE_PMD_ORDER:
            most += 2
        most = min(most, HPAGE_PMD_ORDER, window.size.bit_length() - 1)
        yield store(mapping.f_ra_order, most)
        while index < end:
            order = min(most, (end - index).bit_length() - 1)
            while index & ((1 << order) - 1):
                order -= 1
            if (yield from self.ra_alloc_folio(mapping, index, order, mark)):
                left = window.size
                if not self.ra_order_grows:
                    left -= index - window.start
                yield from self.page_cache_ra_unbounded(mapping, Window(index, left, window.ahead))
                return
            index += 1 << order

    def page_cache_ra_unbounded(self, mapping: Mapping, window: Window) -> Gen[None]:
        """Fill the gaps of a window by small folios (`do_page_cache_ra`)."""
        slots, size = (yield load(mapping.i_pages)), (yield load(mapping.i_size))
        nr = min(window.size, size - window.start)
        mark = window.start + nr - window.ahead
        if window.ahead > nr or (nr < window.size and not self.ra_marks_end):
            mark = -1
        for at in range(window.start, window.start + nr):
            if not (yield load(slots + at)):
                yield from self.ra_alloc_folio(mapping, at, 0, mark)

    def ra_alloc_folio(self, mapping: Mapping, index: int, order: int, mark: int) -> Gen[int]:
        """A folio in the cache with what the disk has; -EEXIST when a page is cached already.

        The one with page *mark*, unless that is negative, says that more is to be read.
        """
        folio = yield from self.vma_alloc_folio(order)
        err: int = yield from self.add_to_page_cache(folio, mapping, index)
        if not err:
            disk = (yield load(mapping.i_disk)) + index
            for i in range(folio.nr_pages):
                yield store(folio.page(i).data, xa_to_disk((yield load(disk + i))))
            yield from self.ifs_alloc(folio)
            marked = PG_readahead if mark >= 0 and mark & -(1 << order) == index else 0
            yield bits(folio.flags, PG_uptodate | marked, PG_locked)
        yield from self.folio_put(folio)
        return err
