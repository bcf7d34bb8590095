"""execve: a new address space with a stack that is moved into place (fs/exec.c).

Source: fs/exec.c (bprm_mm_init, exec_mmap, setup_arg_pages), mm/mmap.c shift_arg_pages (6.6, then
in fs/exec.c) and relocate_vma_down (6.12; mm/vma_exec.c since 6.16).  No program is loaded: what is
left is the stack with one page of arguments.
"""

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
    unlock,
)
from sandbox.mm.flags import (
    FOLL_FORCE,
    FOLL_GET,
    FOLL_WRITE,
    MMF_DEAD,
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_MAYWRITE,
    VM_READ,
    VM_STACK_INCOMPLETE_SETUP,
    VM_WRITE,
)
from sandbox.mm.mremap import PagetableMove
from sandbox.syscalls import Result, Ring

STACK_REGION = 64
"""Pages of the region that holds the stack, where it is built and where it goes."""
STACK_SHIFT = 31
"""Pages by which the stack moves down from where it was built (the randomised distance)."""
STACK_EXPAND = 32
"""Pages below the arguments that the stack gets at once (128K, `setup_arg_pages`)."""
VM_STACK_FLAGS = VM_READ | VM_WRITE | VM_MAYWRITE | VM_ACCOUNT | VM_GROWSDOWN


class ExecMixin(KernelPart):
    """What execve does to memory."""

    def sys_execve(
        self, mm: Mm, region: str, base: int, step: int, ring: Ring | None = None
    ) -> Gen[Result]:
        """Replace *mm* by a fresh one whose stack lies in [base, base + 64).

        The arguments' page holds *step*; what the process holds under ids stays held, the
        buffer of its *ring* goes if nobody else has it open (it is close-on-exec).
        """
        new = yield from self.bprm_mm_init(base + STACK_REGION)
        yield note("region", new, region, base, STACK_REGION)
        vma = yield from self.copy_strings(new, base + STACK_REGION - 1, step)
        yield from self.exec_mmap(mm, new)
        if ring is not None and ring.registered:
            yield from self.io_release_ubuf(ring)
        yield from self.setup_arg_pages(new, vma)
        return Result()

    def bprm_mm_init(self, stack_top: int) -> Gen[Mm]:
        """A fresh mm with one VMA of one page at the very top (`create_init_stack_vma`)."""
        mm = Mm((yield alloc(Struct.MM)))
        yield from self.mm_alloc_id(mm)
        vm_flags = VM_STACK_FLAGS | VM_STACK_INCOMPLETE_SETUP
        yield from self.mmap_region(mm, stack_top - 1, stack_top, vm_flags, 0, stack_top - 1)
        return mm

    def copy_strings(self, mm: Mm, addr: int, step: int) -> Gen[Vma]:
        """Fault the top page in and write the arguments through it (`get_arg_page`)."""
        pages = yield from self._get_user_pages_locked(
            mm, addr, 1, FOLL_GET | FOLL_WRITE | FOLL_FORCE
        )
        yield store(pages[0].data, step)
        yield from self.folio_put((yield from self.page_folio(pages[0])))
        return Vma((yield load(mm.mm_mt)))

    def exec_mmap(self, old_mm: Mm, mm: Mm) -> Gen[None]:
        """The process has the new mm from here on; the old one is torn down."""
        yield lock(old_mm.mmap_lock, 0)
        yield note("exec", old_mm, mm)
        yield unlock(old_mm.mmap_lock)
        yield from self.exit_mmap(old_mm)
        yield from self.mm_free_id(old_mm)
        yield bits(old_mm.flags, MMF_DEAD)

    def setup_arg_pages(self, mm: Mm, vma: Vma) -> Gen[None]:
        """Move the stack to its place, make it an ordinary VMA and let it grow."""
        yield lock(mm.mmap_lock)
        yield from self.vma_start_write(vma)
        yield from self.relocate_vma_down(mm, vma, STACK_SHIFT)
        # mprotect_fixup() with VM_STACK_FLAGS: rmap walks may find the stack from now on
        yield store(vma.vm_flags, (yield load(vma.vm_flags)) & ~VM_STACK_INCOMPLETE_SETUP)
        yield from self.expand_downwards(vma, (yield load(vma.vm_start)) - STACK_EXPAND)
        yield unlock(mm.mmap_lock)

    def relocate_vma_down(self, mm: Mm, vma: Vma, shift: int) -> Gen[None]:
        """Move a VMA and its entries *shift* pages down.

        Growing the VMA first, with vm_pgoff left alone, gives the pages their new addresses for
        rmap before their entries are there; nobody may look until the entries have moved.
        """
        old_start, old_end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        yield lock(anon_vma.rwsem)
        yield store(vma.vm_start, old_start - shift)
        yield unlock(anon_vma.rwsem)
        # no rmap locks while entries move: VM_STACK_INCOMPLETE_SETUP keeps migration out
        size = old_end - old_start
        yield from self.move_page_tables(
            PagetableMove(mm, vma, vma, old_start, old_start - shift, size, for_stack=True)
        )
        yield lock(anon_vma.rwsem)
        yield store(vma.vm_end, old_end - shift)
        yield unlock(anon_vma.rwsem)

    def expand_downwards(self, vma: Vma, address: int) -> Gen[None]:
        """Let a stack begin at *address*; its pages keep their indices (mm/mmap.c, mm/vma.c)."""
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        grow = (yield load(vma.vm_start)) - address
        yield lock(anon_vma.rwsem)
        yield store(vma.vm_start, address)
        yield store(vma.vm_pgoff, (yield load(vma.vm_pgoff)) - grow)
        yield store(vma.vm_anon_pgoff, (yield load(vma.vm_anon_pgoff)) - grow)
        yield unlock(anon_vma.rwsem)
