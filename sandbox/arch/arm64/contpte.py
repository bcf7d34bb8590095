"""The contiguous-PTE layer: sixteen entries that the TLB may hold as one.

Source: arch/arm64/mm/contpte.c (6.9, 6.12, 7.2).  Setters take entries without PTE_CONT and
decide about it; getters may return it.  Everything but the lockless getter runs under the
page-table lock of the block's table, and every loop over the block is one event per entry.
"""

from __future__ import annotations

from sandbox.arch.arm64 import pgtable
from sandbox.arch.arm64.pgtable import (
    PTE_CONT,
    PTE_SPECIAL,
    PTE_VALID,
    PTE_WRITE,
    access_flags,
    pte_advance_pfn,
    pte_dirty,
    pte_mkclean,
    pte_mknoncont,
    pte_mkold,
    pte_pfn,
    pte_valid_cont,
    pte_young,
    ptes_differ,
)
from sandbox.arch.generic import PgtableMixin, gather_young_dirty
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    cas,
    load,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)


class ContptePgtable(PgtableMixin):
    """Accessors of an arm64 kernel with CONFIG_ARM64_CONTPTE."""

    CONT_PTES = pgtable.CONT_PTES
    contpte_set_invalid = False
    """7.2 lets set_ptes() mark PROT_NONE entries CONT too; before and after, only valid ones."""
    contpte_af_noop = True
    """6.9 … 6.17.0: set_access_flags looks at the gathered entry for its early exit."""

    # -- getters ---------------------------------------------------------------------

    def pte_batch_hint(self, ptep: int, pte: int) -> int:
        """Entries left in the block when *pte* is CONT (`pte_batch_hint`, asm/pgtable.h)."""
        if not pte_valid_cont(pte):
            return 1
        return self.CONT_PTES - (ptep & (self.CONT_PTES - 1))

    def ptep_get(self, ptep: int) -> Gen[int]:
        """Read one entry; inside a block with young and dirty of all its entries."""
        pte = yield load(ptep)
        if not pte_valid_cont(pte):
            return pte
        return (yield from self.contpte_ptep_get(ptep, pte))

    def contpte_ptep_get(self, ptep: int, orig_pte: int) -> Gen[int]:
        """Gather young and dirty over the block."""
        start = ptep & -self.CONT_PTES
        for i in range(self.CONT_PTES):
            pte = yield load(start + i)
            orig_pte = gather_young_dirty(orig_pte, pte)
            if pte_dirty(orig_pte) and pte_young(orig_pte):
                break
        return orig_pte

    def ptep_get_lockless(self, ptep: int) -> Gen[int]:
        """Read one entry without the lock; starts over until the block is consistent."""
        while True:
            orig = yield load(ptep)
            if not pte_valid_cont(orig):
                return orig
            pte = yield from self.contpte_ptep_get_lockless(ptep, orig)
            if pte is not None:
                return pte

    def contpte_ptep_get_lockless(self, ptep: int, orig_pte: int) -> Gen[int | None]:
        """One gathering pass; None when an entry did not fit the block."""
        start = ptep & -self.CONT_PTES
        want = pte_mkold(pte_mkclean(orig_pte))
        for i in range(self.CONT_PTES):
            pte = yield load(start + i)
            if pte_mkold(pte_mkclean(pte)) != pte_advance_pfn(want, start + i - ptep):
                return None
            orig_pte = gather_young_dirty(orig_pte, pte)
            if pte_dirty(orig_pte) and pte_young(orig_pte):
                break
        return orig_pte

    # -- fold and unfold -------------------------------------------------------------

    def contpte_convert(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        """Repaint a block: clear it gathering young and dirty, flush, write *pte* with them."""
        n = self.CONT_PTES
        start_ptep, start_addr = ptep & -n, addr & -n
        pte = pte_advance_pfn(pte, start_ptep - ptep)
        for i in range(n):
            ptent = yield xchg(start_ptep + i, 0)
            pte = gather_young_dirty(pte, ptent)
        yield tlb_flush(mm, start_addr, start_addr + n)
        yield from self.write_ptes(start_ptep, pte, n)

    def write_ptes(self, ptep: int, pte: int, nr: int) -> Gen[None]:
        """Write *nr* descriptors as they are (`_set_ptes`)."""
        for i in range(nr):
            yield store(ptep + i, pte_advance_pfn(pte, i))

    def contpte_try_fold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[bool]:
        """After one entry was set: cheap tests, then `_contpte_try_fold`."""
        last = self.CONT_PTES - 1
        if ptep & last != last or pte_pfn(pte) & last != last:
            return False
        if pte & (PTE_VALID | PTE_CONT | PTE_SPECIAL) != PTE_VALID:
            return False
        return (yield from self._contpte_try_fold(mm, addr, ptep, pte))

    def _contpte_try_fold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[bool]:
        n = self.CONT_PTES
        page = page_of_pfn(pte_pfn(pte))
        folio = Folio((yield load(page.compound_head)))
        folio_start = addr - folio.index_of(page)
        if folio_start > addr & -n or folio_start + folio.nr_pages < (addr & -n) + n:
            return False
        start = ptep & -n
        want = pte_mkold(pte_mkclean(pte_advance_pfn(pte, start - ptep)))
        for i in range(n):
            subpte = pte_mkold(pte_mkclean((yield from self.ptep_get(start + i))))
            if subpte != pte_advance_pfn(want, i):
                return False
        yield from self.contpte_convert(mm, addr, ptep, pte | PTE_CONT)
        return True

    def contpte_try_unfold(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        """Make the block around a CONT entry plain."""
        if pte_valid_cont(pte):
            yield from self.contpte_convert(mm, addr, ptep, pte_mknoncont(pte))

    def contpte_try_unfold_partial(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[None]:
        """Unfold blocks that [addr, addr + nr) covers only partly."""
        n = self.CONT_PTES
        if addr & (n - 1) or nr < n:
            yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
        if addr + nr & (n - 1):
            last = ptep + nr - 1
            yield from self.contpte_try_unfold(mm, addr + nr - 1, last, (yield load(last)))

    # -- setters ---------------------------------------------------------------------

    def set_ptes(self, mm: Mm, addr: int, ptep: int, pte: int, nr: int) -> Gen[None]:
        """Write entries; one may complete a block, several may be born as blocks."""
        pte = pte_mknoncont(pte)
        if nr == 1:
            yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
            yield store(ptep, pte)
            yield from self.contpte_try_fold(mm, addr, ptep, pte)
        elif pte & PTE_VALID or self.contpte_set_invalid:
            yield from self.contpte_set_ptes(addr, ptep, pte, nr)
        else:
            yield from self.write_ptes(ptep, pte, nr)

    def contpte_set_ptes(self, addr: int, ptep: int, pte: int, nr: int) -> Gen[None]:
        """Cut at block boundaries; a piece that is a whole aligned block is born CONT."""
        n = self.CONT_PTES
        end = addr + nr
        while addr < end:
            piece = min((addr & -n) + n, end) - addr
            whole = piece == n and not pte_pfn(pte) & (n - 1)
            yield from self.write_ptes(ptep, pte | PTE_CONT if whole else pte, piece)
            addr, ptep, pte = addr + piece, ptep + piece, pte_advance_pfn(pte, piece)

    def pte_clear(self, mm: Mm, addr: int, ptep: int) -> Gen[None]:
        """Clear one entry, unfolding its block first."""
        yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
        yield store(ptep, 0)

    def ptep_get_and_clear(self, mm: Mm, addr: int, ptep: int) -> Gen[int]:
        """Clear one entry and return it, unfolding its block first."""
        yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
        return (yield xchg(ptep, 0))

    def get_and_clear_full_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, full: bool
    ) -> Gen[int]:
        """Clear entries: edges unfolded, whole blocks cleared entry by entry while CONT."""
        if nr == 1:
            return (yield from self.ptep_get_and_clear(mm, addr, ptep))
        yield from self.contpte_try_unfold_partial(mm, addr, ptep, nr)
        pte = yield xchg(ptep, 0)
        for i in range(1, nr):
            pte = gather_young_dirty(pte, (yield xchg(ptep + i, 0)))
        return pte

    def clear_full_ptes(self, mm: Mm, addr: int, ptep: int, nr: int, full: bool) -> Gen[None]:
        """As `get_and_clear_full_ptes`, the bits thrown away."""
        if nr == 1:
            yield from self.pte_clear_one(mm, addr, ptep)
            return
        yield from self.contpte_try_unfold_partial(mm, addr, ptep, nr)
        for i in range(nr):
            yield xchg(ptep + i, 0)

    def pte_clear_one(self, mm: Mm, addr: int, ptep: int) -> Gen[None]:
        """Clear a single entry of a range operation."""
        yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
        yield xchg(ptep, 0)

    def wrprotect_ptes(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[None]:
        """Write-protect entries; whole blocks keep CONT, edges are unfolded."""
        if nr == 1:
            yield from self.contpte_try_unfold(mm, addr, ptep, (yield load(ptep)))
            yield from self.ptep_set_wrprotect(ptep)
            return
        yield from self.contpte_try_unfold_partial(mm, addr, ptep, nr)
        for i in range(nr):
            yield from self.ptep_set_wrprotect(ptep + i)

    def ptep_set_access_flags(
        self, mm: Mm, addr: int, ptep: int, entry: int, dirty: bool
    ) -> Gen[bool]:
        """Add young/dirty to the whole block; a changed write bit unfolds it first."""
        entry = pte_mknoncont(entry)
        orig = yield load(ptep)
        if not pte_valid_cont(orig):
            return (yield from super().ptep_set_access_flags(mm, addr, ptep, entry, dirty))
        return (yield from self.contpte_ptep_set_access_flags(mm, addr, ptep, entry, orig, dirty))

    def contpte_ptep_set_access_flags(
        self, mm: Mm, addr: int, ptep: int, entry: int, orig: int, dirty: bool
    ) -> Gen[bool]:
        """The CONT case of `ptep_set_access_flags`."""
        n = self.CONT_PTES
        if (yield from self.contpte_access_flags_current(ptep, entry, orig)):
            return False
        if not ptes_differ(orig, entry) & PTE_WRITE:
            start, first = ptep & -n, addr & -n
            for i in range(n):
                pte = yield load(start + i)
                while not (yield cas(start + i, pte, access_flags(pte, entry))):
                    pte = yield load(start + i)
            if dirty:
                yield tlb_flush(mm, first, first + n)
            return True
        yield from self.contpte_try_unfold(
            mm, addr, ptep, (yield from self.contpte_ptep_get(ptep, orig))
        )
        return (yield from super().ptep_set_access_flags(mm, addr, ptep, entry, dirty))

    def contpte_access_flags_current(self, ptep: int, entry: int, orig: int) -> Gen[bool]:
        """Is there nothing to do?  By the gathered entry, or (fixed) by every raw descriptor."""
        if self.contpte_af_noop:
            pte = yield from self.contpte_ptep_get(ptep, orig)
            return pte_mknoncont(pte) == entry
        start = ptep & -self.CONT_PTES
        for i in range(self.CONT_PTES):
            pte = yield load(start + i)
            if access_flags(pte, entry) != pte:
                return False
        return True

    def ptep_test_and_clear_young(self, mm: Mm, addr: int, ptep: int) -> Gen[bool]:
        """Clear the access flag of the whole block."""
        if not pte_valid_cont((yield load(ptep))):
            return (yield from super().ptep_test_and_clear_young(mm, addr, ptep))
        start, young = ptep & -self.CONT_PTES, False
        for i in range(self.CONT_PTES):
            if (yield from super().ptep_test_and_clear_young(mm, addr, start + i)):
                young = True
        return young

    def clear_young_dirty_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, young: bool, dirty: bool
    ) -> Gen[None]:
        """Clear young/dirty, widened to whole blocks at both ends."""
        n = self.CONT_PTES
        end = ptep + nr
        if pte_valid_cont((yield load(end - 1))):
            end = -(-end // n) * n
        if pte_valid_cont((yield load(ptep))):
            ptep &= -n
        yield from super().clear_young_dirty_ptes(mm, addr, ptep, end - ptep, young, dirty)

    def lab_contpte(self, mm: Mm, start: int, end: int, fold: bool) -> Gen[None]:
        """Laboratory: fold or unfold every block that [start, end) touches, each under its lock."""
        n = self.CONT_PTES
        for block in range(start & -n, end, n):
            pmd = yield from self.pmd_offset(mm, block)
            ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, block)
            at = n - 1 if fold else 0
            pte = yield load(ptep + at)
            if fold:
                yield from self.contpte_try_fold(mm, block + at, ptep + at, pte)
            else:
                yield from self.contpte_try_unfold(mm, block + at, ptep + at, pte)
            yield unlock(ptl)
