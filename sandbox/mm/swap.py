"""LRU batches and dropping references.

Source: mm/swap.c (6.6): folio_add_lru, lru_add_drain_cpu, _folio_put.  A folio waiting in
a CPU's batch holds one more reference and has PG_lru clear.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.machine.part import KernelPart
from sandbox.memory import Fbatch, Folio, Gen, PerCpu, Vma, add, bits, cas, load, store, try_add
from sandbox.mm.flags import (
    MLOCK_COUNT_MASK,
    VM_LOCKED,
    PG_active,
    PG_anon,
    PG_anon_exclusive,
    PG_buddy,
    PG_dirty,
    PG_large_rmappable,
    PG_locked,
    PG_lru,
    PG_mlocked,
    PG_reclaim,
    PG_referenced,
    PG_swapbacked,
    PG_swapcache,
    PG_unevictable,
    PG_writeback,
)

PAGEVEC_SIZE = 31
"""Folios that a batch takes (include/linux/pagevec.h)."""


class SwapMixin(KernelPart):
    """References and per-CPU LRU batches."""

    lru_add_frees_dead = False
    """7.x: a folio that only its batch holds is freed without having been on the LRU."""

    def folio_get(self, folio: Folio) -> Gen[None]:
        """Take one reference."""
        yield add(folio._refcount, 1)

    def folio_try_get(self, folio: Folio) -> Gen[bool]:
        """Take one reference unless the folio is frozen or free (include/linux/page_ref.h)."""
        return (yield try_add(folio._refcount, 1))

    def folio_ref_add(self, folio: Folio, nr: int) -> Gen[None]:
        """Take *nr* references in one atomic step."""
        yield add(folio._refcount, nr)

    def folio_put(self, folio: Folio, nr: int = 1) -> Gen[None]:
        """Drop *nr* references; the last one frees the folio (`folio_put_refs`)."""
        if (yield add(folio._refcount, -nr)) == 0:
            yield from self._folio_put(folio)

    def _folio_put(self, folio: Folio) -> Gen[None]:
        """Take the folio off every list and give it back to the allocator."""
        yield from self.page_cache_release(folio)
        if folio.large:
            yield from self.folio_unqueue_deferred_split(folio)
        yield from self.free_pages_prepare(folio)

    def page_cache_release(self, folio: Folio) -> Gen[None]:
        """Take a folio that nobody holds off its LRU list (`__page_cache_release`)."""
        flags = yield load(folio.flags)
        if flags & PG_lru:
            yield bits(folio.flags, 0, PG_lru)
            if flags & (PG_active | PG_unevictable):
                yield bits(folio.flags, 0, PG_active | PG_unevictable)
        if flags & PG_mlocked:
            yield bits(folio.flags, 0, PG_mlocked)

    def free_pages_prepare(self, folio: Folio) -> Gen[None]:
        """Wipe what says whose the pages are: tails first, the head last (mm/page_alloc.c)."""
        flags = yield load(folio.flags)
        if folio.large:
            if flags & PG_large_rmappable:
                yield bits(folio.flags, 0, PG_large_rmappable)
            if flags & PG_anon:
                for i in range(1, folio.nr_pages):
                    yield bits(folio.page(i).flags, 0, PG_anon_exclusive)
        yield store(folio.mapping, 0)
        yield bits(folio.flags, PG_buddy, ~PG_buddy)

    def free_pages_and_swap_cache(self, pages: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop references that a gather holds: (folio, how many), in order (mm/swap_state.c)."""
        for folio, _ in pages:
            yield from self.free_swap_cache(folio)
        yield from self.release_pages(pages)

    def release_pages(self, pages: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop references; small folios are freed together at the end, large ones at once."""
        pages_to_free: tuple[Folio, ...] = ()
        for folio, nr in pages:
            if (yield add(folio._refcount, -nr)) != 0:
                continue
            if folio.large:
                yield from self._folio_put(folio)
            else:
                yield from self.page_cache_release(folio)
                pages_to_free = (*pages_to_free, folio)
        yield from self.free_unref_folios(pages_to_free)

    def free_unref_folios(self, folios: tuple[Folio, ...]) -> Gen[None]:
        """Give folios that nobody holds back together (mm/page_alloc.c)."""
        for folio in folios:
            yield from self.free_pages_prepare(folio)

    def folio_unqueue_deferred_split(self, folio: Folio) -> Gen[None]:
        """Leave the deferred-split queue (`folio_undo_large_rmappable` before 6.12)."""
        if folio.order > 1 and (yield load(folio._deferred_list)) == 1:
            yield store(folio._deferred_list, 0)

    def folio_add_lru(self, folio: Folio) -> Gen[None]:
        """Queue the folio for the LRU; large folios and full batches drain at once."""
        yield from self.folio_batch_add_and_move(Fbatch.LRU_ADD, folio)

    def folio_add_lru_vma(self, folio: Folio, vma: Vma) -> Gen[None]:
        """`folio_add_lru`, but a locked VMA makes the folio mlocked first."""
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.mlock_new_folio(folio)
        else:
            yield from self.folio_add_lru(folio)

    def folio_batch_add_and_move(self, which: Fbatch, folio: Folio) -> Gen[None]:
        """Put a folio in a batch with a reference; move a batch that is full, or a large folio."""
        yield add(folio._refcount, 1)
        nr = yield load(PerCpu.fbatch_nr(self.cpu, which))
        yield store(PerCpu.fbatch_folio(self.cpu, which, nr), folio)
        yield store(PerCpu.fbatch_nr(self.cpu, which), nr + 1)
        if folio.large or nr + 1 >= PAGEVEC_SIZE:
            yield from self.folio_batch_move_lru(which)

    def folio_batch_move_lru(self, which: Fbatch) -> Gen[None]:
        """Move the folios of a batch to where they belong, and drop the batch's references."""
        batch: tuple[tuple[Folio, int], ...] = ()
        dead: tuple[Folio, ...] = ()
        adds = which is Fbatch.LRU_ADD
        for i in range((yield load(PerCpu.fbatch_nr(self.cpu, which)))):
            folio = Folio((yield load(PerCpu.fbatch_folio(self.cpu, which, i))))
            if adds and self.lru_add_frees_dead and (yield cas(folio._refcount, 1, 0)):
                yield bits(folio.flags, 0, PG_active | PG_unevictable)
                yield from self.folio_unqueue_deferred_split(folio)
                dead = (*dead, folio)
                continue
            batch = (*batch, (folio, 1))
            if adds:
                yield from self.lru_add_fn(folio)
            elif (yield bits(folio.flags, 0, PG_lru)) & PG_lru:  # else isolated meanwhile
                yield from self.lru_move_fn(which, folio)
                yield bits(folio.flags, PG_lru)
        yield from self.free_unref_folios(dead)
        yield from self.folios_put(batch)
        yield store(PerCpu.fbatch_nr(self.cpu, which), 0)

    def folios_put(self, folios: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop the references of a batch."""
        yield from self.release_pages(folios)

    def folio_batch_release(self, folios: Sequence[tuple[Folio, int]], drained: bool) -> Gen[bool]:
        """Give a batch of references back; the first time with a drain of this CPU's LRU batches.

        *drained* is the batch's `percpu_pvec_drained`, which is the answer, too.
        """
        if not folios:
            return drained
        if not drained:
            yield from self.lru_add_drain()
        yield from self.folios_put(folios)
        return True

    def lru_add_drain(self) -> Gen[None]:
        """Move this CPU's batches and drop their references."""
        for which in Fbatch:
            if which is not Fbatch.MLOCK and (yield load(PerCpu.fbatch_nr(self.cpu, which))):
                yield from self.folio_batch_move_lru(which)
        yield from self.mlock_drain_local()

    # -- what is done with the folios of a batch that were taken off their list --------------

    def lru_move_fn(self, which: Fbatch, folio: Folio) -> Gen[None]:
        """What a batch of folios that are on the LRU is for; moving one to the tail is no word."""
        if which is Fbatch.LRU_LAZYFREE:
            yield from self.lru_lazyfree_fn(folio)
        elif which is Fbatch.LRU_DEACTIVATE:
            yield from self.lru_deactivate_fn(folio)
        elif which is Fbatch.LRU_DEACTIVATE_FILE:
            yield from self.lru_deactivate_file_fn(folio)
        elif (yield load(folio.flags)) & (PG_active | PG_unevictable) == PG_active:
            yield bits(folio.flags, 0, PG_active)

    def lru_deactivate_file_fn(self, folio: Folio) -> Gen[None]:
        """A file's page that nobody maps is to go soon: once it is written, if it is dirty."""
        if (yield load(folio.flags)) & PG_unevictable or (yield from self.folio_mapcount(folio)):
            return
        yield bits(folio.flags, 0, PG_active | PG_referenced)
        if (yield load(folio.flags)) & (PG_writeback | PG_dirty):
            yield bits(folio.flags, PG_reclaim)

    def lru_deactivate_fn(self, folio: Folio) -> Gen[None]:
        """To the tail of the inactive list."""
        flags = yield load(folio.flags)
        if flags & PG_unevictable:
            return
        if flags & PG_active:
            yield bits(folio.flags, 0, PG_active)
        yield bits(folio.flags, 0, PG_referenced)

    def lru_lazyfree_fn(self, folio: Folio) -> Gen[None]:
        """To the inactive file list, as a page that reclaim may drop."""
        flags = yield load(folio.flags)
        if flags & (PG_swapbacked | PG_swapcache | PG_unevictable) == PG_swapbacked:
            yield bits(folio.flags, 0, PG_active | PG_referenced | PG_swapbacked)

    # -- queueing ----------------------------------------------------------------------------

    def deactivate_file_folio(self, folio: Folio) -> Gen[None]:
        """Queue a file's folio that could not be dropped to be made inactive."""
        if (yield load(folio.flags)) & (PG_lru | PG_unevictable) == PG_lru:
            yield from self.folio_batch_add_and_move(Fbatch.LRU_DEACTIVATE_FILE, folio)

    def folio_rotate_reclaimable(self, folio: Folio) -> Gen[None]:
        """Queue a folio that was written to be reclaimed, for the tail of the inactive list."""
        keeps = PG_locked | PG_dirty | PG_unevictable
        if (yield load(folio.flags)) & (keeps | PG_lru) == PG_lru:
            yield from self.folio_batch_add_and_move(Fbatch.LRU_MOVE_TAIL, folio)

    def folio_deactivate(self, folio: Folio) -> Gen[None]:
        """MADV_COLD: queue the folio for the inactive list."""
        if (yield load(folio.flags)) & (PG_lru | PG_unevictable) == PG_lru:
            yield from self.folio_batch_add_and_move(Fbatch.LRU_DEACTIVATE, folio)

    def folio_mark_lazyfree(self, folio: Folio) -> Gen[None]:
        """MADV_FREE: queue the folio, anon and clean, to be dropped by reclaim."""
        state = PG_lru | PG_swapbacked | PG_swapcache | PG_unevictable
        if (yield load(folio.flags)) & state == PG_lru | PG_swapbacked:
            yield from self.folio_batch_add_and_move(Fbatch.LRU_LAZYFREE, folio)

    def lru_add_fn(self, folio: Folio) -> Gen[None]:
        """Put one folio on its LRU list: the unevictable one, with no lock counted, if mlocked."""
        flags = yield load(folio.flags)
        if flags & PG_mlocked:
            yield bits(folio.flags, PG_unevictable, MLOCK_COUNT_MASK)
        yield bits(folio.flags, PG_lru)

    def folio_isolate_lru(self, folio: Folio) -> Gen[bool]:
        """Take a folio off the LRU with a reference of our own; False if it was not on it."""
        if not (yield bits(folio.flags, 0, PG_lru)) & PG_lru:
            return False
        yield add(folio._refcount, 1)
        return True
