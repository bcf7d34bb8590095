"""Page cache that goes back: clean folios that are dropped, and holes punched into files.

Source: mm/truncate.c (6.12, 7.2 and 7.3), fs/drop_caches.c, mm/memory.c (unmap_mapping_range).
"""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
    Page,
    add,
    bits,
    load,
    lock,
    lock_bit,
    store,
    unlock,
)
from sandbox.mm.flags import (
    HOST_XFS,
    PG_dirty,
    PG_locked,
    PG_private,
    PG_writeback,
)
from sandbox.mm.memory.zap import MmuGather, ZapDetails
from sandbox.mm.swap import PAGEVEC_SIZE
from sandbox.mm.xarray import xa_value_at, xa_value_pages
from sandbox.syscalls import Result

Entries = tuple[tuple[int, int], ...]
"""Entries of a page cache: (file page, a folio or a value)."""


class TruncateMixin(KernelPart):
    """drop_caches, and taking pages out of files."""

    # -- drop_caches -----------------------------------------------------------------------

    def sys_drop_caches(self) -> Gen[Result]:
        """Write 1 to /proc/sys/vm/drop_caches: clean folios that nobody uses leave the cache."""
        yield from self.lru_add_drain()
        yield lock(Globals.s_inode_list_lock)  # iterate_supers(), drop_pagecache_sb()
        mapping = Mapping((yield load(Globals.s_inodes)))
        while mapping:
            if (yield load(mapping.nrpages)):
                yield unlock(Globals.s_inode_list_lock)  # the reference on the inode keeps it there
                end = yield load(mapping.i_size)
                yield from self.invalidate_mapping_pages(mapping, end)
                yield lock(Globals.s_inode_list_lock)
            mapping = Mapping((yield load(mapping.i_sb_list)))
        yield unlock(Globals.s_inode_list_lock)
        return Result()

    def invalidate_mapping_pages(self, mapping: Mapping, end: int) -> Gen[None]:
        """Try to evict every cached folio of a file (`mapping_try_invalidate`)."""
        index, drained = 0, False
        while index < end:
            found, index = yield from self.find_lock_entries(mapping, index, end)
            if not found:
                break
            folios = tuple((Folio(entry), 1) for _, entry in found if entry > 0)
            for folio, _ in folios:
                evicted = yield from self.mapping_evict_folio(folio)
                yield bits(folio.flags, 0, PG_locked)
                if not evicted:
                    yield from self.deactivate_file_folio(folio)
            drained = yield from self.folio_batch_release(folios, drained)

    def mapping_evict_folio(self, folio: Folio) -> Gen[bool]:
        """Remove a locked folio unless it is dirty, mapped or held; the caller has a reference."""
        flags = yield load(folio.flags)
        if flags & (PG_dirty | PG_writeback):
            return False
        private = bool(flags & PG_private)
        if (yield load(folio._refcount)) > folio.nr_pages + private + 1:
            return False
        if not (yield from self.filemap_release_folio(folio)):
            return False
        return (yield from self.remove_mapping(folio))

    # -- holes -------------------------------------------------------------------------

    def truncate_inode_pages_range(self, mapping: Mapping, start: int, end: int) -> Gen[None]:
        """Take file pages [start, end) out of the cache: whole folios in batches, then parts."""
        index, drained = start, False
        while index < end:
            found, index = yield from self.find_lock_entries(mapping, index, end)
            if not found:
                break
            folios = tuple((Folio(entry), 1) for _, entry in found)
            for folio, _ in folios:
                yield from self.truncate_cleanup_folio(mapping, folio)
            for folio, _ in folios:  # delete_from_page_cache_batch()
                yield from self.filemap_remove_folio(mapping, folio)
            for folio, _ in folios:
                yield bits(folio.flags, 0, PG_locked)
            drained = yield from self.folio_batch_release(folios, drained)
        index, hi = yield from self.truncate_partial_folios(mapping, start, end, False)
        while index < hi:
            found, index = yield from self.find_get_entries(mapping, index, hi)
            if not found:
                break
            left = tuple((Folio(entry), 1) for _, entry in found)
            for folio, _ in left:
                yield lock_bit(folio.flags, PG_locked)
                yield from self.truncate_inode_folio(mapping, folio)
                yield bits(folio.flags, 0, PG_locked)
            drained = yield from self.folio_batch_release(left, drained)

    def truncate_partial_folios(
        self, mapping: Mapping, start: int, end: int, dirty: bool
    ) -> Gen[tuple[int, int]]:
        """The folios that reach over either end of a hole; what of it is left to take out.

        Shared memory marks them *dirty*: zeroes are contents, too.
        """
        lo, hi, same = start, end, end - start == 1
        for at in (start, end - 1):
            if at != start and same:
                break
            folio = yield from self.filemap_lock_folio(mapping, at)
            if folio is None:
                continue
            next_ = (yield load(folio.index)) + folio.nr_pages
            if at == start:
                same = end <= next_
            if dirty:
                yield from self.folio_mark_dirty(folio)
            if not (yield from self.truncate_inode_partial_folio(mapping, folio, start, end)):
                if at == start:
                    lo = next_
                if at != start or same:
                    hi = yield load(folio.index)
            left = yield from self.page_folio(folio.page(0))
            yield bits(left.flags, 0, PG_locked)
            yield from self.folio_put(left)
        return lo, hi

    def filemap_lock_folio(self, mapping: Mapping, index: int) -> Gen[Folio | None]:
        """The cached folio of a page, referenced and locked, or None."""
        while (folio := (yield from self.filemap_get_folio(mapping, index))) is not None:
            yield lock_bit(folio.flags, PG_locked)
            if (yield load(folio.mapping)) == mapping:
                return folio
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
        return None

    def truncate_inode_partial_folio(
        self, mapping: Mapping, folio: Folio, start: int, end: int
    ) -> Gen[bool]:
        """Zero what of a locked folio is in the hole, and split it to free that.

        False when it could not be split and is dirty, so that it has to stay.
        """
        pos = yield load(folio.index)
        first, last = max(start - pos, 0), min(end - pos, folio.nr_pages)
        if last - first == folio.nr_pages:
            yield from self.truncate_inode_folio(mapping, folio)
            return True
        for i in range(first, last):
            yield store(folio.page(i).data, 0)
        if not folio.large:
            return True
        if (yield from self.truncate_split(mapping, folio, first, last)):
            return True
        if (yield load(folio.flags)) & PG_dirty:
            return False
        yield from self.truncate_inode_folio(mapping, folio)
        return True

    truncate_non_uniform = False
    """6.15 and later: a folio is split around the ends of the hole, not to single pages."""

    def truncate_split(self, mapping: Mapping, folio: Folio, first: int, last: int) -> Gen[bool]:
        """Split a folio at the ends of a hole, its pages [first, last); False if it stays whole."""
        at = folio.page(first) if self.truncate_non_uniform else None
        if not (yield from self.folio_split_or_unmap(mapping, folio, at)):
            return False
        if not self.truncate_non_uniform or last == folio.nr_pages:
            return True
        yield from self.truncate_split_second(mapping, folio, folio.page(last))
        return True

    def truncate_split_second(self, mapping: Mapping, folio: Folio, at: Page) -> Gen[None]:
        """What holds the page behind the hole is split as well, if it can be had at once."""
        second = yield from self.page_folio(at)
        if not (yield from self.folio_try_get(second)):
            return
        if second.large and not (yield bits(second.flags, PG_locked)) & PG_locked:
            if (yield load(second.mapping)) == (yield load(folio.mapping)):
                yield from self.folio_split_or_unmap(mapping, second, at)
            left = yield from self.page_folio(second.page(0))
            yield bits(left.flags, 0, PG_locked)
        yield from self.folio_put(second)

    def folio_split_or_unmap(self, mapping: Mapping, folio: Folio, at: Page | None) -> Gen[bool]:
        """Split a folio; unmap a file's that cannot be, for accesses behind its end get SIGBUS."""
        if not (yield from self.split_folio(folio, split_at=at)):
            return True
        if (yield load(mapping.host)) == HOST_XFS:
            yield from self.try_to_unmap(folio, ignore_mlock=True)
        return False

    def truncate_inode_folio(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        """Take a locked folio out of its file, mapped again or not."""
        if (yield load(folio.mapping)) != mapping:
            return
        yield from self.truncate_cleanup_folio(mapping, folio)
        yield from self.filemap_remove_folio(mapping, folio)

    def truncate_cleanup_folio(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        """No mapping, no state of the filesystem, not dirty any more."""
        if (yield from self.folio_mapcount(folio)):
            index = yield load(folio.index)
            yield from self.unmap_mapping_folio(mapping, index, index + folio.nr_pages)
        yield bits(folio.flags, 0, PG_dirty)
        yield from self.ifs_free(folio)

    def unmap_mapping_range(self, mapping: Mapping, first: int, last: int) -> Gen[None]:
        """Zap file pages [first, last) in every mapping; private copies stay (mm/memory.c)."""
        yield from self.unmap_mapping_range_tree(mapping, first, last, False)

    def unmap_mapping_folio(self, mapping: Mapping, first: int, last: int) -> Gen[None]:
        """The same for the pages of a locked folio, and for userfaultfd's markers there."""
        yield from self.unmap_mapping_range_tree(mapping, first, last, True)

    def unmap_mapping_range_tree(
        self, mapping: Mapping, first: int, last: int, drop_markers: bool
    ) -> Gen[None]:
        """Zap file pages [first, last) in the VMAs of the file, under its lock."""
        details = ZapDetails(even_cows=False, drop_markers=drop_markers)
        yield lock(mapping.i_mmap_rwsem)
        for vma in (yield from self.file_vmas(mapping)):
            base = (yield load(vma.vm_start)) - (yield load(vma.vm_pgoff))
            start = max(base + first, (yield load(vma.vm_start)))
            end = min(base + last, (yield load(vma.vm_end)))
            if start < end:  # zap_page_range_single()
                if self.unmap_drains:
                    yield from self.lru_add_drain()
                mm = Mm((yield load(vma.vm_mm)))
                tlb = MmuGather(mm, details=details)
                tlb = yield from self.unmap_page_range(tlb, vma, start, end)
                yield from self.tlb_flush_mmu(tlb)
        yield unlock(mapping.i_mmap_rwsem)

    # -- the cache (mm/filemap.c) ------------------------------------------------------

    def find_lock_entries(self, mapping: Mapping, index: int, end: int) -> Gen[tuple[Entries, int]]:
        """A batch of what is cached of [index, end), and where to go on.

        Folios that lie in the range whole, locked and referenced; values of shared memory that is
        swapped out.
        """
        batch: Entries = ()
        slots = yield load(mapping.i_pages)
        at = index
        while at < end and len(batch) < PAGEVEC_SIZE:
            entry = yield load(slots + at)
            nr = 1
            if entry < 0:
                nr = xa_value_pages(entry)
                base = at & -nr
                if base + nr > end:
                    break
                if base >= index:
                    batch, index = (*batch, (at, entry)), base + nr
            elif entry:
                nr = Folio(entry).nr_pages
                if (yield from self.find_lock_folio(mapping, Folio(entry), index, end, slots + at)):
                    batch, index = (*batch, (at, entry)), at + nr
            at = (at & -nr) + nr
        return batch, index

    def find_get_entries(self, mapping: Mapping, index: int, end: int) -> Gen[tuple[Entries, int]]:
        """A batch of what is cached of [index, end), and where to go on.

        Folios of which a page lies in the range, referenced; and values.
        """
        batch: Entries = ()
        slots = yield load(mapping.i_pages)
        at = index
        while at < end and len(batch) < PAGEVEC_SIZE:
            entry = yield load(slots + at)
            nr = 1
            if entry < 0:
                nr = xa_value_pages(entry)
                batch = (*batch, (at, entry))
            elif entry:
                folio = yield from self.filemap_get_folio(mapping, at)
                if folio is not None:
                    nr = folio.nr_pages
                    batch = (*batch, (at, folio))
            at = (at & -nr) + nr
        return batch, at

    def find_lock_folio(
        self, mapping: Mapping, folio: Folio, index: int, end: int, slot: int
    ) -> Gen[bool]:
        """Reference and lock a folio if it lies in [index, end) and is to be had at once."""
        if not (yield from self.folio_try_get(folio)):
            return False
        first = yield load(folio.index)
        ok = (yield load(slot)) == folio and index <= first and first + folio.nr_pages <= end
        if ok and not (yield bits(folio.flags, PG_locked)) & PG_locked:
            if (yield load(folio.mapping)) == mapping and not (
                yield load(folio.flags)
            ) & PG_writeback:
                return True
            yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return False

    def filemap_remove_folio(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        """Out of the cache; the cache's references go."""
        yield lock(mapping.xa_lock)
        yield from self._filemap_remove_folio(mapping, folio)
        yield unlock(mapping.xa_lock)
        yield from self.folio_put(folio, folio.nr_pages)

    def _filemap_remove_folio(self, mapping: Mapping, folio: Folio, value: int = 0) -> Gen[None]:
        """Leave *value* in a folio's place; the cache's lock is held (`page_cache_delete`)."""
        first = (yield load(mapping.i_pages)) + (yield load(folio.index))
        for i in range(folio.nr_pages):
            yield store(first + i, xa_value_at(value, i))
        yield store(folio.mapping, 0)
        yield add(mapping.nrpages, -folio.nr_pages)
