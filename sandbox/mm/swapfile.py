"""Swap slots and the swap cache (mm/swapfile.c, mm/swap_state.c; 6.6).

A slot has a count of entries that name it, perhaps a folio that caches it, and its contents.  The
device is a fast one (zram): reads are synchronous.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_SWP, PTE_SWP_EXCLUSIVE
from sandbox.fields import Struct
from sandbox.kernels.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, add, alloc, bits, load, lock, store, unlock
from sandbox.mm.flags import PG_dirty, PG_locked, PG_swapcache

SWAP_SLOTS = 1024


def swp_entry(slot: int, exclusive: bool) -> int:
    """The non-present entry that names a slot."""
    return slot << PFN_SHIFT | PTE_SWP | (PTE_SWP_EXCLUSIVE if exclusive else 0)


class SwapfileMixin(KernelPart):
    """Slots, counts, the cache."""

    swap_sync_frees = False
    """7.x: on a synchronous device the cache is dropped as soon as no entry is left."""

    def sys_swapon(self, on: bool) -> Gen[int]:
        """Give the machine a swap device (`swap on`), or take new slots away."""
        device = yield load(Globals.swap_device)
        if on and not device:
            device = yield alloc(Struct.SWAP)
            yield store(Globals.swap_device, device)
        yield store(Globals.swap_on, int(on))
        return 0

    def swap_word(self, array: int, slot: int) -> Gen[int]:
        """Word of a slot in one of the device's arrays: 0 counts, 1 cache, 2 contents."""
        return (yield load(Globals.swap_device)) + array * SWAP_SLOTS + slot

    def swap_alloc_slots(self, nr: int) -> Gen[int]:
        """The first of *nr* free, aligned slots; -1 when swap is off or full."""
        if not (yield load(Globals.swap_on)):
            return -1
        counts = yield from self.swap_word(0, 0)
        cache = yield from self.swap_word(1, 0)
        for slot in range(0, SWAP_SLOTS, nr):
            for i in range(nr):
                if (yield load(counts + slot + i)) or (yield load(cache + slot + i)):
                    break
            else:
                return slot
        return -1

    def add_to_swap(self, folio: Folio) -> Gen[bool]:
        """Slots for a locked folio and its place in the swap cache: N references more."""
        slot = yield from self.swap_alloc_slots(folio.nr_pages)
        if slot < 0:
            return False
        yield from self.swap_cache_add(folio, slot)
        yield bits(folio.flags, PG_dirty)
        return True

    def swap_cache_add(self, folio: Folio, slot: int) -> Gen[None]:
        """References before the folio can be found (`add_to_swap_cache`)."""
        yield add(folio._refcount, folio.nr_pages)
        yield bits(folio.flags, PG_swapcache)
        yield store(folio.private, slot + 1)
        word = yield from self.swap_word(1, slot)
        for i in range(folio.nr_pages):
            yield store(word + i, folio)

    def swap_cache_get_folio(self, slot: int) -> Gen[Folio | None]:
        """The folio that caches a slot, with one reference for the caller, or None.

        The kernel tries again while reclaim has the folio frozen; here the lock that reclaim
        holds meanwhile is waited for, so that a CPU that cannot go on is seen to be blocked.
        """
        word = yield from self.swap_word(1, slot)
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
        return (yield from self.swap_word(3, 0))

    def delete_from_swap_cache(self, folio: Folio) -> Gen[None]:
        """Out of the cache; the N references are the caller's to drop."""
        slot = (yield load(folio.private)) - 1
        word = yield from self.swap_word(1, slot)
        for i in range(folio.nr_pages):
            yield store(word + i, 0)
        yield store(folio.private, 0)
        yield bits(folio.flags, 0, PG_swapcache)

    def folio_swapped(self, folio: Folio) -> Gen[bool]:
        """Does any entry still name one of the folio's slots?"""
        word = yield from self.swap_word(0, (yield load(folio.private)) - 1)
        for i in range(folio.nr_pages):
            if (yield load(word + i)):
                return True
        return False

    def folio_free_swap(self, folio: Folio) -> Gen[bool]:
        """Drop a locked folio from the swap cache if no entry needs its slots; it becomes dirty."""
        if not (yield load(folio.flags)) & PG_swapcache or (yield from self.folio_swapped(folio)):
            return False
        yield from self.delete_from_swap_cache(folio)
        yield bits(folio.flags, PG_dirty)
        yield from self.folio_put(folio, folio.nr_pages)
        return True

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

    def swap_duplicate(self, slot: int) -> Gen[None]:
        """One entry more names the slot."""
        yield add((yield from self.swap_word(0, slot)), 1)

    def swap_free(self, slot: int) -> Gen[int]:
        """One entry less; the count left."""
        return (yield add((yield from self.swap_word(0, slot)), -1))

    def free_swap_and_cache(self, slot: int) -> Gen[None]:
        """A zapped entry: drop its count, and the cache with the last one."""
        if (yield from self.swap_free(slot)):
            return
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is None:
            return
        if not (yield bits(folio.flags, PG_locked)) & PG_locked:
            if not (yield from self.folio_mapcount(folio)):
                yield from self.folio_free_swap(folio)
            yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
