"""Kernels with one mistake each, for the rules on entries, swap, freezing and flushing."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PTE_MIGRATION,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    PTE_WRITE,
)
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.kernels.linux_6_12 import Linux612
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.machine.offsets import TABLE_CACHE, TABLE_MAP
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    bits,
    cas,
    load,
    lock,
    note,
    page_of_pfn,
    store,
    unlock,
    xchg,
)
from sandbox.mm.flags import (
    MM_ANONPAGES,
    PG_active,
    PG_dirty,
    PG_ksm,
    PG_locked,
    PG_referenced,
    PG_swapbacked,
    PG_swapcache,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.memory.fork import CopyContext
from sandbox.mm.memory.zap import MmuGather
from sandbox.mm.vmscan import PAGE_CLEAN


class UnlocksBeforeRestore(Linux66):
    """A folio is unlocked while migration entries still stand for it."""

    def remove_migration_ptes(
        self, src: Folio, dst: Folio, locked: bool, zeropage: bool = False
    ) -> Gen[None]:
        yield bits(src.flags, 0, PG_locked)
        yield from super().remove_migration_ptes(src, dst, locked, zeropage)


class MigratesUnlocked(Linux66):
    """Migration does not take the folio lock."""

    def try_to_migrate(self, folio: Folio, locked: bool) -> Gen[None]:
        yield bits(folio.flags, 0, PG_locked)
        yield from super().try_to_migrate(folio, locked)


class AllMigrateExclusive(Linux66):
    """Every migration entry says that it is the only one."""

    def set_pte_at(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        if pte & PTE_MIGRATION:
            pte |= PTE_MIGRATION_EXCLUSIVE
        yield from super().set_pte_at(mm, addr, ptep, pte)


class KeepsSwapExclusive(Linux66):
    """Fork leaves the exclusive bit in both swap entries."""

    def copy_swap_entry(
        self, ctx: CopyContext, src_pte: int, addr: int, pte: int
    ) -> Gen[tuple[CopyContext, int]]:
        pte &= ~PTE_SWP_EXCLUSIVE
        ctx, copy = yield from super().copy_swap_entry(ctx, src_pte, addr, pte)
        return ctx, copy | PTE_SWP_EXCLUSIVE


class ForgetsSwapCount(Linux66):
    """Fork does not count its swap entries."""

    def swap_duplicate(self, slot: int) -> Gen[None]:
        yield load((yield from self.swap_word(TABLE_MAP, slot)))
        if (yield load((yield from self.swap_word(TABLE_MAP, slot)))) == 0:
            yield from super().swap_duplicate(slot)


class KeepsExclusiveInSwap(Linux66):
    """Swap-out does not give up exclusivity."""

    def folio_try_share_anon_rmap_pte(self, folio: Folio, page: Page) -> Gen[bool]:
        yield load(page.flags)
        return True


class FlagBeforeSlots(Linux66):
    """A folio leaves the swap cache with its slots still pointing to it."""

    def _delete_from_swap_cache(self, folio: Folio) -> Gen[None]:
        yield bits(folio.flags, 0, PG_swapcache)
        yield from super()._delete_from_swap_cache(folio)


class CachesUnmarked(Linux66):
    """A slot is filled before the folio says which slots it is in."""

    def swap_cache_add(self, folio: Folio, slot: int) -> Gen[None]:
        yield add(folio._refcount, folio.nr_pages)
        word = yield from self.swap_word(TABLE_CACHE, slot)
        yield store(word, folio)
        yield bits(folio.flags, PG_swapcache)
        yield store(folio.private, slot + 1)


class UnfreezesWithoutFreezing(Linux66):
    """Split stores the reference count it has read."""

    def split_frozen(
        self, folio: Folio, order: int, at: Page, to_list: bool, split_at: Page | None
    ) -> Gen[int]:
        yield store(folio._refcount, (yield load(folio._refcount)))
        return (yield from super().split_frozen(folio, order, at, to_list, split_at))


class FreezesAnything(Linux66):
    """Reclaim freezes at whatever the count is, and does not look at it before."""

    def pageout(self, folio: Folio) -> Gen[int]:
        yield bits(folio.flags, 0, PG_dirty)
        return PAGE_CLEAN

    def _remove_mapping(self, folio: Folio) -> Gen[bool]:
        refs = yield load(folio._refcount)
        if (yield cas(folio._refcount, refs, 0)):
            yield store(folio._refcount, refs)
        return False


class WritableUffd(Linux66):
    """mprotect marks entries for userfaultfd and leaves them writable."""

    def set_pte_at(self, mm: Mm, addr: int, ptep: int, pte: int) -> Gen[None]:
        yield from super().set_pte_at(mm, addr, ptep, pte | PTE_UFFD_WP if pte & PTE_WRITE else pte)


class PutsBeforeFlush(Linux69):
    """The gather drops its references first and flushes after."""

    def tlb_flush_mmu(self, tlb: MmuGather) -> Gen[MmuGather]:
        for folio, _page, nr, _delay in tlb.items:
            yield from self.folio_put(folio, nr)
        return (yield from super().tlb_flush_mmu(tlb._replace(items=())))


class ForgetsRange(Linux66):
    """Copy on write does not flush the entry it replaces."""

    def ptep_clear_flush(self, mm: Mm, addr: int, ptep: int) -> Gen[int]:
        return (yield xchg(ptep, 0))


class PmdNotFlushed(Linux66):
    """A PMD leaf is zapped outside the range that is flushed."""

    def tlb_flush_mmu_tlbonly(self, tlb: MmuGather) -> Gen[MmuGather]:
        yield load(tlb.mm.flags)
        return tlb


class NeverDelaysRmap(Linux66):
    """Dirty file entries are unmapped at once."""

    def zap_file_bits(
        self, tlb: MmuGather, folio: Folio, ptent: int
    ) -> Gen[tuple[MmuGather, bool]]:
        tlb, _ = yield from super().zap_file_bits(tlb, folio, ptent)
        return tlb._replace(delayed_rmap=False), False


class ReusesTwiceMapped(Linux615):
    """A large folio is reused whoever maps it."""

    def _wp_can_reuse_large_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        yield note("reuse", folio, vma)
        return True


class DiscardsHeld(Linux66):
    """A lazyfree page is dropped without a look at its references."""

    def discard_lazyfree(
        self, folio: Folio, mm: Mm, addr: int, ptep: int, pte: int, nr: int
    ) -> Gen[bool]:
        yield note("discard", folio)
        yield add(mm.rss_stat(MM_ANONPAGES), -nr)
        return True


class SwapsLazyfree(Linux66):
    """Reclaim forgets that a folio in the swap cache must be swap-backed."""

    def swap_cache_add(self, folio: Folio, slot: int) -> Gen[None]:
        yield bits(folio.flags, 0, PG_swapbacked)
        yield from super().swap_cache_add(folio, slot)


class MiscountsAnon(Linux69):
    """A fresh folio counts once in the statistic, whatever its size."""

    def map_anon_folio(self, *args: object) -> Gen[None]:
        yield from super().map_anon_folio(*args)  # type: ignore[arg-type]  # as the real one
        yield add(Globals.nr_anon_mapped, -1)


class EntriesFirst(Linux66):
    """Entries are set before anything counts them."""

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        mm = Mm((yield load(vma.vm_mm)))
        pmd = yield from self.pmd_offset(mm, addr)
        ptep = self.pte_offset_map((yield load(pmd)), addr)
        yield store(ptep, folio.pfn << 16 | 1)
        yield from super().folio_add_new_anon_rmap(folio, vma, addr, exclusive)


class RemovesBeforeAdding(Linux612):
    """A PMD split takes the entire mapping off before it counts the pages."""

    def folio_add_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        if nr == 512:
            yield from self.folio_remove_rmap_pmd(folio, vma)
        yield from super().folio_add_anon_rmap_ptes(folio, page, nr, vma, addr, exclusive)
        if nr == 512:
            yield add(folio._entire_mapcount, 1)
            yield add(folio._nr_pages_mapped, 0x800000)
            yield from self.folio_add_large_mapcount(folio, 1, Mm((yield load(vma.vm_mm))))


class SwapsInExclusive(Linux72):
    """A page that comes back from swap is exclusive, whoever else has an entry for it."""

    def swapin_rmap(
        self, folio: Folio, index: int, nr: int, vma: Vma, addr: int, exclusive: bool
    ) -> Gen[None]:
        yield from super().swapin_rmap(folio, index, nr, vma, addr, True)


class WritesUnlocked(Linux66):
    """mprotect changes entries after it has dropped the page-table lock."""

    def change_pte_range(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, end: int, newprot: int, try_upgrade: bool
    ) -> Gen[None]:
        pte, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        yield unlock(ptl)
        yield store(pte, (yield load(pte)) & ~2 | 4)


class CountsUnlocked(Linux66):
    """The old page of a copy on write is unmapped after the lock is dropped."""

    def folio_remove_rmap_pte(self, folio: Folio, page: Page, vma: Vma) -> Gen[None]:
        mm = Mm((yield load(vma.vm_mm)))
        pmd = yield from self.pmd_offset(mm, (yield load(vma.vm_start)))
        ptl = self.pte_lockptr(self.pte_offset_map((yield load(pmd)), 0), 0)
        yield unlock(ptl)
        yield from super().folio_remove_rmap_pte(folio, page, vma)
        yield lock(ptl)


class MergesWritable(Linux66):
    """A merged page is mapped writable."""

    def wp_page_reuse(self, vmf: VmFault) -> Gen[None]:
        if vmf.page is not None:
            folio = yield from self.page_folio(vmf.page)
            yield bits(folio.flags, PG_ksm)
        yield from super().wp_page_reuse(vmf)


class TouchesFrozen(Linux66):
    """MADV_COLD deactivates a folio without asking whether anybody still refers to it."""

    def madvise_cold(self, mm: Mm, start: int, end: int) -> Gen[int]:
        pmd = yield from self.pmd_offset(mm, start)
        pte = yield load(self.pte_offset_map((yield load(pmd)), start))
        folio = yield from self.page_folio(page_of_pfn(pte >> 16))
        yield bits(folio.flags, PG_active, PG_referenced)
        return 0
