"""Turning migration entries back, and moving a folio to another (mm/migrate.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_AF,
    PTE_DIRTY,
    PTE_MIGRATION,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_MIGRATION_WRITE,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    pfn_pte,
    pte_mkdirty,
    pte_mkold,
    pte_mkuffd_wp,
    pte_mkwrite,
)
from sandbox.machine.offsets import TABLE_CACHE
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
    Page,
    Vma,
    add,
    bits,
    cas,
    copy_page,
    load,
    store,
    unlock,
)
from sandbox.mm.flags import (
    VM_LOCKED,
    PG_active,
    PG_anon,
    PG_dirty,
    PG_locked,
    PG_mlocked,
    PG_referenced,
    PG_swapbacked,
    PG_swapcache,
    PG_unevictable,
    PG_uptodate,
    PG_workingset,
)


class MigrateMixin(KernelPart):
    """remove_migration_ptes and the migration of small folios."""

    zeropage_on_split = False
    """6.12 and later: zero-filled pages of a split folio become the zero page."""

    def remove_migration_ptes(
        self, src: Folio, dst: Folio, locked: bool, zeropage: bool = False
    ) -> Gen[None]:
        """Map *dst* wherever a migration entry points to *src*."""
        word = 0 if locked else (yield from self.rmap_lock(dst, READ))
        for vma in (yield from self.folio_vmas(dst)):
            mm = Mm((yield load(vma.vm_mm)))
            addr, end, index = yield from self.vma_address(dst, vma)
            while addr < end:
                next_ = min((addr | 511) + 1, end)
                pmd = yield from self.pmd_offset(mm, addr)
                if pmd and (yield load(pmd)):
                    yield from self.restore_pte_range(
                        src, dst, vma, pmd, addr, next_, index, zeropage
                    )
                index += next_ - addr
                addr = next_
        if word:
            yield unlock(word)

    def restore_pte_range(
        self,
        src: Folio,
        dst: Folio,
        vma: Vma,
        pmd: int,
        addr: int,
        end: int,
        index: int,
        zeropage: bool,
    ) -> Gen[None]:
        """The migration entries of one table."""
        mm = Mm((yield load(vma.vm_mm)))
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        for i in range(end - addr):
            pte = yield load(ptep + i)
            if pte & PTE_MIGRATION and pte >> PFN_SHIFT == src.page(index + i).pfn:
                page = dst.page(index + i)
                done = False
                if zeropage:
                    done = yield from self.try_to_map_unused_to_zeropage(
                        dst, page, vma, mm, addr + i, ptep + i, pte
                    )
                if not done:
                    yield from self.remove_migration_pte(
                        dst, page, vma, mm, addr + i, ptep + i, pte
                    )
        yield unlock(ptl)

    def remove_migration_pte(
        self, folio: Folio, page: Page, vma: Vma, mm: Mm, addr: int, ptep: int, old: int
    ) -> Gen[None]:
        """Reference, mapping, then the entry with what the migration entry remembered."""
        yield from self.folio_get(folio)
        pte = pfn_pte(page.pfn, (yield from self.vm_page_prot(vma)))
        if not old & PTE_AF:
            pte = pte_mkold(pte)
        if old & PTE_DIRTY and (yield load(folio.flags)) & PG_dirty:
            pte = pte_mkdirty(pte)
        if old & PTE_MIGRATION_WRITE:
            pte = pte_mkwrite(pte)
        elif old & PTE_UFFD_WP:
            pte = pte_mkuffd_wp(pte)
        if (yield load(folio.flags)) & PG_anon:
            exclusive = bool(old & (PTE_MIGRATION_WRITE | PTE_MIGRATION_EXCLUSIVE))
            yield from self.folio_add_anon_rmap_ptes(folio, page, 1, vma, addr, exclusive)
        else:
            yield from self.folio_add_file_rmap_ptes(folio, page, 1, vma)
        yield from self.set_pte_at(mm, addr, ptep, pte)
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.mlock_drain_local()

    def try_to_map_unused_to_zeropage(
        self, folio: Folio, page: Page, vma: Vma, mm: Mm, addr: int, ptep: int, old: int
    ) -> Gen[bool]:
        """A page full of zeroes need not be kept (6.12, with the underused-THP work).

        One that is mlocked, or of a locked VMA, is: it must not fault again.
        """
        if folio.large:
            return False
        if (yield load(folio.flags)) & PG_mlocked or (yield load(vma.vm_flags)) & VM_LOCKED:
            return False
        if (yield load(page.data)) != 0:
            return False
        zero = Page((yield load(Globals.zero_page)))
        entry = pfn_pte(zero.pfn, (yield from self.vm_page_prot(vma))) | PTE_SPECIAL
        yield from self.set_pte_at(mm, addr, ptep, entry)
        yield add(mm.rss_stat((yield from self.mm_counter(folio))), -1)
        return True

    # -- one small folio -------------------------------------------------------------------

    def migrate_folio_once(self, folio: Folio) -> Gen[bool]:
        """Move a small folio that is off its list to a fresh one; False when held or busy.

        The caller's reference is the only one besides those of mappings and caches
        (`migrate_folio_unmap`, `migrate_folio_move`).
        """
        new = yield from self.vma_alloc_folio(0)
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            yield from self.folio_put(new)
            return False
        yield bits(new.flags, PG_locked)
        was_mapped = yield from self.folio_mapcount(folio)
        was_mlocked = (yield load(folio.flags)) & PG_mlocked
        if was_mapped:
            yield from self.try_to_migrate(folio, False)
        ok = not (yield from self.folio_mapcount(folio))
        if ok:
            ok = yield from self.migrate_folio(folio, new)
        if ok:
            yield from self.folio_add_lru(new)
            if was_mlocked:
                yield from self.lru_add_drain()
        if was_mapped:
            yield from self.remove_migration_ptes(folio, new if ok else folio, False)
        yield bits(new.flags, 0, PG_locked)
        yield from self.folio_put(new)
        yield bits(folio.flags, 0, PG_locked)
        return ok

    def migrate_folio(self, folio: Folio, new: Folio) -> Gen[bool]:
        """Contents, identity and flags move over, if nobody else has the folio."""
        expected = 1 + (yield from self.folio_cache_refs(folio))
        if (yield load(folio._refcount)) != expected:
            return False
        yield copy_page(new.page(0), folio.page(0))
        if not (yield from self.folio_migrate_mapping(folio, new, expected)):
            return False
        yield from self.folio_migrate_flags(folio, new)
        if not (yield load(folio.flags)) & PG_anon:
            yield store(folio.mapping, 0)
        return True

    def folio_migrate_mapping(self, folio: Folio, new: Folio, expected: int) -> Gen[bool]:
        """The new folio takes the other one's place in its cache; False if it is held after all."""
        keep = PG_anon | PG_swapbacked | PG_swapcache
        flags = yield load(folio.flags)
        cache = yield from self.split_cache_lock(folio)
        if cache and not (yield cas(folio._refcount, expected, 0)):
            yield unlock(cache)
            return False
        yield store(new.index, (yield load(folio.index)))
        yield store(new.mapping, (yield load(folio.mapping)))
        if cache:
            yield add(new._refcount, 1)
        yield bits(new.flags, flags & keep)
        if not cache:
            return True
        yield store(new.private, (yield load(folio.private)))
        if (yield load(folio.flags)) & PG_dirty:
            yield bits(folio.flags, 0, PG_dirty)
            yield bits(new.flags, PG_dirty)
        if flags & PG_anon:
            slot = yield from self.swap_word(TABLE_CACHE, (yield load(folio.private)) - 1)
        else:
            mapping = Mapping((yield load(folio.mapping)))
            slot = (yield load(mapping.i_pages)) + (yield load(folio.index))
        yield store(slot, new)
        yield store(folio._refcount, expected - 1)
        yield unlock(cache)
        return True

    def folio_migrate_flags(self, folio: Folio, new: Folio) -> Gen[None]:
        """What else the flags say of the contents."""
        flags = yield load(folio.flags)
        moved = PG_referenced | PG_uptodate | PG_active | PG_unevictable | PG_workingset | PG_dirty
        yield bits(new.flags, flags & moved)
        gone = flags & (PG_active | PG_unevictable | PG_swapcache)
        if gone:
            yield bits(folio.flags, 0, gone)
        if flags & PG_swapcache:
            yield store(folio.private, 0)
