"""Collapsing page-cache folios into one of the PMD's size (mm/khugepaged.c, 6.12)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import HPAGE_PMD_NR, HPAGE_PMD_ORDER, PFN_SHIFT, pte_present
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mapping,
    Mm,
    Page,
    Vma,
    add,
    bits,
    copy_page,
    load,
    lock,
    page_of_pfn,
    store,
    tlb_flush,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    HOST_XFS,
    VM_NOHUGEPAGE,
    VM_UFFD_WP,
    PG_active,
    PG_dirty,
    PG_locked,
    PG_lru,
    PG_private,
    PG_swapbacked,
    PG_unevictable,
    PG_uptodate,
    PG_writeback,
)
from sandbox.mm.khugepaged import Scan
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import PTL_OFFSET, pmd_is_leaf, pmd_table
from sandbox.mm.readahead import Window


class CollapseFileMixin(KernelPart):
    """A range of a file: scanned, collapsed in the cache, and mapped by a leaf."""

    def vma_mapping(self, vma: Vma) -> Gen[Mapping]:
        """The file that a VMA maps, or 0."""
        return Mapping((yield load(vma.vm_file)))

    def collapse_file_range(self, mm: Mm, haddr: int, mapping: Mapping, index: int) -> Gen[Scan]:
        """Collapse in the cache, then map the folio here; mmap_lock is not held.

        7.x writes dirty folios back, and tries once more.
        """
        result: Scan = yield from self.collapse_scan_file(mapping, index)
        if result is Scan.PAGE_DIRTY_OR_WRITEBACK and self.collapse_files:
            end = index + HPAGE_PMD_NR
            if (yield load(mapping.host)) == HOST_XFS:
                yield from self.filemap_write_and_wait_range(mapping, index, end)
                result = yield from self.collapse_scan_file(mapping, index)
        if result is not Scan.PTE_MAPPED_HUGEPAGE:
            return result
        yield lock(mm.mmap_lock, READ)
        result = yield from self.collapse_pte_mapped_thp(mm, haddr)
        yield unlock(mm.mmap_lock)
        return Scan.SUCCEED if result is Scan.PMD_MAPPED else result

    def collapse_scan_file(self, mapping: Mapping, start: int) -> Gen[Scan]:
        """Look at the range in the cache, and collapse it if nothing speaks against it."""
        slots = yield load(mapping.i_pages)
        index = start
        while index < start + HPAGE_PMD_NR:
            value = yield load(slots + index)
            if value <= 0:  # a hole, or swapped out
                index += 1
                continue
            folio = Folio(value)
            if not (yield from self.folio_try_get(folio)):
                continue
            if (yield load(slots + index)) != folio:
                yield from self.folio_put(folio)
                continue
            result = yield from self.collapse_scan_folio(folio)
            yield from self.folio_put(folio)
            if result is not Scan.SUCCEED:
                return result
            index = (yield load(folio.index)) + folio.nr_pages
        return (yield from self.collapse_file(mapping, start))

    def collapse_scan_folio(self, folio: Folio) -> Gen[Scan]:
        """Can one folio be collapsed, as far as can be seen? The caller has a reference."""
        if folio.order >= HPAGE_PMD_ORDER:
            return Scan.PTE_MAPPED_HUGEPAGE
        flags = yield load(folio.flags)
        if not flags & PG_lru:
            return Scan.PAGE_LRU
        expected = 1 + folio.nr_pages + bool(flags & PG_private)
        expected += yield from self.folio_mapcount(folio)
        return Scan.SUCCEED if expected == (yield load(folio._refcount)) else Scan.PAGE_COUNT

    def collapse_file(self, mapping: Mapping, start: int) -> Gen[Scan]:
        """Lock, isolate and unmap the folios, copy them into a new one, and put it in the cache."""
        new = yield from self.vma_alloc_folio(HPAGE_PMD_ORDER)
        shmem = (yield load(mapping.host)) != HOST_XFS
        yield bits(new.flags, PG_locked | (PG_swapbacked if shmem else 0))
        yield store(new.index, start)
        yield store(new.mapping, mapping)
        result, folios = yield from self.collapse_file_folios(mapping, start, shmem)
        if result is not Scan.SUCCEED:
            for folio in folios:
                yield bits(folio.flags, 0, PG_locked)
                yield from self.folio_putback_lru(folio)
                yield from self.folio_put(folio)
            yield store(new.mapping, 0)
            yield bits(new.flags, 0, PG_locked)
            yield from self.folio_put(new)
            return result
        for folio in folios:
            first = (yield load(folio.index)) - start
            for i in range(folio.nr_pages):
                yield copy_page(new.page(first + i), folio.page(i))
        yield from self.collapse_file_replace(mapping, start, new, folios, shmem)
        return Scan.PTE_MAPPED_HUGEPAGE

    def collapse_file_folios(
        self, mapping: Mapping, start: int, shmem: bool
    ) -> Gen[tuple[Scan, tuple[Folio, ...]]]:
        """(Result, the folios that are locked, isolated and unmapped, in order)."""
        folios: tuple[Folio, ...] = ()
        slots, index = (yield load(mapping.i_pages)), start
        while index < start + HPAGE_PMD_NR:
            result, found = yield from self.collapse_file_lock(mapping, slots, index, shmem)
            if found is None and result is Scan.SUCCEED:
                if index == start and (yield from self.collapse_file_empty(slots, start)):
                    return Scan.TRUNCATED, folios
                index += 1
                continue
            if found is None:
                return result, folios
            result = yield from self.collapse_file_isolate(mapping, found, shmem)
            if result is not Scan.SUCCEED:
                yield bits(found.flags, 0, PG_locked)
                yield from self.folio_put(found)
                return result, folios
            folios = (*folios, found)
            index += found.nr_pages
        return Scan.SUCCEED, folios

    def collapse_file_empty(self, slots: int, start: int) -> Gen[bool]:
        """Is nothing of the range in the cache?"""
        for i in range(HPAGE_PMD_NR):
            if (yield load(slots + start + i)):
                return False
        return True

    def collapse_file_lock(
        self, mapping: Mapping, slots: int, index: int, shmem: bool
    ) -> Gen[tuple[Scan, Folio | None]]:
        """The folio at a place of the cache, locked and referenced; a hole stays one in shmem."""
        yield lock(mapping.xa_lock)
        value = yield load(slots + index)
        folio = Folio(value) if value > 0 else None
        result = Scan.SUCCEED
        if folio is not None and not shmem and (yield load(folio.flags)) & PG_dirty:
            result, folio = Scan.PAGE_DIRTY_OR_WRITEBACK, None
        elif folio is not None and (yield bits(folio.flags, PG_locked)) & PG_locked:
            result, folio = Scan.PAGE_LOCK, None
        elif folio is not None:
            yield from self.folio_get(folio)
        yield unlock(mapping.xa_lock)
        if folio is not None or result is not Scan.SUCCEED:
            return result, folio
        if shmem and value:
            folio = yield from self.shmem_swapin_folio(mapping, index, value)
        elif not shmem:
            yield from self.page_cache_ra_unbounded(mapping, Window(index, 1, 2))
            folio = yield from self.filemap_lock_folio(mapping, index)
        else:
            return Scan.SUCCEED, None
        yield from self.lru_add_drain()
        return (Scan.SUCCEED if folio is not None else Scan.FAIL), folio

    def collapse_file_isolate(self, mapping: Mapping, folio: Folio, shmem: bool) -> Gen[Scan]:
        """Isolate and unmap a locked folio that nobody else refers to."""
        if folio.order >= HPAGE_PMD_ORDER:
            return Scan.PTE_MAPPED_HUGEPAGE
        if (yield load(folio.mapping)) != mapping:
            return Scan.TRUNCATED
        if not shmem and (yield load(folio.flags)) & (PG_dirty | PG_writeback):
            return Scan.PAGE_DIRTY_OR_WRITEBACK
        if not (yield from self.folio_isolate_lru(folio)):
            return Scan.DEL_PAGE_LRU
        if not (yield from self.filemap_release_folio(folio)):
            yield from self.folio_putback_lru(folio)
            return Scan.PAGE_HAS_PRIVATE
        if (yield from self.folio_mapcount(folio)):
            yield from self.try_to_unmap(folio, ignore_mlock=True)
        yield lock(mapping.xa_lock)
        result = Scan.SUCCEED
        if (yield load(folio._refcount)) != 2 + folio.nr_pages:
            result = Scan.PAGE_COUNT
        elif not shmem and (yield load(folio.flags)) & PG_dirty:
            result = Scan.PAGE_DIRTY_OR_WRITEBACK
        yield unlock(mapping.xa_lock)
        if result is not Scan.SUCCEED:
            yield from self.folio_putback_lru(folio)
        return result

    def collapse_file_replace(
        self, mapping: Mapping, start: int, new: Folio, folios: tuple[Folio, ...], shmem: bool
    ) -> Gen[None]:
        """The new folio takes all places; tables that mapped the old ones go, and they too."""
        yield bits(new.flags, PG_uptodate)
        yield lock(mapping.xa_lock)
        yield from self.folio_ref_add(new, HPAGE_PMD_NR - 1)
        if shmem:
            yield bits(new.flags, PG_dirty)
        yield from self.folio_add_lru(new)
        slots = (yield load(mapping.i_pages)) + start
        old = sum(folio.nr_pages for folio in folios)
        for i in range(HPAGE_PMD_NR):
            yield store(slots + i, new)
        if old != HPAGE_PMD_NR:
            yield add(mapping.nrpages, HPAGE_PMD_NR - old)
        yield unlock(mapping.xa_lock)
        yield from self.retract_page_tables(mapping, start)
        yield bits(new.flags, 0, PG_locked)
        for folio in folios:
            yield store(folio.mapping, 0)
            yield bits(folio.flags, 0, PG_active | PG_unevictable)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio, 2 + folio.nr_pages)

    def retract_page_tables(self, mapping: Mapping, start: int) -> Gen[None]:
        """Take away the empty tables of whole ranges, so that a leaf can take their place."""
        yield lock(mapping.i_mmap_rwsem, READ)
        for vma in (yield from self.file_vmas(mapping)):
            addr = (yield load(vma.vm_start)) + start - (yield load(vma.vm_pgoff))
            if addr & HPAGE_PMD_NR - 1 or addr < (yield load(vma.vm_start)):
                continue
            if addr + HPAGE_PMD_NR > (yield load(vma.vm_end)):
                continue
            private = (yield load(vma.anon_vma)) or (yield load(vma.vm_flags)) & VM_UFFD_WP
            mm = Mm((yield load(vma.vm_mm)))
            result, pmd = yield from self.check_pmd_state(mm, addr)
            if private or result is not Scan.SUCCEED:
                continue
            ptl = self.pmd_lockptr(pmd, addr)
            yield lock(ptl)
            pmdval = yield load(pmd)
            if pmdval and not pmd_is_leaf(pmdval):
                yield lock(pmd_table(pmdval) + PTL_OFFSET)
                yield xchg(pmd, 0)
                yield tlb_flush(mm, addr, addr + HPAGE_PMD_NR)
                yield unlock(pmd_table(pmdval) + PTL_OFFSET)
            yield unlock(ptl)
        yield unlock(mapping.i_mmap_rwsem)

    # -- mapping it --------------------------------------------------------------------------

    def collapse_pte_mapped_thp(self, mm: Mm, haddr: int) -> Gen[Scan]:
        """Map a folio of the PMD's size by a leaf where entries map it, or nothing does."""
        vma = yield from self.find_vma(mm, haddr)
        if vma is None or not (yield load(vma.vm_file)) or haddr < (yield load(vma.vm_start)):
            return Scan.VMA_CHECK
        if haddr + HPAGE_PMD_NR > (yield load(vma.vm_end)):
            return Scan.VMA_CHECK
        result, _ = yield from self.check_pmd_state(mm, haddr)
        if result is Scan.PMD_MAPPED:
            return result
        if (yield load(vma.vm_flags)) & VM_NOHUGEPAGE:
            return Scan.VMA_CHECK
        if (yield load(vma.vm_flags)) & VM_UFFD_WP:
            return Scan.PTE_UFFD_WP
        mapping = yield from self.vma_mapping(vma)
        index = yield from self.linear_page_index(vma, haddr)
        folio = yield from self.filemap_lock_folio(mapping, index)
        if folio is None:
            return Scan.PAGE_NULL
        result = Scan.PAGE_COMPOUND
        if folio.order >= HPAGE_PMD_ORDER:
            result = yield from self.collapse_pte_table(mm, vma, haddr, folio)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return result

    def collapse_pte_table(self, mm: Mm, vma: Vma, haddr: int, folio: Folio) -> Gen[Scan]:
        """Empty and unlink the table, if it maps nothing but the folio, and install the leaf."""
        result, pmd = yield from self.check_pmd_state(mm, haddr)
        if result is Scan.SUCCEED:
            result = yield from self.collapse_empty_table(mm, vma, pmd, haddr, folio)
        elif result is Scan.NO_PTE_TABLE:
            result = Scan.SUCCEED
        if result is not Scan.SUCCEED:
            return result
        pmd = yield from self.pmd_alloc(mm, haddr)
        if not (yield from self.do_set_pmd(VmFault(mm, vma, haddr, 0, pmd), folio, False)):
            return Scan.FAIL
        yield from self.folio_get(folio)
        return Scan.SUCCEED

    def collapse_empty_table(
        self, mm: Mm, vma: Vma, pmd: int, haddr: int, folio: Folio
    ) -> Gen[Scan]:
        """Entries of the folio's pages go, and with them the table; others end it before that."""
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, haddr)
        result = Scan.SUCCEED if ptl else Scan.FAIL
        mapped: tuple[int, ...] = ()
        for i in range(HPAGE_PMD_NR if ptl else 0):
            pte = yield from self.ptep_get(ptep + i)
            if not pte:
                continue
            if not pte_present(pte):
                result = Scan.PTE_NON_PRESENT
                break
            if pte >> PFN_SHIFT != folio.page(i).pfn:
                result = Scan.FAIL
                break
            mapped = (*mapped, i)
        if result is not Scan.SUCCEED:
            if ptl:
                yield unlock(ptl)
            return result
        for i in mapped:
            yield from self.ptep_get_and_clear(mm, haddr + i, ptep + i)
            page = Page(page_of_pfn(folio.pfn + i))
            yield from self.folio_remove_rmap_ptes(folio, page, 1, vma)
        yield unlock(ptl)
        if mapped:
            yield add(folio._refcount, -len(mapped))
            yield add(mm.rss_stat((yield from self.mm_counter_file(folio))), -len(mapped))
        pmd_ptl = self.pmd_lockptr(pmd, haddr)
        yield lock(pmd_ptl)
        yield lock(ptl)
        yield xchg(pmd, 0)
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        yield unlock(ptl)
        yield unlock(pmd_ptl)
        return Scan.SUCCEED
