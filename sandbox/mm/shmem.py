"""Files in memory: shmem, and what a file's contents look like to faults (mm/shmem.c, 6.6).

A file is an array of page-cache slots; a folio in the cache holds one reference per page.  `host`
says what is behind it: shmem (anonymous shared memory, memfd), tmpfs, or xfs.
"""

from __future__ import annotations

from sandbox.fields import Struct
from sandbox.kernels.part import KernelPart
from sandbox.memory import (
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
    store,
    unlock,
)
from sandbox.mm.flags import (
    EINVAL,
    PG_dirty,
    PG_locked,
    PG_lru,
    PG_swapbacked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.zap import MmuGather

FILE_DATA = 1000
"""Content version of page 0 of a file as the recordings write it; page i has 1000 + i."""


class ShmemMixin(KernelPart):
    """Making files and finding their folios."""

    def shmem_file_setup(self, nr_pages: int, host: str = "shmem") -> Gen[Mapping]:
        """An empty file of *nr_pages*."""
        mapping = Mapping((yield alloc(Struct.MAPPING)))
        slots = yield alloc(Struct.XARRAY, (nr_pages - 1).bit_length())
        yield store(mapping.i_pages, slots)
        yield store(mapping.host, host)
        return mapping

    def open_file(self, name: str, nr_pages: int, host: str, chunk: int) -> Gen[int]:
        """Create a file and, unless it is a memfd (chunk 0), fill it by writes of *chunk* pages."""
        mapping = yield from self.shmem_file_setup(nr_pages, host)
        files = yield load(Globals.files)
        yield store(Globals.files, (*files, (name, mapping, nr_pages)))
        if chunk:
            order = chunk.bit_length() - 1 if host == "xfs" else 0
            for index in range(0, nr_pages, 1 << order):
                yield from self.fill_cache_folio(mapping, index, order)
        return 0

    def fill_cache_folio(self, mapping: Mapping, index: int, order: int) -> Gen[None]:
        """One folio of a written file: in the cache, up to date and dirty."""
        folio = yield from self.vma_alloc_folio(order)
        yield from self.add_to_page_cache(folio, mapping, index)
        for i in range(folio.nr_pages):
            yield store(folio.page(i).data, FILE_DATA + index + i)
        yield bits(folio.flags, PG_uptodate | PG_dirty, PG_locked)
        yield from self.folio_put(folio)

    def add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[None]:
        """References for the cache before anybody can find the folio; then the LRU."""
        swapbacked = PG_swapbacked if (yield load(mapping.host)) != "xfs" else 0
        yield bits(folio.flags, PG_locked | swapbacked)
        yield add(folio._refcount, folio.nr_pages)
        yield store(folio.mapping, mapping)
        yield store(folio.index, index)
        slots = yield load(mapping.i_pages)
        for i in range(folio.nr_pages):
            yield store(slots + index + i, folio)
        yield add(mapping.nrpages, folio.nr_pages)
        yield from self.folio_add_lru(folio)

    def folio_mark_dirty(self, folio: Folio) -> Gen[None]:
        """Set the folio's dirty flag."""
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
        folio = yield from self.filemap_get_folio(mapping, index)
        if folio is not None:
            yield lock_bit(folio.flags, PG_locked)
            return folio
        return (yield from self.shmem_alloc_and_add_folio(vmf, mapping, index))

    def shmem_alloc_and_add_folio(self, vmf: VmFault, mapping: Mapping, index: int) -> Gen[Folio]:
        """A zeroed folio in a hole: the largest enabled size that fits and is empty."""
        order = yield from self.shmem_order(vmf, mapping, index)
        folio = yield from self.vma_alloc_folio(order)
        yield from self.add_to_page_cache(folio, mapping, index & -(1 << order))
        yield bits(folio.flags, PG_uptodate | PG_dirty)
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
        for index in range(first, first + end - start):
            folio = yield from self.filemap_get_folio(mapping, index)
            if folio is not None and not folio.large:
                yield from self.delete_from_page_cache(mapping, folio, index)
            if folio is not None:
                yield from self.folio_put(folio)
        return 0

    def unmap_mapping_range(self, mapping: Mapping, first: int, last: int) -> Gen[None]:
        """Zap file pages [first, last) in every mapping (mm/memory.c)."""
        yield lock(mapping.i_mmap_rwsem)
        for item in (yield load(mapping.i_mmap)):
            vma = Vma(item)
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
        yield bits(folio.flags, 0, PG_dirty | PG_lru)
        yield store((yield load(mapping.i_pages)) + index, 0)
        yield store(folio.mapping, 0)
        yield add(mapping.nrpages, -1)
        yield from self.folio_put(folio)
