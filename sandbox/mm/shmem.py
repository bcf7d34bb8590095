"""Shared memory and page-cache faults (mm/shmem.c, mm/memory.c: do_fault and below; 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pfn_pte, pte_mkdirty, pte_mkyoung
from sandbox.fields import Struct
from sandbox.kernels.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mapping,
    Vma,
    add,
    alloc,
    bits,
    copy_page,
    load,
    page_of_pfn,
    store,
    unlock,
)
from sandbox.mm.flags import (
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    VM_SHARED,
    PG_dirty,
    PG_locked,
    PG_swapbacked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault


class ShmemMixin(KernelPart):
    """Files in memory and how faults find their pages."""

    def shmem_file_setup(self, nr_pages: int) -> Gen[Mapping]:
        """An unnamed shmem file of *nr_pages* (MAP_SHARED | MAP_ANONYMOUS, memfd)."""
        mapping = Mapping((yield alloc(Struct.MAPPING)))
        slots = yield alloc(Struct.XARRAY, (nr_pages - 1).bit_length())
        yield store(mapping.i_pages, slots)
        yield store(mapping.host, "shmem")
        return mapping

    def filemap_slot(self, mapping: Mapping, index: int) -> Gen[int]:
        """Word of the page cache's slot for page *index*."""
        return (yield load(mapping.i_pages)) + index

    def folio_mark_dirty(self, folio: Folio) -> Gen[None]:
        """Set the folio's dirty flag."""
        yield bits(folio.flags, PG_dirty)

    def shmem_fault(self, vmf: VmFault) -> Gen[Folio]:
        """Find or make the folio of the faulting page; returned locked with one reference."""
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        slot = yield from self.filemap_slot(mapping, index)
        found = yield load(slot)
        if found:
            folio = Folio(found)
            yield from self.folio_get(folio)
            yield bits(folio.flags, PG_locked)
            return folio
        folio = yield from self.vma_alloc_folio(0)
        yield bits(folio.flags, PG_locked | PG_swapbacked)
        yield add(folio._refcount, folio.nr_pages)
        yield store(folio.mapping, mapping)
        yield store(folio.index, index)
        yield store(slot, folio)
        yield add(mapping.nrpages, folio.nr_pages)
        yield from self.folio_add_lru(folio)
        yield bits(folio.flags, PG_uptodate | PG_dirty)
        return folio

    def do_fault(self, vmf: VmFault) -> Gen[int]:
        """Read, private write or shared write of file-backed memory."""
        shared = (yield load(vmf.vma.vm_flags)) & VM_SHARED
        if not vmf.flags & FAULT_FLAG_WRITE:
            return (yield from self.do_read_fault(vmf))
        if shared:
            return (yield from self.do_shared_fault(vmf))
        return (yield from self.do_cow_fault(vmf))

    def do_read_fault(self, vmf: VmFault) -> Gen[int]:
        """Map the cached page read-only (or as the protection says)."""
        folio = yield from self.shmem_fault(vmf)
        yield from self.finish_fault(vmf, folio, folio, False)
        yield bits(folio.flags, 0, PG_locked)
        return 0

    def do_shared_fault(self, vmf: VmFault) -> Gen[int]:
        """Map the cached page writable and dirty."""
        folio = yield from self.shmem_fault(vmf)
        yield from self.finish_fault(vmf, folio, folio, True)
        yield from self.folio_mark_dirty(folio)
        yield bits(folio.flags, 0, PG_locked)
        return 0

    def do_cow_fault(self, vmf: VmFault) -> Gen[int]:
        """Private write: copy first, map the copy, let the cached page go."""
        yield from self.anon_vma_prepare(vmf.vma)
        new = yield from self.vma_alloc_folio(0)
        folio = yield from self.shmem_fault(vmf)
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        yield copy_page(new.page(0), folio.page(index - (yield load(folio.index))))
        yield bits(new.flags, PG_uptodate)
        yield from self.finish_fault(vmf, new, new, True, anon=True)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return 0

    def finish_fault(
        self, vmf: VmFault, folio: Folio, owner: Folio, write: bool, anon: bool = False
    ) -> Gen[None]:
        """Map one page of *folio* unless the entry was filled meanwhile."""
        yield from self.pte_alloc(vmf.mm, vmf.pmd, vmf.address)
        vmf.pte, vmf.ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        if not vmf.ptl or (yield from self.ptep_get(vmf.pte)) != vmf.orig_pte:
            if vmf.ptl:
                yield unlock(vmf.ptl)
            yield from self.folio_put(owner)
            return
        page = folio.page(0)
        if not anon:
            index = yield from self.linear_page_index(vmf.vma, vmf.address)
            page = folio.page(index - (yield load(folio.index)))
        yield from self.set_pte_range(vmf, vmf.vma, folio, page.pfn, write, anon)
        yield unlock(vmf.ptl)

    def set_pte_range(
        self, vmf: VmFault, vma: Vma, folio: Folio, pfn: int, write: bool, anon: bool
    ) -> Gen[None]:
        """rss, rmap, entry; the caller's reference becomes the mapping's."""
        entry = pte_mkyoung(pfn_pte(pfn, (yield from self.vm_page_prot(vma))))
        if write:
            entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vma)
        if anon:
            yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)
            yield from self.folio_add_new_anon_rmap(folio, vma, vmf.address)
            yield from self.folio_add_lru_vma(folio, vma)
        else:
            yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(folio))), 1)
            yield from self.folio_add_file_rmap_ptes(folio, page_of_pfn(pfn), 1, vma)
        yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, entry)
