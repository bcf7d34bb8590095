"""Page-table helpers without a contiguous layer: the generic and plain arm64 versions.

Source: include/linux/pgtable.h and arch/arm64/include/asm/pgtable.h.  A `ptep` is the
address of an entry's word, `addr` a virtual page number.  All but the lockless getter
need the page-table lock.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_AF,
    PTE_VALID,
    access_flags,
    pte_advance_pfn,
    pte_dirty,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_mkyoung,
    pte_wrprotect,
    pte_young,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mm, cas, load, store, tlb_flush, xchg


class PgtableMixin(KernelPart):
    """The page-table accessors core mm calls; `ContptePgtable` overrides them."""

    hw_afdbm = False
    """True for a CPU that sets the access flag and dirty state itself."""

    def ptep_get(self, ptep: int) -> Gen[int]:
        """Read one entry under the page-table lock."""
        return (yield load(ptep))

    def ptep_get_lockless(self, ptep: int) -> Gen[int]:
        """Read one entry without the lock."""
        return (yield load(ptep))

    def pte_batch_hint(self, ptep: int, pte: int) -> int:
        """How many entries from *ptep* on are certain to belong to one batch."""
        return 1

    def set_pte_at(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        """Write one entry."""
        yield from self.set_ptes(mm, addr, ptep, pte, 1)

    def set_ptes(self, mm: Mm, addr: int, ptep: int, pte: int, nr: int) -> Gen[None]:
        """Write *nr* entries that map consecutive frames."""
        yield from self._set_ptes(ptep, pte, nr)

    def _set_ptes(self, ptep: int, pte: int, nr: int) -> Gen[None]:
        for i in range(nr):
            yield store(ptep + i, pte_advance_pfn(pte, i))

    def pte_clear(self, mm: Mm, addr: int, ptep: int) -> Gen[None]:
        """Clear one entry whose old value does not matter."""
        yield store(ptep, 0)

    def ptep_get_and_clear(self, mm: Mm, addr: int, ptep: int) -> Gen[int]:
        """Clear one entry and return what it was."""
        return (yield xchg(ptep, 0))

    def get_and_clear_full_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, full: bool
    ) -> Gen[int]:
        """Clear *nr* entries; the first one's value with young and dirty of all."""
        pte = yield from self.ptep_get_and_clear(mm, addr, ptep)
        for i in range(1, nr):
            tmp = yield from self.ptep_get_and_clear(mm, addr + i, ptep + i)
            pte = gather_young_dirty(pte, tmp)
        return pte

    def clear_full_ptes(self, mm: Mm, addr: int, ptep: int, nr: int, full: bool) -> Gen[None]:
        """Clear *nr* entries whose young and dirty bits do not matter."""
        for i in range(nr):
            yield from self.ptep_get_and_clear(mm, addr + i, ptep + i)

    def ptep_clear_flush(self, mm: Mm, addr: int, ptep: int) -> Gen[int]:
        """Clear one entry and flush its translation."""
        pte = yield from self.ptep_get_and_clear(mm, addr, ptep)
        if pte & PTE_VALID:
            yield tlb_flush(mm, addr, addr + 1)
        return pte

    def wrprotect_ptes(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[None]:
        """Remove write permission from *nr* entries (`___ptep_set_wrprotect` each)."""
        for i in range(nr):
            yield from self.ptep_set_wrprotect(ptep + i)

    def ptep_set_wrprotect(self, ptep: int) -> Gen[None]:
        """Write-protect one entry by compare-and-exchange."""
        while True:
            pte = yield load(ptep)
            if (yield cas(ptep, pte, pte_wrprotect(pte))):
                return

    def ptep_set_access_flags(
        self, mm: Mm, addr: int, ptep: int, entry: int, dirty: bool
    ) -> Gen[bool]:
        """Add young, dirty or write to one entry; True when it changed."""
        return (yield from self._ptep_set_access_flags(mm, addr, ptep, entry, dirty))

    def _ptep_set_access_flags(
        self, mm: Mm, addr: int, ptep: int, entry: int, dirty: bool
    ) -> Gen[bool]:
        pte = yield load(ptep)
        if pte == entry:
            return False
        while not (yield cas(ptep, pte, access_flags(pte, entry))):
            pte = yield load(ptep)
        if dirty:
            yield tlb_flush(mm, addr, addr + 1)
        return True

    def ptep_test_and_clear_young(self, mm: Mm, addr: int, ptep: int) -> Gen[bool]:
        """Clear the access flag of one entry; True when it was set."""
        while True:
            pte = yield load(ptep)
            if (yield cas(ptep, pte, pte_mkold(pte))):
                return bool(pte & PTE_AF)

    def clear_young_dirty_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, young: bool, dirty: bool
    ) -> Gen[None]:
        """Clear young and/or dirty of *nr* entries, keeping write permission."""
        yield from self._clear_young_dirty_ptes(ptep, nr, young, dirty)

    def _clear_young_dirty_ptes(self, ptep: int, nr: int, young: bool, dirty: bool) -> Gen[None]:
        for i in range(nr):
            while True:
                pte = yield load(ptep + i)
                new = pte_mkold(pte) if young else pte
                new = pte_mkclean(new) if dirty else new
                if (yield cas(ptep + i, pte, new)):
                    break

    def lab_contpte(self, mm: Mm, start: int, end: int, fold: bool) -> Gen[None]:
        """Laboratory: there is no contiguous layer to ask (the caller refuses before)."""
        yield load(mm.mm_mt)


def gather_young_dirty(pte: int, other: int) -> int:
    """*pte* with the young and dirty state of *other* added."""
    if pte_dirty(other):
        pte = pte_mkdirty(pte)
    if pte_young(other):
        pte = pte_mkyoung(pte)
    return pte
