"""Page cache that goes back: dropping clean folios, and writing dirty ones so that they are clean.

Source: mm/truncate.c (mapping_evict_folio; 6.12, 7.2 and 7.3 agree), fs/drop_caches.c,
mm/page-writeback.c (folio_clear_dirty_for_io), mm/rmap.c (folio_mkclean).
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    pte_dirty,
    pte_mkclean,
    pte_present,
    pte_write,
    pte_wrprotect,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
    Vma,
    add,
    bits,
    cas,
    load,
    lock,
    lock_bit,
    store,
    unlock,
)
from sandbox.mm.flags import HOST_XFS, VM_SHARED, PG_dirty, PG_locked, PG_private
from sandbox.syscalls import Result


class TruncateMixin(KernelPart):
    """drop_caches and fsync."""

    # -- drop_caches -----------------------------------------------------------------------

    def sys_drop_caches(self) -> Gen[Result]:
        """Write 1 to /proc/sys/vm/drop_caches: clean folios that nobody uses leave the cache.

        The output says how many pages went.
        """
        yield from self.lru_add_drain()
        pages = 0
        yield lock(Globals.s_inode_list_lock)  # iterate_supers(), drop_pagecache_sb()
        mapping = Mapping((yield load(Globals.s_inodes)))
        while mapping:
            if (yield load(mapping.nrpages)):
                yield unlock(Globals.s_inode_list_lock)  # the reference on the inode keeps it there
                end = yield load(mapping.i_size)
                pages += yield from self.invalidate_mapping_pages(mapping, end)
                yield lock(Globals.s_inode_list_lock)
            mapping = Mapping((yield load(mapping.i_sb_list)))
        yield unlock(Globals.s_inode_list_lock)
        return Result(0, f'{{"dropped":{pages}}}')

    def invalidate_mapping_pages(self, mapping: Mapping, end: int) -> Gen[int]:
        """Try to evict every cached folio of a file; pages evicted (`mapping_try_invalidate`)."""
        index, count = 0, 0
        while index < end:
            folio = yield from self.filemap_get_folio(mapping, index)
            if folio is None:
                index += 1
                continue
            index += folio.nr_pages - (index - (yield load(folio.index)))
            if not (yield bits(folio.flags, PG_locked)) & PG_locked:
                ours = (yield load(folio.mapping)) == mapping  # find_lock_entries()
                if ours and (yield from self.mapping_evict_folio(mapping, folio)):
                    count += folio.nr_pages
                yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
        return count

    def mapping_evict_folio(self, mapping: Mapping, folio: Folio) -> Gen[bool]:
        """Remove a locked folio unless it is dirty, mapped or held; the caller has a reference."""
        flags = yield load(folio.flags)
        if flags & PG_dirty:
            return False
        private = bool(flags & PG_private)
        if (yield load(folio._refcount)) > folio.nr_pages + private + 1:
            return False
        if private:  # filemap_release_folio(): XFS gives its block state up
            yield bits(folio.flags, 0, PG_private)
            yield from self.folio_put(folio)
        return (yield from self.remove_cached_folio(mapping, folio))

    def remove_cached_folio(self, mapping: Mapping, folio: Folio) -> Gen[bool]:
        """Freeze at the references expected, leave the cache, keep the caller's one.

        The dirty flag is looked at again once nobody can find the folio (`__remove_mapping`).
        """
        expected = 1 + folio.nr_pages
        yield lock(mapping.xa_lock)
        if not (yield cas(folio._refcount, expected, 0)):
            yield unlock(mapping.xa_lock)
            return False
        if (yield load(folio.flags)) & PG_dirty:
            yield store(folio._refcount, expected)
            yield unlock(mapping.xa_lock)
            return False
        first = (yield load(mapping.i_pages)) + (yield load(folio.index))
        for i in range(folio.nr_pages):
            yield store(first + i, 0)
        yield store(folio.mapping, 0)
        yield add(mapping.nrpages, -folio.nr_pages)
        yield unlock(mapping.xa_lock)
        yield store(folio._refcount, 1)  # folio_ref_unfreeze() in remove_mapping()
        return True

    # -- fsync -----------------------------------------------------------------------------

    def sys_fsync(self, mapping: Mapping, nr_pages: int) -> Gen[Result]:
        """Write a file's dirty folios back; shared memory has nowhere to go (noop_fsync)."""
        if (yield load(mapping.host)) != HOST_XFS:
            return Result()
        index = 0
        while index < nr_pages:
            folio = yield from self.filemap_get_folio(mapping, index)
            if folio is None:
                index += 1
                continue
            index += folio.nr_pages - (index - (yield load(folio.index)))
            yield lock_bit(folio.flags, PG_locked)
            if (yield load(folio.mapping)) == mapping:
                yield from self.folio_clear_dirty_for_io(folio)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
        return Result()

    def folio_clear_dirty_for_io(self, folio: Folio) -> Gen[None]:
        """Make the entries clean and read-only first, then the folio (mm/page-writeback.c)."""
        if (yield from self.folio_mkclean(folio)):
            yield from self.folio_mark_dirty(folio)
        yield bits(folio.flags, 0, PG_dirty)

    def folio_mkclean(self, folio: Folio) -> Gen[bool]:
        """Write-protect and clean a locked folio's entries in shared mappings (mm/rmap.c)."""
        word = yield from self.rmap_lock(folio, READ)
        cleaned = False
        for vma in (yield from self.folio_vmas(folio)):
            if not (yield load(vma.vm_flags)) & VM_SHARED:  # invalid_mkclean_vma()
                continue
            addr, end, index = yield from self.vma_address(folio, vma)
            while addr < end:
                next_ = min((addr | 511) + 1, end)
                if (yield from self.page_vma_mkclean_one(folio, vma, addr, next_, index)):
                    cleaned = True
                index += next_ - addr
                addr = next_
        yield unlock(word)
        return cleaned

    def page_vma_mkclean_one(
        self, folio: Folio, vma: Vma, addr: int, end: int, index: int
    ) -> Gen[bool]:
        """The entries of one table; True when one was changed."""
        mm = Mm((yield load(vma.vm_mm)))
        pmd = yield from self.pmd_offset(mm, addr)
        ptep, ptl = (yield from self.pte_offset_map_lock(mm, pmd, addr)) if pmd else (0, 0)
        if not ptl:
            return False
        cleaned = False
        for i in range(end - addr):
            entry = yield from self.ptep_get(ptep + i)
            if not pte_present(entry) or entry >> PFN_SHIFT != folio.page(index + i).pfn:
                continue
            if pte_dirty(entry) or pte_write(entry):
                entry = yield from self.ptep_clear_flush(mm, addr + i, ptep + i)
                entry = pte_mkclean(pte_wrprotect(entry))
                yield from self.set_pte_at(mm, addr + i, ptep + i, entry)
                cleaned = True
        yield unlock(ptl)
        return cleaned
