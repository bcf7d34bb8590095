"""Batched duplication, fork copy and zap of large folios, as 6.8 and 6.9 brought them.

Source: include/linux/rmap.h (6.8), mm/memory.c copy_present_ptes, zap_present_folio_ptes (6.9).
Used by 6.9 and by the proposals that came before it with the same idea.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.arch.arm64.pgtable import pte_mkwrite
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Mm, Page, Vma, add, bits, load
from sandbox.mm.flags import EAGAIN, MM_ANONPAGES, VM_SHARED, PG_anon, PG_anon_exclusive
from sandbox.mm.memory.fork import CopyContext, CopyMixin
from sandbox.mm.memory.zap import MmuGather
from sandbox.mm.swap import PAGEVEC_SIZE


class BatchDupMixin(CopyMixin):
    """fork in batches: references first, a batch whole or not at all."""

    has_page_mapcount = True

    def folio_try_dup_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        """Duplicate *nr* anon mappings, or none: one pin test, then every page's exclusivity."""
        src_mm = Mm((yield load(src_vma.vm_mm)))
        if (yield from self.folio_needs_cow_for_dma(src_mm, folio)):
            for i in range(nr):
                if (yield load(page.flags + 16 * i)) & PG_anon_exclusive:
                    return False
        for i in range(nr):
            yield from self.dup_anon_page(folio, Page(page + 16 * i))
        if folio.large:
            yield from self.folio_add_large_mapcount(folio, nr, dst_mm)
        return True

    def dup_anon_page(self, folio: Folio, page: Page) -> Gen[None]:
        """One page of a batch: no longer exclusive, one mapping more."""
        if (yield load(page.flags)) & PG_anon_exclusive:
            yield bits(page.flags, 0, PG_anon_exclusive)
        if self.has_page_mapcount or not folio.large:
            yield add(page._mapcount, 1)

    def folio_try_dup_anon_rmap_pte(
        self, folio: Folio, page: Page, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        """A batch of one."""
        return (yield from self.folio_try_dup_anon_rmap_ptes(folio, page, 1, dst_mm, src_vma))

    def folio_add_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[None]:
        """Raise _large_mapcount (6.10 and later; nothing here)."""
        return
        yield  # pragma: no cover - makes this a generator

    def copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Copy a batch of a large folio, or one entry; entries done, or -EAGAIN."""
        page = yield from self.vm_normal_page(pte)
        folio = (yield from self.page_folio(page)) if page is not None else None
        if (
            page is None
            or folio is None
            or ctx.prealloc is not None
            or not folio.large
            or end - addr == 1
        ):
            return (yield from super().copy_present_ptes(ctx, dst_pte, src_pte, pte, addr, end))
        shared = bool((yield load(ctx.src_vma.vm_flags)) & VM_SHARED)
        batch = yield from self.folio_pte_batch(folio, src_pte, pte, end - addr, dirty=not shared)
        yield from self.folio_ref_add(folio, batch.nr)
        if (yield load(folio.flags)) & PG_anon:
            if not (
                yield from self.folio_try_dup_anon_rmap_ptes(
                    folio, page, batch.nr, ctx.dst_mm, ctx.src_vma
                )
            ):
                yield from self.folio_put(folio, batch.nr)
                return ctx, -EAGAIN
            member = MM_ANONPAGES
        else:
            yield from self.folio_dup_file_rmap_ptes(folio, page, batch.nr, ctx.dst_mm)
            member = yield from self.mm_counter_file(folio)
        ctx = ctx.charge(member, batch.nr)
        if batch.any_writable:
            pte = pte_mkwrite(pte)
        yield from self._copy_present_ptes(ctx, dst_pte, src_pte, pte, addr, batch.nr)
        return ctx, batch.nr


class BatchZapMixin(KernelPart):
    """zap in batches: one rmap call and one gather item per batch."""

    def zap_present_ptes(
        self, tlb: MmuGather, vma: Vma, pte: int, ptent: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        """A batch of a large folio, or one entry."""
        page = yield from self.vm_normal_page(ptent)
        if page is None:
            yield from self.get_and_clear_full_ptes(tlb.mm, addr, pte, 1, tlb.fullmm)
            yield from self.zap_install_uffd_wp_if_needed(tlb, vma, addr, pte, 1, ptent)
            return self.tlb_remove_tlb_entries(tlb, addr, 1), 1, False
        folio = yield from self.page_folio(page)
        nr = 1
        if folio.large and end - addr != 1:
            nr = (yield from self.folio_pte_batch(folio, pte, ptent, end - addr)).nr
        tlb, full = yield from self.zap_present_folio_ptes(
            tlb, vma, folio, page, pte, ptent, nr, addr
        )
        return tlb, nr, full

    def zap_present_folio_ptes(
        self,
        tlb: MmuGather,
        vma: Vma,
        folio: Folio,
        page: Page,
        pte: int,
        ptent: int,
        nr: int,
        addr: int,
    ) -> Gen[tuple[MmuGather, bool]]:
        """Clear, rss, rmap, gather; True when the gather is full."""
        delay = False
        if (yield load(folio.flags)) & PG_anon:
            yield from self.clear_full_ptes(tlb.mm, addr, pte, nr, tlb.fullmm)
        else:
            ptent = yield from self.get_and_clear_full_ptes(tlb.mm, addr, pte, nr, tlb.fullmm)
            tlb, delay = yield from self.zap_file_bits(tlb, folio, ptent)
        tlb = tlb.charge((yield from self.mm_counter(folio)), -nr)
        tlb = self.tlb_remove_tlb_entries(tlb, addr, nr)
        yield from self.zap_install_uffd_wp_if_needed(tlb, vma, addr, pte, nr, ptent)
        if not delay:
            yield from self.folio_remove_rmap_ptes(folio, page, nr, vma)
        return (yield from self._tlb_remove_folio_pages(tlb, folio, page, nr, delay))


class BatchFreeMixin(KernelPart):
    """Folios whose last references drop together are freed together (mm/swap.c, 6.9)."""

    def free_pages_and_swap_cache(self, pages: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop references that a gather holds, a batch of folios at a time (mm/swap_state.c)."""
        for first in range(0, len(pages), PAGEVEC_SIZE):
            batch = pages[first : first + PAGEVEC_SIZE]
            for folio, _ in batch:
                yield from self.free_swap_cache(folio)
            yield from self.folios_put_refs(batch)

    def folios_put(self, folios: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop the references of a batch."""
        yield from self.folios_put_refs(folios)

    def folios_put_refs(self, folios: Sequence[tuple[Folio, int]]) -> Gen[None]:
        """Drop references of folios, take those that are free off their lists, then free them."""
        unref: tuple[Folio, ...] = ()
        for folio, nr in folios:
            if (yield add(folio._refcount, -nr)) != 0:
                continue
            if folio.large:
                yield from self.folio_unqueue_deferred_split(folio)
            yield from self.page_cache_release(folio)
            unref = (*unref, folio)
        yield from self.free_unref_folios(unref)

    def reclaim_free(self, folio: Folio, free: tuple[Folio, ...]) -> Gen[tuple[Folio, ...]]:
        """Add a frozen folio to the batch of those that are freed together."""
        if folio.large:
            yield from self.folio_unqueue_deferred_split(folio)
        free = (*free, folio)
        if len(free) < PAGEVEC_SIZE:
            return free
        yield from self.free_unref_folios(free)
        return ()
