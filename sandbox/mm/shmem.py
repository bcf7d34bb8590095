"""Files in memory: shmem, and what a file's contents look like to faults (mm/shmem.c, 6.6).

A file is an array of page-cache slots; a folio in the cache holds one reference per page.  `host`
says what is behind it: shmem (anonymous shared memory, memfd), tmpfs, or xfs.
"""

from __future__ import annotations

from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
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
    EEXIST,
    EINVAL,
    HOST_SHMEM,
    HOST_XFS,
    PG_dirty,
    PG_locked,
    PG_swapbacked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.zap import MmuGather
from sandbox.mm.swap import PAGEVEC_SIZE

FILE_DATA = 1000
"""Content version of page 0 of a file as the recordings write it; page i has 1000 + i."""


class ShmemMixin(KernelPart):
    """Making files and finding their folios."""

    def shmem_file_setup(self, nr_pages: int, host: int = HOST_SHMEM) -> Gen[Mapping]:
        """An empty file of *nr_pages*."""
        mapping = Mapping((yield alloc(Struct.MAPPING)))
        slots = yield alloc(Struct.XARRAY, (nr_pages - 1).bit_length())
        yield store(mapping.i_pages, slots)
        yield store(mapping.host, host)
        yield store(mapping.i_size, nr_pages)
        return mapping

    def open_file(self, name: str, nr_pages: int, host: int, chunk: int) -> Gen[int]:
        """Create a file and, unless it is a memfd (chunk 0), fill it by writes of *chunk* pages."""
        mapping = yield from self.shmem_file_setup(nr_pages, host)
        yield from self.inode_sb_list_add(mapping)
        yield note("file", name, mapping, nr_pages)
        if chunk:
            order = chunk.bit_length() - 1 if host == HOST_XFS else 0
            for index in range(0, nr_pages, 1 << order):
                yield from self.fill_cache_folio(mapping, index, order)
        return 0

    def inode_sb_list_add(self, mapping: Mapping) -> Gen[None]:
        """Put a file on the list of all files (fs/inode.c).

        Those behind anonymous shared mappings are left out: nothing in them is ever clean.
        """
        yield lock(Globals.s_inode_list_lock)
        yield store(mapping.i_sb_list, (yield load(Globals.s_inodes)))
        yield store(Globals.s_inodes, mapping)
        yield unlock(Globals.s_inode_list_lock)

    def fill_cache_folio(self, mapping: Mapping, index: int, order: int) -> Gen[None]:
        """One folio of a written file: in the cache, up to date and dirty."""
        folio = yield from self.vma_alloc_folio(order)
        yield from self.add_to_page_cache(folio, mapping, index)
        for i in range(folio.nr_pages):
            yield store(folio.page(i).data, FILE_DATA + index + i)
        yield bits(folio.flags, PG_uptodate | PG_dirty, PG_locked)
        yield from self.folio_put(folio)

    def add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[int]:
        """Put a folio into empty slots, locked and with the cache's references; then the LRU.

        -EEXIST when another CPU was faster at one of the slots (`shmem_add_to_page_cache`,
        `filemap_add_folio`).
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
        yield from self.folio_add_lru(folio)
        return 0

    def folio_mark_dirty(self, folio: Folio) -> Gen[None]:
        """Set the folio's dirty flag; XFS keeps track of a large folio's blocks then."""
        yield from self.ifs_alloc(folio)
        yield bits(folio.flags, PG_dirty)

    # -- faults ------------------------------------------------------------------------

    def filemap_get_folio(self, mapping: Mapping, index: int) -> Gen[Folio | None]:
        """The cached folio of page *index* with a reference for the caller, or None."""
        slot = (yield load(mapping.i_pages)) + index
        while found := (yield load(slot)):
            folio = Folio(found)
            if (yield from self.folio_try_get(folio)):
                if (yield load(slot)) == found:
                    return folio
                yield from self.folio_put(folio)
        return None

    def vm_ops_fault(self, vmf: VmFault) -> Gen[Folio]:
        """`filemap_fault` / `shmem_fault`: the folio of the page, locked, with one reference."""
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        while True:
            folio = yield from self.filemap_get_folio(mapping, index)
            if folio is not None:
                yield lock_bit(folio.flags, PG_locked)
                if (yield load(folio.mapping)) == mapping:
                    return folio
                yield bits(folio.flags, 0, PG_locked)  # truncated meanwhile
                yield from self.folio_put(folio)
                continue
            new = yield from self.shmem_alloc_and_add_folio(vmf, mapping, index)
            if new is not None:
                return new

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
        vmas = yield from self.vmas_in(mm, start, end)
        if not vmas or not (yield load(vmas[0].vm_file)):
            return -EINVAL
        mapping = Mapping((yield load(vmas[0].vm_file)))
        first = yield from self.linear_page_index(vmas[0], start)
        yield from self.unmap_mapping_range(mapping, first, first + end - start)
        yield from self.shmem_undo_range(mapping, first, first + end - start)
        return 0

    def shmem_undo_range(self, mapping: Mapping, start: int, end: int) -> Gen[None]:
        """Take file pages [start, end) out: what can be locked at once in batches, then the rest.

        A large folio stays: what of it is in the hole is zeroed in place by a real kernel.
        """
        index = start
        while index < end:
            folios, index = yield from self.find_lock_entries(mapping, index, end)
            for folio, _ in folios:
                if not folio.large:
                    yield from self.truncate_inode_folio(mapping, folio)
                yield bits(folio.flags, 0, PG_locked)
            if folios:
                yield from self.folios_put(folios)
        for index in range(start, end):
            entry = yield from self.filemap_get_folio(mapping, index)
            if entry is None:
                continue
            if not entry.large:
                yield lock_bit(entry.flags, PG_locked)
                yield from self.truncate_inode_folio(mapping, entry)
                yield bits(entry.flags, 0, PG_locked)
            yield from self.folio_put(entry)

    def find_lock_entries(
        self, mapping: Mapping, index: int, end: int
    ) -> Gen[tuple[tuple[tuple[Folio, int], ...], int]]:
        """Folios, each locked and with a reference, and where to go on (mm/filemap.c)."""
        batch: tuple[tuple[Folio, int], ...] = ()
        while index < end and len(batch) < PAGEVEC_SIZE:
            folio = yield from self.filemap_get_folio(mapping, index)
            if folio is None:
                index += 1
                continue
            if not (yield bits(folio.flags, PG_locked)) & PG_locked:
                if (yield load(folio.mapping)) == mapping:
                    index += folio.nr_pages - (index - (yield load(folio.index)))
                    batch = (*batch, (folio, 1))
                    continue
                yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            index += 1
        return batch, index

    def truncate_inode_folio(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        """Take a locked folio out of its file, mapped again or not (mm/truncate.c)."""
        if (yield load(folio.mapping)) != mapping:
            return
        index = yield load(folio.index)
        if (yield from self.folio_mapcount(folio)):  # truncate_cleanup_folio()
            yield from self.unmap_mapping_range(mapping, index, index + 1)
        yield from self.delete_from_page_cache(mapping, folio, index)

    def unmap_mapping_range(self, mapping: Mapping, first: int, last: int) -> Gen[None]:
        """Zap file pages [first, last) in every mapping (mm/memory.c)."""
        yield lock(mapping.i_mmap_rwsem)
        for vma in (yield from self.file_vmas(mapping)):
            base = (yield load(vma.vm_start)) - (yield load(vma.vm_pgoff))
            start = max(base + first, (yield load(vma.vm_start)))
            end = min(base + last, (yield load(vma.vm_end)))
            if start < end:
                tlb = MmuGather(Mm((yield load(vma.vm_mm))))
                tlb = yield from self.unmap_page_range(tlb, vma, start, end)
                yield from self.tlb_flush_mmu(tlb)
        yield unlock(mapping.i_mmap_rwsem)

    def delete_from_page_cache(self, mapping: Mapping, folio: Folio, index: int) -> Gen[None]:
        """Out of the cache; the cache's reference goes."""
        yield bits(folio.flags, 0, PG_dirty)
        slot = (yield load(mapping.i_pages)) + index
        yield lock(mapping.xa_lock)
        yield store(slot, 0)
        yield store(folio.mapping, 0)
        yield add(mapping.nrpages, -1)
        yield unlock(mapping.xa_lock)
        yield from self.folio_put(folio)
