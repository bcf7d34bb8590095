"""Processes: mm_alloc, dup_mmap, exit_mm (kernel/fork.c, kernel/exit.c; 6.6)."""

from __future__ import annotations

from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    AnonVma,
    Gen,
    Mm,
    Vma,
    alloc,
    bits,
    load,
    lock,
    note,
    store,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import (
    MMF_DEAD,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_UFFD_WP,
    VM_UFFD_WP_ASYNC,
    VM_WIPEONFORK,
)
from sandbox.mm.mmap import VMA_FIELDS

NOT_INHERITED = VM_LOCKED | VM_UFFD_WP | VM_UFFD_WP_ASYNC
"""What a child's VMA loses: nobody is modelled who registers for fork events
(`dup_userfaultfd`, UFFD_FEATURE_EVENT_FORK)."""


class ForkMixin(KernelPart):
    """Making and ending address spaces."""

    def mm_alloc(self, name: str) -> Gen[Mm]:
        """A fresh mm for the process called *name*."""
        mm = Mm((yield alloc(Struct.MM)))
        yield from self.mm_alloc_id(mm)
        yield note("process", name, mm)
        return mm

    def mm_alloc_id(self, mm: Mm) -> Gen[None]:
        """Give the mm an id (6.15 and later)."""
        return
        yield  # pragma: no cover - makes this a generator

    def mm_free_id(self, mm: Mm) -> Gen[None]:
        """Return the mm's id."""
        return
        yield  # pragma: no cover - makes this a generator

    def dup_mm(self, oldmm: Mm, name: str) -> Gen[Mm]:
        """Fork's copy of an address space (dup_mmap): VMAs, anon_vmas, page tables."""
        mm = yield from self.mm_alloc(name)
        yield lock(oldmm.mmap_lock)
        yield lock(mm.mmap_lock)
        yield note("inherits", mm, oldmm)
        for mpnt in (yield from self.all_vmas(oldmm)):
            yield from self.vma_start_write(mpnt)
            vm_flags = yield load(mpnt.vm_flags)
            if vm_flags & VM_DONTCOPY:
                continue
            tmp = yield from self.vm_area_dup(mm, mpnt, vm_flags & ~NOT_INHERITED)
            if not vm_flags & VM_WIPEONFORK:
                yield from self.anon_vma_fork(tmp, mpnt)
            yield from self.vma_link(mm, tmp)
            if not vm_flags & VM_WIPEONFORK:
                yield from self.copy_page_range(tmp, mpnt)
        yield unlock(mm.mmap_lock)
        yield tlb_flush(oldmm, 0, 1 << 24)
        yield unlock(oldmm.mmap_lock)
        return mm

    def vm_area_dup(self, mm: Mm, orig: Vma, vm_flags: int) -> Gen[Vma]:
        """Copy a VMA for the child."""
        new = Vma((yield alloc(Struct.VMA)))
        for word in range(VMA_FIELDS):
            copied = (orig.vm_start, orig.vm_end, orig.vm_pgoff, orig.vm_file, orig.vm_anon_pgoff)
            if orig + word in copied:
                yield store(new + word, (yield load(orig + word)))
        yield store(new.vm_mm, mm)
        yield store(new.vm_flags, vm_flags)
        return new

    def anon_vma_fork(self, vma: Vma, pvma: Vma) -> Gen[None]:
        """Hang the child's VMA on the parent's anon_vmas and give it one of its own (mm/rmap.c)."""
        if not (yield load(pvma.anon_vma)):
            return
        yield from self.anon_vma_clone(vma, pvma)
        anon_vma = AnonVma((yield alloc(Struct.ANON_VMA)))
        yield store(vma.anon_vma, anon_vma)
        yield from self.anon_vma_chain_link(vma, anon_vma)

    def exit_mm(self, mm: Mm) -> Gen[None]:
        """The last user is gone: tear the address space down and give the id back."""
        yield from self.exit_mmap(mm)
        yield from self.mmlist_del(mm)
        yield from self.mm_free_id(mm)
        yield bits(mm.flags, MMF_DEAD)
        yield note("process_gone", mm)
