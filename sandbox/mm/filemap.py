"""Mapping page-cache folios: read, shared and private faults, fault-around.

Source: mm/memory.c (do_fault, finish_fault, set_pte_range), mm/filemap.c (filemap_map_pages); 6.6.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pfn_pte, pte_mkdirty, pte_mkyoung, pte_write
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    Folio,
    Gen,
    Mapping,
    Vma,
    add,
    bits,
    copy_page,
    load,
    lock_bit,
    note,
    unlock,
)
from sandbox.mm.flags import (
    FAULT_FLAG_WRITE,
    HOST_SHMEM,
    HOST_XFS,
    MM_ANONPAGES,
    VM_SHARED,
    PG_dirty,
    PG_locked,
    PG_private,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault

FAULT_AROUND = 16
"""Pages around a read fault that are mapped if they are cached (fault_around_bytes, 64K)."""


class FilemapMixin(KernelPart):
    """do_fault and what it maps."""

    finish_fault_whole = ""
    """Which files' folios a fault maps whole: none, `anon_shmem` (6.12) or `all` (6.17)."""
    mkdirty_if_folio_dirty = False
    """6.17 and later: a writable entry for a dirty folio is born dirty."""
    fault_around_iterator_ref = False
    """7.2 and later: the iterator's reference pays for one of the mapped pages."""

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
        if (yield load(vmf.pmd)) and (yield from self.do_fault_around(vmf)):
            return 0
        folio = yield from self.vm_ops_fault(vmf)
        done = yield from self.finish_fault(vmf, folio, False)
        yield bits(folio.flags, 0, PG_locked)
        if not done:
            yield from self.folio_put(folio)
        return 0

    def do_shared_fault(self, vmf: VmFault) -> Gen[int]:
        """Let the filesystem know, map the page writable, mark it dirty."""
        folio = yield from self.vm_ops_fault(vmf)
        yield from self.do_page_mkwrite(folio)
        done = yield from self.finish_fault(vmf, folio, True)
        if done:
            yield from self.folio_mark_dirty(folio)
        yield bits(folio.flags, 0, PG_locked)
        if not done:
            yield from self.folio_put(folio)
        return 0

    def do_page_mkwrite(self, folio: Folio) -> Gen[None]:
        """XFS attaches its block state to a folio that is about to be written through a mapping."""
        mapping = Mapping((yield load(folio.mapping)))
        if not mapping or (yield load(mapping.host)) != HOST_XFS or not folio.large:
            return
        if not (yield bits(folio.flags, PG_private)) & PG_private:
            yield add(folio._refcount, 1)

    def do_cow_fault(self, vmf: VmFault) -> Gen[int]:
        """Private write: copy first, map the copy, let the cached page go."""
        ret = yield from self.vmf_anon_prepare(vmf)
        if ret:
            return ret
        new = yield from self.vma_alloc_folio(0)
        folio = yield from self.vm_ops_fault(vmf)
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
        if not self.finish_fault_counts_last:
            yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)
        yield from self.folio_add_new_anon_rmap(new, vmf.vma, vmf.address)
        yield from self.folio_add_lru_vma(new, vmf.vma)
        yield from self.set_pte_at(vmf.mm, vmf.address, vmf.pte, entry)
        if self.finish_fault_counts_last:
            yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)
        yield unlock(vmf.ptl)

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
        locked = yield from self.finish_fault_lock(vmf)
        if locked is None:
            return False
        vmf = locked
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        at = index - (yield load(folio.index))
        nr, first = 1, at
        if folio.large and (yield from self.finish_fault_fits(vmf, folio, at)):
            nr, first = folio.nr_pages, 0
            yield from self.folio_ref_add(folio, nr - 1)
        addr, ptep = vmf.address - (at - first), vmf.pte - (at - first)
        yield from self.set_pte_range(vmf, folio, first, nr, addr, ptep, write)
        yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(folio))), nr)
        yield unlock(vmf.ptl)
        return True

    def finish_fault_fits(self, vmf: VmFault, folio: Folio, at: int) -> Gen[bool]:
        """Does the folio lie whole in the VMA and the table, all its entries empty?"""
        host = yield load(Mapping((yield load(vmf.vma.vm_file))).host)
        if self.finish_fault_whole != "all" and (self.finish_fault_whole, host) != (
            "anon_shmem",
            HOST_SHMEM,
        ):
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
        """rmap, then the entries; the references are there already (or follow: fault-around)."""
        page = folio.page(first)
        entry = pte_mkyoung(pfn_pte(page.pfn, (yield from self.vm_page_prot(vmf.vma))))
        if write:
            entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vmf.vma)
        elif self.mkdirty_if_folio_dirty and pte_write(entry):
            dirty = (yield load(folio.flags)) & PG_dirty
            entry = pte_mkdirty(entry) if dirty else entry
        yield from self.folio_add_file_rmap_ptes(folio, page, nr, vmf.vma)
        yield from self.set_ptes(vmf.mm, addr, ptep, entry, nr)

    # -- fault-around ----------------------------------------------------------------------

    def do_fault_around(self, vmf: VmFault) -> Gen[bool]:
        """Map cached pages of the window; True when the faulting entry is among them."""
        start = max(vmf.address & -FAULT_AROUND, (yield load(vmf.vma.vm_start)))
        end = min((vmf.address & -FAULT_AROUND) + FAULT_AROUND, (yield load(vmf.vma.vm_end)))
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, start)
        if not ptl:
            return False
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        addr = start
        while addr < end:
            index = yield from self.linear_page_index(vmf.vma, addr)
            folio = yield from self.next_uptodate_folio(mapping, index)
            if folio is None:
                addr += 1
                continue
            at = index - (yield load(folio.index))
            nr = min(folio.nr_pages - at, end - addr)
            yield from self.filemap_map_folio_range(vmf, folio, at, nr, addr, pte + addr - start)
            addr += nr
        done = bool((yield from self.ptep_get(pte + vmf.address - start)))
        yield unlock(ptl)
        return done

    def next_uptodate_folio(self, mapping: Mapping, index: int) -> Gen[Folio | None]:
        """The cached folio, referenced and locked; None for a hole or a busy one."""
        folio = yield from self.filemap_get_folio(mapping, index)
        if folio is None:
            return None
        busy = (yield bits(folio.flags, PG_locked)) & PG_locked
        ok = not busy and (yield load(folio.mapping)) == mapping
        if ok and (yield load(folio.flags)) & PG_uptodate:
            return folio
        if not busy:
            yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return None

    def filemap_map_folio_range(
        self, vmf: VmFault, folio: Folio, at: int, nr: int, addr: int, ptep: int
    ) -> Gen[None]:
        """Runs of empty entries: mapped first, referenced after (known window W2)."""
        i, kept = 0, False
        while i < nr:
            run = 0
            while i + run < nr and not (yield from self.ptep_get(ptep + i + run)):
                run += 1
            if run:
                yield from self.map_around_run(vmf, folio, at + i, run, addr + i, ptep + i)
                pays = 1 if self.fault_around_iterator_ref and not kept else 0
                kept = kept or bool(pays)
                if run - pays:
                    yield from self.folio_ref_add(folio, run - pays)
                yield note("window_close", "W2", folio & ADDR_MASK)
            i += run or 1
        yield bits(folio.flags, 0, PG_locked)
        if not kept:
            yield from self.folio_put(folio)

    def map_around_run(
        self, vmf: VmFault, folio: Folio, at: int, nr: int, addr: int, ptep: int
    ) -> Gen[None]:
        """rmap, entries and rss of one run."""
        yield note("window_open", "W2", folio & ADDR_MASK)
        yield from self.set_pte_range(vmf, folio, at, nr, addr, ptep, False)
        yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(folio))), nr)

    # -- write to a read-only shared entry -------------------------------------------------

    def wp_page_shared(self, vmf: VmFault, folio: Folio | None) -> Gen[int]:
        """A shared mapping: nothing is copied; the filesystem is asked, the entry made writable."""
        if folio is None:
            yield unlock(vmf.ptl)
            return 0
        yield from self.folio_get(folio)
        if (yield from self.vma_wants_writenotify(vmf.vma)):
            yield unlock(vmf.ptl)
            yield lock_bit(folio.flags, PG_locked)
            ok = (yield load(folio.mapping)) != 0  # else truncated: fault again
            if ok:
                yield from self.do_page_mkwrite(folio)
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
        """Whether the filesystem must hear of the first write (mm/vma.c)."""
        mapping = Mapping((yield load(vma.vm_file)))
        return bool(mapping) and (yield load(mapping.host)) == HOST_XFS
