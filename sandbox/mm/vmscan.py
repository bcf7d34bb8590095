"""Reclaim of chosen folios (mm/vmscan.c reclaim_pages, mm/rmap.c try_to_unmap; 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PFN_SHIFT, PTE_UFFD_WP, pte_dirty, pte_present
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    cas,
    load,
    lock,
    note,
    store,
    unlock,
)
from sandbox.mm.flags import (
    MM_ANONPAGES,
    MM_SWAPENTS,
    PG_anon,
    PG_anon_exclusive,
    PG_buddy,
    PG_dirty,
    PG_locked,
    PG_swapbacked,
    PG_swapcache,
    PG_writeback,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.mm.swapfile import swp_entry

PAGE_KEEP, PAGE_SUCCESS, PAGE_CLEAN = range(3)
"""What came of writing a folio."""


class VmscanMixin(KernelPart):
    """MADV_PAGEOUT's reclaim: swap out, or discard what is lazyfree."""

    extra_ref_sets_swapbacked = True
    """A lazyfree folio that somebody else holds is treated as dirtied (until 6.15)."""

    def madvise_pageout(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_PAGEOUT of [start, end): isolate what is ours alone, then reclaim it."""
        step, huge = self.madvise_pageout_pte_range, self.madvise_pageout_huge_pmd
        ret: int
        ret, isolated = yield from self.madvise_walk(mm, start, end, step, huge)
        yield from self.reclaim_pages(isolated)
        return ret

    def madvise_pageout_pte_range(
        self, vma: Vma, ptep: int, ptl: int, addr: int, end: int
    ) -> Gen[tuple[int, Folio | None]]:
        """The entry (or batch) at *addr*: entries done, and the folio if it was isolated."""
        nr, folio = yield from self.madvise_cold_batch(vma, ptep, ptl, addr, end, True)
        if folio is not None and (yield from self.folio_isolate_lru(folio)):
            return nr, folio
        return nr, None

    def reclaim_pages(self, folios: tuple[Folio, ...]) -> Gen[None]:
        """Reclaim isolated folios; what cannot go returns to the LRU."""
        while folios:
            folio, gone, pieces = yield from self.shrink_folio_list(folios[0])
            folios = (*folios[1:], *pieces)
            if not gone:
                yield from self.folio_putback_lru(folio)

    def folio_putback_lru(self, folio: Folio) -> Gen[None]:
        """Back to the LRU, by this CPU's batch, and isolation's reference goes."""
        yield from self.folio_add_lru(folio)
        yield from self.folio_put(folio)

    def shrink_folio_list(self, folio: Folio) -> Gen[tuple[Folio, bool, tuple[Folio, ...]]]:
        """One folio of the list: (what it is now, reclaimed, pieces to go on with)."""
        pieces: tuple[Folio, ...] = ()
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return folio, False, pieces
        flags = yield load(folio.flags)
        ready = True
        if flags & PG_anon and flags & PG_swapbacked and not flags & PG_swapcache:
            ready = not (yield from self.folio_maybe_dma_pinned(folio))
            if ready:
                folio, ready, pieces = yield from self.reclaim_add_to_swap(folio)
        if ready:
            yield from self.try_to_unmap(folio)
            ready = not (yield from self.folio_mapcount(folio))
        if ready:
            written = yield from self.pageout(folio)
            ready = written != PAGE_KEEP
            if written == PAGE_SUCCESS and not (yield from self.lock_written(folio)):
                return folio, False, pieces
        if ready and (yield from self.remove_mapping(folio)):
            return folio, True, pieces
        yield bits(folio.flags, 0, PG_locked)
        return folio, False, pieces

    def lock_written(self, folio: Folio) -> Gen[bool]:
        """Lock a folio whose writing gave its lock up; False: not to be had, or dirty again."""
        if (yield load(folio.flags)) & PG_writeback or (yield load(folio.flags)) & PG_dirty:
            return False
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        if (yield load(folio.flags)) & (PG_dirty | PG_writeback):
            yield bits(folio.flags, 0, PG_locked)
            return False
        return True

    def reclaim_add_to_swap(self, folio: Folio) -> Gen[tuple[Folio, bool, tuple[Folio, ...]]]:
        """(The folio, whether it has slots, no pieces); without room, its head and the rest."""
        if folio.large and not (yield from self.can_split_folio(folio)):
            return folio, False, ()
        if (yield from self.add_to_swap(folio)):
            return folio, True, ()
        if not folio.large or (yield from self.split_folio(folio, to_list=True)):
            return folio, False, ()
        head: Folio = yield from self.page_folio(folio.page(0))
        added = yield from self.add_to_swap(head)
        return head, added, self.pieces_of(folio, 0)[1:]

    # -- unmapping ---------------------------------------------------------------------

    def try_to_unmap(self, folio: Folio) -> Gen[None]:
        """Replace every mapping by a swap entry, or drop it when the folio is lazyfree."""
        word = yield from self.rmap_lock(folio, READ)
        for vma in (yield from self.folio_vmas(folio)):
            if not (yield from self.try_to_unmap_one(folio, vma)):
                break
        yield unlock(word)

    def try_to_unmap_one(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """The mappings in one VMA; False when one was put back, which ends the walk."""
        mm = Mm((yield load(vma.vm_mm)))
        addr, end, index = yield from self.vma_address(folio, vma)
        gone = True
        while gone and addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            if pmd and pmd_is_leaf((yield load(pmd))):
                yield from self.split_huge_pmd(vma, pmd, addr)
            if pmd and (yield load(pmd)):
                gone = yield from self.unmap_pte_range(folio, vma, mm, pmd, addr, next_, index)
            index += next_ - addr
            addr = next_
        return gone

    def unmap_pte_range(
        self, folio: Folio, vma: Vma, mm: Mm, pmd: int, addr: int, end: int, index: int
    ) -> Gen[bool]:
        """Entries of one table, under its lock; False at the first that cannot go."""
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return True
        gone = True
        for i in range(end - addr):
            pte = yield from self.ptep_get(ptep + i)
            page = folio.page(index + i)
            if not pte_present(pte) or pte >> PFN_SHIFT != page.pfn:
                continue
            gone = yield from self.unmap_one_pte(folio, page, vma, mm, addr + i, ptep + i)
            if not gone:
                break
        yield unlock(ptl)
        return gone

    def unmap_one_pte(
        self, folio: Folio, page: Page, vma: Vma, mm: Mm, addr: int, ptep: int
    ) -> Gen[bool]:
        """One entry of try_to_unmap_one(); False when it was put back.

        Entries protected by userfaultfd stay: swap entries that carry the bit are not modelled.
        """
        if (yield load(ptep)) & PTE_UFFD_WP:
            return False
        pte = yield from self.ptep_clear_flush(mm, addr, ptep)
        if pte_dirty(pte):
            yield bits(folio.flags, PG_dirty)
        flags = yield load(folio.flags)
        if not flags & PG_anon:
            yield add(mm.rss_stat((yield from self.mm_counter_file(folio))), -1)
        elif not flags & PG_swapbacked:
            if not (yield from self.discard_lazyfree(folio, mm, addr, ptep, pte)):
                return False
        elif not (yield from self.swap_out_pte(folio, page, mm, addr, ptep, pte)):
            return False
        yield from self.folio_remove_rmap_pte(folio, page, vma)
        yield from self.folio_put(folio)
        return True

    def discard_lazyfree(self, folio: Folio, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[bool]:
        """Drop a clean lazyfree page whose only references are its mappings and ours."""
        refs = yield load(folio._refcount)
        mapped = yield from self.folio_mapcount(folio)
        dirty = (yield load(folio.flags)) & PG_dirty
        if refs == 1 + mapped and not dirty:
            yield note("discard", folio)
            yield add(mm.rss_stat(MM_ANONPAGES), -1)
            return True
        yield from self.set_pte_at(mm, addr, ptep, pte)
        if dirty or self.extra_ref_sets_swapbacked:
            yield bits(folio.flags, PG_swapbacked)
        return False

    def swap_out_pte(
        self, folio: Folio, page: Page, mm: Mm, addr: int, ptep: int, pte: int
    ) -> Gen[bool]:
        """Count the slot, give up exclusivity, write the swap entry."""
        slot = (yield load(folio.private)) - 1 + folio.index_of(page)
        yield from self.swap_duplicate(slot)
        exclusive = bool((yield load(page.flags)) & PG_anon_exclusive)
        if exclusive and not (yield from self.folio_try_share_anon_rmap_pte(folio, page)):
            yield from self.swap_free(slot)
            yield from self.set_pte_at(mm, addr, ptep, pte)
            return False
        yield add(mm.rss_stat(MM_ANONPAGES), -1)
        yield add(mm.rss_stat(MM_SWAPENTS), 1)
        yield from self.set_pte_at(mm, addr, ptep, swp_entry(slot, exclusive))
        return True

    # -- writing and freeing -----------------------------------------------------------

    def pageout(self, folio: Folio) -> Gen[int]:
        """Write a dirty swap-cache folio: PAGE_KEEP, PAGE_CLEAN, or PAGE_SUCCESS and unlocked.

        Only what nobody but the cache and reclaim refers to is written (`is_page_cache_freeable`).
        """
        if not (yield load(folio.flags)) & PG_swapcache:
            return PAGE_CLEAN
        if (yield load(folio.flags)) & PG_dirty and (
            yield load(folio._refcount)
        ) != 1 + folio.nr_pages:
            return PAGE_KEEP
        if not (yield bits(folio.flags, 0, PG_dirty)) & PG_dirty:
            return PAGE_CLEAN
        yield from self.swap_writepage(folio)
        return PAGE_SUCCESS

    def remove_mapping(self, folio: Folio) -> Gen[bool]:
        """Freeze at the references expected, leave the cache, free (`__remove_mapping`)."""
        flags = yield load(folio.flags)
        if flags & PG_anon and flags & PG_swapbacked and not flags & PG_swapcache:
            return False  # it left the cache while it was written: folio_mapping() says NULL
        cached = folio.nr_pages if flags & PG_swapcache else 0
        slot = (yield load(folio.private)) - 1
        xa_lock = (yield from self.swap_xa_lock()) if cached else 0
        if xa_lock:
            yield lock(xa_lock)
        frozen = yield cas(folio._refcount, 1 + cached, 0)
        if frozen and (yield load(folio.flags)) & PG_dirty:
            yield store(folio._refcount, 1 + cached)
            frozen = False
        if frozen and cached:
            yield from self._delete_from_swap_cache(folio)
        if xa_lock:
            yield unlock(xa_lock)
        if not frozen:
            return False
        if cached:
            yield from self.put_swap_folio(folio, slot)
        if folio.large:
            yield from self.folio_unqueue_deferred_split(folio)
        yield store(folio.mapping, 0)
        yield bits(folio.flags, PG_buddy, ~PG_buddy)
        return True
