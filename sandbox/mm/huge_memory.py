"""PMD-mapped anonymous folios (mm/huge_memory.c, 6.6).

One PMD leaf maps 512 pages: one reference, one entire mapping, and only the head page's
PG_anon_exclusive counts.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_HUGE,
    PTE_PRESENT_INVALID,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    PTE_VALID,
    pte_clear_uffd_wp,
    pte_dirty,
    pte_mkold,
    pte_mkwrite,
    pte_modify,
    pte_pfn,
    pte_present,
    pte_write,
    pte_wrprotect,
    pte_young,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    EAGAIN,
    ENTIRELY_MAPPED,
    FOLIO_PAGES_MAPPED,
    MM_ANONPAGES,
    VM_SHARED,
    PG_anon,
    PG_anon_exclusive,
    PG_referenced,
)
from sandbox.mm.memory.fork import CopyContext
from sandbox.mm.memory.zap import MmuGather
from sandbox.mm.mprotect import MM_CP_TRY_CHANGE_WRITABLE, change_uffd_wp
from sandbox.mm.mremap import PagetableMove
from sandbox.mm.pgalloc import pmd_is_leaf


class HugeMemoryMixin(KernelPart):
    """Fork, zap, protect and move of PMD leaves."""

    has_pmd_thp = True

    # -- rmap of a leaf (mm/rmap.c) ------------------------------------------------------

    def folio_try_dup_anon_rmap_pmd(self, folio: Folio, dst_mm: Mm, src_vma: Vma) -> Gen[bool]:
        """Duplicate a PMD mapping; False when the folio may be pinned and is exclusive."""
        mm = Mm((yield load(src_vma.vm_mm)))
        maybe_pinned = yield from self.folio_needs_cow_for_dma(mm, folio)
        if (yield load(folio.flags)) & PG_anon_exclusive:
            if maybe_pinned:
                return False
            yield bits(folio.flags, 0, PG_anon_exclusive)
        yield add(folio._entire_mapcount, 1)
        if self.has_large_mapcount:
            yield from self.folio_add_large_mapcount(folio, 1, dst_mm)
        return True

    def folio_remove_rmap_pmd(self, folio: Folio, vma: Vma) -> Gen[None]:
        """Remove a PMD mapping; with page mappings left the folio may be partially mapped."""
        mm = Mm((yield load(vma.vm_mm)))
        nr, partially = yield from self.folio_remove_entire(folio, mm)
        flags = yield load(folio.flags)
        if nr:
            yield add(Globals.nr_anon_mapped if flags & PG_anon else Globals.nr_file_mapped, -nr)
        if partially and flags & PG_anon:
            yield from self.deferred_split_folio(folio, True)
        yield from self.munlock_vma_folio(folio, vma)

    def folio_remove_entire(self, folio: Folio, mm: Mm) -> Gen[tuple[int, bool]]:
        """(pages no longer mapped, partially mapped): the total, then the entire mapping."""
        if self.has_large_mapcount:
            yield from self.folio_sub_large_mapcount(folio, 1, mm)
        if (yield add(folio._entire_mapcount, -1)) >= 0:
            return 0, False
        mapped = yield add(folio._nr_pages_mapped, -ENTIRELY_MAPPED)
        if mapped >= ENTIRELY_MAPPED:
            return 0, False
        nr = max(folio.nr_pages - (mapped & FOLIO_PAGES_MAPPED), 0)
        return nr, 0 < nr < folio.nr_pages

    # -- fork ----------------------------------------------------------------------------

    def copy_huge_pmd(self, ctx: CopyContext, dst_pmd: int, src_pmd: int, addr: int) -> Gen[int]:
        """Reference, rmap, rss, then both PMDs; -EAGAIN after splitting a pinned one."""
        dst_ptl = self.pmd_lockptr(dst_pmd, addr)
        src_ptl = self.pmd_lockptr(src_pmd, addr)
        yield lock(dst_ptl)
        yield lock(src_ptl)
        pmdval = yield load(src_pmd)
        if not pmd_is_leaf(pmdval):  # split meanwhile
            yield unlock(src_ptl)
            yield unlock(dst_ptl)
            return -EAGAIN
        ok = True
        if not pmdval & PTE_SPECIAL:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(pmdval)))
            yield from self.folio_get(folio)
            ok = yield from self.folio_try_dup_anon_rmap_pmd(folio, ctx.dst_mm, ctx.src_vma)
            if ok:
                yield add(ctx.dst_mm.rss_stat(MM_ANONPAGES), HPAGE_PMD_NR)
            else:
                yield from self.folio_put(folio)
        if ok:
            yield from self.ptep_set_wrprotect(src_pmd)
            yield store(dst_pmd, pte_mkold(pte_wrprotect(pmdval)) & ~PTE_UFFD_WP)
        yield unlock(src_ptl)
        yield unlock(dst_ptl)
        if not ok:
            yield from self.split_huge_pmd(ctx.src_vma, src_pmd, addr)
            return -EAGAIN
        return 0

    # -- zap -----------------------------------------------------------------------------

    def zap_huge_pmd(
        self, tlb: MmuGather, vma: Vma, pmd: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int]]:
        """A leaf: split it when only part goes, else clear it and gather one reference."""
        if end - addr != HPAGE_PMD_NR:
            yield from self.split_huge_pmd(vma, pmd, addr)
            return tlb, (yield load(pmd))
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval = yield load(pmd)
        if not pmd_is_leaf(pmdval):  # __pmd_trans_huge_lock()
            yield unlock(ptl)
            return tlb, pmdval
        pmdval = yield xchg(pmd, 0)
        tlb = self.tlb_remove_tlb_entries(tlb, addr, HPAGE_PMD_NR)
        if pmdval & PTE_SPECIAL:
            yield unlock(ptl)
            return tlb, 0
        page = page_of_pfn(pte_pfn(pmdval))
        folio = yield from self.page_folio(page)
        yield from self.folio_remove_rmap_pmd(folio, vma)
        yield add(tlb.mm.rss_stat((yield from self.mm_counter(folio))), -HPAGE_PMD_NR)
        yield from self.zap_huge_pmd_bits(folio, pmdval)
        yield unlock(ptl)
        tlb, full = yield from self._tlb_remove_folio_pages(tlb, folio, page, 1, False)
        if full:
            tlb = yield from self.tlb_flush_mmu(tlb)
        return tlb, 0

    def zap_huge_pmd_bits(self, folio: Folio, pmdval: int) -> Gen[None]:
        """Carry dirty (and young) of a file's leaf to the folio."""
        if (yield load(folio.flags)) & PG_anon:
            return
        if pte_dirty(pmdval):
            yield from self.folio_mark_dirty(folio)
        if pte_young(pmdval):
            yield bits(folio.flags, PG_referenced)

    # -- protection and moving -----------------------------------------------------------

    def change_huge_pmd(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, newprot: int, cp_flags: int
    ) -> Gen[int]:
        """Protect a leaf as a whole; what is there if it is none any more, else 0."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval = yield load(pmd)
        if not pmd_is_leaf(pmdval):
            yield unlock(ptl)
            return pmdval
        old = yield xchg(pmd, pmdval & ~PTE_VALID | PTE_PRESENT_INVALID)
        entry = change_uffd_wp(pte_modify(old, newprot) | PTE_HUGE, cp_flags)
        upgrade = cp_flags & MM_CP_TRY_CHANGE_WRITABLE and not pte_write(entry)
        if upgrade and entry & (PTE_VALID | PTE_SPECIAL | PTE_UFFD_WP) == PTE_VALID:
            page = page_of_pfn(pte_pfn(old))
            if (yield from self.can_change_pmd_writable(vma, entry, page)):
                entry = pte_mkwrite(entry)
        yield store(pmd, entry)
        yield unlock(ptl)
        return 0

    def can_change_pmd_writable(self, vma: Vma, entry: int, page: Page) -> Gen[bool]:
        """Would a write fault only set the bit: exclusive, or shared and dirty already?"""
        if (yield load(vma.vm_flags)) & VM_SHARED:
            return pte_dirty(entry)
        return (yield from self.page_anon_and_exclusive(page))

    def move_huge_pmd(self, pmc: PagetableMove, old_pmd: int, new_pmd: int) -> Gen[bool]:
        """Mremap of a leaf: moved whole to a PMD entry that is free; False leaves it to a split."""
        if (yield load(new_pmd)):
            return False
        old_ptl = self.pmd_lockptr(old_pmd, pmc.old_addr)
        new_ptl = self.pmd_lockptr(new_pmd, pmc.new_addr)
        yield lock(old_ptl)
        moved = pmd_is_leaf((yield load(old_pmd)))
        if moved:
            if new_ptl != old_ptl:
                yield lock(new_ptl)
            pmdval = yield xchg(old_pmd, 0)
            yield store(new_pmd, pte_clear_uffd_wp(pmdval))
            if pte_present(pmdval):
                yield tlb_flush(pmc.mm, pmc.old_addr, pmc.old_addr + HPAGE_PMD_NR)
            if new_ptl != old_ptl:
                yield unlock(new_ptl)
        yield unlock(old_ptl)
        return moved

    def vma_adjust_trans_huge(self, mm: Mm, vma: Vma, addr: int) -> Gen[None]:
        """A new VMA border inside a leaf splits it."""
        if addr & (HPAGE_PMD_NR - 1) == 0:
            return
        pmd = yield from self.pmd_offset(mm, addr)
        if pmd and pmd_is_leaf((yield load(pmd))):
            yield from self.split_huge_pmd(vma, pmd, addr)

    def mlock_pmd(self, mm: Mm, vma: Vma, pmd: int, addr: int, on: bool) -> Gen[None]:
        """A leaf inside a locked range: its folio is mlocked as a whole."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval = yield load(pmd)
        if not pmd_is_leaf(pmdval):
            yield unlock(ptl)
            yield from self.mlock_pte_range(mm, vma, pmd, addr, (addr | 511) + 1, on)
            return
        if not pmdval & PTE_SPECIAL:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(pmdval)))
            yield from (self.mlock_folio(folio) if on else self.munlock_folio(folio))
        yield unlock(ptl)
