"""Splitting the PMD mapping of a folio (mm/huge_memory.c: __split_huge_pmd, 6.6).

The folio stays whole; a table of 512 entries takes the leaf's place.  Where the kernel withdraws
a deposited table, the model allocates one.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PFN_SHIFT,
    PTE_PRESENT_INVALID,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    PTE_VALID,
    pfn_pte,
    pte_dirty,
    pte_mkdirty,
    pte_mkold,
    pte_mkwrite,
    pte_pfn,
    pte_write,
    pte_young,
)
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    alloc,
    bits,
    load,
    lock,
    note,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    PG_anon_exclusive,
    PG_dirty,
    PG_referenced,
)
from sandbox.mm.pgalloc import PTL_OFFSET, TABLE_SHIFT, pmd_is_leaf
from sandbox.mm.rmap_walk import make_migration_entry


class HugePmdSplitMixin(KernelPart):
    """From one leaf to a table of entries."""

    def split_huge_pmd(self, vma: Vma, pmd: int, addr: int, freeze: bool = False) -> Gen[None]:
        """Replace a leaf by a table: of the same pages, or (*freeze*) of migration entries."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval = yield load(pmd)
        if pmd_is_leaf(pmdval):
            haddr = addr & -HPAGE_PMD_NR
            if (yield load(vma.vm_file)):
                yield from self.split_file_pmd_locked(vma, pmd, haddr)
            elif pmdval & PTE_SPECIAL:
                yield from self._split_huge_zero_page_pmd(vma, pmd, haddr)
            else:
                yield from self.split_huge_pmd_locked(vma, pmd, haddr, freeze)
        yield unlock(ptl)

    def new_pte_table(self, mm: Mm, addr: int) -> Gen[int]:
        """A table to fill before it is linked (pgtable_trans_huge_withdraw)."""
        table = yield alloc(Struct.PTE_TABLE)
        yield store(table + PTL_OFFSET + 1, mm)
        yield store(table + PTL_OFFSET + 2, addr)
        return table

    def _split_huge_zero_page_pmd(self, vma: Vma, pmd: int, haddr: int) -> Gen[None]:
        """The huge zero page becomes 512 zero pages; nothing is counted."""
        mm = Mm((yield load(vma.vm_mm)))
        old = yield xchg(pmd, 0)
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        table = yield from self.new_pte_table(mm, haddr)
        zero = Page((yield load(Globals.zero_page)))
        entry = pfn_pte(zero.pfn, (yield from self.vm_page_prot(vma))) | PTE_SPECIAL
        entry |= old & PTE_UFFD_WP
        for i in range(HPAGE_PMD_NR):
            yield store(table + i, entry)
        yield store(pmd, table << TABLE_SHIFT)

    def split_file_pmd_locked(self, vma: Vma, pmd: int, haddr: int) -> Gen[None]:
        """A file's leaf is zapped: faults fill what is needed again (`__split_huge_pmd_locked`)."""
        mm = Mm((yield load(vma.vm_mm)))
        old = yield xchg(pmd, 0)
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(old)))
        flags = yield load(folio.flags)
        if not flags & PG_dirty and pte_dirty(old):
            yield from self.folio_mark_dirty(folio)
        if not flags & PG_referenced and pte_young(old):
            yield bits(folio.flags, PG_referenced)
        yield from self.folio_remove_rmap_pmd(folio, vma)
        yield add(mm.rss_stat((yield from self.mm_counter_file(folio))), -HPAGE_PMD_NR)
        yield from self.folio_put(folio)

    def split_huge_pmd_locked(
        self, vma: Vma, pmd: int, haddr: int, freeze: bool = False
    ) -> Gen[None]:
        """References for 511 more, page mappings, the entries, then the entire mapping goes.

        Between the last page mapping and the end of the entire one the folio counts one mapping
        more than it has references: the known window W1.
        """
        mm = Mm((yield load(vma.vm_mm)))
        old = yield from self.pmdp_invalidate(mm, haddr, pmd)
        page = page_of_pfn(pte_pfn(old))
        folio = yield from self.page_folio(page)
        if pte_dirty(old):
            yield bits(folio.flags, PG_dirty)
        exclusive = bool((yield load(folio.flags)) & PG_anon_exclusive)
        if freeze and (not exclusive or (yield from self.folio_try_share_anon_rmap_pmd(folio))):
            yield from self.split_huge_pmd_freeze(vma, pmd, haddr, folio, old, exclusive)
            return
        yield note("window_open", "W1", folio & ADDR_MASK)
        yield from self.folio_ref_add(folio, HPAGE_PMD_NR - 1)
        yield from self.folio_add_anon_rmap_ptes(folio, page, HPAGE_PMD_NR, vma, haddr, exclusive)
        table = yield from self.new_pte_table(mm, haddr)
        entry = yield from self.split_entry(vma, old)
        yield from self.set_ptes(mm, haddr, table, entry, HPAGE_PMD_NR)
        yield from self.folio_remove_rmap_pmd(folio, vma)
        yield note("window_close", "W1", folio & ADDR_MASK)
        yield store(pmd, table << TABLE_SHIFT)

    def folio_try_share_anon_rmap_pmd(self, folio: Folio) -> Gen[bool]:
        """Give up exclusivity of an invalidated leaf; False while the folio may be pinned."""
        if (yield from self.folio_maybe_dma_pinned(folio)):
            return False
        yield bits(folio.flags, 0, PG_anon_exclusive)
        return True

    def split_huge_pmd_freeze(
        self, vma: Vma, pmd: int, haddr: int, folio: Folio, old: int, exclusive: bool
    ) -> Gen[None]:
        """The leaf becomes 512 migration entries; its mapping and its reference go."""
        mm = Mm((yield load(vma.vm_mm)))
        table = yield from self.new_pte_table(mm, haddr)
        for i in range(HPAGE_PMD_NR):
            yield store(table + i, make_migration_entry(folio.page(i), old, exclusive))
        yield from self.folio_remove_rmap_pmd(folio, vma)
        yield store(pmd, table << TABLE_SHIFT)
        yield from self.folio_put(folio)

    def split_entry(self, vma: Vma, old: int) -> Gen[int]:
        """The first of the 512 entries that take a leaf's place."""
        entry = pfn_pte(old >> PFN_SHIFT, (yield from self.vm_page_prot(vma)))
        if pte_write(old):
            entry = pte_mkwrite(entry)
        if not pte_young(old):
            entry = pte_mkold(entry)
        entry |= old & PTE_UFFD_WP
        return pte_mkdirty(entry) if pte_dirty(old) else entry

    def pmdp_invalidate(self, mm: Mm, haddr: int, pmd: int) -> Gen[int]:
        """Make a leaf invalid for hardware while it stays a leaf for software, and flush."""
        pmdval = yield load(pmd)
        old = yield xchg(pmd, pmdval & ~PTE_VALID | PTE_PRESENT_INVALID)
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        return old & ~PTE_PRESENT_INVALID | PTE_VALID
