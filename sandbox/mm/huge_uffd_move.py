"""UFFDIO_MOVE of a leaf (mm/huge_memory.c: move_pages_huge_pmd, 6.12)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_HUGE,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    pfn_pte,
    pte_mkdirty,
    pte_mkwrite,
    pte_pfn,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    bits,
    load,
    lock,
    lock_bit,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    EAGAIN,
    EBUSY,
    PG_anon_exclusive,
    PG_locked,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.mm.userfaultfd_move import Move


class UffdMoveHugeMixin(KernelPart):
    """Whole leaves that userfaultfd moves."""

    def move_leaf(self, move: Move) -> Gen[int]:
        """Move a leaf whole to an empty, aligned place (512), or split it and look again."""
        ptl = self.pmd_lockptr(move.src_pmd, move.src)
        yield lock(ptl)
        pmdval = yield load(move.src_pmd)
        if not pmd_is_leaf(pmdval):  # pmd_trans_huge_lock()
            yield unlock(ptl)
            return -EAGAIN
        page = page_of_pfn(pte_pfn(pmdval))
        movable = pmdval & PTE_SPECIAL or (yield load(page.flags)) & PG_anon_exclusive
        if not movable:
            yield unlock(ptl)
            return -EBUSY
        aligned = not (move.src | move.dst) & HPAGE_PMD_NR - 1
        if not aligned or move.left < HPAGE_PMD_NR or (yield load(move.dst_pmd)):
            yield unlock(ptl)
            yield from self.split_huge_pmd(move.src_vma, move.src_pmd, move.src)
            return -EAGAIN
        return (yield from self.move_pages_huge_pmd(move, ptl, pmdval))

    def move_pages_huge_pmd(self, move: Move, src_ptl: int, pmdval: int) -> Gen[int]:
        """Move a leaf under both locks; the caller's lock of its table goes (mm/huge_memory.c)."""
        folio = None
        if not pmdval & PTE_SPECIAL:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(pmdval)))
            yield from self.folio_get(folio)
        yield unlock(src_ptl)
        if folio is not None:
            yield lock_bit(folio.flags, PG_locked)
        ptls = sorted({src_ptl, self.pmd_lockptr(move.dst_pmd, move.dst)})
        for ptl in ptls:
            yield lock(ptl)
        err = HPAGE_PMD_NR
        if (yield load(move.src_pmd)) != pmdval or (yield load(move.dst_pmd)):
            err = -EAGAIN
        elif folio is not None and not (yield from self.may_move(folio, folio.page(0))):
            err = -EBUSY
        else:
            err = yield from self.move_leaf_locked(move, folio)
        for ptl in reversed(ptls):
            yield unlock(ptl)
        if folio is not None:
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
        return err

    def move_leaf_locked(self, move: Move, folio: Folio | None) -> Gen[int]:
        """The part of move_pages_huge_pmd() that changes something."""
        pmdval = yield xchg(move.src_pmd, 0)
        yield tlb_flush(move.mm, move.src, move.src + HPAGE_PMD_NR)
        entry = pmdval & ~PTE_UFFD_WP
        if folio is not None:
            if (yield from self.folio_maybe_dma_pinned(folio)):
                yield store(move.src_pmd, pmdval)
                return -EBUSY
            yield from self.place_anon_folio(folio, move.dst_vma, move.dst)
            prot = yield from self.vm_page_prot(move.dst_vma)
            entry = pte_mkwrite(pte_mkdirty(pfn_pte(folio.pfn, prot) | PTE_HUGE))
        yield store(move.dst_pmd, entry)
        return HPAGE_PMD_NR
