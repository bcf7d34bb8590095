"""Faulting pages in that nobody holds: MADV_POPULATE, mlock (mm/gup.c, 6.6).

`__get_user_pages` without a list of pages: each is looked up as for a reference (FOLL_TOUCH makes
the folio of a clean writable entry dirty), but none is taken.
"""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Gen, Mm, Vma, load, lock, unlock
from sandbox.mm.flags import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    FOLL_FORCE,
    FOLL_TOUCH,
    FOLL_WRITE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)


class PopulateMixin(KernelPart):
    """MADV_POPULATE_READ, MADV_POPULATE_WRITE, and what mlock brings in."""

    def madvise_populate(self, mm: Mm, start: int, end: int, write: bool) -> Gen[int]:
        """Fault every page in until one cannot be (`faultin_page_range`).

        -ENOMEM for a hole, -EINVAL where the VMA does not allow the access, -EFAULT where the
        fault fails; what came before stays.
        """
        flags = FOLL_TOUCH | (FOLL_WRITE if write else 0)
        yield lock(mm.mmap_lock, READ)
        ret = 0
        while start < end and not ret:
            vma = yield from self.find_vma(mm, start)
            if vma is None:
                ret = -ENOMEM
            elif (yield from self.check_vma_flags(vma, flags)):
                ret = -EINVAL
            else:
                stop = min(end, (yield load(vma.vm_end)))
                start, ret = yield from self.faultin_vma(mm, vma, start, stop, flags)
        yield from self.lru_add_drain()
        yield unlock(mm.mmap_lock)
        return ret

    def faultin_vma(
        self, mm: Mm, vma: Vma, addr: int, end: int, flags: int
    ) -> Gen[tuple[int, int]]:
        """Touch the pages [addr, end) of one VMA: (the first that is not done, 0 or -EFAULT)."""
        while addr < end:
            found = yield from self.gup_one_slow(mm, vma, addr, flags)
            if found is None:
                return addr, -EFAULT
            addr += found.rest
        return addr, 0

    def populate_vma_page_range(self, mm: Mm, vma: Vma, start: int, end: int) -> Gen[int]:
        """Fault in part of a VMA, writing where it is private and writable; -EFAULT if it may not.

        That breaks COW early.  The caller holds mmap_lock.
        """
        vm_flags = yield load(vma.vm_flags)
        flags = FOLL_TOUCH
        if vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE:
            flags |= FOLL_WRITE
        if vm_flags & (VM_READ | VM_WRITE):  # vma_is_accessible()
            flags |= FOLL_FORCE
        ret = yield from self.check_vma_flags(vma, flags)
        if not ret:
            _, ret = yield from self.faultin_vma(mm, vma, start, end, flags)
        yield from self.lru_add_drain()
        return ret

    def mm_populate(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """Fault a range in after its VMAs were locked; the first error ends it."""
        ret = 0
        yield lock(mm.mmap_lock, READ)
        while start < end and not ret:
            vma = yield from self.vma_find(mm, start, end)
            if not vma:
                break
            stop = min(end, (yield load(vma.vm_end)))
            start = max(start, (yield load(vma.vm_start)))
            ret = yield from self.populate_vma_page_range(mm, vma, start, stop)
            start = stop
        yield unlock(mm.mmap_lock)
        return ret

    def _mlock_posix_error_return(self, ret: int) -> int:
        """What mlock says for an error of populating (`__mlock_posix_error_return`)."""
        return {-EFAULT: -ENOMEM, -ENOMEM: -EAGAIN}.get(ret, ret)
