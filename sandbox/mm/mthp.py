"""Multi-size anonymous folios and PTE batches: what 6.8 and 6.9 brought to the mm/ files.

Source: mm/memory.c alloc_anon_folio (6.8), mm/internal.h folio_pte_batch (6.9).
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_ORDER,
    pte_advance_pfn,
    pte_dirty,
    pte_mkclean,
    pte_mkold,
    pte_pfn,
    pte_write,
    pte_wrprotect,
    pte_young,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, load
from sandbox.mm.flags import VM_HUGEPAGE, VM_NOHUGEPAGE, VM_UFFD_WP
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf

MTHP_ORDERS = sum(1 << order for order in range(2, HPAGE_PMD_ORDER + 1))
"""Orders an anonymous folio may have: 2 … PMD."""


class Batch(NamedTuple):
    """What a batch scan found: entries, and bits set in any of them."""

    nr: int
    any_writable: bool
    any_young: bool
    any_dirty: bool


class MthpMixin(KernelPart):
    """Anonymous folios of 16K to 1M and batched entry scans."""

    supported_orders = MTHP_ORDERS

    def thp_vma_suitable_orders(self, vmf: VmFault) -> Gen[list[int]]:
        """Enabled orders below the PMD's whose aligned range fits the VMA, highest first."""
        vm_flags = yield load(vmf.vma.vm_flags)
        if vm_flags & VM_NOHUGEPAGE or not vm_flags & VM_HUGEPAGE:
            return []
        enabled = yield load(Globals.anon_orders)
        start, end = (yield load(vmf.vma.vm_start)), (yield load(vmf.vma.vm_end))
        orders = []
        for order in range(HPAGE_PMD_ORDER - 1, 1, -1):
            addr = vmf.address & -(1 << order)
            if enabled >> order & 1 and start <= addr and addr + (1 << order) <= end:
                orders.append(order)
        return orders

    def alloc_anon_folio(self, vmf: VmFault) -> Gen[Folio | None]:
        """The largest enabled order whose whole range is still empty.

        One page where userfaultfd watches: it wants to hear of each.
        """
        if (yield load(vmf.vma.vm_flags)) & VM_UFFD_WP:
            return (yield from self.vma_alloc_folio(0))
        for order in (yield from self.thp_vma_suitable_orders(vmf)):
            addr = vmf.address & -(1 << order)
            pmdval = yield load(vmf.pmd)
            if not pmdval or pmd_is_leaf(pmdval):  # pte_offset_map() fails: -EAGAIN
                return None
            pte = self.pte_offset_map(pmdval, addr)
            if (yield from self.pte_range_none(pte, 1 << order)):
                return (yield from self.vma_alloc_folio(order))
        return (yield from self.vma_alloc_folio(0))

    def folio_pte_batch(
        self,
        folio: Folio,
        ptep: int,
        pte: int,
        max_nr: int,
        *,
        dirty: bool = False,
        write: bool = False,
    ) -> Gen[Batch]:
        """How many entries from *ptep* on map consecutive pages of *folio* alike.

        Young is never looked at; *dirty* and *write* say which attributes must be equal.  The
        contiguous bit must be: where it changes, a batch ends.
        """
        max_nr = min(max_nr, folio.nr_pages - folio.index_of(pte_pfn(pte) << 4))
        any_w, any_y, any_d = pte_write(pte), pte_young(pte), pte_dirty(pte)
        nr = min(self.pte_batch_hint(ptep, pte), max_nr)
        expected = pte_advance_pfn(self._pte_batch_clear_ignored(pte, dirty, write), nr)
        while nr < max_nr:
            entry = yield from self.ptep_get(ptep + nr)
            if self._pte_batch_clear_ignored(entry, dirty, write) != expected:
                break
            any_w, any_y, any_d = (
                any_w or pte_write(entry),
                any_y or pte_young(entry),
                any_d or pte_dirty(entry),
            )
            hint = self.pte_batch_hint(ptep + nr, entry)
            expected = pte_advance_pfn(expected, hint)
            nr += hint
        return Batch(min(nr, max_nr), any_w, any_y, any_d)

    def _pte_batch_clear_ignored(self, pte: int, dirty: bool, write: bool) -> int:
        """Mask what a batch does not care about."""
        if not dirty:
            pte = pte_mkclean(pte)
        if not write:
            pte = pte_wrprotect(pte)
        return pte_mkold(pte)
