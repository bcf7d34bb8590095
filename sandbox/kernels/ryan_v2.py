"""Ryan Roberts, "[PATCH v2 01/14] mm: Batch-copy PTE ranges during fork()", 15 Nov 2023.

<20231115163018.1303287-2-ryan.roberts@arm.com>.  The batch raises every page's mapcount first and
takes the references for all of them last.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_CONT,
    PTE_UFFD_WP,
    pte_advance_pfn,
    pte_dirty,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_write,
    pte_wrprotect,
)
from sandbox.kernels.small_thp import SmallThp67
from sandbox.memory import Folio, Gen, Page, load
from sandbox.mm.flags import MM_ANONPAGES, VM_SHARED, PG_anon, is_cow_mapping
from sandbox.mm.memory.fork import CopyContext


class RyanV2(SmallThp67):
    """contpte v2 01/14 as posted."""

    id = "ryan-v2"
    title = "contpte v2 (15 Nov 2023)"
    summary = (
        "Fork copies batches of equal permissions: mapcounts page by page, then all references."
    )

    def folio_nr_pages_cont_mapped(
        self, folio: Folio, page: Page, src_pte: int, pte: int, max_nr: int
    ) -> Gen[tuple[int, bool]]:
        """Consecutive entries equal but for young and dirty, and whether any is dirty.

        As posted, each entry is cleaned before its dirty bit is read, so only the first counts.
        """
        max_nr = min(max_nr, folio.nr_pages - folio.index_of(page))
        any_dirty = pte_dirty(pte)
        expected = pte_mkold(pte_mkclean(pte)) & ~PTE_CONT
        nr = 1
        while nr < max_nr:
            entry = pte_mkold(pte_mkclean((yield from self.ptep_get(src_pte + nr)))) & ~PTE_CONT
            if entry != pte_advance_pfn(expected, nr):
                break
            any_dirty = any_dirty or pte_dirty(entry)
            nr += 1
        return nr, any_dirty

    def copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Copy a batch; entries done, or -EAGAIN when the first page must be copied."""
        page = yield from self.vm_normal_page(pte)
        if page is None:
            yield from self.copy_one_entry(ctx, dst_pte, src_pte, pte, addr)
            return ctx, 1
        folio = yield from self.page_folio(page)
        nr, any_dirty = yield from self.folio_nr_pages_cont_mapped(
            folio, page, src_pte, pte, end - addr
        )
        ctx, nr = yield from self.dup_batch(ctx, folio, page, nr)
        if nr == 0:
            return (yield from self.copy_present_page(ctx, dst_pte, folio, page, pte, addr))
        yield from self.copy_batch_entries(ctx, dst_pte, src_pte, pte, addr, nr, any_dirty)
        return ctx, nr

    def dup_batch(
        self, ctx: CopyContext, folio: Folio, page: Page, nr: int
    ) -> Gen[tuple[CopyContext, int]]:
        """The loop of the patch: duplicate until a page may be pinned, then take the references."""
        ctx, done = yield from self.dup_pages(ctx, folio, page, nr)
        if done:
            yield from self.folio_ref_add(folio, done)
        return ctx, done

    def dup_pages(
        self, ctx: CopyContext, folio: Folio, page: Page, nr: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Duplicate page by page; how many could be."""
        anon = (yield load(folio.flags)) & PG_anon
        member = MM_ANONPAGES if anon else (yield from self.mm_counter_file(folio))
        for i in range(nr):
            p = Page(page + 16 * i)
            if anon:
                if not (
                    yield from self.folio_try_dup_anon_rmap_pte(folio, p, ctx.dst_mm, ctx.src_vma)
                ):
                    return ctx, i
            else:
                yield from self.folio_dup_file_rmap_ptes(folio, p, 1, ctx.dst_mm)
            ctx = ctx.charge(member, 1)
        return ctx, nr

    def copy_batch_entries(
        self,
        ctx: CopyContext,
        dst_pte: int,
        src_pte: int,
        pte: int,
        addr: int,
        nr: int,
        any_dirty: bool,
    ) -> Gen[None]:
        """Write-protect the parent's entries, fill the child's with the first one's attributes."""
        vm_flags = yield load(ctx.src_vma.vm_flags)
        if is_cow_mapping(vm_flags) and pte_write(pte):
            yield from self.wrprotect_ptes(ctx.src_mm, addr, src_pte, nr)
            pte = pte_wrprotect(pte)
        pte = pte_mkclean(pte_mkold(pte)) & ~PTE_UFFD_WP
        if not vm_flags & VM_SHARED and any_dirty:
            pte = pte_mkdirty(pte)
        yield from self.set_ptes(ctx.dst_mm, addr, dst_pte, pte, nr)
