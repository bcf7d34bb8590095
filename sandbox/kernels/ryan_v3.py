"""Ryan Roberts' answer to the review: contpte v3 01/15, 4 Dec 2023.

<20231204105440.61448-2-ryan.roberts@arm.com>; first sent as a diff on 16 Nov 2023,
<e53b7fe9-d2f7-4e4b-9313-3ea015128d74@arm.com>.  All references are taken before the loop and those
not needed are given back; write and dirty may differ within a batch.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_CONT, PTE_WRITE
from sandbox.kernels.ryan_v2 import RyanV2
from sandbox.memory import Folio, Gen, Page
from sandbox.mm.batch import BatchZapMixin
from sandbox.mm.memory.fork import CopyContext


class RyanV3(BatchZapMixin, RyanV2):
    """contpte v3: references first; zap clears whole batches."""

    id = "ryan-v3"
    title = "contpte v3 (4 Dec 2023)"
    summary = "As v2, but references come first; a pin that stops the batch gives the rest back."

    def _pte_batch_clear_ignored(self, pte: int, dirty: bool, write: bool) -> int:
        """Neighbours are told by their frame numbers, so a block's contiguous bit ends nothing."""
        return super()._pte_batch_clear_ignored(pte, dirty, write) & ~PTE_CONT

    def dup_batch(
        self, ctx: CopyContext, folio: Folio, page: Page, nr: int
    ) -> Gen[tuple[CopyContext, int]]:
        """References for the whole batch, then the loop, then the rest given back."""
        yield from self.folio_ref_add(folio, nr)
        ctx, done = yield from self.dup_pages(ctx, folio, page, nr)
        if done < nr:
            yield from self.folio_put(folio, nr - done)
        return ctx, done

    def copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int]]:
        """A batch whose entries may differ in write and dirty; what any has, all get."""
        page = yield from self.vm_normal_page(pte)
        if page is None:
            yield from self.copy_one_entry(ctx, dst_pte, src_pte, pte, addr)
            return ctx, 1
        folio = yield from self.page_folio(page)
        batch = yield from self.folio_pte_batch(folio, src_pte, pte, end - addr)
        ctx, nr = yield from self.dup_batch(ctx, folio, page, batch.nr)
        if nr == 0:
            return (yield from self.copy_present_page(ctx, dst_pte, folio, page, pte, addr))
        if batch.any_writable:
            pte |= PTE_WRITE
        yield from self.copy_batch_entries(ctx, dst_pte, src_pte, pte, addr, nr, batch.any_dirty)
        return ctx, nr
