"""Linux 7.2: batched mprotect (6.17) and mremap; also without page mapcounts."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_MARKER,
    PTE_UFFD_WP,
    pfn_pte,
    pte_advance_pfn,
    pte_dirty,
    pte_mkdirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_mkyoung,
    pte_modify,
    pte_write,
)
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.memory import Folio, Gen, Mm, Page, Vma, add, bits, load, store
from sandbox.mm.flags import (
    EBUSY,
    EEXIST,
    EINVAL,
    MM_ANONPAGES,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_partially_mapped,
    PG_swapbacked,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.mprotect import MM_CP_TRY_CHANGE_WRITABLE, change_uffd_wp
from sandbox.mm.swap_cluster import SwapTableMixin
from sandbox.mm.xarray import xa_value_pages


class Linux72(SwapTableMixin, Linux615):
    """Linux 7.2.12 (arm64, 4K pages)."""

    id = "7.2"
    title = "Linux 7.2"
    summary = "mprotect and mremap work in batches of one folio."
    uring_unpins_folio = True
    uring_accounts = False
    uring_without = EINVAL
    contpte_af_noop = False
    madvise_gathers = True
    merge_with_unfaulted = True
    free_drains = False
    unmap_drains = False
    lru_add_frees_dead = True
    end_writeback_refs_first = True
    mremap_moves_many = True
    contpte_set_invalid = True
    finish_fault_whole = "all"
    mkdirty_if_folio_dirty = True
    fault_around_iterator_ref = True
    fault_around_whole = True
    ra_order_grows = False  # 6.16
    ra_pages = 1024  # of the disk that was recorded
    ra_marks_end = False
    truncate_non_uniform = True  # 6.15
    split_shmem_to_order = True  # 6.15
    file_rmap_mlocks_whole = True
    swapin_uses_cache = True
    swapin_lone_ref_exclusive = False
    swap_sync_frees = True
    unmap_discards_pmd = True
    collapse_wants_writable = False
    collapse_batches = True
    collapse_files = True
    pt_reclaim = True
    fault_around_spares_eof = finish_fault_spares_eof = True  # 6.18
    mfill_by_ops = True
    uffd_move_flushes_once = True
    uffd_move_locks_anon_vma = False
    proc_mem_force = False  # CONFIG_PROC_MEM_* of the recorded build

    # -- swap: one table has the counts and the folios, each cluster of it one lock -----------

    def shmem_swapin_read(self, slot: int, entry: int) -> Gen[Folio | None]:
        """Read all of a large entry into the swap cache, or one page of it (`swapin_sync`)."""
        for order in (xa_value_pages(entry).bit_length() - 1, 0):
            folio, err = yield from self.swap_cache_alloc_folio(slot, order)
            if folio is not None:
                yield from self.swap_read_folio(folio, slot & -(1 << order))
                return folio
            if err == -EEXIST:
                return (yield from self.swap_cache_get_folio(slot))
            if err != -EBUSY or not order:
                break
        return None

    def shmem_swapin_release(self, folio: Folio) -> Gen[None]:
        """No name of the slots any more, then out of the swap cache, dirty."""
        slot = (yield load(folio.private)) - 1
        yield from self.swap_free_nr(slot, folio.nr_pages)
        yield from self.delete_from_swap_cache(folio)
        yield bits(folio.flags, PG_dirty)

    def _delete_from_swap_cache(self, folio: Folio) -> Gen[None]:
        """Slots that no entry names are free with the folio's leaving."""
        slot = (yield load(folio.private)) - 1
        yield from super()._delete_from_swap_cache(folio)
        yield from self.swap_free_unused(slot, folio.nr_pages)

    def read_swap_cache_async(self, slot: int) -> Gen[tuple[Folio | None, bool]]:
        """A folio that is in the table is there for all (`swap_cache_read_folio`)."""
        while True:
            folio = yield from self.swap_cache_get_folio(slot)
            if folio is not None:
                return folio, False
            folio, err = yield from self.swap_cache_alloc_folio(slot, 0)
            if folio is not None:
                yield from self.swap_read_folio(folio, slot)
                return folio, True
            if err != -EEXIST:
                return None, False

    def put_swap_folio(self, folio: Folio, slot: int) -> Gen[None]:
        """Nothing is left to do."""
        return
        yield  # pragma: no cover - makes this a generator

    # -- reclaim (mm/rmap.c) ---------------------------------------------------------------

    def folio_unmap_pte_batch(
        self, folio: Folio, vma: Vma, ptep: int, pte: int, max_nr: int
    ) -> Gen[int]:
        """Lazyfree folios and files go in batches, swap entries one by one."""
        flags = yield load(folio.flags)
        swapped = flags & (PG_anon | PG_swapbacked) == PG_anon | PG_swapbacked
        if not folio.large or swapped or (yield load(vma.vm_flags)) & VM_UFFD_WP:
            return 1
        return (yield from self.unmap_pte_batch(folio, ptep, pte, max_nr))

    def unmap_pte_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """Put back, entries of a batch must not be given rights that one of them had."""
        return (yield from self.folio_pte_batch(folio, ptep, pte, max_nr, write=True)).nr

    # -- mprotect (mm/mprotect.c) --------------------------------------------------------

    def change_present_ptes(
        self,
        mm: Mm,
        vma: Vma,
        addr: int,
        ptep: int,
        oldpte: int,
        end: int,
        newprot: int,
        cp_flags: int,
    ) -> Gen[int]:
        """Change a batch: take it out, modify, decide about write per exclusivity, put it back."""
        page = yield from self.vm_normal_page(oldpte)
        folio = (yield from self.page_folio(page)) if page is not None else None
        nr = 1
        if folio is not None and folio.large:
            nr = (yield from self.folio_pte_batch(folio, ptep, oldpte, end - addr, write=True)).nr
        oldpte = yield from self.ptep_modify_prot_start(mm, addr, ptep, nr)
        ptent = change_uffd_wp(pte_modify(oldpte, newprot), cp_flags)
        if cp_flags & MM_CP_TRY_CHANGE_WRITABLE and not pte_write(ptent):
            yield from self.set_write_prot_commit_flush_ptes(
                mm, vma, folio, page, addr, ptep, ptent, nr
            )
        else:
            yield from self.set_ptes(mm, addr, ptep, ptent, nr)
        return nr

    def set_write_prot_commit_flush_ptes(
        self,
        mm: Mm,
        vma: Vma,
        folio: Folio | None,
        page: Page | None,
        addr: int,
        ptep: int,
        ptent: int,
        nr: int,
    ) -> Gen[None]:
        """Write only where a fault would give it."""
        if ptent & PTE_UFFD_WP:  # maybe_change_pte_writable(): a write must fault
            yield from self.set_ptes(mm, addr, ptep, ptent, nr)
            return
        if (yield load(vma.vm_flags)) & VM_SHARED:
            writable = bool(ptent & 1) and pte_dirty(ptent)
            yield from self.set_ptes(mm, addr, ptep, pte_mkwrite(ptent) if writable else ptent, nr)
            return
        anon = folio is not None and bool((yield load(folio.flags)) & PG_anon)
        if not anon or page is None or not ptent & 1:
            yield from self.set_ptes(mm, addr, ptep, ptent, nr)
            return
        i = 0
        while i < nr:
            exclusive = (yield load(page.flags + 16 * i)) & PG_anon_exclusive
            n = 1
            while (
                i + n < nr
                and (yield load(page.flags + 16 * (i + n))) & PG_anon_exclusive == exclusive
            ):
                n += 1
            part = pte_advance_pfn(ptent, i)
            yield from self.set_ptes(
                mm, addr + i, ptep + i, pte_mkwrite(part) if exclusive else part, n
            )
            i += n

    # -- faults (mm/memory.c) ------------------------------------------------------------

    def map_anon_folio(self, vmf: VmFault, folio: Folio, addr: int) -> Gen[None]:
        """References, rmap, LRU, the entries, and rss last (`map_anon_folio_pte_pf`)."""
        yield from self.map_anon_folio_pte_nopf(vmf, folio, addr)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), folio.nr_pages)

    def map_anon_folio_pte_nopf(self, vmf: VmFault, folio: Folio, addr: int) -> Gen[None]:
        """What `khugepaged` does as well: map a fresh folio, counted by nobody yet."""
        entry = pte_mkyoung(pfn_pte(folio.pfn, (yield from self.vm_page_prot(vmf.vma))))
        if (yield load(vmf.vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(pte_mkdirty(entry))
        if vmf.orig_pte & PTE_MARKER:  # vmf_orig_pte_uffd_wp(): the write faults once more
            entry = pte_mkuffd_wp(entry)
        if folio.large:
            yield from self.folio_ref_add(folio, folio.nr_pages - 1)
        yield from self.folio_add_new_anon_rmap(folio, vmf.vma, addr)
        yield from self.folio_add_lru_vma(folio, vmf.vma)
        yield from self.set_ptes(vmf.mm, addr, vmf.pte, entry, folio.nr_pages)

    # -- freeing (mm/huge_memory.c) --------------------------------------------------------

    def folio_unqueue_deferred_split(self, folio: Folio) -> Gen[None]:
        """Off the list, which is a list_lru now, then no longer partially mapped."""
        if folio.order > 1 and (yield load(folio._deferred_list)) == 1:
            yield store(folio._deferred_list, 0)
            yield bits(folio.flags, 0, PG_partially_mapped)

    # -- mremap (mm/mremap.c) ------------------------------------------------------------

    def mremap_folio_pte_batch(self, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """Batch only what is CONT already; write permission must match."""
        if max_nr == 1 or self.pte_batch_hint(ptep, pte) == 1:
            return 1
        page = yield from self.vm_normal_page(pte)
        if page is None:
            return 1
        folio = yield from self.page_folio(page)
        if not folio.large:
            return 1
        return (yield from self.folio_pte_batch(folio, ptep, pte, max_nr, write=True)).nr


class Linux72NoPageMapcount(Linux72):
    """Linux 7.2.12 with CONFIG_NO_PAGE_MAPCOUNT: large folios have a total, no page counts."""

    id = "7.2-nopm"
    title = "Linux 7.2, no page mapcounts"
    summary = "No _mapcount and _nr_pages_mapped for large folios: the total and the slots must do."
    has_page_mapcount = False
    proc_mem_force = True

    def new_anon_pages(self, folio: Folio, exclusive: bool = True) -> Gen[None]:
        """Only the exclusive flags."""
        for i in range(folio.nr_pages if exclusive else 0):
            yield bits(folio.page(i).flags, PG_anon_exclusive)

    def set_nr_pages_mapped(self, folio: Folio, value: int) -> Gen[None]:
        """There is no _nr_pages_mapped."""
        return
        yield  # pragma: no cover - makes this a generator

    def _folio_add_rmap(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[int]:
        """The total alone; all pages count as mapped with the first mapping."""
        if not folio.large:
            return int((yield add(folio._mapcount, 1)) == 0)
        mm = Mm((yield load(vma.vm_mm)))
        total = yield from self.folio_add_return_large_mapcount(folio, nr, mm)
        return folio.nr_pages if total == nr else 0

    def folio_add_entire(self, folio: Folio, mm: Mm) -> Gen[int]:
        """The entire mapping, then the total: the first mapping of all maps every page."""
        yield add(folio._entire_mapcount, 1)
        total = yield from self.folio_add_return_large_mapcount(folio, 1, mm)
        return folio.nr_pages if total == 1 else 0

    def folio_remove_entire(self, folio: Folio, mm: Mm) -> Gen[tuple[int, bool]]:
        """The entire mapping, then the total: what is left decides."""
        last = (yield add(folio._entire_mapcount, -1)) < 0
        total = yield from self.folio_sub_large_mapcount(folio, 1, mm)
        if not total:
            return folio.nr_pages, False
        return 0, last and total < folio.nr_pages

    def folio_remove_large_ptes(
        self, folio: Folio, page: Page, nr: int, mm: Mm
    ) -> Gen[tuple[int, bool]]:
        """Partially mapped: fewer mappings than pages, and none of the whole folio."""
        total = yield from self.folio_sub_large_mapcount(folio, nr, mm)
        if not total:
            return folio.nr_pages, False
        partially = total < folio.nr_pages and (yield load(folio._entire_mapcount)) < 0
        return 0, partially
