"""Writing folios to swap and reading them back (mm/page_io.c, 6.6).

The device is a fast one (zram): a write is over when the call returns.  It wants pages that do not
change while they are written (SWP_STABLE_WRITES), so whoever meets one then must copy it.
"""

from __future__ import annotations

from sandbox.machine.offsets import TABLE_DATA, TABLE_ZERO
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, add, bits, load, store
from sandbox.mm.flags import PG_locked, PG_reclaim, PG_uptodate, PG_writeback


class PageIoMixin(KernelPart):
    """swap_writepage and swap_read_folio."""

    has_swap_zeromap = False
    """6.12 and later (0ca0c24e3211): what is zero is remembered as such and not written."""
    end_writeback_refs_first = False
    """7.x: the end of writeback has its reference before the folio may go to the LRU's tail."""

    def swap_writepage(self, folio: Folio) -> Gen[None]:
        """Write a locked folio that is in the swap cache, and unlock it (`swap_writeout`, 6.16).

        Nothing is written when no entry names its slots any more.
        """
        if (yield from self.folio_free_swap(folio)):
            yield bits(folio.flags, 0, PG_locked)
        elif self.has_swap_zeromap and (yield from self.is_folio_zero_filled(folio)):
            yield from self.swap_zeromap_folio_set(folio, True)
            yield bits(folio.flags, 0, PG_locked)
        else:
            if self.has_swap_zeromap:
                yield from self.swap_zeromap_folio_set(folio, False)
            yield from self._swap_writepage(folio)

    def is_folio_zero_filled(self, folio: Folio) -> Gen[bool]:
        """Does every page have nothing but zeroes?"""
        for i in range(folio.nr_pages):
            if (yield load(folio.page(i).data)):
                return False
        return True

    def swap_zeromap_folio_set(self, folio: Folio, zero: bool) -> Gen[None]:
        """Remember that the slots are zero, or that they are not (`swap_zeromap_folio_clear`)."""
        slot = (yield load(folio.private)) - 1
        word = yield from self.swap_word(TABLE_ZERO, slot)
        data = yield from self.swap_word(TABLE_DATA, slot)
        for i in range(folio.nr_pages):
            if (yield load(word + i)) != zero:
                yield store(word + i, int(zero))
            if zero:
                yield store(data + i, 0)

    def _swap_writepage(self, folio: Folio) -> Gen[None]:
        """`swap_writepage_bdev_sync`: the folio is unlocked and under writeback meanwhile."""
        word = yield from self.swap_word(TABLE_DATA, (yield load(folio.private)) - 1)
        yield bits(folio.flags, PG_writeback)
        yield bits(folio.flags, 0, PG_locked)
        for i in range(folio.nr_pages):
            yield store(word + i, (yield load(folio.page(i).data)))
        yield from self.folio_end_writeback(folio)

    def folio_end_writeback(self, folio: Folio) -> Gen[None]:
        """The write is over; writeback itself holds no reference (mm/filemap.c)."""
        if self.end_writeback_refs_first:
            yield add(folio._refcount, 1)
        if (yield load(folio.flags)) & PG_reclaim:
            yield bits(folio.flags, 0, PG_reclaim)
            yield from self.folio_rotate_reclaimable(folio)
        if not self.end_writeback_refs_first:
            yield add(folio._refcount, 1)
        yield bits(folio.flags, 0, PG_writeback)
        yield from self.folio_put(folio)

    def swap_read_folio(self, folio: Folio, slot: int) -> Gen[None]:
        """Fill a locked folio from its slots and unlock it (a synchronous device)."""
        word = yield from self.swap_word(TABLE_DATA, slot)
        for i in range(folio.nr_pages):
            yield store(folio.page(i).data, (yield load(word + i)))
        yield bits(folio.flags, PG_uptodate, PG_locked)
