"""userfaultfd write-protection, UFFDIO_COPY and UFFDIO_MOVE (minimal; arm64 has it since 6.10).

Source: mm/userfaultfd.c, mm/mprotect.c change_pte_range, mm/memory.c do_wp_page and
pte_marker_handle_uffd_wp (6.12, 7.2).  Anonymous memory only.  A write to a protected page is
either resolved by the kernel itself (UFFD_FEATURE_WP_ASYNC) or answered with SIGBUS
(UFFD_FEATURE_SIGBUS): there is no monitor that could be woken.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_MARKER,
    PTE_UFFD_WP,
    pfn_pte,
    pte_clear_uffd_wp,
    pte_mkdirty,
    pte_mkuffd_wp,
    pte_mkwrite,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mm,
    Vma,
    add,
    bits,
    load,
    lock,
    store,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import (
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    MM_ANONPAGES,
    VM_SHARED,
    VM_UFFD_WP,
    VM_UFFD_WP_ASYNC,
    VM_WRITE,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.mprotect import MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result

UFFD_WP_MARKER = PTE_MARKER | PTE_UFFD_WP
"""Entry of an empty place that is write-protected (PTE_MARKER_UFFD_WP)."""


class UserfaultfdMixin(KernelPart):
    """Registering, protecting, filling and moving."""

    has_uffd_wp = False
    """arm64 selects HAVE_ARCH_USERFAULTFD_WP since 6.10."""

    # -- ioctls ----------------------------------------------------------------------------

    def sys_uffd_register(self, mm: Mm, start: int, end: int, asynchronous: bool) -> Gen[Result]:
        """UFFDIO_REGISTER for write-protection, no entry is touched; -EINVAL with no VMA there."""
        set_ = VM_UFFD_WP | (VM_UFFD_WP_ASYNC if asynchronous else 0)
        clear = 0 if asynchronous else VM_UFFD_WP_ASYNC
        yield lock(mm.mmap_lock)
        ret = 0 if (yield from self.vma_find(mm, start, end)) else -EINVAL
        yield from self.update_vmas_locked(mm, start, end, set_, clear)
        yield unlock(mm.mmap_lock)
        return Result(ret)

    def sys_uffd_unregister(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """UFFDIO_UNREGISTER: what is protected is resolved first, and nobody protects it again.

        All of it is under mmap_lock (`userfaultfd_clear_vma`).
        """
        yield lock(mm.mmap_lock)
        vmas = yield from self.vmas_in(mm, start, end)
        for vma in vmas:
            if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                lo, hi = max((yield load(vma.vm_start)), start), min((yield load(vma.vm_end)), end)
                yield from self.uffd_wp_range(mm, vma, lo, hi, False)
        yield from self.update_vmas_locked(mm, start, end, 0, VM_UFFD_WP | VM_UFFD_WP_ASYNC)
        yield unlock(mm.mmap_lock)
        return Result(0 if vmas else -EINVAL)

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
        """change_protection() with the VMA's own protection.

        A PMD leaf is split first; the kernel protects one that lies whole in the range as it is.
        """
        cp_flags = MM_CP_UFFD_WP if enable_wp else MM_CP_UFFD_WP_RESOLVE
        if not enable_wp and (yield from self.vma_wants_manual_pte_write_upgrade(vma)):
            cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
        markers = enable_wp and bool((yield load(vma.vm_flags)) & VM_UFFD_WP_ASYNC)
        newprot = yield from self.vm_page_prot(vma)
        addr = start
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            if markers:
                pmd = yield from self.pmd_alloc(mm, addr)
                yield from self.pte_alloc(mm, pmd, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and pmd_is_leaf(pmdval):
                yield from self.split_huge_pmd(vma, pmd, addr)
            if pmdval:
                yield from self.change_pte_range(mm, vma, pmd, addr, next_, newprot, cp_flags)
            addr = next_
        yield tlb_flush(mm, start, end)

    def change_softleaf_pte(
        self, mm: Mm, vma: Vma, addr: int, ptep: int, oldpte: int, cp_flags: int
    ) -> Gen[None]:
        """Protect or resolve an entry that is not present."""
        if not oldpte:
            # WP_ASYNC implies WP_UNPOPULATED: also what is not there yet is tracked
            if (yield load(vma.vm_flags)) & VM_UFFD_WP_ASYNC:
                yield from self.set_pte_at(mm, addr, ptep, UFFD_WP_MARKER)
        elif oldpte & PTE_MARKER:
            if cp_flags & MM_CP_UFFD_WP_RESOLVE:
                yield from self.pte_clear(mm, addr, ptep)
        else:
            newpte = oldpte
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

    # -- UFFDIO_COPY -------------------------------------------------------------------------

    def sys_uffd_copy(self, mm: Mm, start: int, end: int, step: int, wp: bool) -> Gen[Result]:
        """Fill empty places with new pages that hold *step*; -EEXIST at the first that is full."""
        for addr in range(start, end):
            vma = yield from self.uffd_lock_vma(mm, addr)
            if vma is None:
                return Result(-ENOENT)
            err = -ENOENT
            if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                err = yield from self.mfill_atomic_pte_copy(mm, vma, addr, step, wp)
            yield unlock(vma.vm_lock)
            if err:
                return Result(err)
        return Result()

    def uffd_lock_vma(self, mm: Mm, addr: int) -> Gen[Vma | None]:
        """The VMA of *addr*, locked for reading (`uffd_lock_vma`, 6.9)."""
        yield lock(mm.mmap_lock, READ)
        vma: Vma | None = yield from self.find_vma(mm, addr)
        if vma is not None:
            if not (yield load(vma.vm_flags)) & VM_SHARED:
                yield from self.anon_vma_prepare(vma)
            yield lock(vma.vm_lock, READ)
        yield unlock(mm.mmap_lock)
        return vma

    def mfill_atomic_pte_copy(self, mm: Mm, vma: Vma, addr: int, step: int, wp: bool) -> Gen[int]:
        """A fresh page with the caller's bytes, then its entry; freed if the place is full."""
        folio = yield from self.vma_alloc_folio(0)
        yield store(folio.page(0).data, step)
        yield bits(folio.flags, PG_uptodate)
        pmd = yield from self.pmd_alloc(mm, addr)
        yield from self.pte_alloc(mm, pmd, addr)
        err: int = yield from self.mfill_atomic_install_pte(mm, vma, pmd, addr, folio, wp)
        if err:
            yield from self.folio_put(folio)
        return err

    def mfill_atomic_install_pte(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, folio: Folio, wp: bool
    ) -> Gen[int]:
        """rmap, LRU, rss, entry; the allocation's reference becomes the mapping's."""
        entry = pte_mkdirty(pfn_pte(folio.pfn, (yield from self.vm_page_prot(vma))))
        if (yield load(vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(entry)
        if wp:
            entry = pte_mkuffd_wp(entry)
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return -EEXIST
        old = yield from self.ptep_get(ptep)
        if old and not old & PTE_MARKER:
            yield unlock(ptl)
            return -EEXIST
        yield from self.folio_add_new_anon_rmap(folio, vma, addr)
        yield from self.folio_add_lru_vma(folio, vma)
        yield add(mm.rss_stat(MM_ANONPAGES), 1)
        yield from self.set_pte_at(mm, addr, ptep, entry)
        yield unlock(ptl)
        return 0
