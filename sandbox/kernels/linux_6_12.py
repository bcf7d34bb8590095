"""Linux 6.12: `_large_mapcount` (6.10) and the partially-mapped flag."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import HPAGE_PMD_ORDER
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    ENTIRELY_MAPPED,
    HOST_SHMEM,
    VM_NOHUGEPAGE,
    PG_anon,
    PG_anon_exclusive,
    PG_locked,
    PG_partially_mapped,
    PG_private,
    PG_swapcache,
)
from sandbox.mm.memory.fault import VmFault


class Linux612(Linux69):
    """Linux 6.12.107 (arm64, 4K pages)."""

    id = "6.12"
    title = "Linux 6.12"
    summary = "One word counts all mappings of a large folio; partially mapped folios are flagged."
    has_large_mapcount = True
    anon_prepare_trylock = True
    queue_new_thp = True
    zeropage_on_split = True
    swapin_large = True
    swapin_maps_whole = True
    swap_batches = True  # 6.10
    splits_partially_mapped = True
    has_swap_zeromap = True
    has_uffd_wp = True  # arm64: 6.10
    finish_fault_whole = "anon_shmem"
    uring_many_folios = True
    uring_unpins_folio = True  # the stable tree has the fix (5afb4bf9fc62)
    finish_fault_counts_last = True
    fault_around_spares_eof = finish_fault_spares_eof = True  # likewise (74207de2ba10)
    contpte_af_noop = False  # the stable tree has the fix (97c5550b7631)

    def folio_set_large_mapcount(self, folio: Folio, mapcount: int, mm: Mm) -> Gen[None]:
        """Initial _large_mapcount of a fresh folio."""
        yield store(folio._large_mapcount, mapcount - 1)

    def folio_add_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[None]:
        """Raise _large_mapcount: one atomic add."""
        yield add(folio._large_mapcount, diff)

    def folio_sub_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        """Lower _large_mapcount; the logical value left."""
        return (yield add(folio._large_mapcount, -diff)) + 1

    def folio_add_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        """Map existing anon pages: page counts, pages mapped once, then the total."""
        mapped = yield from self._folio_add_rmap(folio, page, nr, vma)
        if mapped:
            yield add(Globals.nr_anon_mapped, mapped)
        if exclusive:
            for i in range(nr):
                yield from self.set_page_anon_exclusive(Page(page + 16 * i))
        yield from self.mlock_vma_folio(folio, nr, vma)

    def folio_add_file_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        """Map pages of the page cache."""
        mapped = yield from self._folio_add_rmap(folio, page, nr, vma)
        if mapped:
            yield add(Globals.nr_file_mapped, mapped)
        yield from self.mlock_vma_folio(folio, nr, vma)

    def _folio_add_rmap(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[int]:
        """At PTE level: how many pages count as newly mapped."""
        if not folio.large:
            return int((yield add(folio._mapcount, 1)) == 0)
        first = 0
        for i in range(nr):
            first += (yield add(page._mapcount + 16 * i, 1)) == 0
        mapped = 0
        if first and (yield add(folio._nr_pages_mapped, first)) < ENTIRELY_MAPPED:
            mapped = first
        yield from self.folio_add_large_mapcount(folio, nr, Mm((yield load(vma.vm_mm))))
        return mapped

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        """Unmap *nr* pages: the total first, then the pages, then the pages mapped at all."""
        partially = False
        if not folio.large:
            gone = int((yield add(folio._mapcount, -1)) < 0)
        else:
            mm = Mm((yield load(vma.vm_mm)))
            gone, partially = yield from self.folio_remove_large_ptes(folio, page, nr, mm)
        flags = yield load(folio.flags)
        if gone:
            yield add(Globals.nr_anon_mapped if flags & PG_anon else Globals.nr_file_mapped, -gone)
        if partially and flags & PG_anon and not flags & PG_partially_mapped:
            yield from self.deferred_split_folio(folio, True)
        yield from self.munlock_vma_folio(folio, vma)

    def folio_remove_large_ptes(
        self, folio: Folio, page: Page, nr: int, mm: Mm
    ) -> Gen[tuple[int, bool]]:
        """(pages no longer mapped, folio partially mapped now)."""
        yield from self.folio_sub_large_mapcount(folio, nr, mm)
        last = 0
        for i in range(nr):
            last += (yield add(page._mapcount + 16 * i, -1)) < 0
        if not last or (yield add(folio._nr_pages_mapped, -last)) >= ENTIRELY_MAPPED:
            return 0, False
        return last, (yield load(folio._nr_pages_mapped)) != 0

    def deferred_split_folio(self, folio: Folio, partially: bool) -> Gen[None]:
        """Queue for splitting and remember that the folio is partially mapped."""
        if folio.order <= 1 or (yield load(folio.flags)) & PG_swapcache:
            return
        yield lock(Globals.split_queue_lock)
        if partially:
            yield bits(folio.flags, PG_partially_mapped)
        if (yield load(folio._deferred_list)) != 1:
            yield store(folio._deferred_list, 1)
        yield unlock(Globals.split_queue_lock)

    def folio_unqueue_deferred_split(self, folio: Folio) -> Gen[None]:
        """No longer partially mapped, then off the list."""
        if folio.order > 1 and (yield load(folio._deferred_list)) == 1:
            yield bits(folio.flags, 0, PG_partially_mapped)
            yield store(folio._deferred_list, 0)

    def shmem_order(self, vmf: VmFault, mapping: Mapping, index: int) -> Gen[int]:
        """The largest enabled size whose aligned range fits the mapping and is empty (6.11)."""
        if (yield load(mapping.host)) != HOST_SHMEM:
            return 0
        if (yield load(vmf.vma.vm_flags)) & VM_NOHUGEPAGE:  # vma_thp_disabled()
            return 0
        enabled = yield load(Globals.shmem_orders)
        slots = yield load(mapping.i_pages)
        start, end = (yield load(vmf.vma.vm_start)), (yield load(vmf.vma.vm_end))
        for order in range(HPAGE_PMD_ORDER, 0, -1):
            addr, first = vmf.address & -(1 << order), index & -(1 << order)
            fits = start <= addr and addr + (1 << order) <= end
            if not enabled >> order & 1 or not fits or index - first != vmf.address - addr:
                continue
            for i in range(1 << order):
                if (yield load(slots + first + i)):
                    break
            else:
                return order
        return 0

    def folio_likely_mapped_shared(self, folio: Folio) -> Gen[bool]:
        """The total, then the entire mapping, then a guess from the first page."""
        mapcount = yield from self.folio_mapcount(folio)
        if not folio.large or mapcount <= 1:
            return mapcount > 1
        if mapcount > folio.nr_pages or (yield load(folio._entire_mapcount)) >= 0:
            return True
        return (yield load(folio._mapcount)) > 0

    def folio_mapcount(self, folio: Folio) -> Gen[int]:
        """All mappings of a folio: one word."""
        if not folio.large:
            return (yield load(folio._mapcount)) + 1
        return (yield load(folio._large_mapcount)) + 1

    def set_page_anon_exclusive(self, page: Page) -> Gen[None]:
        """SetPageAnonExclusive."""
        yield bits(page.flags, PG_anon_exclusive)

    # -- mlock (mm/mlock.c) ---------------------------------------------------------------

    def folio_mlock_step(self, folio: Folio, ptep: int, pte: int, left: int) -> Gen[int]:
        """The entries that follow and map the folio in order."""
        yield load(folio.flags)
        if not folio.large:
            return 1
        return (yield from self.folio_pte_batch(folio, ptep, pte, left)).nr

    # -- split (mm/huge_memory.c) ----------------------------------------------------------

    def split_lookup(self, mm: Mm, addr: int, order: int) -> Gen[Folio | None]:
        """Look, lock and reference under the entry's lock (folio_walk_start, 6.12)."""
        folio, ptl = yield from self.folio_walk_start(mm, addr)
        if folio is None:
            return None
        ok = folio.large and folio.order > order
        if ok and not (yield load(folio.flags)) & PG_private:  # no reference of ours yet
            ok = yield from self.can_split_folio(folio, 0)
        if ok:
            ok = not (yield bits(folio.flags, PG_locked)) & PG_locked
        if ok:
            yield from self.folio_get(folio)
        yield unlock(ptl)
        return folio if ok else None

    # -- MADV_FREE (mm/madvise.c) ----------------------------------------------------------

    def madvise_folio_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """`madvise_folio_pte_batch`: a folio that is covered whole is kept whole."""
        return (yield from self.folio_pte_batch(folio, ptep, pte, max_nr)).nr
