"""Kernels with one mistake each, for the rules to find."""

from __future__ import annotations

from typing import ClassVar

from sandbox.arch.arm64.pgtable import PTE_CONT
from sandbox.kernels.barry_entire import BarryEntire
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.kernels.linux_6_12 import Linux612
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    note,
    page_of_pfn,
    store,
    try_add,
)  # fmt: skip
from sandbox.mm.flags import MM_ID_SHARED
from sandbox.mm.gup import Pages
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.fork import CopyContext
from sandbox.mm.memory.zap import MmuGather


class PutsTwice(Linux66):
    """Drops one reference more when it frees."""

    def free_pages_prepare(self, folio: Folio) -> Gen[None]:
        yield add(folio._refcount, -1)
        yield from super().free_pages_prepare(folio)


class RefsTails(Linux69):
    """GUP takes its reference on the page it found, not on the head."""

    def try_grab_folio_fast(self, page: Page, refs: int, flags: int) -> Gen[Folio | None]:
        yield add(page._refcount, 1)
        return (yield from self.page_folio(page))


class ForgetsRmap(Linux69):
    """Zap does not lower mapcounts."""

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        yield load(folio.flags)


class RemovesRmapTwice(Linux69):
    """Zap lowers mapcounts twice."""

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        yield from super().folio_remove_rmap_ptes(folio, page, nr, vma)
        for i in range(nr):
            yield add(page._mapcount + 16 * i, -1)


class UnmapsTheNext(Linux69):
    """Zap lowers the mapcount of the page after the one it unmaps."""

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        yield from super().folio_remove_rmap_ptes(folio, Page(page + 16), nr, vma)


class MapsCacheFirst(Linux66):
    """A fault on a cached page does not take the lookup reference."""

    def folio_try_get(self, folio: Folio) -> Gen[bool]:
        yield load(folio._refcount)
        return True


class LeaksUnpin(Linux69):
    """Unpin lowers the pin count only."""

    def gup_put_folio(self, folio: Folio, refs: int, flags: int) -> Gen[None]:
        yield add(folio._pincount, -refs)


class ForgetsChild(Linux69):
    """Fork counts, but leaves the child's entries empty."""

    def _copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, nr: int
    ) -> Gen[None]:
        yield from self.wrprotect_ptes(ctx.src_mm, addr, src_pte, nr)


class UnpinsLast(Linux69):
    """Unpin drops the reference before the pin count."""

    def gup_put_folio(self, folio: Folio, refs: int, flags: int) -> Gen[None]:
        yield from self.folio_put(folio, refs)
        yield add(folio._pincount, -refs)


class UnpinsTooMuch(Linux66):
    """Unpin of a small folio gives back two pins."""

    def gup_put_folio(self, folio: Folio, refs: int, flags: int) -> Gen[None]:
        yield from super().gup_put_folio(folio, 2 * refs, flags)


class TotalFirst(Linux612):
    """Fork raises the large mapcount before the pages."""

    def folio_try_dup_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        yield from self.folio_add_large_mapcount(folio, nr, dst_mm)
        for i in range(nr):
            yield from self.dup_anon_page(folio, Page(page + 16 * i))
        return True


class ForgetsPagesMapped(Linux69):
    """A fresh folio's _nr_pages_mapped stays 0."""

    def set_nr_pages_mapped(self, folio: Folio, value: int) -> Gen[None]:
        yield load(folio._nr_pages_mapped)


class StrictBarry(BarryEntire):
    """The proposal, held to upstream's meaning of an entire mapping."""

    rules_off: ClassVar[dict[str, str]] = {}


class GathersTooMuch(Linux69):
    """The gather gets one page more than was unmapped."""

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
        return (yield from self._tlb_remove_folio_pages(tlb, folio, page, nr + 1, False))


class CountsZeroPage(Linux66):
    """Takes the zero page for a normal one."""

    def vm_normal_page(self, pte: int) -> Gen[Page | None]:
        page = page_of_pfn(pte >> 16)
        yield load(page.flags)
        return page


class WritesUnasked(Linux66):
    """mprotect makes every entry writable."""

    def can_change_pte_writable(self, vma: Vma, pte: int) -> Gen[bool]:
        yield load(vma.vm_flags)
        return True


