"""Reclaim of lazyfree folios in batches (354dffd29575), and three mistakes made with it.

Barry Song's batched unmap, first released in 6.15, as 7.x has it after the fixes; then each bug as
one override:

- Dev Jain, 3 Mar 2026, <20260303061528.2429162-1-dev.jain@arm.com> (fix 29f40594a281);
- Dev Jain, 18 May 2026, <20260518063656.3721056-1-dev.jain@arm.com>;
- Lance Yang, 1 Jul 2025, <20250701143100.6970-1-lance.yang@linux.dev>.

The reproducers write to a node's `reclaim` file: the verb `reclaim`, which unlike MADV_PAGEOUT
takes folios that others map as well.  A device's exclusive pages are had with `exclusive`.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_PRESENT_INVALID,
    PTE_VALID,
    pfn_pte,
    pte_mkdirty,
    pte_mkwrite,
    pte_pfn,
    pte_present,
    pte_protnone,
    pte_write,
)
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mm,
    Vma,
    load,
    lock,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    EOPNOTSUPP,
    FAULT_FLAG_WRITE,
    VM_WRITE,
    PG_anon,
    PG_dirty,
)
from sandbox.mm.lazyfree import Advised
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result


class LazyfreeBatch(Linux72):
    """7.2 with reclaim of a node and device-exclusive entries."""

    id = "lazyfree-batch"
    title = "Linux 7.2, node reclaim"
    summary = "try_to_unmap drops lazyfree folios batch by batch; `reclaim` takes shared ones, too."

    def sys_reclaim(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """Isolate every folio of the range, shared or not, and reclaim it."""
        return Result((yield from self.madvise_walk(mm, start, end, self.isolate_pte)))

    def isolate_pte(self, vma: Vma, ptep: int, ptl: int, addr: int, end: int) -> Gen[Advised]:
        """One entry; its folio if it could be isolated."""
        pte = yield from self.ptep_get(ptep)
        page = (yield from self.vm_normal_page(pte)) if pte_present(pte) else None
        if page is None:
            return Advised(1)
        folio = yield from self.page_folio(page)
        return Advised(1, folio if (yield from self.folio_isolate_lru(folio)) else None)

    # -- try_to_unmap_one (mm/rmap.c) ------------------------------------------------------

    def unmap_batch_size(
        self, folio: Folio, vma: Vma, ptep: int, pte: int, max_nr: int, nr_pages: int
    ) -> Gen[int]:
        """An entry that a device has to itself goes alone."""
        if self.is_device_exclusive(pte):
            return 1
        return (yield from self.folio_unmap_pte_batch(folio, vma, ptep, pte, max_nr))

    def unmap_clear_ptes(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[int]:
        """A device's entry is not present: nothing to gather."""
        pte: int = yield load(ptep)
        if self.is_device_exclusive(pte):
            yield store(ptep, 0)
            yield tlb_flush(mm, addr, addr + nr)
            return pte
        return (yield from super().unmap_clear_ptes(mm, addr, ptep, nr))

    # -- device-exclusive entries (mm/rmap.c make_device_exclusive) ------------------------

    def is_device_exclusive(self, pte: int) -> bool:
        """A device has the page to itself: no CPU may use the entry, but it still maps the page.

        The model writes such an entry as a PROT_NONE one.
        """
        return pte_protnone(pte)

    def sys_exclusive(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """The test driver's HMM_DMIRROR_EXCLUSIVE on the pages (lib/test_hmm.c)."""
        for addr in range(start, end):
            ret = yield from self.make_device_exclusive(mm, addr)
            if ret:
                return Result(ret)
        return Result()

    def make_device_exclusive(self, mm: Mm, addr: int) -> Gen[int]:
        """Fault the page in for writing, and take its entry away from the CPUs (mm/rmap.c).

        Without FOLL_TOUCH: an entry that may be written stays as clean as it is.  Only anonymous
        pages can be had.
        """
        yield lock(mm.mmap_lock, READ)
        ret = -EFAULT
        vma = yield from self.find_vma(mm, addr)
        if vma is not None and (yield load(vma.vm_flags)) & VM_WRITE:
            if (yield from self.has_device_exclusive(mm, addr)):
                ret = 0
            elif (yield from self.populate_one(mm, vma, addr)):
                ret = yield from self.set_device_exclusive(mm, vma, addr)
        yield unlock(mm.mmap_lock)
        return ret

    def populate_one(self, mm: Mm, vma: Vma, addr: int) -> Gen[bool]:
        """Fault one page in for writing unless its entry is writable; False if that fails."""
        while not (yield from self.entry_writable(mm, addr)):
            if (yield from self.handle_mm_fault(mm, vma, addr, FAULT_FLAG_WRITE)):
                return False
        return True

    def entry_writable(self, mm: Mm, addr: int) -> Gen[bool]:
        """Does an entry let the CPU write?"""
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval:
            return False
        if pmd_is_leaf(pmdval):
            return pte_write(pmdval)
        pte = yield from self.ptep_get_lockless(self.pte_offset_map(pmdval, addr))
        return pte_present(pte) and not pte_protnone(pte) and pte_write(pte)

    def do_numa_page(self, vmf: VmFault) -> Gen[int]:
        """A CPU wants a device's page back (`remove_device_exclusive_entry`, do_swap_page)."""
        vmf = vmf._replace(ptl=self.pte_lockptr(vmf.pte, vmf.address))
        yield lock(vmf.ptl)
        if (yield from self.ptep_get(vmf.pte)) == vmf.orig_pte:
            pte = pfn_pte(pte_pfn(vmf.orig_pte), (yield from self.vm_page_prot(vmf.vma)))
            if (yield load(vmf.vma.vm_flags)) & VM_WRITE:
                page = page_of_pfn(pte_pfn(pte))
                if (yield from self.page_anon_and_exclusive(page)):
                    folio = yield from self.page_folio(page)
                    dirty = (yield load(folio.flags)) & PG_dirty
                    pte = pte_mkwrite(pte_mkdirty(pte) if dirty else pte)
            yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, pte)
        yield unlock(vmf.ptl)
        return 0

    def has_device_exclusive(self, mm: Mm, addr: int) -> Gen[bool]:
        """Whether a device has the page already."""
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval or pmd_is_leaf(pmdval):
            return False
        return self.is_device_exclusive((yield load(self.pte_offset_map(pmdval, addr))))

    def set_device_exclusive(self, mm: Mm, vma: Vma, addr: int) -> Gen[int]:
        """Replace the entry under its table's lock; a PMD leaf is split (FOLL_SPLIT_PMD)."""
        pmd = yield from self.pmd_offset(mm, addr)
        if pmd_is_leaf((yield load(pmd))):
            yield from self.split_huge_pmd(vma, pmd, addr)
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        page = yield from self.vm_normal_page((yield from self.ptep_get(ptep)))
        ret = -EOPNOTSUPP
        if page is not None:
            folio = yield from self.page_folio(page)
            if (yield load(folio.flags)) & PG_anon:
                pte = yield from self.ptep_clear_flush(mm, addr, ptep)
                pte = pte & ~PTE_VALID | PTE_PRESENT_INVALID
                yield from self.set_pte_at(mm, addr, ptep, pte)
                ret = 0
        yield unlock(ptl)
        return ret


