"""mlock and munlock (mm/mlock.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pte_present
from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Folio, Gen, Mm, Vma, bits, load, lock, store, unlock
from sandbox.mm.flags import VM_LOCKED, VM_WRITE, PG_lru, PG_mlocked, PG_unevictable
from sandbox.mm.pgalloc import pmd_is_leaf


class MlockMixin(KernelPart):
    """VM_LOCKED and the mlocked flag of the folios under it."""

    def do_mlock(self, mm: Mm, start: int, end: int, on: bool) -> Gen[int]:
        """mlock(2) / munlock(2): VMA flags, then the folios, then populate."""
        yield lock(mm.mmap_lock)
        for vma in (yield from self.vma_range_isolate(mm, start, end)):
            yield from self.mlock_fixup(mm, vma, on)
        yield from self.vma_merge(mm, start, end)
        yield unlock(mm.mmap_lock)
        if on:
            yield from self.mm_populate(mm, start, end)
        return 0

    def mlock_fixup(self, mm: Mm, vma: Vma, on: bool) -> Gen[None]:
        """Change one VMA's VM_LOCKED and walk its entries (mlock_vma_pages_range)."""
        vm_flags = yield load(vma.vm_flags)
        if bool(vm_flags & VM_LOCKED) == on:
            return
        start, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        yield store(mm.locked_vm, (yield load(mm.locked_vm)) + (end - start if on else start - end))
        yield from self.vma_start_write(vma)
        yield store(vma.vm_flags, vm_flags | VM_LOCKED if on else vm_flags & ~VM_LOCKED)
        addr = start
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and pmd_is_leaf(pmdval):
                yield from self.mlock_pmd(mm, vma, pmd, addr, on)
            elif pmdval:
                yield from self.mlock_pte_range(mm, vma, pmd, addr, next_, on)
            addr = next_

    def mlock_pte_range(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, end: int, on: bool
    ) -> Gen[None]:
        """Mlock or munlock the folios behind the entries; large ones only when whole in range."""
        pte, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        start = addr
        while addr < end:
            ptent = yield from self.ptep_get(pte + addr - start)
            step = 1
            if pte_present(ptent):
                page = yield from self.vm_normal_page(ptent)
                if page is not None:
                    folio = yield from self.page_folio(page)
                    step = yield from self.folio_mlock_step(folio, folio.index_of(page), end - addr)
                    if (
                        yield from self.allow_mlock_munlock(folio, vma, addr, start, end, step, on)
                    ):
                        if on:
                            yield from self.mlock_folio(folio)
                        else:
                            yield from self.munlock_folio(folio)
            addr += step
        yield unlock(ptl)

    def folio_mlock_step(self, folio: Folio, index: int, left: int) -> Gen[int]:
        """How many entries of the folio to take at once."""
        yield load(folio.flags)
        return min(folio.nr_pages - index, left)

    def allow_mlock_munlock(
        self, folio: Folio, vma: Vma, addr: int, start: int, end: int, step: int, on: bool
    ) -> Gen[bool]:
        """Large folios are mlocked only when the range covers them whole (allow_mlock_munlock)."""
        if not on and not folio.large:
            return True
        if not (yield load(vma.vm_flags)) & VM_LOCKED:
            return True
        return step == folio.nr_pages

    def mlock_folio(self, folio: Folio) -> Gen[None]:
        """Set PG_mlocked; the folio goes to the unevictable list."""
        if (yield bits(folio.flags, PG_mlocked)) & PG_mlocked:
            return
        if (yield load(folio.flags)) & PG_lru:
            yield bits(folio.flags, PG_unevictable)

    def munlock_folio(self, folio: Folio) -> Gen[None]:
        """Clear PG_mlocked and rescue the folio from the unevictable list."""
        if (yield bits(folio.flags, 0, PG_mlocked)) & PG_mlocked:
            yield bits(folio.flags, 0, PG_unevictable)

    def mm_populate(self, mm: Mm, start: int, end: int) -> Gen[None]:
        """Fault the locked range in (writable where the VMA is, to break COW early)."""
        yield lock(mm.mmap_lock, READ)
        for vma in (yield from self.vmas_in(mm, start, end)):
            write = bool((yield load(vma.vm_flags)) & VM_WRITE)
            lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
            for addr in range(lo, hi):
                yield from self.populate_one(mm, vma, addr, write)
        yield unlock(mm.mmap_lock)

    def munlock_vma_folio(self, folio: Folio, vma: Vma) -> Gen[None]:
        """Rmap removal in a locked VMA munlocks the folio (mm/internal.h)."""
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.munlock_folio(folio)
