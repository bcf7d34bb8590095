"""Merging pages of equal content (mm/ksm.c, minimal; 6.6 to 7.3 agree on what is stored).

Which pages meet is the scenario's choice, not that of ksmd's trees and checksums: one page is made
a KSM page, the other's entry is pointed at it.  Their VMAs are mergeable from then on.  Reclaim and
migration leave KSM pages alone (`RmapWalkMixin.folio_vmas`): the stable tree that leads to their
mappings is not modelled.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    pfn_pte,
    pte_dirty,
    pte_mkclean,
    pte_present,
    pte_write,
    pte_wrprotect,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    ADDR_MASK,
    READ,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    bits,
    load,
    lock,
    note,
    store,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_UNSHARE,
    VM_MAYSHARE,
    VM_MERGEABLE,
    VM_SHARED,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_ksm,
    PG_locked,
    PG_referenced,
    PG_swapcache,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result


class RmapItem(NamedTuple):
    """One place whose page may be merged (struct ksm_rmap_item): an mm and a virtual page."""

    mm: Mm
    address: int


class KsmMixin(KernelPart):
    """Write-protecting, comparing and replacing."""

    def sys_ksm(self, mm: Mm, start: int, end: int, other: Mm, at: int) -> Gen[Result]:
        """Merge each page of [start, end) with its counterpart from *at* on in *other*.

        What cannot be merged stays as it is; the output says how many pages could.
        """
        yield from self.madvise_mergeable(mm, start, end)
        yield from self.madvise_mergeable(other, at, at + end - start)
        yield from self.lru_add_drain()  # a batch's reference would prevent write_protect_page()
        merged = 0
        for i in range(end - start):
            item, tree_item = RmapItem(mm, start + i), RmapItem(other, at + i)
            merged += yield from self.cmp_and_merge_page(item, tree_item)
        return Result(0, f'{{"merged":{merged}}}')

    def madvise_mergeable(self, mm: Mm, start: int, end: int) -> Gen[None]:
        """MADV_MERGEABLE for all of the private VMAs that a range touches."""
        yield lock(mm.mmap_lock)
        for vma in (yield from self.vmas_in(mm, start, end)):
            vm_flags = yield load(vma.vm_flags)
            if not vm_flags & (VM_SHARED | VM_MAYSHARE | VM_MERGEABLE):
                yield from self.vma_start_write(vma)
                yield store(vma.vm_flags, vm_flags | VM_MERGEABLE)
        yield unlock(mm.mmap_lock)

    def get_mergeable_page(self, item: RmapItem) -> Gen[Page | None]:
        """The anonymous page mapped at a mergeable place, with a reference; or None."""
        yield lock(item.mm.mmap_lock, READ)
        page = None
        if (yield from self.find_mergeable_vma(item)) is not None:
            pmd = yield from self.pmd_offset(item.mm, item.address)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and pmd_is_leaf(pmdval):
                page = yield from self.ksm_grab_pmd(pmd, item.address)
            elif pmdval:
                page = yield from self.ksm_grab_pte(item.mm, pmd, item.address)
        yield unlock(item.mm.mmap_lock)
        return page

    def find_mergeable_vma(self, item: RmapItem) -> Gen[Vma | None]:
        """The VMA of a place if its pages may be merged: private, with an anon_vma."""
        vma: Vma | None = yield from self.find_vma(item.mm, item.address)
        if vma is None or (yield load(vma.vm_flags)) & (VM_SHARED | VM_MAYSHARE):
            return None
        return vma if (yield load(vma.anon_vma)) else None

    def ksm_grab_pte(self, mm: Mm, pmd: int, addr: int) -> Gen[Page | None]:
        """Take a reference on an anonymous page under its entry's lock."""
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return None
        pte = yield from self.ptep_get(ptep)
        page = (yield from self.vm_normal_page(pte)) if pte_present(pte) else None
        page = yield from self.ksm_get_anon(page)
        yield unlock(ptl)
        return page

    def ksm_grab_pmd(self, pmd: int, addr: int) -> Gen[Page | None]:
        """The same for a page of a PMD-mapped folio."""
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval = yield load(pmd)
        page = None
        if pmd_is_leaf(pmdval) and pte_present(pmdval):
            head = yield from self.vm_normal_page(pmdval)
            page = None if head is None else Page(head + 16 * (addr & 511))
        page = yield from self.ksm_get_anon(page)
        yield unlock(ptl)
        return page

    def ksm_get_anon(self, page: Page | None) -> Gen[Page | None]:
        """A reference on the page if it is anonymous."""
        if page is None:
            return None
        folio = yield from self.page_folio(page)
        if not (yield load(folio.flags)) & PG_anon:
            return None
        yield from self.folio_get(folio)
        return page

    # -- one pair --------------------------------------------------------------------------

    def cmp_and_merge_page(self, item: RmapItem, tree_item: RmapItem) -> Gen[bool]:
        """Merge two places, the second into a KSM page if it is not one yet; True when done."""
        page = yield from self.get_mergeable_page(item)
        if page is None:
            return False
        folio = yield from self.page_folio(page)
        tree_page = yield from self.get_mergeable_page(tree_item)
        merged = split = False
        if tree_page is not None:
            other = yield from self.page_folio(tree_page)
            if (yield load(other.flags)) & PG_ksm:
                merged = not (yield from self.try_to_merge_with_ksm_page(item, page, tree_page))
            elif (yield load(page.data)) == (yield load(tree_page.data)):
                # the trees only bring pages together whose contents were alike
                err = yield from self.try_to_merge_two_pages(item, page, tree_item, tree_page)
                merged, split = not err, folio.large and folio == other
            yield from self.folio_put((yield from self.page_folio(tree_page)))
        if split and not merged:
            # our two references kept the folio whole; the next scan finds it in pieces
            yield from self.ksm_split(page)
        yield from self.folio_put((yield from self.page_folio(page)))
        return merged

    def ksm_split(self, page: Page) -> Gen[None]:
        """Split the large folio of a page unless it is locked (end of `cmp_and_merge_page`)."""
        folio = yield from self.page_folio(page)
        if not folio.large or (yield bits(folio.flags, PG_locked)) & PG_locked:
            return
        yield from self.split_folio(folio, at=page)
        folio = yield from self.page_folio(page)
        yield bits(folio.flags, 0, PG_locked)

    def try_to_merge_two_pages(
        self, item: RmapItem, page: Page, tree_item: RmapItem, tree_page: Page
    ) -> Gen[int]:
        """Make one page a KSM page and merge the other into it; undone when that fails."""
        err: int = yield from self.try_to_merge_with_ksm_page(tree_item, tree_page, None)
        if not err:
            err = yield from self.try_to_merge_with_ksm_page(item, page, tree_page)
            if err:
                yield from self.break_cow(tree_item)
        return err

    def try_to_merge_with_ksm_page(
        self, item: RmapItem, page: Page, kpage: Page | None
    ) -> Gen[int]:
        """`try_to_merge_one_page` under the mmap_lock."""
        yield lock(item.mm.mmap_lock, READ)
        vma = yield from self.find_mergeable_vma(item)
        err = -EFAULT
        if vma is not None:
            err = yield from self.try_to_merge_one_page(vma, item, page, kpage)
        yield unlock(item.mm.mmap_lock)
        return err

    def try_to_merge_one_page(
        self, vma: Vma, item: RmapItem, page: Page, kpage: Page | None
    ) -> Gen[int]:
        """Write-protect a page, then make it a KSM page (*kpage* None) or replace it by *kpage*."""
        if page == kpage:  # a KSM page that fork has shared
            return 0
        folio = yield from self.page_folio(page)
        if not (yield load(folio.flags)) & PG_anon:
            return -EFAULT
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return -EFAULT
        err = 0
        if folio.large:
            err = yield from self.split_folio(folio, at=page)
            folio = yield from self.page_folio(page)
        orig_pte = 0 if err else (yield from self.write_protect_page(item, folio))
        err = 0 if orig_pte else -EFAULT
        if orig_pte and kpage is None:
            yield from self.folio_set_stable_node(folio)
        elif orig_pte and kpage is not None:
            err = -EFAULT
            if (yield load(page.data)) == (yield load(kpage.data)):
                err = yield from self.replace_page(vma, item, page, kpage, orig_pte)
        yield bits(folio.flags, 0, PG_locked)
        return err

    def folio_set_stable_node(self, folio: Folio) -> Gen[None]:
        """The locked, write-protected page is a KSM page now; dirty, so that it is swapped."""
        yield bits(folio.flags, PG_ksm)
        yield bits(folio.flags, PG_referenced)  # folio_mark_accessed()
        if not (yield load(folio.flags)) & PG_dirty:
            yield from self.folio_mark_dirty(folio)

    # -- entries ---------------------------------------------------------------------------

    def write_protect_page(self, item: RmapItem, folio: Folio) -> Gen[int]:
        """Make the entry read-only and clean while only mappings and we refer to the page.

        Returns the entry as it is now, 0 when the page is in use or gone.
        """
        mm, addr = item.mm, item.address
        pmd = yield from self.pmd_offset(mm, addr)
        ptep, ptl = (yield from self.pte_offset_map_lock(mm, pmd, addr)) if pmd else (0, 0)
        if not ptl:
            return 0
        entry = yield from self.ptep_get(ptep)
        if not pte_present(entry) or entry >> PFN_SHIFT != folio.pfn:
            entry = 0
        else:
            exclusive = bool((yield load(folio.flags)) & PG_anon_exclusive)
            if pte_write(entry) or pte_dirty(entry) or exclusive:
                entry = yield from self.ksm_clear_check(mm, addr, ptep, folio, exclusive)
        yield unlock(ptl)
        return entry

    def ksm_clear_check(
        self, mm: Mm, addr: int, ptep: int, folio: Folio, exclusive: bool
    ) -> Gen[int]:
        """Clear and flush first: then no fast GUP can come between the check and the new entry."""
        swapped = bool((yield load(folio.flags)) & PG_swapcache)
        entry = yield from self.ptep_clear_flush(mm, addr, ptep)
        mapped = yield from self.folio_mapcount(folio)
        ok = mapped + 1 + swapped == (yield load(folio._refcount))
        if ok and exclusive:
            ok = yield from self.folio_try_share_anon_rmap_pte(folio, folio.page(0))
        if not ok:
            yield from self.set_pte_at(mm, addr, ptep, entry)
            return 0
        if pte_dirty(entry):
            yield from self.folio_mark_dirty(folio)
        entry = pte_mkclean(entry)
        if pte_write(entry):
            entry = pte_wrprotect(entry)
        yield from self.set_pte_at(mm, addr, ptep, entry)
        return entry

    def replace_page(
        self, vma: Vma, item: RmapItem, page: Page, kpage: Page, orig_pte: int
    ) -> Gen[int]:
        """Point the entry at *kpage*: its reference and mapping first, the old page's go last."""
        mm, addr = item.mm, item.address
        kfolio = yield from self.page_folio(kpage)
        folio = yield from self.page_folio(page)
        pmd = yield from self.pmd_offset(mm, addr)
        ptep, ptl = (yield from self.pte_offset_map_lock(mm, pmd, addr)) if pmd else (0, 0)
        if not ptl:
            return -EFAULT
        if (yield from self.ptep_get(ptep)) != orig_pte:
            yield unlock(ptl)
            return -EFAULT
        yield from self.folio_get(kfolio)
        # besides fork, the one place that maps an anonymous page of others (see rule I-25)
        yield note("window_open", "KSM", kfolio & ADDR_MASK)
        yield from self.folio_add_anon_rmap_ptes(kfolio, kpage, 1, vma, addr, False)
        yield note("window_close", "KSM", kfolio & ADDR_MASK)
        newpte = pfn_pte(kpage.pfn, (yield from self.vm_page_prot(vma)))
        yield from self.ptep_clear_flush(mm, addr, ptep)
        yield from self.set_pte_at(mm, addr, ptep, newpte)
        yield from self.folio_remove_rmap_pte(folio, page, vma)
        if not (yield from self.folio_mapcount(folio)):
            yield from self.folio_free_swap(folio)
        yield from self.folio_put(folio)
        yield unlock(ptl)
        return 0

    # -- unmerging -------------------------------------------------------------------------

    def break_cow(self, item: RmapItem) -> Gen[None]:
        """Give a place a page of its own again, where a merge came to nothing."""
        yield lock(item.mm.mmap_lock, READ)
        vma = yield from self.find_mergeable_vma(item)
        if vma is not None:
            yield from self.break_ksm(item.mm, vma, item.address, item.address + 1)
        yield unlock(item.mm.mmap_lock)

    def break_ksm(self, mm: Mm, vma: Vma, start: int, end: int) -> Gen[None]:
        """Unshare every KSM page of [start, end) by faults (FAULT_FLAG_UNSHARE since 6.2)."""
        for addr in range(start, end):
            while (yield from self.ksm_page_at(mm, addr)):
                if (yield from self.handle_mm_fault(mm, vma, addr, FAULT_FLAG_UNSHARE)):
                    break

    def ksm_page_at(self, mm: Mm, addr: int) -> Gen[bool]:
        """Does the entry map a KSM page?"""
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval or pmd_is_leaf(pmdval):
            return False
        pte = yield from self.ptep_get_lockless(self.pte_offset_map(pmdval, addr))
        page = (yield from self.vm_normal_page(pte)) if pte_present(pte) else None
        if page is None:
            return False
        folio = yield from self.page_folio(page)
        return bool((yield load(folio.flags)) & PG_ksm)

    def madvise_unmerge(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """MADV_UNMERGEABLE: no KSM pages stay in [start, end) (`unmerge_ksm_pages`)."""
        yield lock(mm.mmap_lock)
        ret, _ = yield from self.madvise_walk_vmas(mm, start, end, self.ksm_madvise, mm)
        yield unlock(mm.mmap_lock)
        return ret

    def ksm_madvise(self, vma: Vma, start: int, end: int, mm: Mm) -> Gen[tuple[int, Mm]]:
        """One VMA's part."""
        yield from self.break_ksm(mm, vma, start, end)
        return 0, mm
