"""Files in memory: shmem, and what a file's contents look like to faults (mm/shmem.c, 6.6).

A file is an array of page-cache slots; a folio in the cache holds one reference per page.  `host`
says what is behind it: shmem (anonymous shared memory, memfd), tmpfs, or xfs.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import HPAGE_PMD_ORDER
from sandbox.fields import Struct
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
    alloc,
    bits,
    load,
    lock,
    lock_bit,
    note,
    store,
    unlock,
)
from sandbox.mm.flags import (
    EACCES,
    EEXIST,
    EINVAL,
    HOST_SHMEM,
    HOST_XFS,
    VM_LOCKED,
    VM_MAYWRITE,
    VM_SHARED,
    PG_anon,
    PG_dirty,
    PG_locked,
    PG_reclaim,
    PG_swapbacked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.xarray import radix_to_swp_entry, xa_value_pages

FILE_DATA = 1000
"""Content version of page 0 of a file as the recordings write it; page i has 1000 + i."""


class ShmemMixin(KernelPart):
    """Making files and finding their folios."""

    def shmem_file_setup(self, nr_pages: int, host: int = HOST_SHMEM) -> Gen[Mapping]:
        """An empty file of *nr_pages*, with room for a folio that reaches behind its end."""
        mapping = Mapping((yield alloc(Struct.MAPPING)))
        slots = yield alloc(Struct.XARRAY, max((nr_pages - 1).bit_length(), HPAGE_PMD_ORDER))
        yield store(mapping.i_pages, slots)
        yield store(mapping.host, host)
        yield store(mapping.i_size, nr_pages)
        if host == HOST_XFS:
            yield store(mapping.i_disk, (yield alloc(Struct.XARRAY, (nr_pages - 1).bit_length())))
        yield from self.inode_sb_list_add(mapping)
        return mapping

    def open_file(self, name: str, nr_pages: int, host: int, chunk: int) -> Gen[int]:
        """Create a file and, unless it is a memfd (chunk 0), fill it by writes of *chunk* pages."""
        mapping = yield from self.shmem_file_setup(nr_pages, host)
        yield store(mapping.f_count, 1)
        yield note("file", name, mapping, nr_pages)
        if chunk:
            for at in range(0, nr_pages, chunk):
                yield from self.write_file(mapping, host, at, min(at + chunk, nr_pages))
        return 0

    def write_file(self, mapping: Mapping, host: int, index: int, end: int) -> Gen[None]:
        """One write of whole pages [index, end): XFS takes the largest folios that fit.

        `__filemap_get_folio`: not larger than what is left to write, and aligned.
        """
        while index < end:
            order = 0
            if host == HOST_XFS:
                order = min((end - index).bit_length() - 1, HPAGE_PMD_ORDER)
                while index & ((1 << order) - 1):
                    order -= 1
            yield from self.fill_cache_folio(mapping, index, order)
            index += 1 << order

    def inode_sb_list_add(self, mapping: Mapping) -> Gen[None]:
        """Put a file on the list of all files (fs/inode.c)."""
        yield lock(Globals.s_inode_list_lock)
        yield store(mapping.i_sb_list, (yield load(Globals.s_inodes)))
        yield store(Globals.s_inodes, mapping)
        yield unlock(Globals.s_inode_list_lock)

    def fput(self, mapping: Mapping) -> Gen[None]:
        """One user of a file less: what nobody maps or has open, and no name leads to, ends."""
        if (yield load(mapping.i_mmap)) or (yield load(mapping.f_count)):
            return
        if (yield from self.inode_sb_list_del(mapping)):
            yield from self.shmem_undo_range(mapping, 0, (yield load(mapping.i_size)))

    def inode_sb_list_del(self, mapping: Mapping) -> Gen[bool]:
        """Take a file off the list of all files; False if another CPU did, which ends it."""
        yield lock(Globals.s_inode_list_lock)
        link = Globals.s_inodes
        while (found := Mapping((yield load(link)))) and found != mapping:
            link = found.i_sb_list
        if found:
            yield store(link, (yield load(mapping.i_sb_list)))
        yield unlock(Globals.s_inode_list_lock)
        return bool(found)

    def fill_cache_folio(self, mapping: Mapping, index: int, order: int) -> Gen[None]:
        """One folio of a written file: in the cache, up to date and dirty."""
        folio = yield from self.vma_alloc_folio(order)
        yield from self.add_to_page_cache(folio, mapping, index)
        for i in range(folio.nr_pages):
            yield store(folio.page(i).data, FILE_DATA + index + i)
        yield bits(folio.flags, PG_uptodate | PG_dirty, PG_locked)
        yield from self.folio_put(folio)

    def add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[int]:
        """Put a folio into empty slots, then on its way to the LRU (`filemap_add_folio`)."""
        err: int = yield from self.shmem_add_to_page_cache(folio, mapping, index)
        if not err:
            yield from self.folio_add_lru(folio)
        return err

    def shmem_add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[int]:
        """Put a folio into empty slots, locked and with the cache's references.

        -EEXIST when another CPU was faster at one of the slots (for others than shared memory
        `__filemap_add_folio`).
        """
        swapbacked = PG_swapbacked if (yield load(mapping.host)) != HOST_XFS else 0
        yield bits(folio.flags, PG_locked | swapbacked)
        yield add(folio._refcount, folio.nr_pages)
        yield store(folio.mapping, mapping)
        yield store(folio.index, index)
        first = (yield load(mapping.i_pages)) + index
        yield lock(mapping.xa_lock)
        for i in range(folio.nr_pages):
            if (yield load(first + i)):
                yield unlock(mapping.xa_lock)
                yield store(folio.mapping, 0)
                yield bits(folio.flags, 0, PG_locked)
                yield from self.folio_put(folio, folio.nr_pages)
                return -EEXIST
        for i in range(folio.nr_pages):
            yield store(first + i, folio)
        yield add(mapping.nrpages, folio.nr_pages)
        yield unlock(mapping.xa_lock)
        return 0

    def folio_mark_dirty(self, folio: Folio) -> Gen[None]:
        """Set the folio's dirty flag; XFS keeps track of a large folio's blocks then."""
        yield from self.ifs_alloc(folio)
        if (yield load(folio.flags)) & (PG_reclaim | PG_anon) == PG_reclaim:
            yield bits(folio.flags, 0, PG_reclaim)
        yield bits(folio.flags, PG_dirty)

    # -- faults ------------------------------------------------------------------------

    def shmem_fault(self, vmf: VmFault, mapping: Mapping, index: int) -> Gen[Folio]:
        """The folio of a page of shared memory, locked and referenced; holes are filled."""
        while True:
            entry = yield load((yield load(mapping.i_pages)) + index)
            if entry < 0:
                found = yield from self.shmem_swapin_folio(mapping, index, entry)
            else:
                found = yield from self.filemap_lock_folio(mapping, index)
                if found is None and not entry:
                    found = yield from self.shmem_alloc_and_add_folio(vmf, mapping, index)
            if found is not None:
                return found

    def shmem_alloc_and_add_folio(
        self, vmf: VmFault, mapping: Mapping, index: int
    ) -> Gen[Folio | None]:
        """A zeroed folio in a hole: the largest enabled size that fits and is empty.

        None when another CPU has filled the hole.
        """
        order = yield from self.shmem_order(vmf, mapping, index)
        folio = yield from self.vma_alloc_folio(order)
        if (yield from self.add_to_page_cache(folio, mapping, index & -(1 << order))):
            yield from self.folio_put(folio)
            return None
        yield bits(folio.flags, PG_uptodate)
        return folio

    def shmem_order(self, vmf: VmFault, mapping: Mapping, index: int) -> Gen[int]:
        """Order 0 unless the release and the settings allow more (6.11: per-size control)."""
        yield load(mapping.host)
        return 0

    # -- holes -------------------------------------------------------------------------

    def madvise_remove(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_REMOVE: punch a hole into the file behind a shared mapping (shmem_fallocate)."""
        yield lock(mm.mmap_lock, READ)
        visit = self.madvise_remove_vma
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, visit, mm)
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_remove_vma(self, vma: Vma, start: int, end: int, mm: Mm) -> Gen[tuple[int, Mm]]:
        """One VMA's part, without mmap_lock; -EACCES unless it is shared and may be written."""
        vm_flags = yield load(vma.vm_flags)
        mapping = Mapping((yield load(vma.vm_file)))
        if vm_flags & VM_LOCKED or not mapping:
            return -EINVAL, mm
        if vm_flags & (VM_SHARED | VM_MAYWRITE) != VM_SHARED | VM_MAYWRITE:
            return -EACCES, mm
        first = yield from self.linear_page_index(vma, start)
        yield unlock(mm.mmap_lock)
        last = min(first + end - start, (yield load(mapping.i_size)))
        if first < last:
            yield from self.vfs_fallocate(mapping, first, last)
        yield lock(mm.mmap_lock, READ)
        return 0, mm

    def vfs_fallocate(self, mapping: Mapping, start: int, end: int) -> Gen[None]:
        """Punch the hole [start, end) into a file (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)."""
        if (yield load(mapping.host)) == HOST_XFS:
            yield from self.xfs_free_file_space(mapping, start, end)
            return
        yield from self.unmap_mapping_range(mapping, start, end)  # shmem_fallocate()
        yield from self.shmem_undo_range(mapping, start, end)

    def xfs_free_file_space(self, mapping: Mapping, start: int, end: int) -> Gen[None]:
        """Write the range back, take it out of the cache, free its blocks (fs/xfs)."""
        yield from self.filemap_write_and_wait_range(mapping, start, end)
        yield from self.unmap_mapping_range(mapping, start, end)
        yield from self.truncate_inode_pages_range(mapping, start, end)
        disk = yield load(mapping.i_disk)
        for index in range(start, end):
            yield store(disk + index, 0)

    def shmem_undo_range(self, mapping: Mapping, start: int, end: int) -> Gen[None]:
        """Take file pages [start, end) out: whole folios in batches, then parts, then the rest."""
        index, drained = start, False
        while index < end:
            found, index = yield from self.find_lock_entries(mapping, index, end)
            if not found:
                break
            for at, entry in found:
                if entry < 0:
                    yield from self.shmem_free_swap(mapping, at, entry)
                    continue
                yield from self.truncate_inode_folio(mapping, Folio(entry))
                yield bits(Folio(entry).flags, 0, PG_locked)
            folios = tuple((Folio(entry), 1) for _, entry in found if entry > 0)
            drained = yield from self.folio_batch_release(folios, drained)
        left = yield from self.truncate_partial_folios(mapping, start, end, True)
        yield from self.shmem_undo_left(mapping, left, (start, end), drained)

    def shmem_undo_left(
        self, mapping: Mapping, left: tuple[int, int], hole: tuple[int, int], drained: bool
    ) -> Gen[None]:
        """Take out what is left of a hole, waiting for it."""
        index, end = left
        while index < end:
            found, next_ = yield from self.find_get_entries(mapping, index, end)
            if not found:
                break
            for at, entry in found:
                again = yield from self.shmem_undo_entry(mapping, at, entry, left, hole)
                if again is not None:
                    next_ = again
                    break
            folios: tuple[tuple[Folio, int], ...] = ()
            for _, entry in found:
                if entry > 0:
                    folios = (*folios, ((yield from self.page_folio(Folio(entry).page(0))), 1))
            drained = yield from self.folio_batch_release(folios, drained)
            index = next_

    def shmem_undo_entry(
        self, mapping: Mapping, at: int, entry: int, left: tuple[int, int], hole: tuple[int, int]
    ) -> Gen[int | None]:
        """Take out what was found at a page; where to begin again, if the batch is out of date."""
        if entry < 0:
            first = at & -xa_value_pages(entry)
            inside = left[0] <= first and first + xa_value_pages(entry) <= left[1]
            if inside and not (yield from self.shmem_free_swap(mapping, at, entry)):
                return first
            return None
        folio = Folio(entry)
        yield lock_bit(folio.flags, PG_locked)
        again: int | None = None
        if (yield load(folio.mapping)) != mapping:
            again = at
        elif not folio.large:
            yield from self.truncate_inode_folio(mapping, folio)
        elif (yield from self.truncate_inode_partial_folio(mapping, folio, *hole)):
            split = yield from self.page_folio(folio.page(0))
            again = None if split.large else left[0]
        kept = yield from self.page_folio(folio.page(0))
        yield bits(kept.flags, 0, PG_locked)
        return again

    def shmem_free_swap(self, mapping: Mapping, index: int, entry: int) -> Gen[bool]:
        """Forget what was swapped out of a file, and free its slots; False if that has changed."""
        nr = xa_value_pages(entry)
        slots = (yield load(mapping.i_pages)) + (index & -nr)
        yield lock(mapping.xa_lock)
        same = (yield load(slots + (index & nr - 1))) == entry
        for i in range(nr if same else 0):
            yield store(slots + i, 0)
        yield unlock(mapping.xa_lock)
        if same:
            first = radix_to_swp_entry(entry) - (index & nr - 1)
            yield from self.free_swap_and_cache_nr(first, nr)
        return same
