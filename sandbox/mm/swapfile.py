"""Swap slots and the swap cache (mm/swapfile.c, mm/swap_state.c; 6.6).

A slot has a count of entries that name it, perhaps a folio that caches it, and its contents.  The
device is a fast one (zram): reads are synchronous.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_SWP, PTE_SWP_EXCLUSIVE
from sandbox.fields import Struct
from sandbox.machine.offsets import (
    CI_LOCK,
    CLUSTER_TABLE,
    SWAP_HEADER,
    SWAPFILE_CLUSTER,
    TABLE_HAS_CACHE,
    TABLE_MAP,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    add,
    alloc,
    bits,
    cas,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    EBUSY,
    EEXIST,
    EINVAL,
    ENOENT,
    PG_dirty,
    PG_locked,
    PG_swapcache,
    PG_writeback,
)

SWAP_HAS_CACHE = 0x40
"""Flag of a slot that a folio has or will have (a bit of the count in the kernel; to 6.17)."""


def swp_entry(slot: int, exclusive: bool) -> int:
    """The non-present entry that names a slot."""
    return slot << PFN_SHIFT | PTE_SWP | (PTE_SWP_EXCLUSIVE if exclusive else 0)


class SwapfileMixin(KernelPart):
    """Slots, counts, the cache."""

    swap_batches = False
    """6.10 and later: entries that name slots in a row are given back together."""
    swap_sync_frees = False
    """7.x: on a synchronous device the cache is dropped as soon as no entry is left."""

    def sys_swapon(self) -> Gen[int]:
        """Give the machine a swap device (`swap on`); -EBUSY if it has one."""
        if (yield load(Globals.swap_device)):
            return -EBUSY
        device = yield alloc(Struct.SWAP)
        if not (yield cas(Globals.swap_device, 0, device)):  # swapon_mutex: the first one stays
            return -EBUSY
        header = yield from self.vma_alloc_folio(0)  # read_mapping_folio()
        yield store(device + SWAP_HEADER, header)
        yield from self.folio_add_lru(header)
        yield store(Globals.swap_on, 1)
        return 0

    def sys_swapoff(self) -> Gen[int]:
        """Give out no more slots, read back what is out, and be rid of the device."""
        if not (yield load(Globals.swap_on)):
            return -EINVAL
        yield store(Globals.swap_on, 0)
        yield from self.try_to_unuse()
        header = Folio((yield load((yield load(Globals.swap_device)) + SWAP_HEADER)))
        yield store(Globals.swap_device, 0)
        yield from self.folio_get(header)  # truncate_inode_pages_range() of the block device
        yield from self.folio_put(header)
        yield from self.folio_batch_release(((header, 1),), False)
        return 0

    def swap_word(self, array: int, slot: int) -> Gen[int]:
        """Word of a slot in one of the arrays of its cluster's table."""
        device = yield load(Globals.swap_device)
        table: int = yield load(device + CLUSTER_TABLE + slot // SWAPFILE_CLUSTER)
        return table + array + slot % SWAPFILE_CLUSTER

    def swap_ci_lock(self) -> Gen[int]:
        """The lock of counts and claims."""
        return (yield load(Globals.swap_device)) + CI_LOCK

    def swap_has_cache(self, slot: int, nr: int) -> Gen[None]:
        """Claim slots (SWAP_HAS_CACHE); their lock is held."""
        has_cache = yield from self.swap_word(TABLE_HAS_CACHE, slot)
        for i in range(nr):
            yield bits(has_cache + i, SWAP_HAS_CACHE)

    def add_to_swap(self, folio: Folio) -> Gen[bool]:
        """Slots for a locked folio that will be written."""
        if not (yield from self.folio_alloc_swap(folio)):
            return False
        yield bits(folio.flags, PG_dirty)
        return True

    def folio_alloc_swap(self, folio: Folio) -> Gen[bool]:
        """Slots for a locked folio and its place in the swap cache: N references more."""
        slot = yield from self.get_swap_pages(folio.order)
        if slot < 0:
            return False
        yield from self.add_to_swap_cache(folio, slot)
        return True

    def swapcache_prepare(self, slot: int, nr: int) -> Gen[int]:
        """Claim *nr* slots for one who will read them; -EEXIST: another has, -ENOENT: unused."""
        ci_lock = yield from self.swap_ci_lock()
        counts = yield from self.swap_word(TABLE_MAP, slot)
        has_cache = yield from self.swap_word(TABLE_HAS_CACHE, slot)
        yield lock(ci_lock)
        err = 0
        for i in range(nr):
            cached = yield load(has_cache + i)
            if not cached and not (yield load(counts + i)):
                err = -ENOENT
            elif cached:
                err = -EEXIST
            if err:
                break
        else:
            yield from self.swap_has_cache(slot, nr)
        yield unlock(ci_lock)
        return err

    def swapcache_clear(self, slot: int, nr: int) -> Gen[None]:
        """Give up slots that were claimed or whose folio has left the cache (`put_swap_folio`)."""
        ci_lock = yield from self.swap_ci_lock()
        has_cache = yield from self.swap_word(TABLE_HAS_CACHE, slot)
        yield lock(ci_lock)
        for i in range(nr):
            yield bits(has_cache + i, 0, SWAP_HAS_CACHE)
        yield from self.swap_free_unused(slot, nr)
        yield unlock(ci_lock)

    def put_swap_folio(self, folio: Folio, slot: int) -> Gen[None]:
        """The slots of a folio that has left the cache are no longer taken by it."""
        yield from self.swapcache_clear(slot, folio.nr_pages)

    def swap_free_unused(self, slot: int, nr: int) -> Gen[None]:
        """Tell the cluster of those of *nr* slots that are in use no more; its lock is held."""
        counts = yield from self.swap_word(TABLE_MAP, slot)
        taken = yield from self.swap_word(self.swap_taken_word(), slot)
        first = -1
        for i in range(nr + 1):
            unused = i < nr and not (yield load(counts + i)) and not (yield load(taken + i))
            if unused and first < 0:
                first = i
            elif not unused and first >= 0:
                yield from self.swap_entry_range_free(slot + first, i - first)
                first = -1

    def folio_swapped(self, folio: Folio) -> Gen[bool]:
        """Does any entry still name one of the folio's slots?"""
        word = yield from self.swap_word(TABLE_MAP, (yield load(folio.private)) - 1)
        for i in range(folio.nr_pages):
            if (yield load(word + i)):
                return True
        return False

    def folio_free_swap(self, folio: Folio) -> Gen[bool]:
        """Drop a locked folio from the swap cache if no entry needs its slots; it becomes dirty.

        Not while it is being written (`folio_swapcache_freeable`).
        """
        if (yield load(folio.flags)) & (PG_swapcache | PG_writeback) != PG_swapcache:
            return False
        if (yield from self.folio_swapped(folio)):
            return False
        yield from self.delete_from_swap_cache(folio)
        yield bits(folio.flags, PG_dirty)
        return True

    def swap_pte_batch(self, ptep: int, max_nr: int, pte: int) -> Gen[int]:
        """Entries from *ptep* on that name slots in a row, alike but for that (mm/internal.h)."""
        nr = 1
        while self.swap_batches and nr < max_nr:
            if (yield from self.ptep_get(ptep + nr)) != pte + (nr << PFN_SHIFT):
                break
            nr += 1
        return nr

    def swap_duplicate(self, slot: int) -> Gen[None]:
        """One entry more names the slot."""
        yield add((yield from self.swap_word(TABLE_MAP, slot)), 1)

    def swap_free(self, slot: int) -> Gen[bool]:
        """One entry less."""
        return (yield from self.swap_free_nr(slot, 1))

    def swap_free_nr(self, slot: int, nr: int) -> Gen[bool]:
        """One entry less for each of *nr* slots; did the last one go for any of them?"""
        ci_lock = yield from self.swap_ci_lock()
        yield lock(ci_lock)
        counts = yield from self.swap_word(TABLE_MAP, slot)
        unused = False
        for i in range(nr):
            unused = not (yield add(counts + i, -1)) or unused
        if unused:
            yield from self.swap_free_unused(slot, nr)
        yield unlock(ci_lock)
        return unused

    def free_swap_and_cache_nr(self, slot: int, nr: int) -> Gen[None]:
        """Zapped entries of *nr* slots: drop their counts, then the caches that nobody needs.

        One slot at a time before 6.10 (`free_swap_and_cache`).
        """
        unused = yield from self.swap_free_nr(slot, nr)
        at = slot
        while unused and at < slot + nr:
            size = 1
            if not (yield load((yield from self.swap_word(TABLE_MAP, at)))):
                size = yield from self._try_to_reclaim_swap(at)
            at = (at // size + 1) * size

    def _try_to_reclaim_swap(self, slot: int) -> Gen[int]:
        """Take an unmapped folio out of the cache if no entry names its slots; its pages, or 1."""
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is None:
            return 1
        if not (yield bits(folio.flags, PG_locked)) & PG_locked:
            if not (yield from self.folio_mapcount(folio)):
                yield from self.folio_free_swap(folio)
            yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return folio.nr_pages
