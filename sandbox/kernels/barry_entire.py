"""Barry Song's question: may a wholly CONT-mapped folio count one entire mapping?

<CAGsJ_4zMwxNw76bweq-23x5ibpWnERCCwg_kz3zn1pjzeY0qXw@mail.gmail.com>, 27 Nov 2023.
A process that maps every page of a folio through contiguous blocks holds one reference and counts
once in `_entire_mapcount`; one that maps only part counts page by page.  Which of the two holds is
read off the entries, so every fold and unfold has to convert the accounting: references first,
then the page counts, and the entire mapping last ("order Y" of the catalogue).
"""

from __future__ import annotations

from typing import ClassVar

from sandbox.arch.arm64.pgtable import (
    pfn_pte,
    pte_mkdirty,
    pte_mknoncont,
    pte_mkold,
    pte_mkwrite,
    pte_mkyoung,
    pte_pfn,
    pte_valid_cont,
    pte_write,
    pte_wrprotect,
)
from sandbox.kernels.small_thp import SmallThp67
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
    page_of_pfn,
    store,
)
from sandbox.mm.flags import (
    ENTIRELY_MAPPED,
    MM_ANONPAGES,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
    PG_swapbacked,
    is_cow_mapping,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.fork import CopyContext
from sandbox.mm.memory.zap import MmuGather


class BarryEntire(SmallThp67):
    """One reference and one entire mapping per wholly CONT-mapped folio (BS-1)."""

    id = "barry-entire"
    title = "entire_mapcount for CONTPTE (27 Nov 2023)"
    summary = "A folio mapped wholly through contiguous blocks counts once, as by a PMD."
    rules_off: ClassVar[dict[str, str]] = {
        "I-08": "an entire mapping holds one reference for all its entries",
        "I-12": "an entire mapping counts once for all its entries",
        "I-25": "converting an entire mapping raises page counts outside fork",
        "I-15": "the idea is to count a folio below PMD size as entirely mapped",
    }

    # -- which of the two --------------------------------------------------------------

    def contpte_sized(self, folio: Folio) -> bool:
        """Can a folio of this order be made of contiguous blocks?"""
        return 4 <= folio.order < 9

    def entirely_mapped(self, folio: Folio, page: Page, addr: int, ptep: int) -> Gen[bool]:
        """Does this mm map every block of the folio contiguously? One entry per block is read."""
        if not self.contpte_sized(folio):
            return False
        index = folio.index_of(page)
        if (addr - index) & ~511 != (addr - index + folio.nr_pages - 1) & ~511:
            return False
        first = ptep - index
        for block in range(0, folio.nr_pages, self.CONT_PTES):
            pte = yield load(first + block)
            if not pte_valid_cont(pte) or pte_pfn(pte) != folio.pfn + block:
                return False
        return True

    # -- converting the accounting -------------------------------------------------------

    def entire_to_pages(self, folio: Folio) -> Gen[None]:
        """B-unfold: the entire mapping becomes one mapping per page."""
        yield from self.folio_ref_add(folio, folio.nr_pages - 1)
        for i in range(folio.nr_pages):
            yield from self.add_one_mapcount(folio, folio.page(i))
        yield from self.remove_entire(folio)

    def pages_to_entire(self, folio: Folio) -> Gen[None]:
        """B-fold: the page mappings become one entire mapping."""
        yield from self.add_entire(folio)
        for i in range(folio.nr_pages):
            if (yield add(folio.page(i)._mapcount, -1)) < 0:
                yield add(folio._nr_pages_mapped, -1)
        yield from self.folio_put(folio, folio.nr_pages - 1)

    def add_entire(self, folio: Folio) -> Gen[None]:
        """One entire mapping more."""
        if (yield add(folio._entire_mapcount, 1)) == 0:
            yield add(folio._nr_pages_mapped, ENTIRELY_MAPPED)

    def remove_entire(self, folio: Folio) -> Gen[bool]:
        """One entire mapping less; True when it was the last."""
        if (yield add(folio._entire_mapcount, -1)) >= 0:
            return False
        yield add(folio._nr_pages_mapped, -ENTIRELY_MAPPED)
        return True

    def contpte_try_unfold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        """Unfolding a block of an entirely mapped folio converts its accounting first."""
        if pte_valid_cont(pte):
            yield from self.unfold_accounting(addr, ptep, pte)
        yield from super().contpte_try_unfold(mm, addr, ptep, pte)

    def unfold_accounting(self, addr: int, ptep: int, pte: int) -> Gen[None]:
        """B-unfold if the folio behind *pte* counts as entirely mapped."""
        page = page_of_pfn(pte_pfn(pte))
        folio = yield from self.page_folio(page)
        if (yield from self.entirely_mapped(folio, page, addr, ptep)):
            yield from self.entire_to_pages(folio)

    def contpte_try_fold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[bool]:
        """A fold that completes the folio converts its accounting."""
        if not (yield from super().contpte_try_fold(mm, addr, ptep, pte)):
            return False
        page = page_of_pfn(pte_pfn(pte))
        folio = yield from self.page_folio(page)
        if (yield from self.entirely_mapped(folio, page, addr, ptep)):
            yield from self.pages_to_entire(folio)
        return True

    # -- fault ---------------------------------------------------------------------------

    def map_anon_folio(self, vmf: VmFault, folio: Folio, addr: int) -> Gen[None]:
        """A fresh folio of whole blocks: its one reference is the entire mapping's."""
        if not self.contpte_sized(folio):
            yield from super().map_anon_folio(vmf, folio, addr)
            return
        entry = pte_mkyoung(pfn_pte(folio.pfn, (yield from self.vm_page_prot(vmf.vma))))
        if (yield load(vmf.vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(pte_mkdirty(entry))
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), folio.nr_pages)
        yield bits(folio.flags, PG_swapbacked)
        yield from self._folio_set_anon(folio, vmf.vma, addr)
        yield store(folio._entire_mapcount, 0)
        yield store(folio._nr_pages_mapped, ENTIRELY_MAPPED)
        for i in range(folio.nr_pages):
            yield bits(folio.page(i).flags, PG_anon_exclusive)
        yield add(Globals.nr_anon_mapped, folio.nr_pages)
        yield from self.folio_add_lru_vma(folio, vmf.vma)
        yield from self.set_ptes(vmf.mm, addr, vmf.pte, entry, folio.nr_pages)

    # -- fork ----------------------------------------------------------------------------

    def copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int]]:
        """An entirely mapped folio in one go; otherwise convert it and copy entry by entry."""
        page = yield from self.vm_normal_page(pte)
        if page is not None and pte_valid_cont(pte):
            folio = yield from self.page_folio(page)
            if (yield from self.entirely_mapped(folio, page, addr, src_pte)):
                whole = page == folio.page(0) and end - addr >= folio.nr_pages
                if whole and (yield from self.dup_entire(ctx, folio)):
                    ctx = ctx.charge(MM_ANONPAGES, folio.nr_pages)
                    yield from self.copy_folio_entries(
                        ctx, dst_pte, src_pte, pte, addr, folio.nr_pages
                    )
                    return ctx, folio.nr_pages
                yield from self.contpte_try_unfold(ctx.src_mm, addr, src_pte, pte)
                pte = pte_mknoncont(pte)
        return (yield from super().copy_present_ptes(ctx, dst_pte, src_pte, pte, addr, end))

    def dup_entire(self, ctx: CopyContext, folio: Folio) -> Gen[bool]:
        """One reference, one entire mapping; False when a page may be pinned."""
        if (yield from self.folio_needs_cow_for_dma(ctx.src_mm, folio)):
            for i in range(folio.nr_pages):
                if (yield load(folio.page(i).flags)) & PG_anon_exclusive:
                    return False
        yield from self.folio_get(folio)
        for i in range(folio.nr_pages):
            if (yield load(folio.page(i).flags)) & PG_anon_exclusive:
                yield bits(folio.page(i).flags, 0, PG_anon_exclusive)
        yield from self.add_entire(folio)
        return True

    def copy_folio_entries(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, nr: int
    ) -> Gen[None]:
        """Write-protect the parent's blocks and set the child's."""
        if is_cow_mapping((yield load(ctx.src_vma.vm_flags))) and pte_write(pte):
            yield from self.wrprotect_ptes(ctx.src_mm, addr, src_pte, nr)
            pte = pte_wrprotect(pte)
        yield from self.set_ptes(ctx.dst_mm, addr, dst_pte, pte_mkold(pte), nr)

    # -- zap -----------------------------------------------------------------------------

    def zap_present_ptes(
        self, tlb: MmuGather, vma: Vma, pte: int, ptent: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        """An entirely mapped folio goes whole, or is converted before part of it goes."""
        page = yield from self.vm_normal_page(ptent)
        if page is not None and pte_valid_cont(ptent):
            folio = yield from self.page_folio(page)
            entire = yield from self.entirely_mapped(folio, page, addr, pte)
            if entire and page == folio.page(0) and end - addr >= folio.nr_pages:
                tlb, full = yield from self.zap_entire(tlb, folio, pte, addr)
                return tlb, folio.nr_pages, full
            whole = addr & (self.CONT_PTES - 1) == 0 and end - addr >= self.CONT_PTES
            if entire and (whole or tlb.fullmm):  # there is no unfold that would convert
                yield from self.entire_to_pages(folio)
            if whole:
                return (yield from self.zap_block(tlb, vma, folio, page, pte, addr))
        return (yield from super().zap_present_ptes(tlb, vma, pte, ptent, addr, end))

    def zap_entire(
        self, tlb: MmuGather, folio: Folio, pte: int, addr: int
    ) -> Gen[tuple[MmuGather, bool]]:
        """Clear all blocks, one entire mapping less, one reference to the gather."""
        yield from self.clear_full_ptes(tlb.mm, addr, pte, folio.nr_pages, tlb.fullmm)
        tlb = self.tlb_remove_tlb_entries(tlb, addr, folio.nr_pages)
        tlb = tlb.charge(MM_ANONPAGES, -folio.nr_pages)
        if (yield from self.remove_entire(folio)):
            pages = yield load(folio._nr_pages_mapped)
            if 0 < pages < folio.nr_pages:
                yield from self.deferred_split_folio(folio, True)
        return (yield from self._tlb_remove_folio_pages(tlb, folio, folio.page(0), 1, False))

    def zap_block(
        self, tlb: MmuGather, vma: Vma, folio: Folio, page: Page, pte: int, addr: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        """A whole block of a folio counted page by page: cleared without unfolding."""
        n = self.CONT_PTES
        yield from self.clear_full_ptes(tlb.mm, addr, pte, n, tlb.fullmm)
        tlb = self.tlb_remove_tlb_entries(tlb, addr, n)
        member = (
            MM_ANONPAGES
            if (yield load(folio.flags)) & PG_anon
            else (yield from self.mm_counter_file(folio))
        )
        tlb = tlb.charge(member, -n)
        yield from self.folio_remove_rmap_ptes(folio, page, n, vma)
        tlb, full = yield from self._tlb_remove_folio_pages(tlb, folio, page, n, False)
        return tlb, n, full
