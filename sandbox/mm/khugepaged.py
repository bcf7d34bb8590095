"""Collapsing a PMD range into one folio (mm/khugepaged.c: MADV_COLLAPSE, 6.12)."""

from __future__ import annotations

from enum import IntEnum, auto

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PFN_SHIFT,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    pte_present,
    pte_write,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    WRITE,
    AnonVma,
    Folio,
    Gen,
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
    EAGAIN,
    EBUSY,
    EINVAL,
    HOST_XFS,
    MM_ANONPAGES,
    VM_NOHUGEPAGE,
    VM_UFFD_WP,
    PG_anon,
    PG_locked,
    PG_lru,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import PTL_OFFSET, pmd_is_leaf, pmd_table


class Scan(IntEnum):
    """What came of a range (`enum scan_result`)."""

    FAIL = auto()
    SUCCEED = auto()
    PMD_MAPPED = auto()
    NO_PTE_TABLE = auto()
    PTE_NON_PRESENT = auto()
    PTE_UFFD_WP = auto()
    PAGE_RO = auto()
    PAGE_NULL = auto()
    PAGE_ANON = auto()
    PAGE_COUNT = auto()
    PAGE_LOCK = auto()
    PAGE_LRU = auto()
    PAGE_COMPOUND = auto()
    DEL_PAGE_LRU = auto()
    EXCEED_NONE_PTE = auto()
    VMA_CHECK = auto()
    TRUNCATED = auto()
    PAGE_HAS_PRIVATE = auto()
    PAGE_DIRTY_OR_WRITEBACK = auto()
    PTE_MAPPED_HUGEPAGE = auto()


AGAIN = frozenset((Scan.PAGE_COUNT, Scan.PAGE_LOCK, Scan.PAGE_LRU, Scan.DEL_PAGE_LRU,
                   Scan.PAGE_HAS_PRIVATE, Scan.PAGE_DIRTY_OR_WRITEBACK))  # fmt: skip
"""What may be another time: -EAGAIN."""
GO_ON = frozenset((Scan.NO_PTE_TABLE, Scan.PTE_NON_PRESENT, Scan.PTE_UFFD_WP, Scan.PAGE_RO,
                   Scan.PAGE_NULL, Scan.PAGE_COUNT, Scan.PAGE_LOCK, Scan.PAGE_COMPOUND,
                   Scan.PAGE_LRU, Scan.DEL_PAGE_LRU))  # fmt: skip
"""What does not keep the next range from being tried."""


