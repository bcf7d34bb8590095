"""madvise(2) (mm/madvise.c, 6.6): DONTNEED, and advice that is a flag of VMAs."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Gen, Mm, Vma, load, lock, store, unlock
from sandbox.mm.flags import (
    EINVAL,
    VM_DONTCOPY,
    VM_HUGEPAGE,
    VM_LOCKED,
    VM_NOHUGEPAGE,
    VM_SHARED,
    VM_WIPEONFORK,
)
from sandbox.mm.memory.zap import MmuGather, ZapDetails


class MadviseMixin(KernelPart):
    """Advice that changes page tables or VMA flags."""

    pt_reclaim = False
    """7.x: MADV_DONTNEED of all that a page table maps frees the table (CONFIG_PT_RECLAIM)."""
    madvise_gathers = False
    """6.16 and later: one gather for the whole range, not one for each VMA."""

    # -- pages -----------------------------------------------------------------------------

    def madvise_dontneed(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DONTNEED: drop the pages of [start, end); -EINVAL in a locked VMA."""
        yield lock(mm.mmap_lock, READ)
        visit = self.madvise_dontneed_single_vma
        tlb = MmuGather(mm, details=ZapDetails(reclaim_pt=self.pt_reclaim))
        ret, tlb = yield from self.madvise_walk_vmas(mm, start, end, visit, tlb)
        if self.madvise_gathers:
            yield from self.tlb_flush_mmu(tlb)
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_dontneed_single_vma(
        self, vma: Vma, start: int, end: int, tlb: MmuGather
    ) -> Gen[tuple[int, MmuGather]]:
        """One VMA's part."""
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            return -EINVAL, tlb
        if self.madvise_gathers:
            tlb = yield from self.unmap_page_range(tlb, vma, start, end)
        else:
            yield from self.zap_page_range_single(vma, start, end)
        return 0, tlb

    # -- flags -----------------------------------------------------------------------------

    def madvise_flags(self, mm: Mm, start: int, end: int, set_: int, clear: int) -> Gen[int]:
        """Advice that is a flag of the VMAs alone; no entry is touched."""
        yield lock(mm.mmap_lock)
        visit = self.madvise_update_vma
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, visit, (set_, clear))
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_update_vma(
        self, vma: Vma, start: int, end: int, change: tuple[int, int]
    ) -> Gen[tuple[int, tuple[int, int]]]:
        """Set and clear flags of one VMA's part; -EINVAL for a file's that is to be wiped."""
        set_, clear = change
        vm_flags = yield load(vma.vm_flags)
        file = yield load(vma.vm_file)
        if set_ & VM_WIPEONFORK and (file or vm_flags & VM_SHARED):
            return -EINVAL, change
        new_flags = vm_flags & ~clear | set_
        if new_flags != vm_flags:
            mm = Mm((yield load(vma.vm_mm)))
            vma = yield from self.vma_modify_flags(mm, vma, start, end, new_flags)
            yield from self.vma_start_write(vma)
            yield store(vma.vm_flags, new_flags)
        return 0, change

    def update_vmas_locked(self, mm: Mm, start: int, end: int, set_: int, clear: int) -> Gen[None]:
        """The same over a range for who holds mmap_lock for writing; holes do not matter."""
        yield from self.madvise_walk_vmas(mm, start, end, self.madvise_update_vma, (set_, clear))

    def madvise_dontfork(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DONTFORK: a child will not have these pages."""
        return (yield from self.madvise_flags(mm, start, end, VM_DONTCOPY, 0))

    def madvise_dofork(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DOFORK: undo MADV_DONTFORK."""
        return (yield from self.madvise_flags(mm, start, end, 0, VM_DONTCOPY))

    def madvise_wipeonfork(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_WIPEONFORK: a child finds this range empty."""
        return (yield from self.madvise_flags(mm, start, end, VM_WIPEONFORK, 0))

    def madvise_hugepage(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_HUGEPAGE: large folios where they are allowed by advice (`hugepage_madvise`)."""
        return (yield from self.madvise_flags(mm, start, end, VM_HUGEPAGE, VM_NOHUGEPAGE))

    def madvise_nohugepage(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_NOHUGEPAGE: never."""
        return (yield from self.madvise_flags(mm, start, end, VM_NOHUGEPAGE, VM_HUGEPAGE))
