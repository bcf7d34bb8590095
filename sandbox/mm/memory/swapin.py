"""Faults on swap and migration entries (mm/memory.c do_swap_page, 6.6)."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MARKER,
    PTE_MIGRATION,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    pfn_pte,
    pte_mkdirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_pfn,
    pte_present,
)
from sandbox.machine.offsets import TABLE_HAS_CACHE, TABLE_MAP, TABLE_ZERO
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Vma,
    add,
    bits,
    load,
    lock_bit,
    page_of_pfn,
    unlock,
)
from sandbox.mm.flags import (
    EBUSY,
    EEXIST,
    EFAULT,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    MM_SWAPENTS,
    VM_LOCKED,
    VM_UFFD_WP,
    VM_WRITE,
    PG_anon,
    PG_locked,
    PG_lru,
    PG_mlocked,
    PG_swapbacked,
    PG_swapcache,
    PG_writeback,
)
from sandbox.mm.memory.fault import VmFault


class Swapin(NamedTuple):
    """What a swap fault found: the folio, whether it is in the cache, where it starts."""

    folio: Folio
    cached: bool
    address: int
    """Virtual page of the folio's first entry to map."""
    slot: int
    nr: int
    prepared: bool = False
    """Whether the slots are claimed and have to be given up."""


class SwapinMixin(KernelPart):
    """do_swap_page and what it decides."""

    swapin_uses_cache = False
    """7.x: even a read from a synchronous device goes through the swap cache."""
    swapin_large = False
    """6.12 and later: whole large folios come back from a synchronous device."""
    swapin_prepares = False
    """6.8 and later (13ddaf26be32): what is read past the cache is claimed first."""
    swapin_drains = True
    """Up to 7.2 a write gets rid of the LRU batch's reference before it looks at the folio's."""
    swapin_maps_whole = False
    """6.11 and later (508758960b8d): a large folio in the cache is mapped whole if it can be."""
    swapin_lone_ref_exclusive = True
    """Up to 6.17 a folio with one reference is mapped exclusive even without the entry's bit."""

    def do_swap_page(self, vmf: VmFault) -> Gen[int]:
        """A non-present entry: wait for a migration, or bring a page back from swap."""
        entry = vmf.orig_pte
        if entry & PTE_MIGRATION:
            return (yield from self.migration_entry_wait(vmf))
        if entry & PTE_MARKER:
            return (yield from self.handle_pte_marker(vmf))
        if not entry & PTE_SWP:
            return -EFAULT
        if not (yield load(Globals.swap_device)):  # get_swap_device()
            return 0
        found = yield from self.swapin_lookup(vmf, entry >> PFN_SHIFT)
        if found is None:  # somebody else is at it: fault again
            return 0
        ret = yield from self.swapin_locked(vmf, found, entry)
        if found.prepared:
            yield from self.swapcache_clear(found.slot, found.nr)
        return ret

    def swapin_locked(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[int]:
        """The rest of do_swap_page(): folio and entry are looked at again under their locks."""
        folio, slot = found.folio, entry >> PFN_SHIFT
        yield lock_bit(folio.flags, PG_locked)
        if found.cached and not (yield from self.folio_matches_swap_entry(folio, slot)):
            return (yield from self.swapin_out(folio))
        drains = vmf.flags & FAULT_FLAG_WRITE and found.cached and self.swapin_drains
        if drains and not (yield load(folio.flags)) & PG_lru:
            yield from self.lru_add_drain()
        pte, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        fits = None
        if vmf.ptl and (yield from self.ptep_get(vmf.pte)) == entry:
            fits = yield from self.swapin_fits(vmf, found, entry)
        if fits is None:
            if vmf.ptl:
                yield unlock(vmf.ptl)
            return (yield from self.swapin_out(folio))
        vmf = vmf._replace(pte=vmf.pte - (vmf.address - fits.address))
        return (yield from self.swapin_map(vmf, fits, entry))

    def swapin_out(self, folio: Folio) -> Gen[int]:
        """Nothing is mapped; 7.x drops a cache that no entry needs any more (`out_page`)."""
        if self.swapin_uses_cache:
            yield from self.folio_free_swap(folio)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return 0

    def folio_matches_swap_entry(self, folio: Folio, slot: int) -> Gen[bool]:
        """Is the locked folio still the cache of this slot (mm/swap.h)?"""
        if not (yield load(folio.flags)) & PG_swapcache:
            return False
        return 0 <= slot + 1 - (yield load(folio.private)) < folio.nr_pages

    def swapin_fits(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[Swapin | None]:
        """All of a large folio, one page of it, or None: nothing to map; under the entry's lock.

        A fresh large folio is mapped whole or not at all.  One found in the cache is mapped whole
        since 6.11 if all its entries are still there, else the page that was asked for.
        """
        folio, index = found.folio, (entry >> PFN_SHIFT) - found.slot
        if not folio.large:
            return found
        if found.cached:
            found = found._replace(slot=(yield load(folio.private)) - 1)
            index = (entry >> PFN_SHIFT) - found.slot
        found = found._replace(address=vmf.address - index, nr=folio.nr_pages)
        whole = self.swapin_maps_whole or not found.cached
        if whole:
            whole = yield from self.swapin_range(vmf, found, entry)
        if whole:
            return found
        if not found.cached:
            return None
        if (yield load(folio.flags)) & PG_anon or not self.swapin_uses_cache:
            return found._replace(address=vmf.address, nr=1, slot=entry >> PFN_SHIFT)
        yield from self.delete_from_swap_cache(folio)  # fresh, and its entries have changed
        return None

    def swapin_range(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[bool]:
        """Does the folio lie in the VMA and the table, with all its entries as they were?"""
        start, end = found.address, found.address + found.nr
        if start < max(vmf.address & ~511, (yield load(vmf.vma.vm_start))):
            return False
        if end > min((vmf.address | 511) + 1, (yield load(vmf.vma.vm_end))):
            return False
        first = vmf.pte - (vmf.address - start)
        for i in range(found.nr):
            want = entry + ((start + i - vmf.address) << PFN_SHIFT)
            if (yield load(first + i)) != want:
                return False
        return True

    def migration_entry_wait(self, vmf: VmFault) -> Gen[int]:
        """Wait until the folio's migration is over, then try again.

        The folio is looked up under the entry's lock; while its entry is there, it is locked.
        """
        ptep, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
        if not ptl:
            return 0
        entry = yield from self.ptep_get(ptep)
        folio = None
        if not pte_present(entry) and entry & PTE_MIGRATION:
            folio = yield from self.page_folio(page_of_pfn(pte_pfn(entry)))
        yield unlock(ptl)
        if folio is not None:
            yield lock_bit(folio.flags, PG_locked)
            yield bits(folio.flags, 0, PG_locked)
        return 0

    # -- finding the folio ---------------------------------------------------------------

    def swapin_lookup(self, vmf: VmFault, slot: int) -> Gen[Swapin | None]:
        """The cached folio, or one read from the device; with one reference for us.

        None when the slot was taken or given up by another CPU meanwhile.
        """
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is not None:
            yield from self.swap_update_readahead(folio, vmf.vma, vmf.address)
            return Swapin(folio, True, vmf.address, slot, 1)
        if self.swapin_uses_cache:
            return (yield from self.swapin_through_cache(vmf, slot))
        if (yield load((yield from self.swap_word(TABLE_MAP, slot)))) == 1:
            return (yield from self.swapin_sync(vmf, slot))
        folio = yield from self.swapin_readahead(vmf, slot)
        return None if folio is None else Swapin(folio, True, vmf.address, slot, 1)

    def swapin_sync(self, vmf: VmFault, slot: int) -> Gen[Swapin | None]:
        """Read from the fast device past the cache; since 6.8 the slots are claimed meanwhile."""
        orders: tuple[int, ...] = ()
        if self.swapin_large:
            orders = yield from self.thp_swapin_suitable_orders(vmf, slot)
        order = orders[0] if orders else 0
        first = slot & -(1 << order)
        folio = yield from self.vma_alloc_folio(order)
        yield bits(folio.flags, PG_locked | PG_swapbacked)
        if self.swapin_prepares and (yield from self.swapcache_prepare(first, 1 << order)):
            yield from self.swapcache_wait(first)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return None
        yield from self.folio_add_lru(folio)
        yield from self.swap_read_folio(folio, first)
        address = vmf.address - (slot - first)
        return Swapin(folio, False, address, first, 1 << order, self.swapin_prepares)

    def swapin_through_cache(self, vmf: VmFault, slot: int) -> Gen[Swapin | None]:
        """7.x: what is read is in the cache first, locked; a folio found there is used instead."""
        orders = yield from self.thp_swapin_suitable_orders(vmf, slot)
        while True:
            for order in (*orders, 0):
                folio, err = yield from self.swap_cache_alloc_folio(slot, order)
                if folio is not None:
                    first = slot & -(1 << order)
                    yield from self.swap_read_folio(folio, first)
                    return Swapin(folio, True, vmf.address - (slot - first), first, 1 << order)
                if err != -EBUSY:
                    break
            if err != -EEXIST:
                return None
            found = yield from self.swap_cache_get_folio(slot)
            if found is not None:
                return Swapin(found, True, vmf.address, slot, 1)

    def thp_swapin_suitable_orders(self, vmf: VmFault, slot: int) -> Gen[tuple[int, ...]]:
        """Enabled orders, the largest first, whose entries are alike and name slots in a row.

        Seen under the entries' lock; a VMA that userfaultfd watches has its pages one by one.
        Source: alloc_swap_folio (6.12).
        """
        orders: tuple[int, ...] = ()
        if (yield load(vmf.vma.vm_flags)) & VM_UFFD_WP:
            return orders
        for order in (yield from self.thp_vma_suitable_orders(vmf)):
            if slot & ((1 << order) - 1) == vmf.address & ((1 << order) - 1):
                orders = (*orders, order)
        while orders:
            ptep, ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, vmf.address)
            if not ptl:
                return ()
            while orders and not (yield from self.can_swapin_thp(vmf, ptep, slot, orders[0])):
                orders = orders[1:]
            yield unlock(ptl)
            break
        return orders

    def can_swapin_thp(self, vmf: VmFault, ptep: int, slot: int, order: int) -> Gen[bool]:
        """Are the entries around the fault alike, for slots in a row that can be read at once?"""
        at, nr = vmf.address & ((1 << order) - 1), 1 << order
        first = vmf.orig_pte - (at << PFN_SHIFT)
        for i in range(nr):
            if (yield from self.ptep_get(ptep - at + i)) != first + (i << PFN_SHIFT):
                return False
        return self.swapin_uses_cache or (yield from self.swap_slots_alike(slot - at, nr))

    def swap_slots_alike(self, slot: int, nr: int) -> Gen[bool]:
        """Are all slots zero, or none, and nobody has claimed any (`non_swapcache_batch`)?"""
        zero = yield from self.swap_word(TABLE_ZERO, slot)
        taken = yield from self.swap_word(TABLE_HAS_CACHE, slot)
        is_zero = yield load(zero)
        for i in range(nr):
            if (yield load(zero + i)) != is_zero or (yield load(taken + i)):
                return False
        return True

    # -- mapping it ----------------------------------------------------------------------

    def swapin_map(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[int]:
        """Slots, rss, rmap, entries; a write to what is still shared goes on as a COW fault."""
        folio, nr = found.folio, found.nr
        exclusive = yield from self.swapin_exclusive(found, entry)
        first = found.slot + 1 - (yield load(folio.private)) if found.cached else 0
        if not self.swapin_uses_cache:
            yield from self.swapin_release(vmf, found)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), nr)
        yield add(vmf.mm.rss_stat(MM_SWAPENTS), -nr)
        if not exclusive and self.swapin_lone_ref_exclusive:
            exclusive = (yield load(folio._refcount)) == 1
        index = first
        pte = pfn_pte(folio.pfn + index, (yield from self.vm_page_prot(vmf.vma)))
        if entry & PTE_UFFD_WP:
            pte = pte_mkuffd_wp(pte)
        write = bool(vmf.flags & FAULT_FLAG_WRITE)
        vm_flags = yield load(vmf.vma.vm_flags)
        protected = vm_flags & VM_UFFD_WP and entry & PTE_UFFD_WP  # userfaultfd_pte_wp()
        if exclusive and vm_flags & VM_WRITE and not protected:
            pte = pte_mkwrite(pte)
            if write:
                pte, write = pte_mkdirty(pte), False
        if nr > 1:
            yield from self.folio_ref_add(folio, nr - 1)
        yield from self.swapin_rmap(folio, index, nr, vmf.vma, found.address, exclusive)
        yield from self.set_ptes(vmf.mm, found.address, vmf.pte, pte, nr)
        if self.swapin_uses_cache:
            yield from self.swapin_release(vmf, found)
        yield bits(folio.flags, 0, PG_locked)
        if write:
            ptep = vmf.pte + vmf.address - found.address
            orig_pte = yield from self.ptep_get(ptep)
            return (yield from self.do_wp_page(vmf._replace(pte=ptep, orig_pte=orig_pte)))
        yield unlock(vmf.ptl)
        return 0

    def swapin_exclusive(self, found: Swapin, entry: int) -> Gen[bool]:
        """May the page be written through this mapping without a further look?

        Not what is being written to a device that wants stable pages: the mark of the entry is
        dropped, and a write or a pin goes on by copying.
        """
        if not found.cached:
            return True
        if not entry & PTE_SWP_EXCLUSIVE:
            return False
        return not (yield load(found.folio.flags)) & PG_writeback

    def swapin_rmap(
        self, folio: Folio, index: int, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        """A folio that was never mapped is new; a known one gets mappings added."""
        if (yield load(folio.flags)) & PG_anon:
            yield from self.folio_add_anon_rmap_ptes(
                folio, folio.page(index), nr, vma, addr, exclusive
            )
        else:
            yield from self.folio_add_new_anon_rmap(folio, vma, addr, exclusive)

    def swapin_release(self, vmf: VmFault, found: Swapin) -> Gen[None]:
        """Our entries no longer name the slots; perhaps the cache can go too."""
        yield from self.swap_free_nr(found.slot, found.nr)
        if found.cached and (yield from self.should_try_to_free_swap(vmf, found.folio)):
            yield from self.folio_free_swap(found.folio)

    def should_try_to_free_swap(self, vmf: VmFault, folio: Folio) -> Gen[bool]:
        """Worth it for a write to a folio nobody else refers to, or on a synchronous device.

        And for what is locked into memory.
        """
        if self.swap_sync_frees:
            return True
        if (yield load(vmf.vma.vm_flags)) & VM_LOCKED or (yield load(folio.flags)) & PG_mlocked:
            return True
        if not vmf.flags & FAULT_FLAG_WRITE:
            return False
        return (yield load(folio._refcount)) == 1 + folio.nr_pages
