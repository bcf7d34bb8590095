"""Reclaim of chosen folios (mm/vmscan.c: reclaim_pages; 6.6)."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mapping,
    Mm,
    Vma,
    bits,
    cas,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    PG_anon,
    PG_dirty,
    PG_locked,
    PG_mlocked,
    PG_partially_mapped,
    PG_reclaim,
    PG_swapbacked,
    PG_swapcache,
    PG_writeback,
)
from sandbox.mm.lazyfree import Advised

PAGE_KEEP, PAGE_SUCCESS, PAGE_CLEAN = range(3)
"""What came of writing a folio."""


class VmscanMixin(KernelPart):
    """MADV_PAGEOUT's reclaim: swap out, or discard what is lazyfree."""

    splits_partially_mapped = False
    """6.12 and later: a folio that is mapped in part is split before it gets slots."""
    split_lists_backwards = False
    """6.15 and later: the last piece of a split comes first on the list that the split is given."""

    def madvise_pageout(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_PAGEOUT of [start, end): isolate what is ours alone, then reclaim it."""
        step, huge = self.madvise_pageout_pte_range, self.madvise_pageout_huge_pmd
        ret: int = yield from self.madvise_walk(mm, start, end, step, huge)
        return ret

    def madvise_pageout_pte_range(
        self, vma: Vma, ptep: int, ptl: int, addr: int, end: int
    ) -> Gen[Advised]:
        """The entry (or batch) at *addr*, and the folio if it was isolated."""
        nr, folio = yield from self.madvise_cold_batch(vma, ptep, ptl, addr, end, True)
        if folio is not None and (yield from self.folio_isolate_lru(folio)):
            return Advised(nr, folio)
        return Advised(nr)

    def reclaim_pages(self, folios: tuple[Folio, ...]) -> Gen[None]:
        """Reclaim isolated folios; then what cannot go returns to the LRU."""
        for folio in (yield from self.shrink_folio_list(folios)):
            yield from self.folio_putback_lru(folio)

    def folio_putback_lru(self, folio: Folio) -> Gen[None]:
        """Back to the LRU, by this CPU's batch, and isolation's reference goes."""
        yield from self.folio_add_lru(folio)
        yield from self.folio_put(folio)

    def shrink_folio_list(self, folios: tuple[Folio, ...]) -> Gen[tuple[Folio, ...]]:
        """Reclaim what can be, and free it in batches; the folios that stay.

        Pieces of a split come next, in the order in which the split leaves them on the list.
        """
        free: tuple[Folio, ...] = ()
        kept: tuple[Folio, ...] = ()
        while folios:
            folio, gone, pieces = yield from self.shrink_folio(folios[0])
            pieces = pieces[::-1] if self.split_lists_backwards else pieces
            folios = (*pieces, *folios[1:])
            if gone:
                free = yield from self.reclaim_free(folio, free)
            else:
                kept = (*kept, folio)
        yield from self.free_unref_folios(free)
        return kept

    def shrink_folio(self, folio: Folio) -> Gen[tuple[Folio, bool, tuple[Folio, ...]]]:
        """One folio of the list: (what it is now, reclaimed, pieces to go on with)."""
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return folio, False, ()
        ready = not (yield load(folio.flags)) & (PG_mlocked | PG_writeback)
        pieces: tuple[Folio, ...] = ()
        if ready:
            folio, ready, pieces = yield from self.reclaim_add_to_swap(folio)
        if ready:
            yield from self.try_to_unmap(folio)
            ready = not (yield from self.folio_mapcount(folio))
        if ready:
            ready = not (yield from self.folio_maybe_dma_pinned(folio))
        if ready:
            written = yield from self.pageout(folio)
            ready = written != PAGE_KEEP
            if written == PAGE_SUCCESS and not (yield from self.lock_written(folio)):
                return folio, False, pieces
        if ready:
            ready = yield from self.filemap_release_folio(folio)
        if ready and (yield from self._remove_mapping(folio)):
            yield bits(folio.flags, 0, PG_locked)
            return folio, True, pieces
        yield bits(folio.flags, 0, PG_locked)
        return folio, False, pieces

    def lock_written(self, folio: Folio) -> Gen[bool]:
        """Lock a folio whose writing gave its lock up; False: not to be had, or dirty again."""
        if (yield load(folio.flags)) & PG_writeback or (yield load(folio.flags)) & PG_dirty:
            return False
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        if (yield load(folio.flags)) & (PG_dirty | PG_writeback):
            yield bits(folio.flags, 0, PG_locked)
            return False
        return True

    def reclaim_add_to_swap(self, folio: Folio) -> Gen[tuple[Folio, bool, tuple[Folio, ...]]]:
        """(What the folio is now, whether to go on, pieces of it); slots for what wants them.

        Anonymous memory that is no longer wanted needs none.  Without room for all of it, or if it
        is mapped in part only, a large folio is split: its head page goes on, the rest later.
        """
        flags = yield load(folio.flags)
        if not flags & PG_anon or not flags & PG_swapbacked or flags & PG_swapcache:
            return folio, True, ()
        if (yield from self.folio_maybe_dma_pinned(folio)):
            return folio, False, ()
        if folio.large and not (yield from self.can_split_folio(folio)):
            return folio, False, ()
        if not (
            self.splits_partially_mapped and (yield from self.is_queued_partially_mapped(folio))
        ):
            if (yield from self.add_to_swap(folio)):
                return folio, True, ()
            if not folio.large:
                return folio, False, ()
        if (yield from self.split_folio(folio, to_list=True)):
            return folio, False, ()
        head: Folio = yield from self.page_folio(folio.page(0))
        added = yield from self.add_to_swap(head)
        return head, added, self.pieces_of(folio, 0)[1:]

    def is_queued_partially_mapped(self, folio: Folio) -> Gen[bool]:
        """Has a folio pages that nobody maps, to be had without writing anything?"""
        if folio.order <= 1 or (yield load(folio._deferred_list)) != 1:
            return False
        return bool((yield load(folio.flags)) & PG_partially_mapped)

    # -- writing and freeing -----------------------------------------------------------

    def pageout(self, folio: Folio) -> Gen[int]:
        """Write a dirty folio to swap: PAGE_KEEP, PAGE_CLEAN, or PAGE_SUCCESS and unlocked.

        Only what nobody but the cache and reclaim refers to is written (`is_page_cache_freeable`).
        Files are not written by reclaim but by their own writeback.
        """
        flags = yield load(folio.flags)
        if not flags & PG_dirty:
            return PAGE_CLEAN
        if not flags & PG_swapbacked:
            if flags & PG_anon:
                return PAGE_CLEAN
            yield bits(folio.flags, PG_reclaim)
            return PAGE_KEEP
        if (yield load(folio._refcount)) != 1 + folio.nr_pages:
            return PAGE_KEEP
        if not (yield bits(folio.flags, 0, PG_dirty)) & PG_dirty:
            return PAGE_CLEAN
        if flags & PG_anon or flags & PG_swapcache:
            yield from self.swap_writepage(folio)
            return PAGE_SUCCESS
        return PAGE_SUCCESS if (yield from self.shmem_writeout(folio)) else PAGE_KEEP

    def remove_mapping(self, folio: Folio) -> Gen[bool]:
        """Take a locked folio that only its caller and its cache hold out of the cache.

        The caller's reference stays (mm/vmscan.c).
        """
        if not (yield from self._remove_mapping(folio)):
            return False
        yield store(folio._refcount, 1)  # folio_ref_unfreeze()
        return True

    def _remove_mapping(self, folio: Folio) -> Gen[bool]:
        """Freeze at the references expected, leave the cache; nobody has the folio then.

        The dirty flag is looked at again once nobody can find the folio.
        """
        flags = yield load(folio.flags)
        mapping = Mapping(0 if flags & PG_anon else (yield load(folio.mapping)))
        if not mapping and flags & (PG_swapbacked | PG_swapcache) == PG_swapbacked:
            return False  # it left the cache while it was written: folio_mapping() says NULL
        slot = (yield load(folio.private)) - 1
        word = mapping.xa_lock if mapping else 0
        if flags & PG_swapcache:
            word = yield from self.swap_xa_lock()
        expected = 1 + (folio.nr_pages if word else 0)
        if word:
            yield lock(word)
        frozen = yield cas(folio._refcount, expected, 0)
        if frozen and (yield load(folio.flags)) & PG_dirty:
            yield store(folio._refcount, expected)
            frozen = False
        if frozen and flags & PG_swapcache:
            yield from self._delete_from_swap_cache(folio)
        elif frozen and mapping:
            yield from self._filemap_remove_folio(mapping, folio)
        if word:
            yield unlock(word)
        if frozen and flags & PG_swapcache:
            yield from self.put_swap_folio(folio, slot)
        return bool(frozen)

    def reclaim_free(self, folio: Folio, free: tuple[Folio, ...]) -> Gen[tuple[Folio, ...]]:
        """Add a frozen folio to those that are freed together (`shrink_folio_list`, free_it).

        Large ones are freed at once (before 6.9, `destroy_large_folio`).
        """
        if not folio.large:
            return (*free, folio)
        yield from self.folio_unqueue_deferred_split(folio)
        yield from self.free_pages_prepare(folio)
        return free
