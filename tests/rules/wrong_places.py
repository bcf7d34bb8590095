"""Kernels with one mistake each, for the rules on places and contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.kernels.linux_6_6 import Linux66
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.kernels.linux_7_3 import Linux73
from sandbox.memory import (
    COPY,
    STORE,
    AnonVma,
    Folio,
    Gen,
    Mapping,
    Vma,
    bits,
    load,
    store,
)
from sandbox.mm.flags import PG_anon
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.fork import CopyContext
from sandbox.mm.memory.zap import MmuGather


def without(gen: Gen[Any], op: int) -> Gen[Any]:
    """A kernel function whose events of one operation only look at their word."""
    answer = None
    while True:
        try:
            event = gen.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = yield (load(event[1]) if event[0] == op else event)


class LeavesEntries(Linux66):
    """munmap forgets the page tables."""

    def unmap_vmas(
        self, tlb: MmuGather, vmas: Sequence[Vma], start: int, end: int
    ) -> Gen[MmuGather]:
        yield load(tlb.mm.mm_mt)
        return tlb


class LeavesTheLast(Linux66):
    """munmap and exit zap one page less of each VMA."""

    def unmap_page_range(self, tlb: MmuGather, vma: Vma, addr: int, end: int) -> Gen[MmuGather]:
        return (yield from super().unmap_page_range(tlb, vma, addr, end - 1))


class MapsBeside(Linux66):
    """A fault maps one page more than it was asked for."""

    def map_anon_folio(self, vmf: VmFault, folio: Folio, addr: int) -> Gen[None]:
        yield from super().map_anon_folio(vmf, folio, addr)
        yield store(vmf.pte + 1, 1 << 14)


class KeepsZeroEntries(Linux69):
    """Zapping does not clear entries of the zero page."""

    def zap_present_ptes(
        self, tlb: MmuGather, vma: Vma, pte: int, ptent: int, addr: int, end: int
    ) -> Gen[tuple[MmuGather, int, bool]]:
        if (yield from self.vm_normal_page(ptent)) is None:
            return self.tlb_remove_tlb_entries(tlb, addr, 1), 1, False
        return (yield from super().zap_present_ptes(tlb, vma, pte, ptent, addr, end))


class LosesSlots(Linux66):
    """A folio for a hole of a file does not get into the cache."""

    def add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[int]:
        ret = yield from super().add_to_page_cache(folio, mapping, index)
        yield store((yield load(mapping.i_pages)) + index, 0)
        return ret


class LeavesTheFileFirst(Linux66):
    """Truncation takes the file from the folio before it takes the folio from the file."""

    def filemap_remove_folio(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        yield store(folio.mapping, 0)
        yield from super().filemap_remove_folio(mapping, folio)


class NumbersFromZero(Linux66):
    """Anonymous pages are numbered from the start of their VMA."""

    def _folio_set_anon(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        if not (yield load(folio.mapping)):
            yield bits(folio.flags, PG_anon)
            yield store(folio.mapping, (yield load(vma.anon_vma)))
            yield store(folio.index, addr - (yield load(vma.vm_start)))


class NotInTheTree(Linux66):
    """fork does not hang the child's VMA on the anon_vmas of its parent."""

    def anon_vma_chain_link(self, vma: Vma, anon_vma: AnonVma) -> Gen[None]:
        yield load(anon_vma.rb_root)


class NumbersWithTheFile(Linux73):
    """The private pages of a file are numbered as up to 7.2, rmap looks as in 7.3."""

    def _folio_set_anon(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        if not (yield load(folio.mapping)):
            yield bits(folio.flags, PG_anon)
            yield store(folio.mapping, (yield load(vma.anon_vma)))
            yield store(folio.index, (yield from self.linear_page_index(vma, addr)))


class ForgetsSwapEntries(Linux66):
    """fork counts the slots of swap entries, not the entries."""

    def copy_swap_entry(
        self, ctx: CopyContext, src_pte: int, addr: int, pte: int
    ) -> Gen[tuple[CopyContext, int]]:
        _, pte = yield from super().copy_swap_entry(ctx, src_pte, addr, pte)
        return ctx, pte


class CopiesNothing(Linux66):
    """Copy on write does everything but copy."""

    def wp_page_copy(self, vmf: VmFault, old_folio: Folio | None) -> Gen[int]:
        ret: int = yield from without(super().wp_page_copy(vmf, old_folio), COPY)
        return ret


class MigratesNothing(Linux66):
    """Migration does everything but copy."""

    def madvise_softoffline(self, mm: Any, start: int, end: int) -> Gen[int]:  # noqa: ANN401
        ret: int = yield from without(super().madvise_softoffline(mm, start, end), COPY)
        return ret


class NotZeroed(Linux66):
    """A fresh page has what was in it before."""

    def alloc_anon_folio(self, vmf: VmFault) -> Gen[Folio | None]:
        folio = yield from super().alloc_anon_folio(vmf)
        if folio is not None:
            yield store(folio.page(0).data, 77)
        return folio


class CopiesTheNext(Linux66):
    """A private write to a file's page starts from what the page after it has."""

    def linear_page_index(self, vma: Vma, addr: int) -> Gen[int]:
        return (yield from super().linear_page_index(vma, addr)) + 1


class WritesTheFile(Linux66):
    """A write to a private mapping of a file is taken for one to a shared one."""

    def do_cow_fault(self, vmf: VmFault) -> Gen[int]:
        return (yield from self.do_shared_fault(vmf))


class SwapsPinned(Linux66):
    """Reclaim does not ask for pins."""

    def folio_maybe_dma_pinned(self, folio: Folio) -> Gen[bool]:
        yield load(folio._refcount)
        return False


class NeverWrites(Linux66):
    """Reclaim drops a dirty page and does not write it to its slot."""

    def pageout(self, folio: Folio) -> Gen[Any]:
        return (yield from without(super().pageout(folio), STORE))


class ReadsTheFirst(Linux66):
    """What is read from swap is always the first slot."""

    def swap_read_folio(self, folio: Folio, slot: int) -> Gen[None]:
        yield from super().swap_read_folio(folio, 0)


class WritesOneSlot(Linux66):
    """Every page is written to the first slot of sixteen."""

    def pageout(self, folio: Folio) -> Gen[Any]:
        private = yield load(folio.private)
        yield store(folio.private, (private - 1 & -16) + 1)
        kept: Any = yield from super().pageout(folio)
        yield store(folio.private, private)
        return kept
