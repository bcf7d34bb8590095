"""Linux 6.15: who maps a large folio (two MM slots and a shared bit), reuse of large folios."""

from __future__ import annotations

from sandbox.kernels.linux_6_12 import Linux612
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    bits,
    cas,
    decide,
    load,
    lock_bit,
    note,
    store,
)
from sandbox.mm.flags import MM_ID_LOCK, MM_ID_MASK, MM_ID_SHARED, PG_anon


class Linux615(Linux612):
    """Linux 6.15 with CONFIG_PAGE_MAPCOUNT (arm64, 4K pages)."""

    id = "6.15"
    title = "Linux 6.15"
    summary = "MM owner tracking: a large folio knows whether one mm owns all its mappings."
    has_mm_id = True
    uring_unpins_folio = False
    fault_around_spares_eof = finish_fault_spares_eof = False  # mainline until 6.18
    huge_zero_wp_allocates = True  # 6.13
    extra_ref_sets_swapbacked = False  # 6.15
    split_lists_backwards = True
    contpte_af_noop = True  # mainline until 7.0 (97c5550b7631)

    # -- ids (include/linux/mm.h, kernel/fork.c) ---------------------------------------

    def mm_alloc_id(self, mm: Mm) -> Gen[None]:
        """The lowest free id; 0 means none."""
        while True:
            taken = yield load(Globals.mm_ida)
            free = 1
            while taken >> free & 1:
                free += 1
            if (yield cas(Globals.mm_ida, taken, taken | 1 << free)):
                break
        yield store(mm.mm_id, free)

    def mm_free_id(self, mm: Mm) -> Gen[None]:
        """Ids are used again."""
        mm_id = yield load(mm.mm_id)
        yield store(mm.mm_id, 0)
        yield bits(Globals.mm_ida, 0, 1 << mm_id)

    # -- large mapcount (include/linux/rmap.h) -------------------------------------------

    def folio_set_large_mapcount(self, folio: Folio, mapcount: int, mm: Mm) -> Gen[None]:
        """A fresh folio: all its mappings belong to *mm*, in slot 0."""
        yield store(folio._large_mapcount, mapcount - 1)
        yield store(folio._mm_id_mapcount(0), mapcount - 1)
        yield from self.folio_set_mm_id(folio, 0, (yield load(mm.mm_id)))

    def folio_set_mm_id(self, folio: Folio, slot: int, mm_id: int) -> Gen[None]:
        """Write a slot's id beside the flag bit that shares its word."""
        yield bits(folio._mm_id(slot), mm_id, MM_ID_MASK & ~mm_id)

    def folio_lock_large_mapcount(self, folio: Folio) -> Gen[None]:
        """Bit spinlock over the mapcount and the slots."""
        yield lock_bit(folio._mm_id(0), MM_ID_LOCK)

    def folio_unlock_large_mapcount(self, folio: Folio) -> Gen[None]:
        """Release it."""
        yield bits(folio._mm_id(0), 0, MM_ID_LOCK)

    def find_mm_slot(self, folio: Folio, mm_id: int) -> Gen[int]:
        """The slot that has *mm_id* (0: a free one), or -1."""
        for slot in (0, 1):
            if (yield load(folio._mm_id(slot))) & MM_ID_MASK == mm_id:
                return slot
        return -1

    def folio_add_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[None]:
        """`folio_add_return_large_mapcount`."""
        yield from self.folio_add_return_large_mapcount(folio, diff, mm)

    def folio_add_return_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        """Raise the total and the mm's slot in one critical section; the logical total."""
        mm_id = yield load(mm.mm_id)
        yield from self.folio_lock_large_mapcount(folio)
        new = (yield load(folio._large_mapcount)) + diff
        yield store(folio._large_mapcount, new)
        slot = yield from self.find_mm_slot(folio, mm_id)
        if slot >= 0:
            count = yield load(folio._mm_id_mapcount(slot))
            yield store(folio._mm_id_mapcount(slot), count + diff)
        else:
            slot = yield from self.find_mm_slot(folio, 0)
            if slot >= 0:
                # plain stores under the bit lock; the recorded builds store the count first
                yield store(folio._mm_id_mapcount(slot), diff - 1)
                yield from self.folio_set_mm_id(folio, slot, mm_id)
                if slot == 1 or new != diff - 1:
                    yield bits(folio._mm_id(1), MM_ID_SHARED)
        yield from self.folio_unlock_large_mapcount(folio)
        return new + 1

    def folio_sub_large_mapcount(self, folio: Folio, diff: int, mm: Mm) -> Gen[int]:
        """Lower both; an empty slot is freed, and one owner of all clears the shared bit."""
        mm_id = yield load(mm.mm_id)
        yield from self.folio_lock_large_mapcount(folio)
        new = (yield load(folio._large_mapcount)) - diff
        yield store(folio._large_mapcount, new)
        slot = yield from self.find_mm_slot(folio, mm_id)
        left = -1
        if slot >= 0:
            left = (yield load(folio._mm_id_mapcount(slot))) - diff
            yield store(folio._mm_id_mapcount(slot), max(left, -1))
            if left < 0:
                yield from self.folio_set_mm_id(folio, slot, 0)
        if left < 0:
            for other in (0, 1):
                if (yield load(folio._mm_id_mapcount(other))) == new:
                    yield bits(folio._mm_id(1), 0, MM_ID_SHARED)
                    break
        yield from self.folio_unlock_large_mapcount(folio)
        return new + 1

    def folio_maybe_mapped_shared(self, folio: Folio) -> Gen[bool]:
        """May several mms map it? Exact one way: False means one mm."""
        if (yield from self.folio_mapcount(folio)) <= 1:
            return False
        if not folio.large:
            return True
        return bool((yield load(folio._mm_id(1))) & MM_ID_SHARED)

    def folio_likely_mapped_shared(self, folio: Folio) -> Gen[bool]:
        """Replaced by the exact-one-way answer of the slots."""
        return (yield from self.folio_maybe_mapped_shared(folio))

    # -- split (mm/huge_memory.c) ----------------------------------------------------------

    def _split_huge_page(
        self, folio: Folio, order: int, split_at: Page | None, to_list: bool
    ) -> Gen[tuple[Folio, ...]]:
        """Make the pieces first, then unfreeze them, the head last (`__split_unmapped_folio`).

        A split around a page halves what holds it, again and again.
        """
        anon = (yield load(folio.flags)) & PG_anon
        done: tuple[Folio, ...] = ()
        part = folio
        for step in (order,) if split_at is None else range(folio.order - 1, order - 1, -1):
            if anon and step == 1 and split_at is not None:
                continue
            pieces = self.pieces_of(part, step)
            for piece in pieces[1:]:
                yield from self._split_huge_page_tail(part, piece, step)
            yield from self.split_page_head(part, pieces[0], step)
            at = 0 if split_at is None else part.index_of(split_at) >> step
            done, part = (*done, *pieces[:at], *pieces[at + 1 :]), pieces[at]
        done = tuple(sorted((*done, part)))
        for piece in done[1:]:
            yield from self.split_unfreeze(folio, piece, to_list)
        yield from self.split_unfreeze(folio, done[0], to_list)
        return done

    # -- reuse (mm/memory.c) ---------------------------------------------------------------

    def wp_can_reuse_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """A large folio too, when all references are mappings and all mappings are ours."""
        if folio.large:
            return (yield from self._wp_can_reuse_large_anon_folio(folio, vma))
        return (yield from self.wp_can_reuse_small(folio, vma))

    def _wp_can_reuse_large_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """Look, lock, look again."""
        if (yield load(folio._large_mapcount)) + 1 <= 1:
            return False
        if (yield load(folio._mm_id(1))) & MM_ID_SHARED:
            return False
        yield from self.free_swap_cache(folio)
        if (yield load(folio._large_mapcount)) + 1 != (yield load(folio._refcount)):
            return False
        yield from self.folio_lock_large_mapcount(folio)
        yield from self.assert_mapcount_refcount(folio)
        exclusive = not (yield load(folio._mm_id(1))) & MM_ID_SHARED
        if exclusive:
            mapcount = (yield load(folio._large_mapcount)) + 1
            exclusive = mapcount == (yield decide(folio._refcount, "reuse", folio, vma, mapcount))
        if exclusive:
            yield note("reuse", folio, vma)
        yield from self.folio_unlock_large_mapcount(folio)
        return exclusive

    def assert_mapcount_refcount(self, folio: Folio) -> Gen[None]:
        """VM_WARN: never more mappings than references (inverted in 6.15-rc, 4b7c0857f87a)."""
        mapcount = (yield load(folio._large_mapcount)) + 1
        if mapcount > (yield load(folio._refcount)):
            yield note("warn", "folio_large_mapcount > folio_ref_count", folio)
