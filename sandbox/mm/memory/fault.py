"""Page faults: entry, anonymous pages, the zero page (mm/memory.c, 6.6)."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PAGE_NONE,
    PAGE_READONLY,
    PAGE_SHARED,
    PTE_MARKER,
    PTE_SPECIAL,
    pfn_pte,
    pte_mkdirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_mkyoung,
    pte_present,
    pte_protnone,
    pte_write,
)
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    alloc,
    bits,
    load,
    lock,
    page_of_pfn,
    trylock,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_VMA_LOCK,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    VM_FAULT_RETRY,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    PG_large_rmappable,
    PG_uptodate,
)
from sandbox.mm.pgalloc import pmd_is_leaf


class VmFault(NamedTuple):
    """What a fault knows (struct vm_fault, include/linux/mm.h); `address` in pages.

    A value: what is learned on the way makes another one (`_replace`).
    """

    mm: Mm
    vma: Vma
    address: int
    flags: int
    pmd: int
    pte: int = 0
    ptl: int = 0
    orig_pte: int = 0
    page: Page | None = None


class FaultMixin(KernelPart):
    """The fault path up to the decision what kind of fault it is."""

    def find_vma(self, mm: Mm, addr: int) -> Gen[Vma | None]:
        """The VMA that holds virtual page *addr*, or None (`vma_lookup`)."""
        vma = Vma((yield load(mm.mm_mt)))
        while vma and (yield load(vma.vm_start)) <= addr:
            if addr < (yield load(vma.vm_end)):
                return vma
            vma = Vma((yield load(vma.vm_next)))
        return None

    def do_page_fault(self, mm: Mm, addr: int, write: bool) -> Gen[int]:
        """Handle one user fault under the VMA's lock; 0, or -EFAULT for a bad access.

        What cannot be done so is done again under mmap_lock (VM_FAULT_RETRY).
        """
        flags = FAULT_FLAG_WRITE if write else 0
        wanted = VM_WRITE if write else VM_READ
        yield lock(mm.mmap_lock, READ)
        vma = yield from self.find_vma(mm, addr)
        if vma is None:
            yield unlock(mm.mmap_lock)
            return -EFAULT
        if not (yield from self.vma_lock_suffices(vma)):
            return (yield from self.fault_mmap_locked(mm, vma, addr, flags, wanted))
        yield lock(vma.vm_lock, READ)
        yield unlock(mm.mmap_lock)
        if not (yield load(vma.vm_flags)) & wanted:
            yield unlock(vma.vm_lock)
            return -EFAULT
        ret = yield from self.handle_mm_fault(mm, vma, addr, flags | FAULT_FLAG_VMA_LOCK)
        yield unlock(vma.vm_lock)
        if ret != VM_FAULT_RETRY:
            return ret
        yield lock(mm.mmap_lock, READ)
        vma = yield from self.find_vma(mm, addr)
        return (yield from self.fault_mmap_locked(mm, vma, addr, flags, wanted))

    anon_prepare_trylock = False
    """6.10 and later (737019cf6aab): a first anonymous page needs mmap_lock for a moment only."""

    def vma_lock_suffices(self, vma: Vma) -> Gen[bool]:
        """May the fault be handled under the VMA's lock alone (`lock_vma_under_rcu`)?

        Before 6.10 not without an anon_vma, for the neighbours' are looked at.
        """
        if self.anon_prepare_trylock or (yield load(vma.vm_file)):
            return True
        return bool((yield load(vma.anon_vma)))

    def fault_mmap_locked(
        self, mm: Mm, vma: Vma | None, addr: int, flags: int, wanted: int
    ) -> Gen[int]:
        """A fault under mmap_lock, which is held for reading and given up at the end."""
        ret = -EFAULT
        if vma is not None and (yield load(vma.vm_flags)) & wanted:
            ret = yield from self.handle_mm_fault(mm, vma, addr, flags)
        yield unlock(mm.mmap_lock)
        return ret

    def vmf_anon_prepare(self, vmf: VmFault) -> Gen[int]:
        """An anon_vma for the VMA; VM_FAULT_RETRY when mmap_lock is not to be had for it."""
        if (yield load(vmf.vma.anon_vma)):
            return 0
        if not vmf.flags & FAULT_FLAG_VMA_LOCK:
            yield from self._anon_vma_prepare(vmf.vma)
            return 0
        if not self.anon_prepare_trylock or not (yield trylock(vmf.mm.mmap_lock, READ)):
            return VM_FAULT_RETRY
        yield from self._anon_vma_prepare(vmf.vma)
        yield unlock(vmf.mm.mmap_lock)
        return 0

    def handle_mm_fault(self, mm: Mm, vma: Vma, addr: int, flags: int) -> Gen[int]:
        """Walk to the PMD, try a huge page, else handle the entry (`__handle_mm_fault`)."""
        pmd = yield from self.pmd_alloc(mm, addr)
        vmf = VmFault(mm, vma, addr, flags, pmd)
        ret: int | None = yield from self.handle_pmd_fault(vmf)
        if ret is not None:
            return ret
        return (yield from self.handle_pte_fault(vmf))

    def handle_pte_fault(self, vmf: VmFault) -> Gen[int]:
        """Dispatch on what the entry holds."""
        pmdval = yield load(vmf.pmd)
        ptep = pte = 0
        if pmd_is_leaf(pmdval):  # another CPU has put a huge page there
            return 0
        if pmdval:
            ptep = self.pte_offset_map(pmdval, vmf.address)
            pte = yield from self.ptep_get_lockless(ptep)
        vmf = vmf._replace(pte=ptep, orig_pte=pte)
        if not pte:
            return (yield from self.do_pte_missing(vmf))
        if not pte_present(pte):
            return (yield from self.do_swap_page(vmf))
        if pte_protnone(pte) and (yield load(vmf.vma.vm_flags)) & (VM_READ | VM_WRITE):
            return (yield from self.do_numa_page(vmf))
        vmf = vmf._replace(ptl=self.pte_lockptr(vmf.pte, vmf.address))
        yield lock(vmf.ptl)
        if (yield from self.ptep_get(vmf.pte)) != pte:
            yield unlock(vmf.ptl)
            return 0
        if vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE):
            if not pte_write(pte):
                return (yield from self.do_wp_page(vmf))
            if vmf.flags & FAULT_FLAG_WRITE:
                pte = pte_mkdirty(pte)
        write = bool(vmf.flags & FAULT_FLAG_WRITE)
        yield from self.ptep_set_access_flags(vmf.mm, vmf.address, vmf.pte, pte_mkyoung(pte), write)
        yield unlock(vmf.ptl)
        return 0

    def do_pte_missing(self, vmf: VmFault) -> Gen[int]:
        """Nothing mapped: anonymous memory, or ask the file."""
        if (yield load(vmf.vma.vm_file)):
            return (yield from self.do_fault(vmf))
        return (yield from self.do_anonymous_page(vmf))

    def vm_page_prot(self, vma: Vma) -> Gen[int]:
        """Protection of fresh entries: never writable for private memory (protection_map)."""
        vm_flags = yield load(vma.vm_flags)
        if not vm_flags & (VM_READ | VM_WRITE):
            return PAGE_NONE
        if vm_flags & VM_SHARED and (yield from self.vma_wants_writenotify(vma)):
            return PAGE_READONLY
        return (
            PAGE_SHARED
            if vm_flags & (VM_SHARED | VM_WRITE) == VM_SHARED | VM_WRITE
            else PAGE_READONLY
        )

    def do_anonymous_page(self, vmf: VmFault) -> Gen[int]:
        """First access to anonymous memory: the zero page for reads, a fresh folio for writes."""
        yield from self.pte_alloc(vmf.mm, vmf.pmd, vmf.address)
        if not vmf.flags & FAULT_FLAG_WRITE:
            return (yield from self.do_anonymous_zero_page(vmf))
        ret = yield from self.vmf_anon_prepare(vmf)
        if ret:
            return ret
        folio: Folio | None = yield from self.alloc_anon_folio(vmf)
        if folio is None:
            return 0
        addr = vmf.address & -folio.nr_pages
        yield bits(folio.flags, PG_uptodate)
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, addr)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if not (yield from self.still_none(vmf, folio)):
            if vmf.ptl:
                yield unlock(vmf.ptl)
            yield from self.folio_put(folio)
            return 0
        yield from self.map_anon_folio(vmf, folio, addr)
        yield unlock(vmf.ptl)
        return 0

    def still_none(self, vmf: VmFault, folio: Folio) -> Gen[bool]:
        """Re-check under the lock that nobody else filled the range."""
        if not vmf.ptl:
            return False
        if not folio.large:
            return (yield from self.ptep_get(vmf.pte)) == vmf.orig_pte
        return (yield from self.pte_range_none(vmf.pte, folio.nr_pages))

    def pte_range_none(self, ptep: int, nr: int) -> Gen[bool]:
        """Are *nr* entries empty?"""
        for i in range(nr):
            if (yield from self.ptep_get_lockless(ptep + i)):
                return False
        return True

    def map_anon_folio(self, vmf: VmFault, folio: Folio, addr: int) -> Gen[None]:
        """References, rss, rmap, LRU and last the entries (do_anonymous_page, after its checks)."""
        entry = pte_mkyoung(pfn_pte(folio.pfn, (yield from self.vm_page_prot(vmf.vma))))
        if (yield load(vmf.vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(pte_mkdirty(entry))
        if vmf.orig_pte & PTE_MARKER:  # vmf_orig_pte_uffd_wp(): the write faults once more
            entry = pte_mkuffd_wp(entry)
        if folio.large:
            yield from self.folio_ref_add(folio, folio.nr_pages - 1)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), folio.nr_pages)
        yield from self.folio_add_new_anon_rmap(folio, vmf.vma, addr)
        yield from self.folio_add_lru_vma(folio, vmf.vma)
        yield from self.set_ptes(vmf.mm, addr, vmf.pte, entry, folio.nr_pages)

    def do_anonymous_zero_page(self, vmf: VmFault) -> Gen[int]:
        """Map the zero page: no reference, no mapcount, no rss."""
        zero = Page((yield load(Globals.zero_page)))
        entry = pfn_pte(zero.pfn, (yield from self.vm_page_prot(vmf.vma))) | PTE_SPECIAL
        if vmf.orig_pte & PTE_MARKER:
            entry = pte_mkuffd_wp(entry)
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if vmf.ptl:
            if (yield from self.ptep_get(vmf.pte)) == vmf.orig_pte:
                yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, entry)
            yield unlock(vmf.ptl)
        return 0

    def alloc_anon_folio(self, vmf: VmFault) -> Gen[Folio | None]:
        """A zeroed folio for the fault: 6.6 knows order 0 only below the PMD size.

        None when there is no table to look at any more: fault again.
        """
        return (yield from self.vma_alloc_folio(0))

    def vma_alloc_folio(self, order: int) -> Gen[Folio]:
        """Allocate a folio: one reference, no mapping."""
        folio = Folio((yield alloc(Struct.PAGE, order)) | order)
        if order:
            yield bits(folio.flags, PG_large_rmappable)
        return folio

    def vm_normal_page(self, pte: int) -> Gen[Page | None]:
        """The page an entry maps, or None for special entries (zero page)."""
        if pte & PTE_SPECIAL:
            return None
        page = page_of_pfn(pte >> 16)
        if page == (yield load(Globals.zero_page)):
            return None
        return page

    def page_folio(self, page: Page) -> Gen[Folio]:
        """The folio a page belongs to: one load of its compound_head."""
        return Folio((yield load(page.compound_head)))

    def do_numa_page(self, vmf: VmFault) -> Gen[int]:
        """A PROT_NONE entry in an accessible VMA: make it accessible again."""
        vmf = vmf._replace(ptl=self.pte_lockptr(vmf.pte, vmf.address))
        yield lock(vmf.ptl)
        yield unlock(vmf.ptl)
        return -EFAULT
