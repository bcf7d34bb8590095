"""Finding every mapping of a folio, and replacing it (second half of mm/rmap.c, 6.6).

A walk takes the anon_vma's lock (or the file's i_mmap lock) and visits each VMA the folio may be
mapped in; what it does to an entry happens under that entry's page-table lock.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_AF,
    PTE_DIRTY,
    PTE_MIGRATION,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_MIGRATION_WRITE,
    PTE_UFFD_WP,
    pte_dirty,
    pte_present,
    pte_write,
    pte_young,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    AnonVma,
    Avc,
    Folio,
    Gen,
    Mapping,
    Mm,
    Page,
    Vma,
    bits,
    load,
    lock,
    unlock,
)
from sandbox.mm.flags import (
    VM_LOCKED,
    VM_STACK_INCOMPLETE_SETUP,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_ksm,
)
from sandbox.mm.pgalloc import pmd_is_leaf


class RmapWalkMixin(KernelPart):
    """rmap walks, and unmapping for migration."""

    def folio_share_vmas(self, folio: Folio) -> Gen[list[Vma]]:
        """The VMAs an anon folio may be mapped in (its anon_vma's tree)."""
        anon_vma = AnonVma((yield load(folio.mapping)))
        vmas = []
        avc = Avc((yield load(anon_vma.rb_root)) if anon_vma else 0)
        while avc:  # anon_vma_interval_tree_foreach()
            vmas.append(Vma((yield load(avc.vma))))
            avc = Avc((yield load(avc.rb_next)))
        return vmas

    def folio_vmas(self, folio: Folio) -> Gen[list[Vma]]:
        """The VMAs a folio may be mapped in, anonymous or of a file.

        None for a KSM page: its mappings hang on the stable tree, which is not modelled.
        """
        flags = yield load(folio.flags)
        if flags & PG_ksm:
            return []
        if flags & PG_anon:
            return (yield from self.folio_share_vmas(folio))
        mapping = Mapping((yield load(folio.mapping)))
        return (yield from self.file_vmas(mapping)) if mapping else []

    def file_vmas(self, mapping: Mapping) -> Gen[list[Vma]]:
        """The VMAs that map a file (`vma_interval_tree_foreach`)."""
        vmas = []
        vma = Vma((yield load(mapping.i_mmap)))
        while vma:
            vmas.append(vma)
            vma = Vma((yield load(vma.shared_next)))
        return vmas

    def rmap_lock(self, folio: Folio, mode: int) -> Gen[int]:
        """Take the lock that keeps the folio's VMAs in place; its word."""
        mapping = yield load(folio.mapping)
        word = AnonVma(mapping).rwsem
        if not (yield load(folio.flags)) & PG_anon:
            word = Mapping(mapping).i_mmap_rwsem
        yield lock(word, mode)
        return word

    def vma_address(self, folio: Folio, vma: Vma) -> Gen[tuple[int, int, int]]:
        """Where a VMA would map the folio: (first address, past the last, its page index)."""
        index = yield load(folio.index)
        start, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        anon = (yield load(folio.flags)) & PG_anon
        base = start + index - (yield load(self.anon_pgoff_word(vma) if anon else vma.vm_pgoff))
        lo, hi = max(base, start), min(base + folio.nr_pages, end)
        return lo, hi, lo - base

    # -- migration entries ---------------------------------------------------------------

    def try_to_migrate(self, folio: Folio, locked: bool) -> Gen[None]:
        """Replace every mapping by a migration entry, as far as pins allow."""
        word = 0 if locked else (yield from self.rmap_lock(folio, READ))
        for vma in (yield from self.folio_vmas(folio)):
            if not (yield from self.invalid_migration_vma(vma)):
                yield from self.try_to_migrate_one(folio, vma)
        if word:
            yield unlock(word)

    def invalid_migration_vma(self, vma: Vma) -> Gen[bool]:
        """A stack that exec is moving: its pages are not where rmap says (mm/rmap.c)."""
        return bool((yield load(vma.vm_flags)) & VM_STACK_INCOMPLETE_SETUP)

    def try_to_migrate_one(self, folio: Folio, vma: Vma) -> Gen[None]:
        """The entries of one VMA, table by table."""
        mm = Mm((yield load(vma.vm_mm)))
        addr, end, index = yield from self.vma_address(folio, vma)
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmd_is_leaf(pmdval) and pmdval >> PFN_SHIFT == folio.pfn:
                yield from self.split_huge_pmd(vma, pmd, addr, freeze=True)
                pmdval = yield load(pmd)
            if pmdval and not pmd_is_leaf(pmdval):
                yield from self.migrate_pte_range(folio, vma, mm, pmd, addr, next_, index)
            index += next_ - addr
            addr = next_

    def migrate_pte_range(
        self, folio: Folio, vma: Vma, mm: Mm, pmd: int, addr: int, end: int, index: int
    ) -> Gen[None]:
        """Entries of one table that map the folio, under its lock."""
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        for i in range(end - addr):
            pte = yield from self.ptep_get(ptep + i)
            page = folio.page(index + i)
            if pte_present(pte) and pte >> PFN_SHIFT == page.pfn:
                yield from self.migrate_one_pte(folio, page, vma, mm, addr + i, ptep + i)
        yield unlock(ptl)

    def migrate_one_pte(
        self, folio: Folio, page: Page, vma: Vma, mm: Mm, addr: int, ptep: int
    ) -> Gen[None]:
        """Clear and flush, share, write the migration entry, drop mapping and reference."""
        pte = yield from self.ptep_clear_flush(mm, addr, ptep)
        if pte_dirty(pte):
            yield bits(folio.flags, PG_dirty)
        anon = (yield load(folio.flags)) & PG_anon
        exclusive = bool(anon and (yield load(page.flags)) & PG_anon_exclusive)
        if exclusive and not (yield from self.folio_try_share_anon_rmap_pte(folio, page)):
            yield from self.set_pte_at(mm, addr, ptep, pte)
            return
        yield from self.set_pte_at(mm, addr, ptep, make_migration_entry(page, pte, exclusive))
        yield from self.folio_remove_rmap_pte(folio, page, vma)
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.mlock_drain_local()
        yield from self.folio_put(folio)

    def folio_try_share_anon_rmap_pte(self, folio: Folio, page: Page) -> Gen[bool]:
        """Give up exclusivity of a page whose entry is cleared; False while it may be pinned."""
        if (yield from self.folio_maybe_dma_pinned(folio)):
            return False
        yield bits(page.flags, 0, PG_anon_exclusive)
        return True


def make_migration_entry(page: Page, pte: int, exclusive: bool) -> int:
    """The non-present entry that remembers *pte*'s write, exclusive, young and dirty state."""
    entry = page.pfn << PFN_SHIFT | PTE_MIGRATION
    if pte_write(pte):
        entry |= PTE_MIGRATION_WRITE
    elif exclusive:
        entry |= PTE_MIGRATION_EXCLUSIVE
    entry |= pte & PTE_UFFD_WP
    if pte_young(pte):
        entry |= PTE_AF
    return entry | PTE_DIRTY if pte_dirty(pte) else entry
