"""Unmapping a folio for reclaim: swap entries, or nothing (mm/rmap.c: try_to_unmap, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PFN_SHIFT,
    PTE_UFFD_WP,
    pte_dirty,
    pte_present,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    note,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    MM_ANONPAGES,
    MM_SWAPENTS,
    VM_LOCKED,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_swapbacked,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.mm.swapfile import swp_entry


class RmapUnmapMixin(KernelPart):
    """try_to_unmap and what becomes of an entry."""

    extra_ref_sets_swapbacked = True
    """A lazyfree folio that somebody else holds is treated as dirtied (until 6.15)."""
    unmap_discards_pmd = False
    """7.x: a lazyfree folio that a PMD maps is dropped, or kept, as it is."""

    def try_to_unmap(
        self, folio: Folio, locked: bool = False, ignore_mlock: bool = False
    ) -> Gen[None]:
        """Replace every mapping by a swap entry, or drop it when the folio is lazyfree.

        The rmap is *locked* already, or not; what a VMA has locked into memory stays unless
        that is ignored.
        """
        word = 0 if locked else (yield from self.rmap_lock(folio, READ))
        for vma in (yield from self.folio_vmas(folio)):
            if not ignore_mlock and (yield load(vma.vm_flags)) & VM_LOCKED:
                break
            if not (yield from self.try_to_unmap_one(folio, vma)):
                break
        if word:
            yield unlock(word)

    def try_to_unmap_one(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """The mappings in one VMA; False when one was put back, which ends the walk."""
        mm = Mm((yield load(vma.vm_mm)))
        addr, end, index = yield from self.vma_address(folio, vma)
        gone = True
        while gone and addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmd_is_leaf(pmdval) and pmdval >> PFN_SHIFT == folio.pfn:
                flags = yield load(folio.flags)
                if self.unmap_discards_pmd and flags & (PG_anon | PG_swapbacked) == PG_anon:
                    return (yield from self.unmap_huge_pmd_locked(folio, vma, mm, pmd, addr))
                yield from self.split_huge_pmd(vma, pmd, addr)
                pmdval = yield load(pmd)
            if pmdval and not pmd_is_leaf(pmdval):
                gone = yield from self.unmap_pte_range(folio, vma, mm, pmd, addr, next_, index)
            index += next_ - addr
            addr = next_
        return gone

    def unmap_pte_range(
        self, folio: Folio, vma: Vma, mm: Mm, pmd: int, addr: int, end: int, index: int
    ) -> Gen[bool]:
        """Entries of one table, under its lock; False at the first that cannot go."""
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return True
        i, nr, gone = 0, 1, True
        while i < end - addr:
            pte = yield from self.ptep_get(ptep + i)
            page = folio.page(index + i)
            if not pte_present(pte) or pte >> PFN_SHIFT != page.pfn:
                i += 1
                continue
            nr = yield from self.unmap_batch_size(folio, vma, ptep + i, pte, end - addr - i, nr)
            gone = yield from self.unmap_ptes(folio, page, vma, mm, addr + i, ptep + i, nr)
            if not gone:
                break
            i += nr
        yield unlock(ptl)
        return gone

    def unmap_batch_size(
        self, folio: Folio, vma: Vma, ptep: int, pte: int, max_nr: int, nr_pages: int
    ) -> Gen[int]:
        """How many entries this round unmaps; *nr_pages* is what the last round had."""
        return (yield from self.folio_unmap_pte_batch(folio, vma, ptep, pte, max_nr))

    def folio_unmap_pte_batch(
        self, folio: Folio, vma: Vma, ptep: int, pte: int, max_nr: int
    ) -> Gen[int]:
        """Entries to unmap at once: one by one before 6.15."""
        return 1
        yield  # pragma: no cover - makes this a generator

    def unmap_ptes(
        self, folio: Folio, page: Page, vma: Vma, mm: Mm, addr: int, ptep: int, nr: int
    ) -> Gen[bool]:
        """One entry or batch of try_to_unmap_one(); False when it was put back."""
        pte = yield from self.unmap_clear_ptes(mm, addr, ptep, nr)
        yield from self.pte_install_uffd_wp_if_needed(mm, vma, addr, ptep, pte)
        if pte_dirty(pte):
            yield from self.folio_mark_dirty(folio)
        flags = yield load(folio.flags)
        if not flags & PG_anon:
            yield add(mm.rss_stat((yield from self.mm_counter_file(folio))), -nr)
        elif not flags & PG_swapbacked:
            if not (yield from self.discard_lazyfree(folio, mm, addr, ptep, pte, nr)):
                return False
        elif not (yield from self.swap_out_pte(folio, page, mm, addr, ptep, pte)):
            return False
        yield from self.folio_remove_rmap_ptes(folio, page, nr, vma)
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.mlock_drain_local()
        yield from self.folio_put(folio, nr)
        return True

    def unmap_clear_ptes(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[int]:
        """Clear the entries and flush; the first one's value with young and dirty of all."""
        if nr == 1:
            return (yield from self.ptep_clear_flush(mm, addr, ptep))
        pte = yield from self.get_and_clear_full_ptes(mm, addr, ptep, nr, False)
        yield tlb_flush(mm, addr, addr + nr)
        return pte

    def discard_lazyfree(
        self, folio: Folio, mm: Mm, addr: int, ptep: int, pte: int, nr: int
    ) -> Gen[bool]:
        """Drop clean lazyfree pages whose only references are their mappings and ours."""
        refs = yield load(folio._refcount)
        mapped = yield from self.folio_mapcount(folio)
        dirty = (yield load(folio.flags)) & PG_dirty
        if refs == 1 + mapped and not dirty:
            yield note("discard", folio)
            yield add(mm.rss_stat(MM_ANONPAGES), -nr)
            return True
        yield from self.set_ptes(mm, addr, ptep, pte, nr)
        if dirty or self.extra_ref_sets_swapbacked:
            yield bits(folio.flags, PG_swapbacked)
        return False

    def swap_out_pte(
        self, folio: Folio, page: Page, mm: Mm, addr: int, ptep: int, pte: int
    ) -> Gen[bool]:
        """Count the slot, give up exclusivity, write the swap entry."""
        slot = (yield load(folio.private)) - 1 + folio.index_of(page)
        yield from self.swap_duplicate(slot)
        exclusive = bool((yield load(page.flags)) & PG_anon_exclusive)
        if exclusive and not (yield from self.folio_try_share_anon_rmap_pte(folio, page)):
            yield from self.swap_free(slot)
            yield from self.set_pte_at(mm, addr, ptep, pte)
            return False
        yield from self.mmlist_add(mm)
        yield add(mm.rss_stat(MM_ANONPAGES), -1)
        yield add(mm.rss_stat(MM_SWAPENTS), 1)
        entry = swp_entry(slot, exclusive) | pte & PTE_UFFD_WP
        yield from self.set_pte_at(mm, addr, ptep, entry)
        return True

    # -- a leaf of a lazyfree folio (mm/huge_memory.c) ---------------------------------------

    def unmap_huge_pmd_locked(
        self, folio: Folio, vma: Vma, mm: Mm, pmd: int, addr: int
    ) -> Gen[bool]:
        """Drop the leaf if folio and leaf are clean and nobody else refers to the folio.

        Source: __discard_anon_folio_pmd_locked (7.2).
        """
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        old = yield load(pmd)
        if not pmd_is_leaf(old) or old >> PFN_SHIFT != folio.pfn:  # page_vma_mapped_walk()
            yield unlock(ptl)
            return True
        gone = not (yield from self.redirtied(folio, old))
        if gone:
            old = yield xchg(pmd, 0)
            haddr = addr & -HPAGE_PMD_NR
            yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
            refs = yield load(folio._refcount)
            mapped = yield from self.folio_mapcount(folio)
            gone = not (yield from self.redirtied(folio, old)) and refs == mapped + 1
            if not gone:
                yield store(pmd, old)
        if gone:
            yield note("discard", folio)
            yield from self.folio_remove_rmap_pmd(folio, vma)
            yield add(mm.rss_stat(MM_ANONPAGES), -HPAGE_PMD_NR)
            yield from self.folio_put(folio)
        yield unlock(ptl)
        return gone

    def redirtied(self, folio: Folio, pmdval: int) -> Gen[bool]:
        """Was a lazyfree folio written to again? Then it is swapbacked from now on."""
        if pte_dirty(pmdval):
            yield bits(folio.flags, PG_dirty)
        dirty = bool((yield load(folio.flags)) & PG_dirty)
        if dirty:
            yield bits(folio.flags, PG_swapbacked)
        return dirty
