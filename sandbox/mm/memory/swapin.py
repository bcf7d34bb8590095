"""Faults on swap and migration entries (mm/memory.c do_swap_page, 6.6)."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MIGRATION,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    pfn_pte,
    pte_mkdirty,
    pte_mkwrite,
    pte_pfn,
)
from sandbox.kernels.part import KernelPart
from sandbox.memory import Folio, Gen, Vma, add, bits, load, lock_bit, page_of_pfn, store, unlock
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    MM_SWAPENTS,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
    PG_locked,
    PG_lru,
    PG_swapbacked,
    PG_swapcache,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault

READAHEAD = 8
"""Entries around the fault that readahead brings into the swap cache (page_cluster 3)."""


class Swapin(NamedTuple):
    """What a swap fault found: the folio, whether it is in the cache, where it starts."""

    folio: Folio
    cached: bool
    address: int
    """Virtual page of the folio's first entry to map."""
    slot: int
    nr: int


class SwapinMixin(KernelPart):
    """do_swap_page and what it decides."""

    swapin_uses_cache = False
    """7.x: even a read from a synchronous device goes through the swap cache."""
    swapin_large = False
    """6.12 and later: whole large folios come back from a synchronous device."""
    swapin_lone_ref_exclusive = True
    """Up to 6.17 a folio with one reference is mapped exclusive even without the entry's bit."""

    def do_swap_page(self, vmf: VmFault) -> Gen[int]:
        """A non-present entry: wait for a migration, or bring a page back from swap."""
        entry = vmf.orig_pte
        if entry & PTE_MIGRATION:
            return (yield from self.migration_entry_wait(entry))
        if not entry & PTE_SWP:
            return -EFAULT
        found = yield from self.swapin_lookup(vmf, entry >> PFN_SHIFT)
        folio = found.folio
        yield lock_bit(folio.flags, PG_locked)
        if vmf.flags & FAULT_FLAG_WRITE and found.cached and not (yield load(folio.flags)) & PG_lru:
            yield from self.lru_add_drain()
        vmf.pte, vmf.ptl = yield from self.pte_offset_map_lock(vmf.mm, vmf.pmd, found.address)
        if not vmf.ptl or not (yield from self.swapin_unchanged(vmf, found, entry)):
            if vmf.ptl:
                yield unlock(vmf.ptl)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return 0
        return (yield from self.swapin_map(vmf, found, entry))

    def migration_entry_wait(self, entry: int) -> Gen[int]:
        """Wait until the folio's migration is over, then try again."""
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(entry)))
        yield lock_bit(folio.flags, PG_locked)
        yield bits(folio.flags, 0, PG_locked)
        return 0

    # -- finding the folio ---------------------------------------------------------------

    def swapin_lookup(self, vmf: VmFault, slot: int) -> Gen[Swapin]:
        """The cached folio, or one read from the device; with one reference for us."""
        folio = yield from self.swap_cache_get_folio(slot)
        if folio is not None:
            return Swapin(folio, True, vmf.address, slot, 1)
        count = yield load((yield from self.swap_word(0, slot)))
        if count == 1 or self.swapin_uses_cache:
            return (yield from self.swapin_sync(vmf, slot, count == 1))
        yield from self.swapin_readahead(vmf, slot)
        return (yield from self.swapin_lookup(vmf, slot))

    def swapin_sync(self, vmf: VmFault, slot: int, lone: bool) -> Gen[Swapin]:
        """Read from the fast device: past the cache, or (7.x) through it."""
        order = (yield from self.swapin_order(vmf, slot)) if lone and self.swapin_large else 0
        first = slot & -(1 << order)
        folio = yield from self.read_swap_folio(first, order)
        if self.swapin_uses_cache:
            yield from self.swap_cache_add(folio, first)
        yield from self.folio_add_lru(folio)
        address = vmf.address - (slot - first)
        return Swapin(folio, self.swapin_uses_cache, address, first, 1 << order)

    def swapin_order(self, vmf: VmFault, slot: int) -> Gen[int]:
        """The largest enabled order whose entries are consecutive slots (alloc_swap_folio)."""
        for order in (yield from self.thp_vma_suitable_orders(vmf)):
            offset = vmf.address & ((1 << order) - 1)
            if slot & ((1 << order) - 1) != offset:
                continue
            pmdval = yield load(vmf.pmd)
            ptep = self.pte_offset_map(pmdval, vmf.address - offset)
            if (yield from self.swap_pte_batch(ptep, slot - offset, 1 << order)):
                return order
        return 0

    def swap_pte_batch(self, ptep: int, slot: int, nr: int) -> Gen[bool]:
        """Do *nr* entries name consecutive slots with equal flags, none of them cached?"""
        flags = (yield load(ptep)) & ((1 << PFN_SHIFT) - 1)
        for i in range(nr):
            if (yield load(ptep + i)) != (slot + i) << PFN_SHIFT | flags:
                return False
            if (yield load((yield from self.swap_word(1, slot + i)))):
                return False
        return bool(flags & PTE_SWP)

    def read_swap_folio(self, slot: int, order: int) -> Gen[Folio]:
        """A fresh folio with the contents of its slots."""
        folio = yield from self.vma_alloc_folio(order)
        yield bits(folio.flags, PG_swapbacked)
        word = yield from self.swap_word(2, slot)
        for i in range(folio.nr_pages):
            yield store(folio.page(i).data, (yield load(word + i)))
        yield bits(folio.flags, PG_uptodate)
        return folio

    def swapin_readahead(self, vmf: VmFault, slot: int) -> Gen[None]:
        """Bring the faulting slot and its neighbours in the VMA into the cache."""
        pmdval = yield load(vmf.pmd)
        start = max(vmf.address & -READAHEAD, (yield load(vmf.vma.vm_start)))
        end = min((vmf.address & -READAHEAD) + READAHEAD, (yield load(vmf.vma.vm_end)))
        for addr in range(start, end):
            pte = yield load(self.pte_offset_map(pmdval, addr))
            if not pte & PTE_SWP:
                continue
            near = pte >> PFN_SHIFT
            if (yield load((yield from self.swap_word(1, near)))):
                continue
            folio = yield from self.read_swap_folio(near, 0)
            yield from self.swap_cache_add(folio, near)
            yield from self.folio_add_lru(folio)
            yield from self.folio_put(folio)

    def swapin_unchanged(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[bool]:
        """Is the entry (for a large folio: are all of them) what it was?"""
        for i in range(found.nr):
            want = entry + ((found.address + i - vmf.address) << PFN_SHIFT)
            if (yield load(vmf.pte + i)) != want:
                return False
        if not found.cached:
            return True
        return bool((yield load(found.folio.flags)) & PG_swapcache)

    # -- mapping it ----------------------------------------------------------------------

    def swapin_map(self, vmf: VmFault, found: Swapin, entry: int) -> Gen[int]:
        """Slots, rss, rmap, entries; a write to what is still shared goes on as a COW fault."""
        folio, nr = found.folio, found.nr
        exclusive = bool(entry & PTE_SWP_EXCLUSIVE) or not found.cached
        if not self.swapin_uses_cache:
            yield from self.swapin_release(vmf, found)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), nr)
        yield add(vmf.mm.rss_stat(MM_SWAPENTS), -nr)
        if not exclusive and self.swapin_lone_ref_exclusive:
            exclusive = (yield load(folio._refcount)) == 1
        index = found.slot - (yield load(folio.private)) + 1 if found.cached else 0
        if not (yield load(folio.flags)) & PG_swapcache:
            index = 0
        pte = pfn_pte(folio.pfn + index, (yield from self.vm_page_prot(vmf.vma)))
        write = bool(vmf.flags & FAULT_FLAG_WRITE)
        if exclusive and (yield load(vmf.vma.vm_flags)) & VM_WRITE:
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
            vmf.pte += vmf.address - found.address
            vmf.orig_pte = yield from self.ptep_get(vmf.pte)
            return (yield from self.do_wp_page(vmf))
        yield unlock(vmf.ptl)
        return 0

    def swapin_rmap(
        self, folio: Folio, index: int, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        """A folio that was never mapped is new; a known one gets mappings added."""
        if (yield load(folio.flags)) & PG_anon:
            yield from self.folio_add_anon_rmap_ptes(
                folio, folio.page(index), nr, vma, addr, exclusive
            )
        else:
            yield from self.folio_add_new_anon_rmap(folio, vma, addr)
            if not exclusive:
                yield from self.swapin_not_exclusive(folio)

    def swapin_not_exclusive(self, folio: Folio) -> Gen[None]:
        """A fresh folio that others may read from swap too is not exclusive."""
        for i in range(folio.nr_pages):
            yield bits(folio.page(i).flags, 0, PG_anon_exclusive)

    def swapin_release(self, vmf: VmFault, found: Swapin) -> Gen[None]:
        """Our entries no longer name the slots; perhaps the cache can go too."""
        for i in range(found.nr):
            yield from self.swap_free(found.slot + i)
        if found.cached and (yield from self.should_try_to_free_swap(vmf, found.folio)):
            yield from self.folio_free_swap(found.folio)

    def should_try_to_free_swap(self, vmf: VmFault, folio: Folio) -> Gen[bool]:
        """Worth it for a write to a folio nobody else refers to, or on a synchronous device."""
        if self.swap_sync_frees:
            return True
        if not vmf.flags & FAULT_FLAG_WRITE:
            return False
        return (yield load(folio._refcount)) == 1 + folio.nr_pages
