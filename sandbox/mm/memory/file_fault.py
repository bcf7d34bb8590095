"""Faults on file-backed memory: read, private and shared write, and mapping what was found.

Source: mm/memory.c (do_fault, finish_fault, do_set_pmd, set_pte_range, wp_page_shared; 6.6).
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    HPAGE_PMD_ORDER,
    PTE_HUGE,
    PTE_MARKER,
    pfn_pte,
    pte_mkdirty,
    pte_mkold,
    pte_mkuffd_wp,
    pte_mkyoung,
    pte_write,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mapping,
    Vma,
    add,
    bits,
    copy_page,
    load,
    lock,
    lock_bit,
    store,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_WRITE,
    HOST_SHMEM,
    HOST_XFS,
    MM_ANONPAGES,
    VM_NOHUGEPAGE,
    VM_SHARED,
    VM_UFFD_WP,
    PG_dirty,
    PG_locked,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf


class FileFaultMixin(KernelPart):
    """do_fault and what it maps."""

    finish_fault_whole = ""
    """Which files' folios a fault maps whole: none, `anon_shmem` (6.12) or `all` (6.17)."""
    finish_fault_spares_eof = False
    """No whole mapping of what ends behind the file: as `fault_around_spares_eof`."""
    mkdirty_if_folio_dirty = False
    """6.17 and later: a writable entry for a dirty folio is born dirty."""

    finish_fault_counts_last = False
    """6.11 and later: rss is counted behind the entries."""

    def do_fault(self, vmf: VmFault) -> Gen[int]:
        """Read, private write or shared write of file-backed memory."""
        if not vmf.flags & FAULT_FLAG_WRITE:
            return (yield from self.do_read_fault(vmf))
        if (yield load(vmf.vma.vm_flags)) & VM_SHARED:
            return (yield from self.do_shared_fault(vmf))
        return (yield from self.do_cow_fault(vmf))

    def do_read_fault(self, vmf: VmFault) -> Gen[int]:
        """Map what is cached around the fault, or the page itself."""
        if (yield from self.do_fault_around(vmf)):
            return 0
        if (yield from self.filemap_reads(vmf)):
            return 0
        folio = yield from self.vm_ops_fault(vmf)
        if folio is None:
            return -EFAULT
        done = yield from self.finish_fault(vmf, folio, False)
        yield bits(folio.flags, 0, PG_locked)
        if not done:
            yield from self.folio_put(folio)
        return 0

    def do_shared_fault(self, vmf: VmFault) -> Gen[int]:
        """Let the filesystem know, map the page writable, mark it dirty."""
        if (yield from self.filemap_reads(vmf)):
            return 0
        folio = yield from self.vm_ops_fault(vmf)
        if folio is None:
            return -EFAULT
        if (yield from self.vm_ops_needs_writenotify(vmf.vma)):
            yield bits(folio.flags, 0, PG_locked)
            if not (yield from self.do_page_mkwrite(folio)):
                yield from self.folio_put(folio)
                return 0
        done = yield from self.finish_fault(vmf, folio, True)
        if done:  # fault_dirty_shared_page()
            yield from self.folio_mark_dirty(folio)
        yield bits(folio.flags, 0, PG_locked)
        if not done:
            yield from self.folio_put(folio)
        return 0

    def do_page_mkwrite(self, folio: Folio) -> Gen[bool]:
        """Lock and dirty a folio that is about to be written through a mapping.

        False when it was truncated meanwhile: fault again (`iomap_page_mkwrite`).
        """
        yield lock_bit(folio.flags, PG_locked)
        if not (yield load(folio.mapping)):
            yield bits(folio.flags, 0, PG_locked)
            return False
        yield from self.folio_mark_dirty(folio)
        return True

    def do_cow_fault(self, vmf: VmFault) -> Gen[int]:
        """Private write: copy first, map the copy, let the cached page go."""
        ret = yield from self.vmf_anon_prepare(vmf)
        if ret:
            return ret
        if (yield from self.filemap_reads(vmf)):
            return 0
        new = yield from self.vma_alloc_folio(0)
        folio = yield from self.vm_ops_fault(vmf)
        if folio is None:
            yield from self.folio_put(new)
            return -EFAULT
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        yield copy_page(new.page(0), folio.page(index - (yield load(folio.index))))
        yield bits(new.flags, PG_uptodate)
        yield from self.finish_cow_fault(vmf, new)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return 0

    def finish_cow_fault(self, vmf: VmFault, new: Folio) -> Gen[None]:
        """`finish_fault` for a private copy."""
        locked = yield from self.finish_fault_lock(vmf)
        if locked is None:
            yield from self.folio_put(new)
            return
        vmf = locked
        entry = pte_mkyoung(pfn_pte(new.pfn, (yield from self.vm_page_prot(vmf.vma))))
        entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vmf.vma)
        if vmf.orig_pte & PTE_MARKER:
            entry = pte_mkuffd_wp(entry)
        if not self.finish_fault_counts_last:
            yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)
        yield from self.folio_add_new_anon_rmap(new, vmf.vma, vmf.address)
        yield from self.folio_add_lru_vma(new, vmf.vma)
        yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, entry)
        if self.finish_fault_counts_last:
            yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)
        yield unlock(vmf.ptl)

    # -- finish_fault ----------------------------------------------------------------------

    def finish_fault_lock(self, vmf: VmFault) -> Gen[VmFault | None]:
        """Lock the table; None when the entry was filled meanwhile."""
        yield from self.pte_alloc(vmf.mm, vmf.pmd, vmf.address)
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if vmf.ptl and (yield from self.ptep_get(vmf.pte)) == vmf.orig_pte:
            return vmf
        if vmf.ptl:
            yield unlock(vmf.ptl)
        return None

    def finish_fault(self, vmf: VmFault, folio: Folio, write: bool) -> Gen[bool]:
        """Map the page, or the whole folio where that is done and fits; False: not needed."""
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        beyond = yield from self.folio_beyond_eof(mapping, folio)
        if not (yield load(vmf.pmd)) and not beyond:
            done = yield from self.do_set_pmd(vmf, folio, write)
            if done is not None:
                return done
        if pmd_is_leaf((yield load(vmf.pmd))):
            return False
        locked = yield from self.finish_fault_lock(vmf)
        if locked is None:
            return False
        vmf = locked
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        at = index - (yield load(folio.index))
        nr, first = 1, at
        if folio.large and not beyond and (yield from self.finish_fault_fits(vmf, folio, at)):
            nr, first = folio.nr_pages, 0
            yield from self.folio_ref_add(folio, nr - 1)
        addr, ptep = vmf.address - (at - first), vmf.pte - (at - first)
        yield from self.set_pte_range(vmf, folio, first, nr, addr, ptep, write)
        yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(folio))), nr)
        yield unlock(vmf.ptl)
        return True

    def folio_beyond_eof(self, mapping: Mapping, folio: Folio) -> Gen[bool]:
        """Does a folio reach behind the end of its file, where accesses get SIGBUS?

        Shared memory has always been mapped whole.
        """
        if not self.finish_fault_spares_eof or not folio.large:
            return False
        if (yield load(mapping.host)) != HOST_XFS:
            return False
        return (yield load(mapping.i_size)) < (yield load(folio.index)) + folio.nr_pages

    def do_set_pmd(self, vmf: VmFault, folio: Folio, write: bool) -> Gen[bool | None]:
        """Map a folio of the PMD's size by a leaf; None where entries have to do.

        False when another CPU has filled the PMD.
        """
        if folio.order != HPAGE_PMD_ORDER:
            return None
        if not (yield from self.thp_vma_suitable_pmd(vmf.vma, vmf.address)):
            return None
        ptl = self.pmd_lockptr(vmf.pmd, vmf.address)
        yield lock(ptl)
        if (yield load(vmf.pmd)):
            yield unlock(ptl)
            return False
        entry = pfn_pte(folio.pfn, (yield from self.vm_page_prot(vmf.vma))) | PTE_HUGE
        if write:
            entry = pte_mkdirty(pte_mkyoung(entry))
            entry = yield from self.maybe_mkwrite(entry, vmf.vma)
        yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(folio))), HPAGE_PMD_NR)
        yield from self.folio_add_file_rmap_pmd(folio, vmf.vma)
        yield store(vmf.pmd, entry)
        yield unlock(ptl)
        return True

    def thp_vma_suitable_pmd(self, vma: Vma, addr: int) -> Gen[bool]:
        """May a leaf map the file here: allowed, aligned with the file, within the VMA?"""
        if (yield load(vma.vm_flags)) & VM_NOHUGEPAGE:
            return False
        start = yield load(vma.vm_start)
        if (start - (yield load(vma.vm_pgoff))) & (HPAGE_PMD_NR - 1):
            return False
        haddr = addr & -HPAGE_PMD_NR
        return start <= haddr and haddr + HPAGE_PMD_NR <= (yield load(vma.vm_end))

    def finish_fault_fits(self, vmf: VmFault, folio: Folio, at: int) -> Gen[bool]:
        """Does the folio lie whole in the VMA and the table, all its entries empty?"""
        host = yield load(Mapping((yield load(vmf.vma.vm_file))).host)
        if self.finish_fault_whole != "all" and (self.finish_fault_whole, host) != (
            "anon_shmem",
            HOST_SHMEM,
        ):
            return False
        if (yield load(vmf.vma.vm_flags)) & VM_UFFD_WP:  # it wants to hear of each page
            return False
        start = vmf.address - at
        if start < (yield load(vmf.vma.vm_start)):
            return False
        if start + folio.nr_pages > (yield load(vmf.vma.vm_end)):
            return False
        if start & ~511 != (start + folio.nr_pages - 1) & ~511:
            return False
        return (yield from self.pte_range_none(vmf.pte - at, folio.nr_pages))

    def set_pte_range(
        self, vmf: VmFault, folio: Folio, first: int, nr: int, addr: int, ptep: int, write: bool
    ) -> Gen[None]:
        """rmap, then the entries; the references are there already (or follow: fault-around).

        Where the MMU sets the access flag, what was not asked for is born old.
        """
        page = folio.page(first)
        entry = pte_mkyoung(pfn_pte(page.pfn, (yield from self.vm_page_prot(vmf.vma))))
        if self.hw_afdbm and not addr <= vmf.address < addr + nr:
            entry = pte_mkold(entry)
        if write:
            entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vmf.vma)
        elif self.mkdirty_if_folio_dirty and pte_write(entry):
            dirty = (yield load(folio.flags)) & PG_dirty
            entry = pte_mkdirty(entry) if dirty else entry
        if vmf.orig_pte & PTE_MARKER:
            entry = pte_mkuffd_wp(entry)
        yield from self.folio_add_file_rmap_ptes(folio, page, nr, vmf.vma)
        yield from self.set_ptes(vmf.mm, addr, ptep, entry, nr)

    # -- write to a read-only shared entry -------------------------------------------------

    def wp_page_shared(self, vmf: VmFault, folio: Folio | None) -> Gen[int]:
        """A shared mapping: nothing is copied; the filesystem is asked, the entry made writable."""
        if folio is None:
            yield unlock(vmf.ptl)
            return 0
        yield from self.folio_get(folio)
        if (yield from self.vm_ops_needs_writenotify(vmf.vma)):
            yield unlock(vmf.ptl)
            if not (yield from self.do_page_mkwrite(folio)):
                yield from self.folio_put(folio)
                return 0
            ok = yield from self.finish_mkwrite_fault(vmf)
        else:
            yield from self.wp_page_reuse(vmf)
            yield lock_bit(folio.flags, PG_locked)
            ok = True
        if ok:  # fault_dirty_shared_page()
            yield from self.folio_mark_dirty(folio)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return 0

    def finish_mkwrite_fault(self, vmf: VmFault) -> Gen[bool]:
        """Make the entry writable if it is what it was; the folio is locked."""
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if not vmf.ptl:
            return False
        if (yield from self.ptep_get(vmf.pte)) != vmf.orig_pte:
            yield unlock(vmf.ptl)
            return False
        yield from self.wp_page_reuse(vmf)
        return True

    def vma_wants_writenotify(self, vma: Vma) -> Gen[bool]:
        """Whether shared entries are born read-only, for the first write to fault (mm/vma.c)."""
        if (yield from self.vm_ops_needs_writenotify(vma)):
            return True
        return bool((yield load(vma.vm_flags)) & VM_UFFD_WP)

    def vm_ops_needs_writenotify(self, vma: Vma) -> Gen[bool]:
        """Whether the filesystem must hear of the first write (`page_mkwrite`)."""
        mapping = Mapping((yield load(vma.vm_file)))
        return bool(mapping) and (yield load(mapping.host)) == HOST_XFS
