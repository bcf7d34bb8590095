"""Splitting a folio into smaller ones (mm/huge_memory.c: split_huge_page_to_list_to_order).

All mappings become migration entries, the reference count is frozen at exactly what is expected,
the pages get heads of their own, and the mappings come back.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pte_present
from sandbox.fields import PAGE_LAYOUT
from sandbox.machine.offsets import TABLE_CACHE
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    PAGE_WORDS,
    READ,
    WRITE,
    Folio,
    Gen,
    Globals,
    Mapping,
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
    EINVAL,
    HOST_XFS,
    PG_active,
    PG_anon,
    PG_dirty,
    PG_large_rmappable,
    PG_locked,
    PG_lru,
    PG_mlocked,
    PG_private,
    PG_referenced,
    PG_swapbacked,
    PG_swapcache,
    PG_unevictable,
    PG_uptodate,
    PG_workingset,
    PG_writeback,
)
from sandbox.mm.pgalloc import pmd_is_leaf

INHERITED = (
    PG_referenced
    | PG_swapbacked
    | PG_swapcache
    | PG_mlocked
    | PG_uptodate
    | PG_active
    | PG_workingset
    | PG_locked
    | PG_unevictable
    | PG_dirty
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
        split_at: Page | None = None,
    ) -> Gen[int]:
        """Split a locked folio on which the caller holds one reference; 0 or a negative errno.

        The piece with page *at* (the head page) stays locked and referenced for the caller;
        the others are referenced too if they go on a list (split_folio_to_list): they are
        `pieces_of` without it.  With *split_at* only what holds that page is halved again and
        again (`folio_split`).
        """
        ret: int = yield from self.folio_check_splittable(folio, order, split_at is not None)
        if ret:
            return ret
        anon = (yield load(folio.flags)) & PG_anon
        if anon and not (yield from self.folio_mapcount(folio)):  # folio_get_anon_vma()
            return -EBUSY
        if not anon and not (yield from self.filemap_release_folio(folio)):
            return -EBUSY
        word = yield from self.rmap_lock(folio, WRITE if anon else READ)
        ret = -EAGAIN
        if (yield from self.can_split_folio(folio)):
            yield from self.unmap_folio(folio)
            ret = yield from self.split_frozen(folio, order, at or folio.page(0), to_list, split_at)
        yield unlock(word)
        return ret

    split_shmem_to_order = False
    """7.2: shmem folios may be split into large ones."""

    def folio_check_splittable(self, folio: Folio, order: int, non_uniform: bool) -> Gen[int]:
        """Why a folio cannot be split into what is asked for; 0 if it can."""
        if folio.order <= order:
            return -EINVAL
        flags = yield load(folio.flags)
        if not flags & PG_anon and not (yield load(folio.mapping)):  # truncated
            return -EBUSY
        if flags & PG_anon and order == 1:
            return -EINVAL
        if not flags & PG_anon and order and not self.split_shmem_to_order:
            host = yield load(Mapping((yield load(folio.mapping))).host)
            if host != HOST_XFS:
                return -EINVAL
        if flags & PG_swapcache and (order or non_uniform):
            return -EINVAL
        return -EBUSY if flags & PG_writeback else 0

    def can_split_folio(self, folio: Folio, caller_pins: int = 1) -> Gen[bool]:
        """Are mappings, the cache and the caller's references all there is?"""
        mapped = yield from self.folio_mapcount(folio)
        extra = yield from self.folio_cache_refs(folio)
        return mapped == (yield load(folio._refcount)) - extra - caller_pins

    def folio_cache_refs(self, folio: Folio) -> Gen[int]:
        """References of the page cache or the swap cache (`folio_cache_ref_count`)."""
        flags = yield load(folio.flags)
        return 0 if flags & PG_anon and not flags & PG_swapcache else folio.nr_pages

    def unmap_folio(self, folio: Folio) -> Gen[None]:
        """Migration entries for anon pages; pages of files are left to be faulted in again."""
        if (yield load(folio.flags)) & PG_anon:
            yield from self.try_to_migrate(folio, True)
        else:
            yield from self.try_to_unmap(folio, locked=True, ignore_mlock=True)

    def remap_page(self, folio: Folio, pieces: tuple[Folio, ...], zeropage: bool) -> Gen[None]:
        """Bring the mappings of anon pages back, to each of the pieces."""
        if not (yield load(folio.flags)) & PG_anon:
            return
        for piece in pieces:
            yield from self.remove_migration_ptes(piece, piece, True, zeropage)

    def split_frozen(
        self, folio: Folio, order: int, at: Page, to_list: bool, split_at: Page | None
    ) -> Gen[int]:
        """Freeze, cut up, bring the mappings back."""
        cache = yield from self.split_cache_lock(folio)
        extra = yield from self.folio_cache_refs(folio)
        yield lock(Globals.split_queue_lock)
        frozen = yield cas(folio._refcount, 1 + extra, 0)
        if frozen:
            yield from self.folio_unqueue_deferred_split(folio)
        yield unlock(Globals.split_queue_lock)
        if not frozen:
            if cache:
                yield unlock(cache)
            yield from self.remap_page(folio, (folio,), False)
            return -EAGAIN
        pieces = yield from self._split_huge_page(folio, order, split_at, to_list)
        if cache:
            yield unlock(cache)
        yield from self.remap_page(folio, pieces, self.zeropage_on_split and order == 0)
        yield from self.split_release(pieces, at)
        return 0

    def split_release(self, pieces: tuple[Folio, ...], at: Page) -> Gen[None]:
        """Unlock all pieces but the caller's; those that nobody maps or lists are freed here."""
        for piece in pieces:
            if 0 <= piece.index_of(at) < piece.nr_pages:
                continue
            yield bits(piece.flags, 0, PG_locked)
            yield from self.free_swap_cache(piece)
            yield from self.folio_put(piece)

    def split_cache_lock(self, folio: Folio) -> Gen[int]:
        """Lock the cache a folio is in, so that nobody sees half of a split; 0 if in none."""
        flags = yield load(folio.flags)
        word = 0
        if not flags & PG_anon:
            word = Mapping((yield load(folio.mapping))).xa_lock
        elif flags & PG_swapcache:
            word = yield from self.swap_xa_lock()
        if word:
            yield lock(word)
        return word

    def _split_huge_page(
        self, folio: Folio, order: int, split_at: Page | None, to_list: bool
    ) -> Gen[tuple[Folio, ...]]:
        """Give each piece its head, from the last to the first.

        Up to 6.12 a piece's reference count is unfrozen as soon as it is one, the head's last:
        lookups cannot find half of a split.
        """
        pieces = self.pieces_of(folio, order)
        for piece in reversed(pieces[1:]):
            yield from self._split_huge_page_tail(folio, piece, order)
            yield from self.split_unfreeze(folio, piece, to_list)
        yield from self.split_page_head(folio, pieces[0], order)
        yield from self.split_unfreeze(folio, pieces[0], to_list)
        return pieces

    def lru_add_split_folio(self, folio: Folio, piece: Folio, to_list: bool) -> Gen[None]:
        """A piece goes on the LRU beside the head, or on reclaim's list with a reference."""
        if to_list:
            yield from self.folio_get(piece)
        elif (yield load(folio.flags)) & PG_lru:
            yield bits(piece.flags, PG_lru)

    def split_unfreeze(self, folio: Folio, piece: Folio, to_list: bool) -> Gen[None]:
        """Put a piece on the LRU and where the whole was cached, its reference count first.

        The head is on its list already.  What lies behind the end of a file leaves the cache.
        """
        extra = yield from self.folio_cache_refs(piece)
        yield store(piece._refcount, 1 + extra)
        if piece.page(0) != folio.page(0):
            yield from self.lru_add_split_folio(folio, piece, to_list)
        if not extra:
            return
        flags = yield load(piece.flags)
        if flags & PG_anon:
            first = yield from self.swap_word(TABLE_CACHE, (yield load(piece.private)) - 1)
        else:
            mapping, index = Mapping((yield load(piece.mapping))), (yield load(piece.index))
            if index >= (yield load(mapping.i_size)):
                if flags & PG_dirty and not flags & PG_swapbacked:
                    yield bits(piece.flags, 0, PG_dirty)
                yield from self._filemap_remove_folio(mapping, piece)
                yield from self.folio_put(piece, extra)
                return
            first = (yield load(mapping.i_pages)) + index
        for i in range(piece.nr_pages):
            yield store(first + i, piece)

    def pieces_of(self, folio: Folio, order: int) -> tuple[Folio, ...]:
        """What a folio is cut into, in order."""
        head = folio & ADDR_MASK
        step = PAGE_WORDS << order
        return tuple(Folio(head + step * i | order) for i in range(folio.nr_pages >> order))

    def _split_huge_page_tail(self, folio: Folio, piece: Folio, order: int) -> Gen[None]:
        """Make one piece a folio (`__split_folio_to_order` in 6.15).

        Flags (locked among them), mapping and index are there before compound_head leads to the
        piece (smp_wmb() in the kernel).  A new head is not exclusive, other pages stay as they are,
        and the flags of the folio that are in its first tail go where that becomes a piece.
        """
        first = folio.index_of(piece)
        if first == 1:
            yield bits(folio.flags, 0, PG_large_rmappable)
        flags = (yield load(folio.flags)) & INHERITED
        yield store(piece.flags, flags)
        yield store(piece.mapping, (yield load(folio.mapping)))
        yield store(piece.index, (yield load(folio.index)) + first)
        if flags & PG_swapcache:
            yield store(piece.private, (yield load(folio.private)) + first)
        yield store(piece.page(0).compound_head, piece)
        if order:
            yield from self.prep_compound_page(piece)
            yield bits(piece.flags, PG_large_rmappable)

    def split_page_head(self, folio: Folio, head: Folio, order: int) -> Gen[None]:
        """What is left of the folio itself (`ClearPageCompound`, `folio_set_order`)."""
        yield store(head.page(0).compound_head, head)
        if order:
            yield from self.prep_compound_page(head)

    def prep_compound_page(self, folio: Folio) -> Gen[None]:
        """Lead the tails to the head, with the words only a large folio has at their start."""
        for i in range(1, folio.nr_pages):
            yield store(folio.page(i).compound_head, folio)
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
        if ok and not (yield load(folio.flags)) & PG_private:
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
