"""userfaultfd write-protection (arm64 has it since 6.10).

Source: fs/userfaultfd.c and mm/userfaultfd.c, mm/mprotect.c change_pte_range, mm/memory.c
do_wp_page and pte_marker_handle_uffd_wp (6.12, 7.2).  A write to a protected page is either
resolved by the kernel itself (UFFD_FEATURE_WP_ASYNC) or answered with SIGBUS
(UFFD_FEATURE_SIGBUS): there is no monitor that could be woken.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_MARKER,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_MIGRATION_WRITE,
    PTE_UFFD_WP,
    UFFD_WP_MARKER,
    pte_clear_uffd_wp,
    pte_pfn,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Gen, Mapping, Mm, Vma, load, lock, page_of_pfn, unlock
from sandbox.mm.flags import (
    EFAULT,
    EINVAL,
    ENOENT,
    EPERM,
    HOST_XFS,
    VM_MAYWRITE,
    VM_UFFD_WP,
    VM_UFFD_WP_ASYNC,
    PG_anon,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.mprotect import MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE
from sandbox.syscalls import Result


class UserfaultfdMixin(KernelPart):
    """Registering, protecting, and writes to what is protected."""

    has_uffd_wp = False
    """arm64 selects HAVE_ARCH_USERFAULTFD_WP since 6.10."""

    # -- ioctls ----------------------------------------------------------------------------

    def sys_uffd_register(self, mm: Mm, start: int, end: int, asynchronous: bool) -> Gen[Result]:
        """UFFDIO_REGISTER for write-protection, no entry is touched.

        -EINVAL, and nothing is registered, where no VMA is or one that cannot be, -EPERM where
        one may never be written.
        """
        set_ = VM_UFFD_WP | (VM_UFFD_WP_ASYNC if asynchronous else 0)
        clear = 0 if asynchronous else VM_UFFD_WP_ASYNC
        yield lock(mm.mmap_lock)
        ret = -EINVAL
        for vma in (yield from self.vmas_in(mm, start, end)):
            ret = 0 if (yield from self.vma_can_userfault(vma, asynchronous)) else -EINVAL
            if not ret and not (yield load(vma.vm_flags)) & VM_MAYWRITE:
                ret = -EPERM
            if ret:
                break
        if not ret:
            yield from self.update_vmas_locked(mm, start, end, set_, clear)
        yield unlock(mm.mmap_lock)
        return Result(ret)

    def vma_can_userfault(self, vma: Vma, asynchronous: bool) -> Gen[bool]:
        """Anonymous and shared memory; any file for write-protection that is *asynchronous*."""
        mapping = Mapping((yield load(vma.vm_file)))
        if not mapping or asynchronous:
            return True
        return (yield load(mapping.host)) != HOST_XFS

    def sys_uffd_unregister(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """UFFDIO_UNREGISTER: what is protected is resolved first, and nobody protects it again.

        All of it is under mmap_lock (`userfaultfd_clear_vma`).  -EINVAL as for registering; a file
        that is not registered is none that could be.
        """
        yield lock(mm.mmap_lock)
        vmas = yield from self.vmas_in(mm, start, end)
        ret = 0 if vmas else -EINVAL
        for vma in vmas:
            asynchronous = bool((yield load(vma.vm_flags)) & VM_UFFD_WP_ASYNC)
            if not (yield from self.vma_can_userfault(vma, asynchronous)):
                ret = -EINVAL
                break
        for vma in () if ret else vmas:
            if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
                yield from self.uffd_wp_range(mm, vma, lo, hi, False)
        if not ret:
            yield from self.update_vmas_locked(mm, start, end, 0, VM_UFFD_WP | VM_UFFD_WP_ASYNC)
        yield unlock(mm.mmap_lock)
        return Result(ret)

    def sys_uffd_wp(self, mm: Mm, start: int, end: int, on: bool) -> Gen[Result]:
        """UFFDIO_WRITEPROTECT; -ENOENT where no VMA is registered for it."""
        return Result((yield from self.mwriteprotect_range(mm, start, end, on)))

    def mwriteprotect_range(self, mm: Mm, start: int, end: int, enable_wp: bool) -> Gen[int]:
        """Protect or resolve the VMAs of [start, end), which must all be registered."""
        yield lock(mm.mmap_lock, READ)
        err = -ENOENT
        for vma in (yield from self.vmas_in(mm, start, end)):
            err = 0 if (yield load(vma.vm_flags)) & VM_UFFD_WP else -ENOENT
            if err:
                break
            lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
            yield from self.uffd_wp_range(mm, vma, lo, hi, enable_wp)
        yield unlock(mm.mmap_lock)
        return err

    def uffd_wp_range(self, mm: Mm, vma: Vma, start: int, end: int, enable_wp: bool) -> Gen[None]:
        """change_protection() with the VMA's own protection."""
        cp_flags = MM_CP_UFFD_WP if enable_wp else MM_CP_UFFD_WP_RESOLVE
        if not enable_wp and (yield from self.vma_wants_manual_pte_write_upgrade(vma)):
            cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
        yield from self.change_protection(mm, vma, start, end, cp_flags)

    def userfaultfd_wp_use_markers(self, vma: Vma) -> Gen[bool]:
        """Are empty places protected too: a file's, for its pages may be cached, or all?

        WP_ASYNC implies WP_UNPOPULATED: also what is not there yet is tracked.
        """
        if (yield load(vma.vm_file)):
            return True
        return bool((yield load(vma.vm_flags)) & VM_UFFD_WP_ASYNC)

    def change_softleaf_pte(
        self, mm: Mm, vma: Vma, addr: int, ptep: int, oldpte: int, cp_flags: int
    ) -> Gen[None]:
        """Protect or resolve an entry that is not present; a migration's is read-only then."""
        if not oldpte:
            if (yield from self.userfaultfd_wp_use_markers(vma)):
                yield from self.set_pte_at(mm, addr, ptep, UFFD_WP_MARKER)
            return
        if oldpte & PTE_MARKER:
            if cp_flags & MM_CP_UFFD_WP_RESOLVE:
                yield from self.pte_clear(mm, addr, ptep)
            return
        newpte = oldpte
        if oldpte & PTE_MIGRATION_WRITE:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(oldpte)))
            anon = (yield load(folio.flags)) & PG_anon
            newpte = oldpte & ~PTE_MIGRATION_WRITE | (PTE_MIGRATION_EXCLUSIVE if anon else 0)
        if cp_flags & MM_CP_UFFD_WP:
            newpte |= PTE_UFFD_WP
        elif cp_flags & MM_CP_UFFD_WP_RESOLVE:
            newpte &= ~PTE_UFFD_WP
        if newpte != oldpte:
            yield from self.set_pte_at(mm, addr, ptep, newpte)

    # -- faults ----------------------------------------------------------------------------

    def do_uffd_wp(self, vmf: VmFault) -> Gen[tuple[int, VmFault]]:
        """A write to a protected entry: resolve it here (async), or let the process have it.

        do_wp_page() has this inline; -EFAULT with the entry unlocked for a signal.
        """
        vm_flags = yield load(vmf.vma.vm_flags)
        if vm_flags & VM_UFFD_WP and not vm_flags & VM_UFFD_WP_ASYNC:
            yield unlock(vmf.ptl)
            return -EFAULT, vmf  # handle_userfault(): VM_FAULT_SIGBUS
        if vm_flags & VM_UFFD_WP:
            # only the bit goes: nothing that a TLB may hold changes
            pte = pte_clear_uffd_wp((yield from self.ptep_get(vmf.pte)))
            yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, pte)
            vmf = vmf._replace(orig_pte=pte)
        return 0, vmf

    def handle_pte_marker(self, vmf: VmFault) -> Gen[int]:
        """A marker: fill the place, still protected (`pte_marker_handle_uffd_wp`)."""
        if (yield load(vmf.vma.vm_flags)) & VM_UFFD_WP:
            return (yield from self.do_pte_missing(vmf))
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if vmf.ptl:
            if (yield from self.ptep_get(vmf.pte)) == vmf.orig_pte:
                yield from self.pte_clear(vmf.mm, vmf.address, vmf.pte)
            yield unlock(vmf.ptl)
        return 0
