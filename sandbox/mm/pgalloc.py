"""Walking, growing and freeing page tables.

Source: mm/memory.c (__pte_alloc, __pmd_alloc, free_pgd_range), mm/pgtable-generic.c (6.6).
Three levels are modelled: a PUD word per GiB in the mm, a table of 512 PMD words, a table of 512
entries.  A PMD word is 0, the address of a PTE table, or a leaf (PTE_HUGE).
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_HUGE, PTRS_PER_PTE
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mm, alloc, load, lock, store, unlock

PTL_OFFSET = PTRS_PER_PTE
PMD_NR, PUD_NR = 1 << 9, 1 << 18
"""Pages that one entry of a PMD table, and one of the PUD table, stand for."""
USER_PGTABLES_CEILING = 1 << 27
"""The page behind the last one that a process can have."""
TABLE_SHIFT = 16
"""A table's address sits in a PMD word where a leaf has its frame number."""


def pmd_is_leaf(pmd: int) -> bool:
    """A PMD-mapped folio (or its migration entry), not a table."""
    return bool(pmd & PTE_HUGE)


def pmd_table(pmd: int) -> int:
    """Address of the PTE table a PMD word points to."""
    return pmd >> TABLE_SHIFT


class PgallocMixin(KernelPart):
    """Page-table walks; every level read is an event."""

    def pmd_offset(self, mm: Mm, addr: int) -> Gen[int]:
        """Word of the PMD entry for *addr*, 0 while there is no PMD table."""
        table = yield load(mm.pud(addr))
        return table + ((addr >> 9) & 511) if table else 0

    def pmd_alloc(self, mm: Mm, addr: int) -> Gen[int]:
        """Word of the PMD entry for *addr*, with the table made if need be."""
        pmd = yield from self.pmd_offset(mm, addr)
        if pmd:
            return pmd
        new = yield alloc(Struct.PMD_TABLE)
        yield store(new + PTL_OFFSET + 1, mm)
        yield store(new + PTL_OFFSET + 2, addr & ~((1 << 18) - 1))
        yield lock(mm.page_table_lock)
        table = yield load(mm.pud(addr))
        if not table:
            yield store(mm.pud(addr), new)
            table = new
        yield unlock(mm.page_table_lock)
        return table + ((addr >> 9) & 511)

    def pte_alloc(self, mm: Mm, pmd: int, addr: int) -> Gen[None]:
        """Make the PTE table under *pmd* unless there is one (`__pte_alloc`)."""
        if (yield load(pmd)):
            return
        new = yield alloc(Struct.PTE_TABLE)
        yield store(new + PTL_OFFSET + 1, mm)
        yield store(new + PTL_OFFSET + 2, addr & ~(PTRS_PER_PTE - 1))
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        if not (yield load(pmd)):
            yield store(pmd, new << TABLE_SHIFT)
        yield unlock(ptl)

    def free_pgd_range(self, mm: Mm, addr: int, end: int, floor: int, ceiling: int) -> Gen[bool]:
        """Free the tables of [addr, end) that nothing else between *floor* and *ceiling* uses.

        What lies there was unmapped, and nobody finds it any more; True if a table was freed.
        """
        freed = False
        for gib in range(addr & -PUD_NR, end, PUD_NR):
            table = yield load(mm.pud(gib))
            if not table:
                continue
            for at in range(max(gib, addr & -PMD_NR), min(gib + PUD_NR, end), PMD_NR):
                if floor <= at and at + PMD_NR <= ceiling:
                    pmd = table + ((at >> 9) & 511)
                    if (yield load(pmd)):
                        yield store(pmd, 0)
                        freed = True
            if floor <= gib and gib + PUD_NR <= ceiling:
                yield store(mm.pud(gib), 0)
                freed = True
        return freed

    def pmd_lockptr(self, pmd: int, addr: int) -> int:
        """Lock word of the PMD table that *pmd* (the entry of *addr*) lies in."""
        return pmd - ((addr >> 9) & 511) + 512

    def pte_offset_map(self, pmdval: int, addr: int) -> int:
        """Word of the entry for *addr* in the table *pmdval* points to."""
        return pmd_table(pmdval) + (addr & (PTRS_PER_PTE - 1))

    def pte_lockptr(self, ptep: int, addr: int) -> int:
        """Lock word of the table *ptep* (the entry of *addr*) lies in."""
        return ptep - (addr & (PTRS_PER_PTE - 1)) + PTL_OFFSET

    def pte_offset_map_lock(self, mm: Mm, pmd: int, addr: int) -> Gen[tuple[int, int]]:
        """Entry and lock of *addr*, locked; (0, 0) when the PMD is no table any more."""
        while True:
            pmdval = yield load(pmd)
            if not pmdval or pmd_is_leaf(pmdval):
                return 0, 0
            ptep = self.pte_offset_map(pmdval, addr)
            ptl = self.pte_lockptr(ptep, addr)
            yield lock(ptl)
            if (yield load(pmd)) == pmdval:
                return ptep, ptl
            yield unlock(ptl)
