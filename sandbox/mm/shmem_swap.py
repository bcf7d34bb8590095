"""Shared memory in swap: written by reclaim, read back by faults (mm/shmem.c, 6.12).

What is swapped out leaves a value in its place in the page cache, which is a name of the slot.
"""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, Mapping, bits, load, lock, lock_bit, store, unlock
from sandbox.mm.flags import HOST_XFS, PG_locked
from sandbox.mm.xarray import (
    radix_to_swp_entry,
    swp_to_radix_entry,
    xa_value_names_slot,
    xa_value_pages,
)


class ShmemSwapMixin(KernelPart):
    """shmem_writeout and shmem_swapin_folio."""

    def shmem_writeout(self, folio: Folio) -> Gen[bool]:
        """Move a locked, unmapped folio from its file to swap, write it, and unlock it.

        False: swap is off or full, it is dirty again and stays locked.
        """
        if not (yield from self.folio_alloc_swap(folio)):
            yield from self.folio_mark_dirty(folio)
            return False
        mapping = Mapping((yield load(folio.mapping)))
        slot = (yield load(folio.private)) - 1
        for i in range(folio.nr_pages):
            yield from self.swap_duplicate(slot + i)
        yield lock(mapping.xa_lock)  # shmem_delete_from_page_cache()
        value = swp_to_radix_entry(slot, folio.order)
        yield from self._filemap_remove_folio(mapping, folio, value)
        yield unlock(mapping.xa_lock)
        yield from self.folio_put(folio, folio.nr_pages)
        yield from self.swap_writepage(folio)
        return True

    def shmem_swapin_folio(self, mapping: Mapping, index: int, entry: int) -> Gen[Folio | None]:
        """Bring a page back from swap, locked and referenced; None to look again.

        The folio is new or the one that is still in the swap cache; it is dirty, for its slots go.
        """
        slot = radix_to_swp_entry(entry)
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is None:
            folio = yield from self.shmem_swapin_read(slot, entry)
        if folio is None:
            return None
        if folio.nr_pages < xa_value_pages(entry):
            yield from self.shmem_split_large_entry(mapping, index, entry)
        yield lock_bit(folio.flags, PG_locked)
        first = index - (slot - (yield load(folio.private)) + 1)
        if not (yield from self.folio_matches_swap_entry(folio, slot)) or (
            yield from self.shmem_replace_entries(mapping, first, folio)
        ):
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return None
        yield from self.shmem_swapin_release(folio)
        return folio

    def shmem_swapin_read(self, slot: int, entry: int) -> Gen[Folio | None]:
        """Read one page into the swap cache (`shmem_swapin_cluster`)."""
        folio, _ = yield from self.read_swap_cache_async(slot)
        return folio

    def shmem_swapin_release(self, folio: Folio) -> Gen[None]:
        """Out of the swap cache, dirty, and no name of the slots any more."""
        slot = (yield load(folio.private)) - 1
        yield from self.delete_from_swap_cache(folio)
        yield from self.folio_mark_dirty(folio)
        yield from self.swap_free_nr(slot, folio.nr_pages)

    def shmem_split_large_entry(self, mapping: Mapping, index: int, entry: int) -> Gen[None]:
        """A large entry becomes one for each page, to be brought back alone."""
        nr = xa_value_pages(entry)
        first = radix_to_swp_entry(entry) - (index & nr - 1)
        slots = (yield load(mapping.i_pages)) + (index & -nr)
        yield lock(mapping.xa_lock)
        if (yield load(slots + (index & nr - 1))) == entry:
            for i in range(nr):
                yield store(slots + i, swp_to_radix_entry(first + i, 0))
        yield unlock(mapping.xa_lock)

    def shmem_replace_entries(self, mapping: Mapping, index: int, folio: Folio) -> Gen[bool]:
        """Put a folio where its own slots are named; True if other things are there now.

        `shmem_add_to_page_cache` with an expected entry.
        """
        slots = (yield load(mapping.i_pages)) + index
        slot = (yield load(folio.private)) - 1
        yield from self.folio_ref_add(folio, folio.nr_pages)
        yield store(folio.mapping, mapping)
        yield store(folio.index, index)
        yield lock(mapping.xa_lock)
        ok = True
        for i in range(folio.nr_pages):
            value = yield load(slots + i)
            ok = ok and xa_value_names_slot(value) and radix_to_swp_entry(value) == slot + i
        for i in range(folio.nr_pages if ok else 0):
            yield store(slots + i, folio)
        if ok:
            yield store(mapping.nrpages, (yield load(mapping.nrpages)) + folio.nr_pages)
        yield unlock(mapping.xa_lock)
        if not ok:
            yield store(folio.mapping, 0)
            yield from self.folio_put(folio, folio.nr_pages)
        return not ok

    def shmem_unuse(self) -> Gen[None]:
        """Bring back what files in memory have in swap; the kernel has a list of those."""
        mapping = Mapping((yield load(Globals.s_inodes)))
        while mapping:
            if (yield load(mapping.host)) != HOST_XFS:
                yield from self.shmem_unuse_inode(mapping)
            mapping = Mapping((yield load(mapping.i_sb_list)))

    def shmem_unuse_inode(self, mapping: Mapping) -> Gen[None]:
        """Bring everything of a file back from swap."""
        slots = yield load(mapping.i_pages)
        index, size = 0, (yield load(mapping.i_size))
        while index < size:
            entry = yield load(slots + index)
            if not xa_value_names_slot(entry):
                index += 1
                continue
            folio = yield from self.shmem_swapin_folio(mapping, index, entry)
            if folio is not None:
                yield bits(folio.flags, 0, PG_locked)
                yield from self.folio_put(folio)