class LazyfreeRestore(LazyfreeBatch):
    """Before 29f40594a281: a batch may mix writable and read-only entries."""

    id = "lazyfree-restore"
    title = "Linux 6.15 to 7.0-rc2, lazyfree restore"
    summary = "Entries that are put back all get the first one's write permission."

    def unmap_pte_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """No flags: write permission may differ within the batch."""
        return (yield from self.folio_pte_batch(folio, ptep, pte, max_nr)).nr


class StaleNrPages(LazyfreeBatch):
    """Before the fix of May 2026: nr_pages is not set again in each round."""

    id = "stale-nr-pages"
    title = "Linux 6.15 to 7.0, stale nr_pages"
    summary = "An entry that is unmapped alone is accounted for with the size of the last batch."

    def unmap_batch_size(
        self, folio: Folio, vma: Vma, ptep: int, pte: int, max_nr: int, nr_pages: int
    ) -> Gen[int]:
        """Only present entries set nr_pages."""
        if self.is_device_exclusive(pte):
            return nr_pages
        return (yield from self.folio_unmap_pte_batch(folio, vma, ptep, pte, max_nr))


class PastPageTable(LazyfreeBatch):
    """354dffd29575 as merged: the folio whole or one entry, without a look at the table's end.

    Permissions may differ within a batch as in `lazyfree-restore`.
    """

    id = "past-page-table"
    title = "Linux 6.15, lazyfree batch across tables"
    summary = "The batch scan is limited by the folio only and may read past the page table."

    def unmap_pte_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """`can_batch_unmap_folio_ptes`: all pages of the folio, or one."""
        if pte >> PFN_SHIFT != folio.pfn:
            return 1
        batch = yield from self.folio_pte_batch(folio, ptep, pte, folio.nr_pages)
        return folio.nr_pages if batch.nr == folio.nr_pages else 1
