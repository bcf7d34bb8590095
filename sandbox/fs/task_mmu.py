"""/proc/PID/clear_refs: forgetting what was accessed (fs/proc/task_mmu.c; 6.6 to 7.3 agree)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_SPECIAL,
    PTRS_PER_PTE,
    pte_mkold,
    pte_pfn,
    pte_present,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Vma,
    bits,
    cas,
    load,
    lock,
    page_of_pfn,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import EINVAL, PG_referenced
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result

CLEAR_REFS_ALL, CLEAR_REFS_ANON, CLEAR_REFS_MAPPED = 1, 2, 3
CLEAR_REFS_SOFT_DIRTY, CLEAR_REFS_MM_HIWATER_RSS, CLEAR_REFS_LAST = 4, 5, 6


class TaskMmuMixin(KernelPart):
    """What a write to clear_refs does to page tables."""

    def clear_refs_write(self, mm: Mm, type_: int) -> Gen[Result]:
        """Write a number to clear_refs; -EINVAL unless it is 1 to 5 (`clear_refs_write`).

        1 forgets all accesses, 2 those of anonymous VMAs, 3 those of file mappings.  4 is
        soft-dirty tracking, which arm64 does not have: the walk changes nothing and ends in a
        flush.  5 resets a peak that is not modelled.
        """
        yield load(mm.mm_users)
        if not CLEAR_REFS_ALL <= type_ < CLEAR_REFS_LAST:
            return Result(-EINVAL)
        yield lock(mm.mmap_lock)
        if type_ != CLEAR_REFS_MM_HIWATER_RSS:
            for vma in (yield from self.all_vmas(mm)):
                if not (yield from self.clear_refs_test_walk(vma, type_)):
                    yield from self.clear_refs_vma(mm, vma, type_)
        if type_ == CLEAR_REFS_SOFT_DIRTY:
            yield tlb_flush(mm, 0, 1 << 24)
        yield unlock(mm.mmap_lock)
        return Result()

    def clear_refs_test_walk(self, vma: Vma, type_: int) -> Gen[bool]:
        """Whether the walk leaves a VMA out."""
        file = bool((yield load(vma.vm_file)))
        return file if type_ == CLEAR_REFS_ANON else type_ == CLEAR_REFS_MAPPED and not file

    def clear_refs_vma(self, mm: Mm, vma: Vma, type_: int) -> Gen[None]:
        """Walk one VMA's page tables (`walk_page_range`)."""
        addr, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        while addr < end:
            next_ = min((addr | PTRS_PER_PTE - 1) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and pmd_is_leaf(pmdval):
                yield from self.clear_refs_pmd(pmd, addr, type_)
            elif pmdval:
                yield from self.clear_refs_pte_range(mm, pmd, addr, next_, type_)
            addr = next_

    def clear_refs_pmd(self, pmd: int, addr: int, type_: int) -> Gen[None]:
        """Make a PMD leaf old under its lock."""
        ptl = self.pmd_lockptr(pmd, addr & -HPAGE_PMD_NR)
        yield lock(ptl)
        pmdval = yield load(pmd)
        if type_ != CLEAR_REFS_SOFT_DIRTY and pmd_is_leaf(pmdval) and pte_present(pmdval):
            while not (yield cas(pmd, pmdval, pte_mkold(pmdval))):
                pmdval = yield load(pmd)
            if not pmdval & PTE_SPECIAL:
                folio = yield from self.page_folio(page_of_pfn(pte_pfn(pmdval)))
                yield from self.folio_clear_referenced(folio)
        yield unlock(ptl)

    def clear_refs_pte_range(self, mm: Mm, pmd: int, addr: int, end: int, type_: int) -> Gen[None]:
        """Make the entries of one table old; a contiguous block gets old as a whole.

        No TLB is flushed: a translation that is still cached goes on unnoticed.
        """
        pte, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        for i in range(end - addr):
            ptent = yield from self.ptep_get(pte + i)
            if type_ == CLEAR_REFS_SOFT_DIRTY or not pte_present(ptent):
                continue
            page = yield from self.vm_normal_page(ptent)
            if page is not None:
                yield from self.ptep_test_and_clear_young(mm, addr + i, pte + i)
                yield from self.folio_clear_referenced((yield from self.page_folio(page)))
        yield unlock(ptl)

    def folio_clear_referenced(self, folio: Folio) -> Gen[None]:
        """Forget that the folio was referenced."""
        yield bits(folio.flags, 0, PG_referenced)
