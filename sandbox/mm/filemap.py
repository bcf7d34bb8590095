"""Mapping cached pages around a read fault (mm/filemap.c filemap_map_pages, mm/memory.c; 6.6)."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import ADDR_MASK, Folio, Gen, Mapping, add, bits, load, note, unlock
from sandbox.mm.flags import HOST_XFS, VM_UFFD_WP, PG_locked, PG_readahead, PG_uptodate
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf

FAULT_AROUND = 16
"""Pages around a read fault that are mapped if they are cached (fault_around_bytes, 64K)."""


class FilemapMixin(KernelPart):
    """Finding cached folios, and fault-around."""

    fault_around_iterator_ref = False
    """7.2 and later: the iterator's reference pays for one of the mapped pages."""
    fault_around_spares_eof = False
    """No table is made for a folio that ends with the file: 6.18 and later, and the stable trees of
    November 2025 and later (74207de2ba10)."""
    fault_around_whole = False
    """6.18 and later (Map the entire large folio): beyond the window where the folio fits."""

    def filemap_get_folio(self, mapping: Mapping, index: int) -> Gen[Folio | None]:
        """The cached folio of page *index* with a reference for the caller, or None."""
        slot = (yield load(mapping.i_pages)) + index
        while (found := (yield load(slot))) > 0:
            folio = Folio(found)
            if (yield from self.folio_try_get(folio)):
                if (yield load(slot)) == found:
                    return folio
                yield from self.folio_put(folio)
        return None

    def vm_ops_fault(self, vmf: VmFault) -> Gen[Folio | None]:
        """`filemap_fault` / `shmem_fault`: the folio of the page, locked, with one reference.

        None behind the end of the file (VM_FAULT_SIGBUS).
        """
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        if index >= (yield load(mapping.i_size)):
            return None
        if (yield load(mapping.host)) != HOST_XFS:
            return (yield from self.shmem_fault(vmf, mapping, index))
        while True:
            folio = yield from self.filemap_lock_folio(mapping, index)
            if folio is not None:
                return folio
            yield from self.do_sync_mmap_readahead(vmf.vma, mapping, index)

    def filemap_reads(self, vmf: VmFault) -> Gen[bool]:
        """Has a fault to read from the disk, and so to begin again (VM_FAULT_RETRY)?

        The locks of a fault are given up for that (`maybe_unlock_mmap_for_io`).
        """
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        if (yield load(mapping.host)) != HOST_XFS:
            return False
        index = yield from self.linear_page_index(vmf.vma, vmf.address)
        if index >= (yield load(mapping.i_size)):
            return False
        if (yield load((yield load(mapping.i_pages)) + index)):
            return (yield from self.do_async_mmap_readahead(mapping, index))
        yield from self.do_sync_mmap_readahead(vmf.vma, mapping, index)
        return True

    # -- fault-around ----------------------------------------------------------------------

    def do_fault_around(self, vmf: VmFault) -> Gen[bool]:
        """Map cached pages of the window; True when the fault is dealt with.

        Not where userfaultfd watches (`uffd_disable_fault_around`).
        """
        if (yield load(vmf.vma.vm_flags)) & VM_UFFD_WP:
            return False
        start, end = yield from self.fault_around_window(vmf)
        return (yield from self.filemap_map_pages(vmf, start, end))

    def fault_around_window(self, vmf: VmFault) -> Gen[tuple[int, int]]:
        """[start, end) of virtual pages: from an aligned start, clamped to VMA and table.

        The length counts from the clamped start.
        """
        start = max(vmf.address & -FAULT_AROUND, (yield load(vmf.vma.vm_start)))
        end = min(start + FAULT_AROUND, (vmf.address | 511) + 1, (yield load(vmf.vma.vm_end)))
        return start, end

    def filemap_map_pages(self, vmf: VmFault, start: int, end: int) -> Gen[bool]:
        """Map what is cached of [start, end), a leaf if a whole one is there.

        The first cached folio decides whether a table is made (`filemap_map_pmd`).
        """
        mapping = Mapping((yield load(vmf.vma.vm_file)))
        shift = (yield from self.linear_page_index(vmf.vma, start)) - start
        end = min(end, (yield load(mapping.i_size)) - shift)
        found = yield from self.next_uptodate_folio(mapping, start + shift, end + shift)
        if found is None:
            return False
        folio, index = found
        eof = yield from self.folio_reaches_eof(mapping, folio)
        if not eof and (yield from self.filemap_map_pmd(vmf, folio)):
            return True
        pte = ptl = 0
        if (yield load(vmf.pmd)):
            pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, start)
        if not ptl:
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return False
        member = yield from self.mm_counter_file(folio)
        rss, done = 0, False
        while found is not None:
            folio, index = found
            addr = index - shift
            nr = min((yield load(folio.index)) + folio.nr_pages, end + shift) - index
            mapped = yield from self.filemap_map_folio_range(
                vmf, folio, index, nr, pte + addr - start
            )
            rss += sum(n for _, n in mapped)
            done = done or any(first <= vmf.address < first + n for first, n in mapped)
            if not mapped and self.fault_around_iterator_ref:
                yield from self.folio_put(folio)
            yield bits(folio.flags, 0, PG_locked)
            if not self.fault_around_iterator_ref:
                yield from self.folio_put(folio)
            found = yield from self.next_uptodate_folio(mapping, index + nr, end + shift)
        if rss:
            yield add(vmf.mm.rss_stat(member), rss)
        yield unlock(ptl)
        return done

    def folio_reaches_eof(self, mapping: Mapping, folio: Folio) -> Gen[bool]:
        """Is a folio the last of a file that is not shared memory, where that matters?

        The bound that the stable fix compares with is the last page's index, not the size.
        """
        if not self.fault_around_spares_eof or (yield load(mapping.host)) != HOST_XFS:
            return False
        last = (yield load(mapping.i_size)) - 1
        return last < (yield load(folio.index)) + folio.nr_pages

    def filemap_map_pmd(self, vmf: VmFault, folio: Folio) -> Gen[bool]:
        """Map a folio of the PMD's size by a leaf; else see to it that there is a table."""
        pmdval = yield load(vmf.pmd)
        if pmd_is_leaf(pmdval):
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return True
        if not pmdval:
            if (yield from self.do_set_pmd(vmf, folio, False)):
                yield bits(folio.flags, 0, PG_locked)
                return True
            yield from self.pte_alloc(vmf.mm, vmf.pmd, vmf.address)
        return False

    def next_uptodate_folio(
        self, mapping: Mapping, index: int, end: int
    ) -> Gen[tuple[Folio, int] | None]:
        """The next cached folio of [index, end), referenced and locked, and the page it is at.

        Holes and busy folios are passed over.
        """
        slots = yield load(mapping.i_pages)
        while index < end:
            entry = yield load(slots + index)
            if entry <= 0:
                index += 1
                continue
            folio = Folio(entry)
            next_ = index + folio.nr_pages - (index & (folio.nr_pages - 1))
            if (yield from self.folio_try_get(folio)):
                if (yield from self.uptodate_folio_lock(mapping, folio, slots + index)):
                    return folio, index
                yield from self.folio_put(folio)
            index = next_
        return None

    def uptodate_folio_lock(self, mapping: Mapping, folio: Folio, slot: int) -> Gen[bool]:
        """Lock a referenced folio if it is free to be mapped and still where it was found."""
        if (yield load(folio.flags)) & PG_locked or (yield load(slot)) != folio:
            return False
        if (yield load(folio.flags)) & (PG_uptodate | PG_readahead) != PG_uptodate:
            return False
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        if (yield load(folio.mapping)) == mapping and (yield load(folio.flags)) & PG_uptodate:
            return True
        yield bits(folio.flags, 0, PG_locked)
        return False

    def filemap_map_folio_range(
        self, vmf: VmFault, folio: Folio, index: int, nr: int, ptep: int
    ) -> Gen[tuple[tuple[int, int], ...]]:
        """Runs of empty entries, as (virtual page, pages): mapped first, referenced after (W2).

        *nr* pages from file page *index* on, whose entry is *ptep*; the whole folio where it fits.
        """
        at = index - (yield load(folio.index))
        addr = vmf.address - (yield from self.linear_page_index(vmf.vma, vmf.address)) + index
        if folio.large and (yield from self.fault_around_fits(vmf, folio, addr - at)):
            addr, ptep, at, nr = addr - at, ptep - at, 0, folio.nr_pages
        runs: tuple[tuple[int, int], ...] = ()
        i = 0
        while i < nr:
            run = 0
            while i + run < nr and not (yield from self.ptep_get(ptep + i + run)):
                run += 1
            if run:
                yield note("window_open", "W2", folio & ADDR_MASK)
                yield from self.set_pte_range(vmf, folio, at + i, run, addr + i, ptep + i, False)
                pays = 1 if self.fault_around_iterator_ref and not runs else 0
                if run - pays:
                    yield from self.folio_ref_add(folio, run - pays)
                yield note("window_close", "W2", folio & ADDR_MASK)
                runs = (*runs, (addr + i, run))
            i += run + 1
        return runs

    def fault_around_fits(self, vmf: VmFault, folio: Folio, start: int) -> Gen[bool]:
        """May a large folio be mapped whole: within the file, the VMA and the table?"""
        if not self.fault_around_whole:
            return False
        if (yield from self.folio_reaches_eof(Mapping((yield load(vmf.vma.vm_file))), folio)):
            return False
        end = start + folio.nr_pages
        if start < (yield load(vmf.vma.vm_start)) or end > (yield load(vmf.vma.vm_end)):
            return False
        return start & ~511 == (end - 1) & ~511
