"""madvise(2) (mm/madvise.c, 6.6): DONTNEED, DONTFORK, DOFORK, POPULATE."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Gen, Mm, Vma, load, lock, store, unlock
from sandbox.mm.flags import (
    EFAULT,
    EINVAL,
    ENOMEM,
    FAULT_FLAG_WRITE,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_READ,
    VM_WRITE,
)
from sandbox.mm.memory.zap import MmuGather


class MadviseMixin(KernelPart):
    """Advice that changes page tables or VMA flags."""

    madvise_gathers = False
    """6.16 and later: one gather for the whole range, not one for each VMA."""

    def madvise_dontneed(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DONTNEED: drop the pages of [start, end); -EINVAL in a locked VMA."""
        yield lock(mm.mmap_lock, READ)
        ret, covered, tlb = 0, 0, MmuGather(mm)
        for vma in (yield from self.vmas_in(mm, start, end)):
            if (yield load(vma.vm_flags)) & VM_LOCKED:
                ret = -EINVAL
                break
            lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
            if self.madvise_gathers:
                tlb = yield from self.unmap_page_range(tlb, vma, lo, hi)
            else:
                yield from self.zap_page_range_single(vma, lo, hi)
            covered += hi - lo
        if self.madvise_gathers:
            yield from self.tlb_flush_mmu(tlb)
        yield unlock(mm.mmap_lock)
        return ret or (0 if covered == end - start else -ENOMEM)

    def madvise_update_vma(self, mm: Mm, start: int, end: int, set_: int, clear: int) -> Gen[int]:
        """Change VMA flags of [start, end): split, change, merge; no entry is touched."""
        yield lock(mm.mmap_lock)
        yield from self.update_vmas_locked(mm, start, end, set_, clear)
        yield unlock(mm.mmap_lock)
        return 0

    def update_vmas_locked(self, mm: Mm, start: int, end: int, set_: int, clear: int) -> Gen[None]:
        """The same for who holds mmap_lock for writing."""
        for vma in (yield from self.vma_range_isolate(mm, start, end)):
            yield from self.vma_start_write(vma)
            yield store(vma.vm_flags, (yield load(vma.vm_flags)) & ~clear | set_)
        yield from self.vma_merge(mm, start, end)

    def madvise_dontfork(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DONTFORK: a child will not have these pages."""
        return (yield from self.madvise_update_vma(mm, start, end, VM_DONTCOPY, 0))

    def madvise_dofork(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_DOFORK: undo MADV_DONTFORK."""
        return (yield from self.madvise_update_vma(mm, start, end, 0, VM_DONTCOPY))

    def madvise_populate(self, mm: Mm, start: int, end: int, write: bool) -> Gen[int]:
        """MADV_POPULATE_READ/WRITE: fault every page in (faultin_page_range)."""
        yield from self.lru_add_drain()
        yield lock(mm.mmap_lock, READ)
        for addr in range(start, end):
            vma = yield from self.find_vma(mm, addr)
            if vma is None:
                yield unlock(mm.mmap_lock)
                return -ENOMEM
            if not (yield from self.populate_one(mm, vma, addr, write)):
                yield unlock(mm.mmap_lock)
                return -EFAULT
        yield unlock(mm.mmap_lock)
        return 0

    def populate_one(self, mm: Mm, vma: Vma, addr: int, write: bool) -> Gen[bool]:
        """Fault one page in unless the entry already allows the access; False if that fails."""
        if not (yield load(vma.vm_flags)) & (VM_WRITE if write else VM_READ):
            return False
        while not (yield from self.gup_entry_ok(mm, addr, write)):
            flags = FAULT_FLAG_WRITE if write else 0
            if (yield from self.handle_mm_fault(mm, vma, addr, flags)):
                return False
        return True
