"""Reading everything back from a swap device that goes (mm/swapfile.c: try_to_unuse, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    pfn_pte,
    pte_mkold,
    pte_mkuffd_wp,
    pte_present,
)
from sandbox.machine.offsets import (
    CLUSTER_TABLE,
    SWAP_CLUSTERS,
    SWAPFILE_CLUSTER,
    TABLE_CACHE,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Globals,
    Mm,
    Vma,
    add,
    bits,
    load,
    lock,
    lock_bit,
    store,
    unlock,
)
from sandbox.mm.flags import MM_ANONPAGES, MM_SWAPENTS, PG_anon, PG_locked, PG_writeback
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf

INIT_MM = 1
"""Stands for init_mm, which the list of mms begins with; no mm has this address."""


class SwapoffMixin(KernelPart):
    """try_to_unuse, and the list of the processes that it looks at."""

    # -- init_mm.mmlist ----------------------------------------------------------------------

    def mmlist_add(self, mm: Mm, after: int = 0) -> Gen[None]:
        """Remember that an mm may have swap entries: in front, or behind the mm it is forked of."""
        if (yield load(mm.mmlist_prev)):
            return
        prev = after or INIT_MM
        next_ = Mm((yield load(self.mmlist_next(prev))))
        yield store(mm.mmlist, next_)
        yield store(mm.mmlist_prev, prev)
        if next_:
            yield store(next_.mmlist_prev, mm)
        yield store(self.mmlist_next(prev), mm)

    def mmlist_del(self, mm: Mm) -> Gen[None]:
        """An mm that dies has no swap entries any more (mmput)."""
        prev = yield load(mm.mmlist_prev)
        if not prev:
            return
        next_ = Mm((yield load(mm.mmlist)))
        yield store(self.mmlist_next(prev), next_)
        if next_:
            yield store(next_.mmlist_prev, prev)
        yield store(mm.mmlist_prev, 0)

    def mmlist_next(self, mm: int) -> int:
        """The word that says which mm comes behind an mm in the list."""
        return Globals.mmlist if mm == INIT_MM else Mm(mm).mmlist

    # -- try_to_unuse ------------------------------------------------------------------------

    def try_to_unuse(self) -> Gen[None]:
        """Bring back every file's pages and map every process's, then drop what is cached only."""
        yield from self.shmem_unuse()
        mm = Mm((yield load(Globals.mmlist)))
        while mm:
            yield from self.unuse_mm(mm)
            mm = Mm((yield load(mm.mmlist)))
        si = yield load(Globals.swap_device)
        for ci in range(SWAP_CLUSTERS):
            table = yield load(si + CLUSTER_TABLE + ci)
            for i in range(SWAPFILE_CLUSTER if table else 0):
                if (yield load(table + TABLE_CACHE + i)):
                    yield from self.unuse_slot(ci * SWAPFILE_CLUSTER + i)

    def unuse_slot(self, slot: int) -> Gen[None]:
        """Drop the folio that caches a slot which no entry names."""
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is not None:
            yield lock_bit(folio.flags, PG_locked)
            yield from self.folio_wait_swap_writeback(folio)
            yield from self.folio_free_swap(folio)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)

    def folio_wait_swap_writeback(self, folio: Folio) -> Gen[None]:
        """folio_wait_writeback(): the device is a fast one."""
        while (yield load(folio.flags)) & PG_writeback:
            pass

    def unuse_mm(self, mm: Mm) -> Gen[None]:
        """The VMAs of one process that may have anonymous pages."""
        yield lock(mm.mmap_lock, READ)
        vma = Vma((yield load(mm.mm_mt)))
        while vma:
            if (yield load(vma.anon_vma)):
                yield from self.unuse_vma(mm, vma)
            vma = Vma((yield load(vma.vm_next)))
        yield unlock(mm.mmap_lock)

    def unuse_vma(self, mm: Mm, vma: Vma) -> Gen[None]:
        """One VMA, table by table."""
        addr, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and not pmd_is_leaf(pmdval):
                yield from self.unuse_pte_range(VmFault(mm, vma, addr, 0, pmd), next_)
            addr = next_

    def unuse_pte_range(self, vmf: VmFault, end: int) -> Gen[None]:
        """Each swap entry of a table: its folio, read with its neighbours, is mapped there."""
        while vmf.address < end:
            pmdval = yield load(vmf.pmd)
            if not pmdval or pmd_is_leaf(pmdval):
                return
            pte = yield load(self.pte_offset_map(pmdval, vmf.address))
            if pte & PTE_SWP and not pte_present(pte):
                yield from self.unuse_entry(vmf, pte >> PFN_SHIFT)
            vmf = vmf._replace(address=vmf.address + 1)

    def unuse_entry(self, vmf: VmFault, slot: int) -> Gen[None]:
        """Find or read the folio, map it, and drop it from the cache if nobody else needs it."""
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is None:
            folio = yield from self.swapin_readahead(vmf, slot)
        if folio is None:
            return
        yield lock_bit(folio.flags, PG_locked)
        yield from self.folio_wait_swap_writeback(folio)
        if (yield from self.folio_matches_swap_entry(folio, slot)):
            yield from self.unuse_pte(vmf, slot, folio)
        yield from self.folio_free_swap(folio)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)

    def unuse_pte(self, vmf: VmFault, slot: int, folio: Folio) -> Gen[None]:
        """One entry: old, clean and read-only, but for what its swap entry says."""
        mm, vma, addr = vmf.mm, vmf.vma, vmf.address
        ptep, ptl = yield from self.pte_offset_map_lock(mm, vmf.pmd, addr)
        if not ptl:
            return
        old = yield from self.ptep_get(ptep)
        if not old & PTE_SWP or pte_present(old) or old >> PFN_SHIFT != slot:
            yield unlock(ptl)
            return
        yield add(mm.rss_stat(MM_SWAPENTS), -1)
        yield add(mm.rss_stat(MM_ANONPAGES), 1)
        yield from self.folio_get(folio)
        exclusive = bool(old & PTE_SWP_EXCLUSIVE)
        index = slot + 1 - (yield load(folio.private))
        if (yield load(folio.flags)) & PG_anon:
            page = folio.page(index)
            yield from self.folio_add_anon_rmap_ptes(folio, page, 1, vma, addr, exclusive)
        else:
            yield from self.folio_add_new_anon_rmap(folio, vma, addr, exclusive)
        pte = pte_mkold(pfn_pte(folio.pfn + index, (yield from self.vm_page_prot(vma))))
        yield from self.set_pte_at(mm, addr, ptep, pte_mkuffd_wp(pte) if old & PTE_UFFD_WP else pte)
        yield from self.swap_free(slot)
        yield unlock(ptl)