class KhugepagedMixin(KernelPart):
    """MADV_COLLAPSE: ranges, and anonymous memory."""

    collapse_wants_writable = True
    """Until 6.17 a range without one writable entry is not collapsed (SCAN_PAGE_RO)."""
    collapse_batches = False
    """7.x: entries of a large folio are cleared and unmapped together."""
    collapse_files = False
    """7.x: files whose page cache may have folios of the PMD's size; older: shared memory only."""

    # -- madvise -----------------------------------------------------------------------------

    def madvise_collapse(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """Collapse every whole PMD range of [start, end)."""
        yield lock(mm.mmap_lock, READ)
        visit = self.madvise_collapse_vma
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, visit, mm)
        yield unlock(mm.mmap_lock)
        return ret

    def madvise_collapse_vma(self, vma: Vma, start: int, end: int, mm: Mm) -> Gen[tuple[int, Mm]]:
        """One VMA's part; what collapses gives mmap_lock up."""
        if not (yield from self.collapse_possible(vma)):
            return -EINVAL, mm
        hstart, hend = -(-start // HPAGE_PMD_NR) * HPAGE_PMD_NR, end & -HPAGE_PMD_NR
        yield from self.lru_add_drain()
        wanted, done, fail, dropped = (hend - hstart) // HPAGE_PMD_NR, 0, Scan.FAIL, False
        for haddr in range(hstart, hend, HPAGE_PMD_NR):
            if dropped:
                yield lock(mm.mmap_lock, READ)
                dropped = False
                found = yield from self.hugepage_vma_revalidate(mm, haddr, False)
                if found is None:
                    fail = Scan.VMA_CHECK
                    break
                vma = found
            result, dropped = yield from self.collapse_single_pmd(mm, vma, haddr)
            if result in (Scan.SUCCEED, Scan.PMD_MAPPED):
                done += 1
                continue
            fail = result
            if result not in GO_ON:
                break
        if dropped:
            yield lock(mm.mmap_lock, READ)
        return 0 if done == max(wanted, 0) else self.madvise_collapse_errno(fail), mm

    def madvise_collapse_errno(self, result: Scan) -> int:
        """The errno of the last range that could not be."""
        if result is Scan.EXCEED_NONE_PTE:
            return -EBUSY
        return -EAGAIN if result in AGAIN else -EINVAL

    def collapse_possible(self, vma: Vma) -> Gen[bool]:
        """Might a VMA be collapsed at all: not forbidden, a whole range in it, in use?"""
        if (yield load(vma.vm_flags)) & VM_NOHUGEPAGE:
            return False
        start, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        if (end - HPAGE_PMD_NR) & -HPAGE_PMD_NR < start:
            return False
        mapping = yield from self.vma_mapping(vma)
        if not mapping:
            return bool((yield load(vma.anon_vma)))
        if (start - (yield load(vma.vm_pgoff))) & HPAGE_PMD_NR - 1:
            return False
        return self.collapse_files or (yield load(mapping.host)) != HOST_XFS

    def hugepage_vma_revalidate(self, mm: Mm, haddr: int, expect_anon: bool) -> Gen[Vma | None]:
        """The VMA of a whole PMD range that may be collapsed, mmap_lock being taken again."""
        vma: Vma | None = yield from self.find_vma(mm, haddr)
        if vma is None or haddr + HPAGE_PMD_NR > (yield load(vma.vm_end)):
            return None
        if haddr < (yield load(vma.vm_start)) or not (yield from self.collapse_possible(vma)):
            return None
        if expect_anon and (yield load(vma.vm_file)):
            return None
        return vma

    def collapse_single_pmd(self, mm: Mm, vma: Vma, haddr: int) -> Gen[tuple[Scan, bool]]:
        """(What came of one range, whether mmap_lock was given up)."""
        mapping = yield from self.vma_mapping(vma)
        if not mapping:
            return (yield from self.collapse_scan_pmd(mm, vma, haddr))
        index = yield from self.linear_page_index(vma, haddr)
        yield unlock(mm.mmap_lock)
        return (yield from self.collapse_file_range(mm, haddr, mapping, index)), True

    # -- anonymous memory --------------------------------------------------------------------

    def check_pmd_state(self, mm: Mm, haddr: int) -> Gen[tuple[Scan, int]]:
        """(SUCCEED where the PMD leads to a table, the PMD's word)."""
        pmd = yield from self.pmd_offset(mm, haddr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval:
            return Scan.NO_PTE_TABLE, pmd
        return (Scan.PMD_MAPPED if pmd_is_leaf(pmdval) else Scan.SUCCEED), pmd

    def collapse_scan_pmd(self, mm: Mm, vma: Vma, haddr: int) -> Gen[tuple[Scan, bool]]:
        """Look whether the entries can be collapsed, under their lock, and then do it."""
        result, pmd = yield from self.check_pmd_state(mm, haddr)
        if result is not Scan.SUCCEED:
            return result, False
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, haddr)
        if not ptl:
            return Scan.NO_PTE_TABLE, False
        writable, swapped = False, False
        for i in range(HPAGE_PMD_NR):
            pte = yield from self.ptep_get(ptep + i)
            result = yield from self.collapse_scan_pte(vma, pte)
            if result is not Scan.SUCCEED:
                break
            writable = writable or (pte_present(pte) and bool(pte_write(pte)))
            swapped = swapped or bool(pte and not pte_present(pte))
        yield unlock(ptl)
        if result is Scan.SUCCEED and self.collapse_wants_writable and not writable:
            result = Scan.PAGE_RO
        if result is not Scan.SUCCEED:
            return result, False
        yield unlock(mm.mmap_lock)
        return (yield from self.collapse_huge_page(mm, haddr, swapped)), True

    def collapse_scan_pte(self, vma: Vma, pte: int) -> Gen[Scan]:
        """Can one entry be collapsed? Holes and the zero page are filled, swap is read."""
        if not pte or pte & PTE_SPECIAL:
            watched = (yield load(vma.vm_flags)) & VM_UFFD_WP
            return Scan.EXCEED_NONE_PTE if watched else Scan.SUCCEED
        if pte & PTE_UFFD_WP:
            return Scan.PTE_UFFD_WP
        if not pte_present(pte):
            return Scan.SUCCEED
        folio = yield from self.page_folio(page_of_pfn(pte >> PFN_SHIFT))
        flags = yield load(folio.flags)
        if not flags & PG_anon:
            return Scan.PAGE_ANON
        if not flags & PG_lru:
            return Scan.PAGE_LRU
        if flags & PG_locked:
            return Scan.PAGE_LOCK
        expected = yield from self.folio_expected_ref_count(folio)
        return Scan.SUCCEED if expected == (yield load(folio._refcount)) else Scan.PAGE_COUNT

    def collapse_huge_page(self, mm: Mm, haddr: int, swapped: bool) -> Gen[Scan]:
        """One PMD range: take the table out, isolate, copy, install the folio.

        mmap_lock is not held before and after it.
        """
        folio = yield from self.vma_alloc_anon_folio_pmd()
        yield lock(mm.mmap_lock, READ)
        vma = yield from self.hugepage_vma_revalidate(mm, haddr, True)
        result, pmd = yield from self.check_pmd_state(mm, haddr)
        if vma is None or result is not Scan.SUCCEED:
            yield unlock(mm.mmap_lock)
            yield from self.folio_put(folio)
            return Scan.VMA_CHECK if vma is None else result
        if swapped:
            yield from self._collapse_huge_page_swapin(mm, vma, haddr, pmd)
        yield unlock(mm.mmap_lock)
        yield lock(mm.mmap_lock)
        vma = yield from self.hugepage_vma_revalidate(mm, haddr, True)
        if vma is not None:
            yield from self.vma_start_write(vma)
        result, pmd = yield from self.check_pmd_state(mm, haddr)
        if vma is None:
            result = Scan.VMA_CHECK
        elif result is Scan.SUCCEED:
            result = yield from self.collapse_table(mm, vma, pmd, haddr, folio)
        yield unlock(mm.mmap_lock)
        if result is not Scan.SUCCEED:
            yield from self.folio_put(folio)
        return result

    def _collapse_huge_page_swapin(self, mm: Mm, vma: Vma, haddr: int, pmd: int) -> Gen[None]:
        """Bring back what is in swap."""
        for addr in range(haddr, haddr + HPAGE_PMD_NR):
            pmdval = yield load(pmd)
            if not pmdval or pmd_is_leaf(pmdval):
                return
            pte = yield load(self.pte_offset_map(pmdval, addr))
            if pte and not pte_present(pte):
                yield from self.do_swap_page(VmFault(mm, vma, addr, 0, pmd, orig_pte=pte))
        yield from self.lru_add_drain()

    def collapse_table(self, mm: Mm, vma: Vma, pmd: int, haddr: int, folio: Folio) -> Gen[Scan]:
        """Between the PMD's clearing and its new value nobody can walk the range."""
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        yield lock(anon_vma.rwsem, WRITE)
        pmd_ptl = self.pmd_lockptr(pmd, haddr)
        yield lock(pmd_ptl)
        pmdval = yield xchg(pmd, 0)  # pmdp_collapse_flush()
        yield tlb_flush(mm, haddr, haddr + HPAGE_PMD_NR)
        yield unlock(pmd_ptl)
        table = pmd_table(pmdval)
        result, compound = yield from self._collapse_huge_page_isolate(vma, table)
        if result is not Scan.SUCCEED:
            yield lock(pmd_ptl)
            yield store(pmd, pmdval)
            yield unlock(pmd_ptl)
        yield unlock(anon_vma.rwsem)
        if result is not Scan.SUCCEED:
            return result
        yield from self._collapse_huge_page_copy(mm, vma, haddr, table, compound, folio)
        yield bits(folio.flags, PG_uptodate)
        yield lock(pmd_ptl)
        yield from self.map_anon_folio_pmd_nopf(VmFault(mm, vma, haddr, 0, pmd), folio)
        yield unlock(pmd_ptl)
        return Scan.SUCCEED

    def _collapse_huge_page_isolate(
        self, vma: Vma, table: int
    ) -> Gen[tuple[Scan, tuple[Folio, ...]]]:
        """Lock and isolate every folio of the detached table: (result, the large ones)."""
        ptl = table + PTL_OFFSET
        held: tuple[Folio, ...] = ()
        result, writable = Scan.SUCCEED, False
        yield lock(ptl)
        for i in range(HPAGE_PMD_NR):
            pte = yield from self.ptep_get(table + i)
            if not pte or pte & PTE_SPECIAL:
                if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                    result = Scan.EXCEED_NONE_PTE
                    break
                continue
            if not pte_present(pte) or pte & PTE_UFFD_WP:
                result = Scan.PTE_UFFD_WP if pte_present(pte) else Scan.PTE_NON_PRESENT
                break
            folio = yield from self.page_folio(page_of_pfn(pte >> PFN_SHIFT))
            if folio not in held:
                result = yield from self.collapse_isolate_folio(folio)
                if result is not Scan.SUCCEED:
                    break
                held = (*held, folio)
            writable = writable or bool(pte_write(pte))
        if result is Scan.SUCCEED and self.collapse_wants_writable and not writable:
            result = Scan.PAGE_RO
        if result is not Scan.SUCCEED:
            for folio in held:
                yield from self.release_pte_folio(folio)
        yield unlock(ptl)
        return result, tuple(folio for folio in held if folio.large)

    def collapse_isolate_folio(self, folio: Folio) -> Gen[Scan]:
        """Only mappings (and the swap cache) may refer to the folio."""
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return Scan.PAGE_LOCK
        expected = yield from self.folio_expected_ref_count(folio)
        result = Scan.PAGE_COUNT
        if expected == (yield load(folio._refcount)):
            if (yield from self.folio_isolate_lru(folio)):
                return Scan.SUCCEED
            result = Scan.DEL_PAGE_LRU
        yield bits(folio.flags, 0, PG_locked)
        return result

    def release_pte_folio(self, folio: Folio) -> Gen[None]:
        """Unlock an isolated folio and put it back on the LRU."""
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_putback_lru(folio)

    def _collapse_huge_page_copy(
        self,
        mm: Mm,
        vma: Vma,
        haddr: int,
        table: int,
        compound: tuple[Folio, ...],
        folio: Folio,
    ) -> Gen[None]:
        """Copy the contents; then entry by entry the old mappings and references go."""
        for i in range(HPAGE_PMD_NR):
            pte = yield from self.ptep_get(table + i)
            if pte and not pte & PTE_SPECIAL:
                yield copy_page(folio.page(i), page_of_pfn(pte >> PFN_SHIFT))
        i = 0
        while i < HPAGE_PMD_NR:
            pte = yield from self.ptep_get(table + i)
            if pte and not pte & PTE_SPECIAL:
                i += yield from self.collapse_release_ptes(mm, vma, haddr, table, i, pte)
                continue
            yield add(mm.rss_stat(MM_ANONPAGES), 1)
            if pte:
                yield lock(table + PTL_OFFSET)
                yield from self.ptep_get_and_clear(mm, haddr + i, table + i)
                yield unlock(table + PTL_OFFSET)
            i += 1
        for source in compound:
            yield bits(source.flags, 0, PG_locked)
            yield from self.free_swap_cache(source)
            yield from self.folio_putback_lru(source)

    def collapse_release_ptes(
        self, mm: Mm, vma: Vma, haddr: int, table: int, i: int, pte: int
    ) -> Gen[int]:
        """Take out one entry, or a batch of a large folio's; entries done."""
        page = Page(page_of_pfn(pte >> PFN_SHIFT))
        source: Folio = yield from self.page_folio(page)
        nr = 1
        if not source.large:
            yield from self.release_pte_folio(source)
        elif self.collapse_batches:
            nr = (yield from self.folio_pte_batch(source, table + i, pte, HPAGE_PMD_NR - i)).nr
        yield lock(table + PTL_OFFSET)
        if nr > 1:
            yield from self.clear_full_ptes(mm, haddr + i, table + i, nr, False)
        else:
            yield from self.ptep_get_and_clear(mm, haddr + i, table + i)
        yield from self.folio_remove_rmap_ptes(source, page, nr, vma)
        yield unlock(table + PTL_OFFSET)
        yield from self.free_swap_cache(source)
        yield from self.folio_put(source, nr)
        return nr
