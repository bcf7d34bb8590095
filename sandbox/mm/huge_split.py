"""Splitting a folio into smaller ones (mm/huge_memory.c: split_huge_page_to_list_to_order).

All mappings become migration entries, the reference count is frozen at exactly what is expected,
the pages get heads of their own, and the mappings come back.
"""

from __future__ import annotations

from sandbox.fields import PAGE_LAYOUT
from sandbox.kernels.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    PAGE_WORDS,
    WRITE,
    Folio,
    Gen,
    Globals,
    Page,
    add,
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
        to_list: list[Folio] | None = None,
    ) -> Gen[int]:
        """Split a locked folio on which the caller holds one reference; 0 or a negative errno.

        The piece with page *at* (the head page) stays locked and referenced for the caller;
        the others are referenced too if they go on a list (split_folio_to_list).
        """
        if folio.order <= order:
            return -EBUSY
        word = yield from self.rmap_lock(folio, WRITE)
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

    def split_frozen(
        self, folio: Folio, order: int, at: Page, to_list: list[Folio] | None
    ) -> Gen[int]:
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
        pieces = yield from self.split_pages(folio, order)
        zeropage = self.zeropage_on_split and order == 0
        for piece in pieces:
            yield from self.remove_migration_ptes(piece, piece, True, zeropage)
        kept = folio.index_of(at) >> order
        for piece in pieces[:kept] + pieces[kept + 1 :]:
            yield bits(piece.flags, 0, PG_locked)
            if to_list is None:
                yield from self.folio_put(piece)
            else:
                to_list.append(piece)
        return 0

    def split_pages(self, folio: Folio, order: int) -> Gen[list[Folio]]:
        """Give each piece its head (`__split_huge_page`); references frozen at 0 until the end."""
        flags = yield load(folio.flags)
        pieces = []
        for first in range(0, folio.nr_pages, 1 << order):
            piece = Folio((folio & ADDR_MASK) + first * PAGE_WORDS | order)
            pieces.append(piece)
            yield from self.split_page_tail(folio, piece, first, flags, order)
        for piece in pieces[1:]:
            yield store(piece._refcount, 1)
        yield store(folio._refcount, 1)  # the head last: lookups cannot find half of a split
        return pieces

    def split_page_tail(
        self, folio: Folio, piece: Folio, first: int, flags: int, order: int
    ) -> Gen[None]:
        """The pages of one piece: heads, identity, flags; exclusivity is not inherited."""
        for i in range(1 << order):
            page = piece.page(i)
            yield store(page.compound_head, piece)
            if (yield load(page.flags)) & PG_anon_exclusive:
                yield bits(page.flags, 0, PG_anon_exclusive)
        rmappable = PG_large_rmappable if order else 0
        if first:
            yield store(piece.mapping, (yield load(folio.mapping)))
            yield store(piece.index, (yield load(folio.index)) + first)
            yield store(piece.flags, flags & INHERITED | rmappable)
        else:
            yield bits(piece.flags, 0, PG_large_rmappable & ~rmappable)
        if order:
            yield from self.prep_compound_page(piece)

    def prep_compound_page(self, folio: Folio) -> Gen[None]:
        """The words only a large folio has, at their start."""
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

    def split_huge_pages_pid(self, pages: list[Page], order: int) -> Gen[int]:
        """Debugfs split_huge_pages: split what each page belongs to; how many could be."""
        done = 0
        for page in pages:
            folio = yield from self.page_folio(page)
            if not folio.large or folio.order <= order:
                continue
            if not (yield add(folio._refcount, 1)):
                continue
            if not (yield bits(folio.flags, PG_locked)) & PG_locked:
                done += (yield from self.split_folio(folio, order)) == 0
                left = yield from self.page_folio(folio.page(0))
                yield bits(left.flags, 0, PG_locked)
                yield from self.folio_put(left)
            else:
                yield from self.folio_put(folio)
        return done