class ReusesAlways(Linux66):
    """A write fault never copies."""

    def wp_can_reuse_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        yield load(folio._refcount)
        return True


class SharesPinned(Linux66):
    """Fork does not ask for pins."""

    def folio_needs_cow_for_dma(self, mm: Mm, folio: Folio) -> Gen[bool]:
        yield load(mm.flags)
        return False


class NoSequence(Linux66):
    """Fork does not raise write_protect_seq."""

    def copy_page_range(self, dst_vma: Vma, src_vma: Vma) -> Gen[int]:
        src_mm, dst_mm = Mm((yield load(src_vma.vm_mm))), Mm((yield load(dst_vma.vm_mm)))
        addr, end = (yield load(src_vma.vm_start)), (yield load(src_vma.vm_end))
        src_pmd = yield from self.pmd_offset(src_mm, addr)
        if src_pmd:
            ctx = CopyContext(dst_mm, src_mm, dst_vma, src_vma)
            yield from self.copy_pmd(ctx, src_pmd, (yield load(src_pmd)), addr, end)
        return 0


class PinsDuringFork(Linux66):
    """GUP-fast does not look at write_protect_seq."""

    def lockless_pages_from_mm(self, mm: Mm, start: int, end: int, flags: int) -> Gen[Pages]:
        pages: list[Page] = []
        while start + len(pages) < end:
            taken = yield from self.gup_fast_pmd_range(mm, start + len(pages), end, flags)
            if not taken:
                break
            pages += taken
        return tuple(pages)


class ForgetsHasPinned(Linux66):
    """Pins do not mark the mm."""

    def gup_fast_fallback(self, mm: Mm, start: int, nr: int, flags: int) -> Gen[Pages]:
        return (yield from self.lockless_pages_from_mm(mm, start, start + nr, flags))


class ForgetsRss(Linux66):
    """Fork and zap do not add their rss to the mm."""

    def add_mm_rss_vec(self, mm: Mm, rss: object) -> Gen[None]:
        yield load(mm.flags)


class NeverUnfolds(Linux69):
    """Entries of a block are changed one by one."""

    def contpte_try_unfold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        yield load(ptep)


class AlwaysCont(Linux69):
    """Every batch is born CONT."""

    def contpte_set_ptes(self, addr: int, ptep: int, pte: int, nr: int) -> Gen[None]:
        yield from self.write_ptes(ptep, pte | PTE_CONT, nr)


class NeverShared(Linux615):
    """The shared bit is never set."""

    def folio_add_return_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        total = yield from super().folio_add_return_large_mapcount(folio, diff, mm)
        yield bits(folio._mm_id(1), 0, MM_ID_SHARED)
        return total


class ForgetsSlot(Linux615):
    """Unmapping lowers the total, not the slot."""

    def folio_sub_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        yield from self.folio_lock_large_mapcount(folio)
        new: int = (yield load(folio._large_mapcount)) - diff
        yield store(folio._large_mapcount, new)
        yield from self.folio_unlock_large_mapcount(folio)
        return new + 1


class StaysShared(Linux615):
    """Unmapping sets the shared bit."""

    def folio_sub_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        left = yield from super().folio_sub_large_mapcount(folio, diff, mm)
        yield bits(folio._mm_id(1), MM_ID_SHARED)
        return left


class ReusesLarge(Linux615):
    """A large folio is reused whoever holds it."""

    def _wp_can_reuse_large_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        yield note("reuse", folio, vma)
        return True


class QueuesSmall(Linux69):
    """Order-1 folios, and no look at the order before queueing for a split."""

    def alloc_anon_folio(self, vmf: VmFault) -> Gen[Folio]:
        return (yield from self.vma_alloc_folio(1))

    def deferred_split_folio(self, folio: Folio, partially: bool) -> Gen[None]:
        yield store(folio._deferred_list, 1)


class MovesByCopy(Linux66):
    """mremap leaves the old entries."""

    def get_and_clear_full_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, full: bool
    ) -> Gen[int]:
        return int((yield load(ptep)))


class RefsFree(Linux66):
    """A plain get on a folio that was freed."""

    def free_pages_prepare(self, folio: Folio) -> Gen[None]:
        yield from super().free_pages_prepare(folio)
        yield try_add(folio._refcount, 1)  # refused, and rightly so
        yield add(folio._refcount, 1)
