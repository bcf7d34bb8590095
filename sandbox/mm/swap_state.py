"""The swap cache: folios by slot, and what is read ahead (mm/swap_state.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_SWP, PTRS_PER_PTE, pte_present
from sandbox.machine.offsets import TABLE_CACHE, TABLE_HAS_CACHE, TABLE_MAP, TABLE_ZERO, XA_LOCK
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, Vma, add, bits, load, lock, store, unlock
from sandbox.mm.flags import (
    EBUSY,
    EEXIST,
    ENOENT,
    PG_locked,
    PG_readahead,
    PG_swapbacked,
    PG_swapcache,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf

MAX_WINDOW = 8
"""Pages that readahead brings in at most (page_cluster 3)."""
WINDOW_SHIFT, ADDRESS_SHIFT, HITS_MASK = 6, 12, (1 << 6) - 1
"""Where window and address lie in `swap_readahead_info`, above the hits (SWAP_RA_VAL)."""
FRESH = 4
"""What a VMA that no fault on swap has met yet is taken for: four hits (GET_SWAP_RA_VAL)."""


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
        word = yield from self.swap_word(TABLE_CACHE, slot)
        for i in range(folio.nr_pages):
            yield store(word + i, folio)

    def swapcache_wait(self, slot: int) -> Gen[None]:
        """Wait until whoever claimed a slot has its folio in the cache or gives the slot up.

        The kernel sleeps for a tick (schedule_timeout_uninterruptible) and tries again.
        """
        has_cache = yield from self.swap_word(TABLE_HAS_CACHE, slot)
        cache = yield from self.swap_word(TABLE_CACHE, slot)
        while (yield load(has_cache)) and not (yield load(cache)):
            pass

    def swap_cache_get_folio(self, slot: int) -> Gen[Folio | None]:
        """The folio that caches a slot, with one reference for the caller, or None.

        The kernel tries again while reclaim has the folio frozen; here the lock that reclaim
        holds meanwhile is waited for, so that a CPU that cannot go on is seen to be blocked.
        """
        word = yield from self.swap_word(TABLE_CACHE, slot)
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
        return (yield load(Globals.swap_device)) + XA_LOCK

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
        word = yield from self.swap_word(TABLE_CACHE, slot)
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
        """0 if every slot is swapped out, none is cached, and all or none of them are zero.

        -EEXIST: the slot itself is cached, -ENOENT: nobody names it, -EBUSY: a neighbour is not
        to be had.
        """
        first = slot & -(1 << order)
        counts = yield from self.swap_word(TABLE_MAP, first)
        cache = yield from self.swap_word(TABLE_CACHE, first)
        if (yield load(cache + slot - first)):
            return -EEXIST
        if not (yield load(counts + slot - first)):
            return -ENOENT
        if not order:
            return 0
        zero = yield from self.swap_word(TABLE_ZERO, first)
        is_zero = yield load(zero + slot - first)
        for i in range(1 << order):
            if (yield load(cache + i)) or not (yield load(counts + i)):
                return -EBUSY
            if (yield load(zero + i)) != is_zero:
                return -EBUSY
        return 0

    def swapin_readahead(self, vmf: VmFault, slot: int) -> Gen[Folio | None]:
        """Bring the slot and its neighbours in the VMA into the cache; the slot's folio.

        The entries are read without their lock: they only say what may be worth reading
        (swap_vma_readahead).
        """
        start, end = yield from self.swap_vma_ra_win(vmf)
        pmdval = yield load(vmf.pmd)
        for addr in range(start, end if pmdval and not pmd_is_leaf(pmdval) else start):
            pte = yield load(self.pte_offset_map(pmdval, addr))
            if pte_present(pte) or not pte & PTE_SWP:
                continue
            folio, new = yield from self.read_swap_cache_async(pte >> PFN_SHIFT)
            if folio is not None:
                if new and addr != vmf.address:
                    yield bits(folio.flags, PG_readahead)
                yield from self.folio_put(folio)
        if end:
            yield from self.lru_add_drain()
        found, _ = yield from self.read_swap_cache_async(slot)
        return found

    def swap_vma_ra_win(self, vmf: VmFault) -> Gen[tuple[int, int]]:
        """Pages [start, end) to read around a fault; (0, 0) for its own alone.

        A fault beside the last one goes on in its direction, another one looks both ways.
        """
        addr, vma = vmf.address, vmf.vma
        info = (yield load(vma.swap_readahead_info)) or FRESH
        prev = info >> ADDRESS_SHIFT
        window = self.swapin_nr_pages(
            prev, addr, info & HITS_MASK, info >> WINDOW_SHIFT & HITS_MASK
        )
        yield store(vma.swap_readahead_info, addr << ADDRESS_SHIFT | window << WINDOW_SHIFT)
        if window == 1:
            return 0, 0
        left = addr - (window - 1) // 2
        if addr == prev + 1:
            left = addr
        elif prev == addr + 1:
            left = addr - window + 1
        start = max(left, (yield load(vma.vm_start)), addr & -PTRS_PER_PTE)
        end = min(left + window, (yield load(vma.vm_end)), (addr | PTRS_PER_PTE - 1) + 1)
        return start, end

    def swapin_nr_pages(self, prev: int, addr: int, hits: int, prev_window: int) -> int:
        """How many pages to read, by how many of the last ones were wanted (__swapin_nr_pages)."""
        pages = hits + 2
        if pages == 2:
            pages = 2 if abs(addr - prev) == 1 else 1
        else:
            pages = max(4, 1 << (pages - 1).bit_length())
        return max(min(pages, MAX_WINDOW), prev_window // 2)

    def swap_update_readahead(self, folio: Folio, vma: Vma, addr: int) -> Gen[None]:
        """A fault found its page in the cache: was it read ahead?"""
        if folio.large:
            return
        readahead = (yield bits(folio.flags, 0, PG_readahead)) & PG_readahead
        info = (yield load(vma.swap_readahead_info)) or FRESH
        hits = min((info & HITS_MASK) + bool(readahead), HITS_MASK)
        window = info & HITS_MASK << WINDOW_SHIFT
        yield store(vma.swap_readahead_info, addr << ADDRESS_SHIFT | window | hits)

    def read_swap_cache_async(self, slot: int) -> Gen[tuple[Folio | None, bool]]:
        """(The folio that caches a slot, whether it was read); None if no entry names the slot.

        One of several readers claims the slot; the others wait for its folio.
        """
        new = None
        while True:
            folio = yield from self.swap_cache_get_folio(slot)
            if folio is not None or not (yield load((yield from self.swap_word(TABLE_MAP, slot)))):
                break
            if new is None:
                new = yield from self.vma_alloc_folio(0)
            err = yield from self.swapcache_prepare(slot, 1)
            if not err:
                yield bits(new.flags, PG_locked | PG_swapbacked)
                yield from self.add_to_swap_cache(new, slot)
                yield from self.folio_add_lru(new)
                yield from self.swap_read_folio(new, slot)
                return new, True
            if err != -EEXIST:
                break
            yield from self.swapcache_wait(slot)
        if new is not None:
            yield from self.folio_put(new)
        return folio, False
