"""Splitting a folio into smaller ones (mm/huge_memory.c: split_huge_page_to_list_to_order).

All mappings become migration entries, the reference count is frozen at exactly what is expected,
the pages get heads of their own, and the mappings come back.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pte_present
from sandbox.fields import PAGE_LAYOUT
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    PAGE_WORDS,
    READ,
    WRITE,
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    bits,
    cas,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    EAGAIN,
    EBUSY,
    PG_active,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_large_rmappable,
    PG_locked,
    PG_lru,
    PG_mlocked,
    PG_partially_mapped,
    PG_referenced,
    PG_swapbacked,
    PG_unevictable,
    PG_uptodate,
    PG_workingset,
)
from sandbox.mm.pgalloc import pmd_is_leaf

INHERITED = (
    PG_referenced
    | PG_swapbacked
    | PG_mlocked
    | PG_uptodate
    | PG_active
    | PG_workingset
    | PG_locked
    | PG_unevictable
    | PG_dirty
    | PG_lru
    | PG_anon
)
"""Head flags every piece gets (`__split_huge_page_tail`)."""


class HugeSplitMixin(KernelPart):
    """split_folio and what it needs."""

    def split_folio(
        self,
        folio: Folio,
        order: int = 0,
        at: Page | None = None,
        to_list: bool = False,
    ) -> Gen[int]:
        """Split a locked folio on which the caller holds one reference; 0 or a negative errno.

        The piece with page *at* (the head page) stays locked and referenced for the caller;
        the others are referenced too if they go on a list (split_folio_to_list): they are
        `pieces_of` without it.
        """
        if folio.order <= order:
            return -EBUSY
        anon = (yield load(folio.flags)) & PG_anon
        gone = not (yield from self.folio_mapcount(folio)) if anon else False
        if gone or not (yield load(folio.mapping)):  # folio_get_anon_vma(); truncated
            return -EBUSY
        word = yield from self.rmap_lock(folio, WRITE if anon else READ)
        ret = -EAGAIN
        if (yield from self.can_split_folio(folio)):
            yield from self.try_to_migrate(folio, True)
            ret = yield from self.split_frozen(folio, order, at or folio.page(0), to_list)
        yield unlock(word)
        return ret

    def can_split_folio(self, folio: Folio) -> Gen[bool]:
        """Are mappings and the caller's reference all there is?"""
        mapped = yield from self.folio_mapcount(folio)
        return mapped == (yield load(folio._refcount)) - 1

    def split_frozen(self, folio: Folio, order: int, at: Page, to_list: bool) -> Gen[int]:
        """Freeze, cut up, bring the mappings back."""
        yield lock(Globals.split_queue_lock)
        if not (yield cas(folio._refcount, 1, 0)):
            yield unlock(Globals.split_queue_lock)
            yield from self.remove_migration_ptes(folio, folio, True)
            return -EAGAIN
        if folio.order > 1 and (yield load(folio._deferred_list)) == 1:
            yield store(folio._deferred_list, 0)
        yield bits(folio.flags, 0, PG_partially_mapped)
        yield unlock(Globals.split_queue_lock)
        pieces = yield from self._split_huge_page(folio, order)
        zeropage = self.zeropage_on_split and order == 0
        for piece in pieces:
            yield from self.remove_migration_ptes(piece, piece, True, zeropage)
        kept = folio.index_of(at) >> order
        for piece in pieces[:kept] + pieces[kept + 1 :]:
            yield bits(piece.flags, 0, PG_locked)
            if not to_list:
                yield from self.folio_put(piece)
        return 0

    def _split_huge_page(self, folio: Folio, order: int) -> Gen[tuple[Folio, ...]]:
        """Give each piece its head, from the last to the first.

        Up to 6.12 a piece's reference count is unfrozen as soon as it is one, the head's last:
        lookups cannot find half of a split.
        """
        pieces = self.pieces_of(folio, order)
        for piece in reversed(pieces[1:]):
            yield from self._split_huge_page_tail(folio, piece, order)
            yield store(piece._refcount, 1)
        yield from self.split_page_head(folio, pieces[0], order)
        yield store(folio._refcount, 1)
        return pieces

    def pieces_of(self, folio: Folio, order: int) -> tuple[Folio, ...]:
        """What a folio is cut into, in order."""
        head = folio & ADDR_MASK
        step = PAGE_WORDS << order
        return tuple(Folio(head + step * i | order) for i in range(folio.nr_pages >> order))

    def _split_huge_page_tail(self, folio: Folio, piece: Folio, order: int) -> Gen[None]:
        """Make one piece a folio (`__split_folio_to_order` in 6.15).

        Flags (locked among them), mapping and index are there before compound_head leads to the
        piece (smp_wmb() in the kernel).  Exclusivity is not inherited.
        """
        first = folio.index_of(piece)
        yield store(piece.flags, (yield load(folio.flags)) & INHERITED)
        yield store(piece.mapping, (yield load(folio.mapping)))
        yield store(piece.index, (yield load(folio.index)) + first)
        yield store(piece.page(0).compound_head, piece)
        if order:
            yield from self.prep_compound_page(piece)
            yield bits(piece.flags, PG_large_rmappable)

    def split_page_head(self, folio: Folio, head: Folio, order: int) -> Gen[None]:
        """What is left of the folio itself (`ClearPageCompound`, `folio_set_order`)."""
        if (yield load(head.flags)) & PG_anon_exclusive:
            yield bits(head.flags, 0, PG_anon_exclusive)
        yield store(head.page(0).compound_head, head)
        if order:
            yield from self.prep_compound_page(head)
        else:
            yield bits(head.flags, 0, PG_large_rmappable)

    def prep_compound_page(self, folio: Folio) -> Gen[None]:
        """Lead the tails to the head, with the words only a large folio has at their start."""
        for i in range(1, folio.nr_pages):
            page = folio.page(i)
            if (yield load(page.flags)) & PG_anon_exclusive:
                yield bits(page.flags, 0, PG_anon_exclusive)
            yield store(page.compound_head, folio)
        for word, name in (
            (folio._entire_mapcount, "_entire_mapcount"),
            (folio._nr_pages_mapped, "_nr_pages_mapped"),
            (folio._pincount, "_pincount"),
            (folio._large_mapcount, "_large_mapcount"),
        ):
            if (yield load(word)) != PAGE_LAYOUT[name]:
                yield store(word, PAGE_LAYOUT[name])
        if (yield load(folio._deferred_list)) != 0:
            yield store(folio._deferred_list, 0)

    # -- debugfs ---------------------------------------------------------------------------

    def split_huge_pages_pid(self, mm: Mm, start: int, end: int, order: int) -> Gen[int]:
        """Split what is mapped in [start, end) until a hole; how many folios could be.

        Every page is looked at, for a table may be full of small large folios.
        """
        done = 0
        yield lock(mm.mmap_lock, READ)
        for addr in range(start, end):
            vma = yield from self.find_vma(mm, addr)
            if vma is None:
                break
            folio = yield from self.split_lookup(mm, addr, order)
            if folio is not None:
                done += (yield from self.split_folio(folio, order)) == 0
                left = yield from self.page_folio(folio.page(0))
                yield bits(left.flags, 0, PG_locked)
                yield from self.folio_put(left)
        yield unlock(mm.mmap_lock)
        return done

    def split_lookup(self, mm: Mm, addr: int, order: int) -> Gen[Folio | None]:
        """The large folio mapped at *addr*, locked and referenced; None where nothing is to do.

        6.6 takes its reference under the entry's lock (`follow_page`) and the folio lock after it.
        """
        folio, ptl = yield from self.folio_walk_start(mm, addr)
        if folio is None:
            return None
        yield from self.folio_get(folio)
        yield unlock(ptl)
        ok = folio.large and folio.order > order
        if ok:
            ok = yield from self.can_split_folio(folio)
        if ok:
            ok = not (yield bits(folio.flags, PG_locked)) & PG_locked
        if ok:
            return folio
        yield from self.folio_put(folio)
        return None

    def folio_walk_start(self, mm: Mm, addr: int) -> Gen[tuple[Folio | None, int]]:
        """The folio mapped at *addr* and the lock of its entry, held; (None, 0) if none is.

        Migration and swap entries and the zero page do not count (mm/pagewalk.c, 6.12).
        """
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval:
            return None, 0
        if pmd_is_leaf(pmdval):
            ptl, word = self.pmd_lockptr(pmd, addr), pmd
            yield lock(ptl)
            entry = yield load(pmd)
            if not pmd_is_leaf(entry):
                yield unlock(ptl)
                return (yield from self.folio_walk_start(mm, addr))
        else:
            word, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
            entry = (yield from self.ptep_get(word)) if ptl else 0
        if pte_present(entry):
            page = yield from self.vm_normal_page(entry)
            if page is not None:
                return (yield from self.page_folio(page)), ptl
        if ptl:
            yield unlock(ptl)
        return None, 0
