"""Which slots a folio gets: clusters of the swap device (mm/swapfile.c, 6.12).

A cluster of 512 slots serves folios of one order.  Each CPU goes on behind the slots that it took
last for an order; clusters it could go on with are found on lists.  Slot 0 is the device's header,
so the first cluster is never free.  That 6.12 takes slots for small folios 64 at a time is left
out: they are taken in the same order.  Older kernels choose slots as 6.12 does here; it is only
seen where large folios are read back.
"""

from __future__ import annotations

from sandbox.fields import Struct
from sandbox.machine.offsets import (
    CLUSTER_COUNT,
    CLUSTER_FLAGS,
    CLUSTER_NEXT,
    CLUSTER_ORDER,
    CLUSTER_PREV,
    CLUSTER_TABLE,
    LIST_FIRST,
    LIST_LAST,
    PERCPU_CLUSTER,
    SWAP_ORDERS,
    SWAPFILE_CLUSTER,
    TABLE_CACHE,
    TABLE_FIRST,
    TABLE_HAS_CACHE,
    TABLE_MAP,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, alloc, load, lock, store, unlock

OFF_LIST, FREE, NONFULL, FRAG, FULL = range(5)
"""`ci->flags`: which list a cluster is on; that of its order for `NONFULL` and `FRAG`."""
PMD_ORDER = SWAP_ORDERS - 1


def list_of(flags: int, order: int) -> int:
    """Number of the list that clusters with these flags are on."""
    if flags in (FREE, FULL):
        return int(flags == FULL)
    return 2 + order + (SWAP_ORDERS if flags == FRAG else 0)


class SwapClusterMixin(KernelPart):
    """Allocation and freeing of slots, as 6.12 has them."""

    swap_taken_by = "has_cache"
    """What says, beside the count, that a slot is in use (7.x: the folio in the swap table)."""

    # -- lists ---------------------------------------------------------------------------

    def move_cluster(self, si: int, ci: int, flags: int) -> Gen[None]:
        """Put a cluster at the end of the list of its new flags, off the one that it is on."""
        old = yield load(si + CLUSTER_FLAGS + ci)
        order = yield load(si + CLUSTER_ORDER + ci)
        if old != OFF_LIST:
            yield from self.unlist_cluster(si, ci, list_of(old, order))
        which = list_of(flags, order)
        last = yield load(si + LIST_LAST + which)
        yield store(si + CLUSTER_PREV + ci, last)
        yield store(si + CLUSTER_NEXT + ci, 0)
        yield store((si + CLUSTER_NEXT + last - 1) if last else si + LIST_FIRST + which, ci + 1)
        yield store(si + LIST_LAST + which, ci + 1)
        yield store(si + CLUSTER_FLAGS + ci, flags)

    def unlist_cluster(self, si: int, ci: int, which: int) -> Gen[None]:
        """list_del()."""
        prev = yield load(si + CLUSTER_PREV + ci)
        next_ = yield load(si + CLUSTER_NEXT + ci)
        yield store((si + CLUSTER_NEXT + prev - 1) if prev else si + LIST_FIRST + which, next_)
        yield store((si + CLUSTER_PREV + next_ - 1) if next_ else si + LIST_LAST + which, prev)

    def first_cluster(self, si: int, flags: int, order: int) -> Gen[int]:
        """The first cluster of a list, or -1."""
        return (yield load(si + LIST_FIRST + list_of(flags, order))) - 1

    # -- allocation ----------------------------------------------------------------------

    def get_swap_pages(self, order: int) -> Gen[int]:
        """Slots for a folio, marked SWAP_HAS_CACHE; -1: swap is off or full."""
        if not (yield load(Globals.swap_on)):
            return -1
        si_lock = yield from self.swap_ci_lock()
        yield lock(si_lock)
        slot = yield from self.cluster_alloc_swap_entry(None, order)
        yield unlock(si_lock)
        return slot

    def cluster_alloc_swap_entry(self, folio: Folio | None, order: int) -> Gen[int]:
        """The first of the slots found; free clusters come before those that are used in part."""
        si = yield load(Globals.swap_device)
        percpu = si + PERCPU_CLUSTER + self.cpu * SWAP_ORDERS + order
        offset = yield load(percpu)
        found = -1
        if offset:
            found, offset = yield from self.alloc_swap_scan_cluster(si, offset, folio, order)
        if found < 0:
            ci = yield from self.first_cluster(si, FREE, 0)
            if ci >= 0:
                at = ci * SWAPFILE_CLUSTER
                found, offset = yield from self.alloc_swap_scan_cluster(si, at, folio, order)
        if found < 0 and order < PMD_ORDER:
            found, offset = yield from self.alloc_swap_used(si, folio, order)
        yield store(percpu, offset)
        return found

    def alloc_swap_used(self, si: int, folio: Folio | None, order: int) -> Gen[tuple[int, int]]:
        """From clusters that are used in part; order 0 takes from those of other orders."""
        found, offset = -1, 0
        while found < 0:
            ci = yield from self.first_cluster(si, NONFULL, order)
            if ci < 0:
                break
            yield from self.move_cluster(si, ci, FRAG)
            at = ci * SWAPFILE_CLUSTER
            found, offset = yield from self.alloc_swap_scan_cluster(si, at, folio, order)
        orders = (order,) if order else range(SWAP_ORDERS)
        for flags, other in [(f, o) for o in orders for f in ((FRAG, NONFULL) if o else (FRAG,))]:
            ci = yield from self.first_cluster(si, flags, other)
            while found < 0 and ci >= 0:
                at = ci * SWAPFILE_CLUSTER
                found, offset = yield from self.alloc_swap_scan_cluster(si, at, folio, order)
                ci = (yield load(si + CLUSTER_NEXT + ci)) - 1
        return found, offset

    def alloc_swap_scan_cluster(
        self, si: int, offset: int, folio: Folio | None, order: int
    ) -> Gen[tuple[int, int]]:
        """(The first of aligned free slots from *offset* on, or -1; where to go on, or 0)."""
        ci, nr = offset // SWAPFILE_CLUSTER, 1 << order
        end = (ci + 1) * SWAPFILE_CLUSTER - nr
        if (yield load(si + CLUSTER_COUNT + ci)) + nr > SWAPFILE_CLUSTER:
            return -1, 0
        yield from self.swap_cluster_populate(si, ci)
        while offset <= end:
            if (yield from self.cluster_scan_range(offset, nr)):
                yield from self.cluster_alloc_range(si, ci, offset, folio, order)
                full = (yield load(si + CLUSTER_COUNT + ci)) == SWAPFILE_CLUSTER
                return offset, 0 if full or offset + nr > end else offset + nr
            offset += nr
        return -1, 0

    def swap_cluster_populate(self, si: int, ci: int) -> Gen[None]:
        """Give a cluster that is used for the first time its table; the model never takes it back.

        6.12 has one array for all slots.
        """
        if not (yield load(si + CLUSTER_TABLE + ci)):
            table = yield alloc(Struct.SWAP_TABLE)
            yield store(table + TABLE_FIRST, ci * SWAPFILE_CLUSTER)
            yield store(si + CLUSTER_TABLE + ci, table)

    def cluster_scan_range(self, start: int, nr: int) -> Gen[bool]:
        """Has none of the slots a count or a folio?"""
        if not start:
            return False
        counts = yield from self.swap_word(TABLE_MAP, start)
        taken = yield from self.swap_word(self.swap_taken_word(), start)
        for i in range(nr):
            if (yield load(counts + i)) or (yield load(taken + i)):
                return False
        return True

    def cluster_alloc_range(
        self, si: int, ci: int, start: int, folio: Folio | None, order: int
    ) -> Gen[None]:
        """Take slots of a cluster, which serves this order from then on if it was free."""
        if (yield load(si + CLUSTER_FLAGS + ci)) == FREE:
            yield from self.unlist_cluster(si, ci, list_of(FREE, 0))
            yield store(si + CLUSTER_FLAGS + ci, OFF_LIST)
            yield store(si + CLUSTER_ORDER + ci, order)
            if order < PMD_ORDER:
                yield from self.move_cluster(si, ci, NONFULL)
        yield from self.swap_has_cache(start, 1 << order)
        count = (yield load(si + CLUSTER_COUNT + ci)) + (1 << order)
        yield store(si + CLUSTER_COUNT + ci, count)
        if count == SWAPFILE_CLUSTER:
            yield from self.move_cluster(si, ci, FULL)

    # -- freeing -------------------------------------------------------------------------

    def swap_entry_range_free(self, slot: int, nr: int) -> Gen[None]:
        """*nr* slots of one cluster that nobody names or caches are free again."""
        si, ci = (yield load(Globals.swap_device)), slot // SWAPFILE_CLUSTER
        count = (yield load(si + CLUSTER_COUNT + ci)) - nr
        yield store(si + CLUSTER_COUNT + ci, count)
        if not count:
            yield from self.free_cluster(si, ci)
        elif (yield load(si + CLUSTER_FLAGS + ci)) != NONFULL:
            yield from self.move_cluster(si, ci, NONFULL)

    def free_cluster(self, si: int, ci: int) -> Gen[None]:
        """An empty cluster serves any order."""
        yield from self.move_cluster(si, ci, FREE)
        yield store(si + CLUSTER_ORDER + ci, 0)

    def swap_taken_word(self) -> int:
        """The array of a table that says, beside the counts, which slots are in use."""
        return TABLE_CACHE if self.swap_taken_by == "cache" else TABLE_HAS_CACHE


class SwapTableMixin(SwapClusterMixin):
    """Allocation as in 7.x: a folio goes right into the swap table; used clusters come first."""

    swap_taken_by = "cache"

    def swap_ci_lock(self) -> Gen[int]:
        """A cluster has one lock for its counts and folios."""
        return (yield from self.swap_xa_lock())

    def cluster_is_usable(self, si: int, ci: int, order: int) -> Gen[bool]:
        """May a CPU go on with a cluster? Not with one that is full, free, or of another order."""
        if (yield load(si + CLUSTER_FLAGS + ci)) in (FREE, FULL):
            return False
        if not order:
            return True
        empty = not (yield load(si + CLUSTER_COUNT + ci))
        return empty or (yield load(si + CLUSTER_ORDER + ci)) == order

    def folio_alloc_swap(self, folio: Folio) -> Gen[bool]:
        """Find slots and put the folio there under one lock."""
        if not (yield load(Globals.swap_on)):
            return False
        ci_lock = yield from self.swap_xa_lock()
        yield lock(ci_lock)
        si, order = (yield load(Globals.swap_device)), folio.order
        offset = yield load(si + PERCPU_CLUSTER + self.cpu * SWAP_ORDERS + order)
        slot = -1
        if offset and (yield from self.cluster_is_usable(si, offset // SWAPFILE_CLUSTER, order)):
            slot = yield from self.alloc_swap_from(si, offset, folio)
        if slot < 0:
            slot = yield from self.swap_alloc_slow(si, folio)
        yield unlock(ci_lock)
        return slot >= 0

    def swap_alloc_slow(self, si: int, folio: Folio) -> Gen[int]:
        """Clusters of the order, free ones, then fragments; small folios take from any order."""
        order, slot = folio.order, -1
        lists = [(NONFULL, order, True), (FREE, 0, False), (FRAG, order, False)]
        if order == PMD_ORDER:
            lists = [(FREE, 0, False)]
        elif not order:
            lists += [(f, o, True) for o in range(1, SWAP_ORDERS) for f in (FRAG, NONFULL)]
        for flags, other, scan_all in lists:
            while slot < 0:
                ci = yield from self.first_cluster(si, flags, other)
                if ci < 0:
                    break
                yield from self.unlist_cluster(si, ci, list_of(flags, other))
                yield store(si + CLUSTER_FLAGS + ci, OFF_LIST)
                slot = yield from self.alloc_swap_from(si, ci * SWAPFILE_CLUSTER, folio)
                if not scan_all:
                    break
        return slot

    def alloc_swap_from(self, si: int, offset: int, folio: Folio) -> Gen[int]:
        """Scan a cluster; the CPU goes on there, and the cluster goes to the list it belongs on."""
        ci, order = offset // SWAPFILE_CLUSTER, folio.order
        if not (yield load(si + CLUSTER_COUNT + ci)):
            offset = ci * SWAPFILE_CLUSTER
        slot, next_ = yield from self.alloc_swap_scan_cluster(si, offset, folio, order)
        yield from self.relocate_cluster(si, ci)
        yield store(si + PERCPU_CLUSTER + self.cpu * SWAP_ORDERS + order, next_)
        return slot

    def relocate_cluster(self, si: int, ci: int) -> Gen[None]:
        """A cluster that was scanned is free, full, or one of the fragments."""
        count = yield load(si + CLUSTER_COUNT + ci)
        flags = FRAG if count else FREE
        if count == SWAPFILE_CLUSTER:
            flags = FULL
        if (yield load(si + CLUSTER_FLAGS + ci)) != flags:
            yield from self.move_cluster(si, ci, flags)

    def cluster_alloc_range(
        self, si: int, ci: int, start: int, folio: Folio | None, order: int
    ) -> Gen[None]:
        """The folio goes into the table; the first one in a cluster says for which order it is."""
        if folio is not None:
            yield from self.swap_cache_add(folio, start)
        count = yield load(si + CLUSTER_COUNT + ci)
        if not count:
            yield store(si + CLUSTER_ORDER + ci, order)
        yield store(si + CLUSTER_COUNT + ci, count + (1 << order))
