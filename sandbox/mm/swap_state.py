"""The swap cache: folios by slot, and what is read ahead (mm/swap_state.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_SWP, pte_present
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, add, bits, load, lock, store, unlock
from sandbox.mm.flags import (
    EBUSY,
    EEXIST,
    ENOENT,
    PG_locked,
    PG_swapbacked,
    PG_swapcache,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.mm.swapfile import CACHE, COUNTS, HAS_CACHE, XA_LOCK

READAHEAD = 8
"""Entries around the fault that readahead brings into the swap cache (page_cluster 3)."""


class SwapStateMixin(KernelPart):
    """Lookups, folios that enter and leave the cache, reads into it."""

    def add_to_swap_cache(self, folio: Folio, slot: int) -> Gen[None]:
        """Put a locked folio into slots that are prepared for it (mm/swap_state.c)."""
        xa_lock = yield from self.swap_xa_lock()
        yield lock(xa_lock)
        yield from self.swap_cache_add(folio, slot)
        yield unlock(xa_lock)

    def swap_cache_add(self, folio: Folio, slot: int) -> Gen[None]:
        """References before the folio can be found; the lock of the cache is held."""
        yield add(folio._refcount, folio.nr_pages)
        yield bits(folio.flags, PG_swapcache)
        yield store(folio.private, slot + 1)
        word = yield from self.swap_word(CACHE, slot)
        for i in range(folio.nr_pages):
            yield store(word + i, folio)

    def swapcache_wait(self, slot: int) -> Gen[None]:
        """Wait until whoever claimed a slot has its folio in the cache or gives the slot up.

        The kernel sleeps for a tick (schedule_timeout_uninterruptible) and tries again.
        """
        has_cache = yield from self.swap_word(HAS_CACHE, slot)
        cache = yield from self.swap_word(CACHE, slot)
        while (yield load(has_cache)) and not (yield load(cache)):
            pass

    def swap_cache_get_folio(self, slot: int) -> Gen[Folio | None]:
        """The folio that caches a slot, with one reference for the caller, or None.

        The kernel tries again while reclaim has the folio frozen; here the lock that reclaim
        holds meanwhile is waited for, so that a CPU that cannot go on is seen to be blocked.
        """
        word = yield from self.swap_word(CACHE, slot)
        while found := (yield load(word)):
            folio = Folio(found)
            if (yield from self.folio_try_get(folio)):
                if (yield load(word)) == found:
                    return folio
                yield from self.folio_put(folio)
            else:
                xa_lock = yield from self.swap_xa_lock()
                yield lock(xa_lock)
                yield unlock(xa_lock)
        return None

    def swap_xa_lock(self) -> Gen[int]:
        """The lock of the swap cache (7.x: of the cluster)."""
        return (yield from self.swap_word(XA_LOCK, 0))

    def delete_from_swap_cache(self, folio: Folio) -> Gen[None]:
        """Out of the cache, and the slots free if no entry names them; drops the references."""
        slot = (yield load(folio.private)) - 1
        xa_lock = yield from self.swap_xa_lock()
        yield lock(xa_lock)
        yield from self._delete_from_swap_cache(folio)
        yield unlock(xa_lock)
        yield from self.put_swap_folio(folio, slot)
        yield from self.folio_put(folio, folio.nr_pages)

    def _delete_from_swap_cache(self, folio: Folio) -> Gen[None]:
        """Out of the cache, under its lock; the N references are the caller's to drop."""
        slot = (yield load(folio.private)) - 1
        word = yield from self.swap_word(CACHE, slot)
        for i in range(folio.nr_pages):
            yield store(word + i, 0)
        yield store(folio.private, 0)
        yield bits(folio.flags, 0, PG_swapcache)

    def free_swap_cache(self, folio: Folio) -> Gen[None]:
        """The same for a folio that is not mapped any more (mm/swap_state.c)."""
        if not (yield load(folio.flags)) & PG_swapcache:
            return
        if (yield from self.folio_mapcount(folio)) or (
            yield bits(folio.flags, PG_locked)
        ) & PG_locked:
            return
        yield from self.folio_free_swap(folio)
        yield bits(folio.flags, 0, PG_locked)

    # -- reading into the cache ------------------------------------------------------------

    def swap_cache_alloc_folio(self, slot: int, order: int) -> Gen[tuple[Folio | None, int]]:
        """A locked folio in the cache of *slot* and its neighbours, or an errno (7.x)."""
        ci_lock = yield from self.swap_xa_lock()
        yield lock(ci_lock)
        err = yield from self._swap_cache_add_check(slot, order)
        yield unlock(ci_lock)
        if err:
            return None, err
        folio = yield from self.vma_alloc_folio(order)
        yield lock(ci_lock)
        err = yield from self._swap_cache_add_check(slot, order)
        if err:
            yield unlock(ci_lock)
            yield from self.folio_put(folio)
            return None, err
        yield bits(folio.flags, PG_locked | PG_swapbacked)
        yield from self.swap_cache_add(folio, slot & -(1 << order))
        yield unlock(ci_lock)
        yield from self.folio_add_lru(folio)
        return folio, 0

    def _swap_cache_add_check(self, slot: int, order: int) -> Gen[int]:
        """0 if every slot is swapped out and none is cached.

        -EEXIST: the slot itself is cached, -ENOENT: nobody names it, -EBUSY: a neighbour is not
        to be had.
        """
        counts = yield from self.swap_word(COUNTS, 0)
        cache = yield from self.swap_word(CACHE, 0)
        if (yield load(cache + slot)):
            return -EEXIST
        if not (yield load(counts + slot)):
            return -ENOENT
        first = slot & -(1 << order)
        for i in range(first, first + (1 << order) if order else first):
            if (yield load(cache + i)) or not (yield load(counts + i)):
                return -EBUSY
        return 0

    def swapin_readahead(self, vmf: VmFault, slot: int) -> Gen[Folio | None]:
        """Bring the faulting slot and its neighbours in the VMA into the cache; the slot's folio.

        The entries are read without their lock: they only say what may be worth reading.
        """
        pmdval = yield load(vmf.pmd)
        start = max(vmf.address & -READAHEAD, (yield load(vmf.vma.vm_start)))
        end = min((vmf.address & -READAHEAD) + READAHEAD, (yield load(vmf.vma.vm_end)))
        for addr in range(start, end if pmdval and not pmd_is_leaf(pmdval) else start):
            pte = yield load(self.pte_offset_map(pmdval, addr))
            if pte_present(pte) or not pte & PTE_SWP:
                continue
            folio = yield from self.read_swap_cache_async(pte >> PFN_SHIFT)
            if folio is not None:
                yield from self.folio_put(folio)
        return (yield from self.read_swap_cache_async(slot))

    def read_swap_cache_async(self, slot: int) -> Gen[Folio | None]:
        """The folio that caches a slot, read if need be; None if no entry names the slot.

        One of several readers claims the slot; the others wait for its folio (mm/swap_state.c).
        """
        new = None
        while True:
            folio = yield from self.swap_cache_get_folio(slot)
            if folio is not None or not (yield load((yield from self.swap_word(COUNTS, slot)))):
                break
            if new is None:
                new = yield from self.vma_alloc_folio(0)
            err = yield from self.swapcache_prepare(slot, 1)
            if not err:
                yield bits(new.flags, PG_locked | PG_swapbacked)
                yield from self.add_to_swap_cache(new, slot)
                yield from self.folio_add_lru(new)
                yield from self.swap_read_folio(new, slot)
                return new
            if err != -EEXIST:
                break
            yield from self.swapcache_wait(slot)
        if new is not None:
            yield from self.folio_put(new)
        return folio
