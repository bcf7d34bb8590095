"""Faults on PMD leaves of anonymous folios (mm/huge_memory.c, 6.6).

One PMD leaf maps 512 pages: one reference, one entire mapping, and only the head page's
PG_anon_exclusive counts.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    HPAGE_PMD_ORDER,
    PTE_HUGE,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    access_flags,
    pfn_pte,
    pte_mkdirty,
    pte_mkyoung,
    pte_pfn,
    pte_write,
)
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Vma,
    add,
    alloc,
    bits,
    cas,
    load,
    lock,
    lock_bit,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    VM_HUGEPAGE,
    VM_NOHUGEPAGE,
    VM_UFFD_WP,
    VM_UFFD_WP_ASYNC,
    PG_anon_exclusive,
    PG_locked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf


class HugeFaultMixin(KernelPart):
    """First accesses, access flags, copy on write of PMD leaves."""

    huge_zero_wp_allocates = False
    """6.13 and later: a write to the huge zero page installs a whole new folio."""
    queue_new_thp = False
    """6.12 and later: a fresh PMD folio waits on the deferred list for the underused scan."""

    # -- fault -------------------------------------------------------------------------

    def handle_pmd_fault(self, vmf: VmFault) -> Gen[int | None]:
        """The PMD part of `__handle_mm_fault`; None when the entry below is to be looked at."""
        pmdval = yield load(vmf.pmd)
        if not pmdval:
            if (yield from self.thp_vma_allowable_pmd(vmf.vma, vmf.address)):
                return (yield from self.do_huge_pmd_anonymous_page(vmf))
            return None
        if not pmd_is_leaf(pmdval):
            return None
        vmf = vmf._replace(orig_pte=pmdval)
        wants_write = vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE) and not pte_write(pmdval)
        if wants_write:
            return (yield from self.wp_huge_pmd(vmf))
        yield from self.huge_pmd_set_accessed(vmf)
        return 0

    def wp_huge_pmd(self, vmf: VmFault) -> Gen[int | None]:
        """A write (or unshare) met a read-only leaf; None when the entries below are to do it.

        A file's are copied by entries, and so is what userfaultfd protects asynchronously.
        """
        split = bool((yield load(vmf.vma.vm_file)))
        if not split and vmf.orig_pte & PTE_UFFD_WP and not vmf.flags & FAULT_FLAG_UNSHARE:
            vm_flags = yield load(vmf.vma.vm_flags)
            if vm_flags & (VM_UFFD_WP | VM_UFFD_WP_ASYNC) == VM_UFFD_WP:
                return -EFAULT  # handle_userfault(): VM_FAULT_SIGBUS
            split = bool(vm_flags & VM_UFFD_WP)
        if split:
            yield from self.split_huge_pmd(vmf.vma, vmf.pmd, vmf.address)
            return None
        return 0 if (yield from self.do_huge_pmd_wp_page(vmf)) else None

    def thp_vma_allowable_pmd(self, vma: Vma, addr: int) -> Gen[bool]:
        """Is the PMD size enabled here, and does its aligned range fit the VMA?"""
        if (yield load(vma.vm_file)) or not (
            yield load(Globals.anon_orders)
        ) >> HPAGE_PMD_ORDER & 1:
            return False
        vm_flags = yield load(vma.vm_flags)
        if vm_flags & VM_NOHUGEPAGE or not vm_flags & VM_HUGEPAGE:
            return False
        haddr = addr & -HPAGE_PMD_NR
        fits = (yield load(vma.vm_start)) <= haddr
        return fits and haddr + HPAGE_PMD_NR <= (yield load(vma.vm_end))

    def do_huge_pmd_anonymous_page(self, vmf: VmFault) -> Gen[int]:
        """First access to an empty PMD: the huge zero page for reads, a whole folio for writes."""
        ret: int = yield from self.vmf_anon_prepare(vmf)
        if ret:
            return ret
        if not vmf.flags & FAULT_FLAG_WRITE:
            return (yield from self.set_huge_zero_folio(vmf))
        folio = yield from self.vma_alloc_anon_folio_pmd()
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if (yield load(vmf.pmd)):
            yield unlock(ptl)
            yield from self.folio_put(folio)
            return 0
        yield from self.map_anon_folio_pmd(vmf, folio)
        yield unlock(ptl)
        return 0

    def vma_alloc_anon_folio_pmd(self) -> Gen[Folio]:
        """A zeroed folio of the PMD's size."""
        folio = yield from self.vma_alloc_folio(HPAGE_PMD_ORDER)
        yield bits(folio.flags, PG_uptodate)
        return folio

    def map_anon_folio_pmd(self, vmf: VmFault, folio: Folio) -> Gen[None]:
        """rmap, LRU, the PMD, rss (map_anon_folio_pmd; `__do_huge_pmd_anonymous_page`)."""
        yield from self.map_anon_folio_pmd_set(vmf, folio)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), HPAGE_PMD_NR)
        if self.queue_new_thp:
            yield from self.deferred_split_folio(folio, False)

    def map_anon_folio_pmd_nopf(self, vmf: VmFault, folio: Folio) -> Gen[None]:
        """What collapsing does as well: map a folio that is counted already."""
        yield from self.map_anon_folio_pmd_set(vmf, folio)
        if self.queue_new_thp:
            yield from self.deferred_split_folio(folio, False)

    def map_anon_folio_pmd_set(self, vmf: VmFault, folio: Folio) -> Gen[None]:
        """rmap, LRU and the leaf: dirty, and writable if the VMA is (`maybe_pmd_mkwrite`)."""
        entry = pfn_pte(folio.pfn, (yield from self.vm_page_prot(vmf.vma))) | PTE_HUGE
        entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vmf.vma)
        yield from self.folio_add_new_anon_rmap(folio, vmf.vma, vmf.address & -HPAGE_PMD_NR)
        yield from self.folio_add_lru_vma(folio, vmf.vma)
        yield store(vmf.pmd, entry)

    def get_huge_zero_folio(self) -> Gen[Folio]:
        """The machine's one huge zero folio, made at its first use."""
        known = yield load(Globals.huge_zero)
        if known:
            return Folio(known)
        folio = Folio((yield alloc(Struct.PAGE, HPAGE_PMD_ORDER)) | HPAGE_PMD_ORDER)
        if (yield cas(Globals.huge_zero, 0, folio)):
            return folio
        return Folio((yield load(Globals.huge_zero)))

    def set_huge_zero_folio(self, vmf: VmFault) -> Gen[int]:
        """Map the huge zero folio read-only: nothing is counted."""
        zero = yield from self.get_huge_zero_folio()
        entry = pfn_pte(zero.pfn, (yield from self.vm_page_prot(vmf.vma))) | PTE_HUGE | PTE_SPECIAL
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if not (yield load(vmf.pmd)):
            yield store(vmf.pmd, entry)
        yield unlock(ptl)
        return 0

    def huge_pmd_set_accessed(self, vmf: VmFault) -> Gen[None]:
        """Set young (and dirty for a write) in the PMD (touch_pmd)."""
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if (yield load(vmf.pmd)) == vmf.orig_pte:
            entry = pte_mkyoung(vmf.orig_pte)
            if vmf.flags & FAULT_FLAG_WRITE:
                entry = pte_mkdirty(entry)
            yield from self.pmdp_set_access_flags(vmf.mm, vmf.address, vmf.pmd, entry)
        yield unlock(ptl)

    def pmdp_set_access_flags(self, mm: Mm, addr: int, pmd: int, entry: int) -> Gen[None]:
        """Add young, dirty or write to a PMD leaf."""
        while True:
            pmdval = yield load(pmd)
            if (yield cas(pmd, pmdval, access_flags(pmdval, entry))):
                break
        yield tlb_flush(mm, addr & -HPAGE_PMD_NR, (addr & -HPAGE_PMD_NR) + HPAGE_PMD_NR)

    # -- copy on write -------------------------------------------------------------------

    def do_huge_pmd_wp_page(self, vmf: VmFault) -> Gen[bool]:
        """Reuse the whole folio, or split the PMD and let the PTE path copy one page."""
        if vmf.orig_pte & PTE_SPECIAL:
            if self.huge_zero_wp_allocates and (yield from self.do_huge_zero_wp_pmd(vmf)):
                return True
            yield from self.split_huge_pmd(vmf.vma, vmf.pmd, vmf.address)
            return False
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if (yield load(vmf.pmd)) != vmf.orig_pte:
            yield unlock(ptl)
            return True
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(vmf.orig_pte)))
        same, locked = yield from self.wp_huge_lock(vmf, folio, ptl)
        if not same:
            yield unlock(ptl)
            return True
        if (yield from self.wp_huge_reuse(vmf, folio, locked)):
            if not vmf.flags & FAULT_FLAG_UNSHARE:
                entry = pte_mkdirty(pte_mkyoung(vmf.orig_pte))
                entry = yield from self.maybe_mkwrite(entry, vmf.vma)
                yield from self.pmdp_set_access_flags(vmf.mm, vmf.address, vmf.pmd, entry)
            yield unlock(ptl)
            return True
        yield unlock(ptl)
        yield from self.split_huge_pmd(vmf.vma, vmf.pmd, vmf.address)
        return False

    def wp_huge_lock(self, vmf: VmFault, folio: Folio, ptl: int) -> Gen[tuple[bool, bool]]:
        """Lock the folio of a leaf unless it is exclusive: (the leaf is what it was, locked).

        A folio that is locked is waited for without the leaf's lock.
        """
        if (yield load(folio.flags)) & PG_anon_exclusive:
            return True, False
        if not (yield bits(folio.flags, PG_locked)) & PG_locked:
            return True, True
        yield from self.folio_get(folio)
        yield unlock(ptl)
        yield lock_bit(folio.flags, PG_locked)
        yield lock(ptl)
        same = (yield load(vmf.pmd)) == vmf.orig_pte
        if not same:
            yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return same, same

    def wp_huge_reuse(self, vmf: VmFault, folio: Folio, locked: bool) -> Gen[bool]:
        """Is the folio ours alone? Decided under the folio lock, given up here, by its reference.

        An exclusive one need not be locked.
        """
        reuse = bool((yield load(folio.flags)) & PG_anon_exclusive)
        if not reuse:
            reuse = (yield load(folio._refcount)) == 1
            if reuse:
                yield from self.folio_move_anon_rmap(folio, vmf.vma)
                yield bits(folio.flags, PG_anon_exclusive)
        if locked:
            yield bits(folio.flags, 0, PG_locked)
        return reuse

    def do_huge_zero_wp_pmd(self, vmf: VmFault) -> Gen[bool]:
        """A write to the huge zero page: a whole fresh folio takes its place (6.13)."""
        folio = yield from self.vma_alloc_anon_folio_pmd()
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if (yield load(vmf.pmd)) != vmf.orig_pte:
            yield unlock(ptl)
            yield from self.folio_put(folio)
            return True
        haddr = vmf.address & -HPAGE_PMD_NR
        yield xchg(vmf.pmd, 0)
        yield tlb_flush(vmf.mm, haddr, haddr + HPAGE_PMD_NR)
        yield from self.map_anon_folio_pmd(vmf, folio)
        yield unlock(ptl)
        return True
