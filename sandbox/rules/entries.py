"""Rules about page-table entries: their lock, stale translations, and entries that are not present.

One checker is called for every change of an entry, so it does little: bit tests and, for what is
rare, a call.  What it has to remember is kept in tables that follow undo through `log`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_ORDER,
    PFN_SHIFT,
    PTE_AF,
    PTE_CONT,
    PTE_DIRTY,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_MIGRATION_WRITE,
    PTE_RDONLY,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    PTE_VALID,
    PTE_WRITE,
    PTRS_PER_PTE,
    pte_dirty,
)
from sandbox.machine.fields import Struct, field
from sandbox.machine.handles import PFN_TO_ADDR
from sandbox.machine.memory import ADDR_MASK, Event, Folio, Mm, Page
from sandbox.machine.offsets import (
    COMPOUND_HEAD,
    LARGE_MAPCOUNT,
    LAST_ENTRY,
    MAPCOUNT,
    PT_LOCK,
    PT_MM,
    PT_START,
    TABLE_CACHE,
    TABLE_MAP,
)
from sandbox.mm.flags import PG_anon, PG_anon_exclusive, PG_locked
from sandbox.mm.xarray import radix_to_swp_entry, xa_value_names_slot
from sandbox.rules.tlb import Tlb
from sandbox.truth.ledger import PMD_KIND, TABLE_MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.kernels.base import Kernel
    from sandbox.machine.derived import Derived
    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger

TRANSLATES = -1 << PFN_SHIFT | PTE_VALID
"""What of an entry a TLB goes by: the frame and the valid bit."""
BY_HARDWARE = PTE_AF | PTE_RDONLY | PTE_DIRTY
"""Bits that the MMU may set without a lock."""
NOT_PRESENT = PTE_SWP | PTE_MIGRATION
MIGRATION_ONE = PTE_MIGRATION_WRITE | PTE_MIGRATION_EXCLUSIVE


class EntryChecks:
    """I-28, I-29, I-31, I-37, I-41, I-42, I-52, I-54."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Any]
    held_ptls: list[int]
    derived: Derived
    report: Callable[..., None]
    report_slot: Callable[..., None]
    contiguous: Callable[[int, int, int], None]

    def start_entries(self) -> None:
        """Make the tables of what is not present."""
        self.tlb = Tlb(self.derived)
        self._count_absent = self.derived.undoer(self.count_absent)
        table = self.derived.table
        self.migrations: dict[int, int] = table("migrations", {}, follows=True)
        """By page: migration entries that stand for it."""
        self.migrating_alone: dict[int, int] = table("migrating_alone", {}, follows=True)
        """By page: those of a kind that must be the only one."""
        self.swapped: dict[int, int] = table("swapped", {}, follows=True)
        """By swap slot: entries that name it."""
        self.swap_entries: dict[int, int] = table("swap_entries", {}, follows=True)
        """By mm: its swap entries."""
        self.swapped_alone: dict[int, int] = table("swapped_alone", {}, follows=True)
        """By swap slot: those with the exclusive bit."""
        self.swapped_files: dict[int, int] = table("swapped_files", {}, follows=True)
        """By swap slot: places in files whose page went there."""
        self.machine.watch(field(Struct.XARRAY, "slot"), self.count_swapped_file)

    # -- every change --------------------------------------------------------------------

    def entry_changed(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Any entry or PMD leaf changed; only forward."""
        if old == new:
            return
        cells = self.cells
        if cells[(addr & TABLE_MASK) + PT_LOCK] != -1 - cpu:
            self.unlocked_entry(addr, old, new)
        if (old ^ new) & TRANSLATES:
            if old & (PTE_VALID | PTE_SPECIAL) == PTE_VALID:
                self.untranslated(addr, old)
            if new & (PTE_VALID | PTE_SPECIAL) == PTE_VALID:
                folio = cells[(new >> PFN_SHIFT << PFN_TO_ADDR) + COMPOUND_HEAD]
                if cells[(folio & ADDR_MASK) + (LARGE_MAPCOUNT if folio & 15 else MAPCOUNT)] < 0:
                    self.mapped_before(Folio(folio), addr)
        if new & PTE_VALID:
            left = cells[addr - 1] if addr & LAST_ENTRY else 0
            if (new | left | cells[addr + 1]) & PTE_CONT:
                self.contiguous(addr, old, new)
        if (old | new) & NOT_PRESENT:
            mm = cells[(addr & TABLE_MASK) + PT_MM]
            self.count_absent(mm, old, new)
            self.derived.add(self._count_absent, mm, new, old)

    def pmd_changed(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """The same for a PMD word: a leaf is an entry; a table that goes takes its own along."""
        leaves = (value if value & PTE_HUGE else 0 for value in (old, new))
        self.entry_changed(event, cpu, addr, *leaves)
        if old and not old & PTE_HUGE and new != old:
            table = old >> PFN_SHIFT
            mm, start = self.cells[table + PT_MM], self.cells[table + PT_START]
            for i, pte in enumerate(self.cells[table : table + PTRS_PER_PTE]):
                if pte & PTE_VALID and not pte & PTE_SPECIAL:
                    self.tlb.forget(mm, start + i, pte >> PFN_SHIFT << PFN_TO_ADDR, pte_dirty(pte))

    # -- locks ---------------------------------------------------------------------------

    def unlocked_entry(self, addr: int, old: int, new: int) -> None:
        """I-54 for an entry; a table that is not linked yet needs no lock."""
        if self.kernel.hw_afdbm and not (old ^ new) & ~BY_HARDWARE:
            return
        table = addr & TABLE_MASK
        word = self.pmd_word(table)
        if word != table and self.cells[word] >> PFN_SHIFT != table:
            return
        scale = HPAGE_PMD_ORDER if self.machine.memory.kinds[addr] == PMD_KIND else 0
        place = self.ledger.region_of(self.cells[table + PT_START] + ((addr & LAST_ENTRY) << scale))
        name = f"{self.ledger.process_of(self.cells[table + PT_MM])}.{place[0]} {place[1]}"
        text = "the entry is changed without its page-table lock"
        self.engine.fails("I-54", addr, name, text, (addr, table + PT_LOCK))

    def pmd_word(self, table: int) -> int:
        """The PMD word a table of entries would be linked by; *table* itself when there is none."""
        mm, start = Mm(self.cells[table + PT_MM]), self.cells[table + PT_START]
        pmds = self.cells[mm.pud(start)] if mm else 0
        return pmds + (start >> HPAGE_PMD_ORDER & LAST_ENTRY) if pmds and pmds != table else table

    def unlocked_count(self, folio: Folio, addr: int) -> None:
        """I-54 for a mapcount; a frozen folio has no entries, its counts are only made ready."""
        if self.cells[folio._refcount]:
            text = "a mapcount is changed without a page-table lock"
            self.report(False, "I-54", folio, text, addr)

    # -- readers -------------------------------------------------------------------------

    def mapped_before(self, folio: Folio, addr: int) -> None:
        """An entry is set and the first word says unmapped; up to 6.9 two others are read."""
        two = folio.large and not self.kernel.has_large_mapcount
        words = (folio._nr_pages_mapped, folio._entire_mapcount)
        if not two or (self.cells[words[0]] == 0 and self.cells[words[1]] < 0):
            self.missed(folio, addr)

    def uncounted(self, folio: Folio, page: int, addr: int) -> None:
        """I-42 and I-52: a mapcount went down."""
        if self.tlb.dirty:
            self.unmapped_early(folio, page, addr)
        if self.cells[addr] == -1 and (not folio.large or addr == folio._large_mapcount):
            self.missed(folio, addr)

    def missed(self, folio: Folio, addr: int) -> None:
        """I-52: something maps the folio and its words say that nothing does.

        An invalidated PMD for which migration entries are ready is no mapping any more.
        """
        leaves = self.ledger.leaves[folio & ADDR_MASK]
        if self.migrations and folio.page(0) in self.migrations:
            return
        text = f"{leaves} entries map it, the mapcounts read as none"
        self.report(not leaves, "I-52", folio, text, addr, deficit=leaves)

    # -- translations --------------------------------------------------------------------

    def untranslated(self, addr: int, old: int) -> None:
        """A valid entry of a linked table went: CPUs may go on using it until the flush."""
        cells, table = self.cells, addr & TABLE_MASK
        mm, start = cells[table + PT_MM], cells[table + PT_START]
        page = old >> PFN_SHIFT << PFN_TO_ADDR
        if old & PTE_HUGE:
            self.tlb.forget(mm, start + ((addr & LAST_ENTRY) << HPAGE_PMD_ORDER), page, False)
        else:
            word = self.pmd_word(table)
            if cells[word] >> PFN_SHIFT == table:
                self.tlb.forget(mm, start + (addr & LAST_ENTRY), page, pte_dirty(old))

    def still_translated(self, folio: Folio) -> None:
        """I-41 when a folio is freed."""
        for i in range(folio.nr_pages):
            if folio.page(i) in self.tlb.pages:
                text = f"freed while a TLB may still translate to page {i}"
                self.report(False, "I-41", folio, text, folio._refcount)
                return

    def unmapped_early(self, folio: Folio, page: int, addr: int) -> None:
        """I-42 when a mapcount of a page-cache folio goes down."""
        if self.cells[folio.flags] & PG_anon:
            return
        counted = self.kernel.has_page_mapcount or not folio.large
        for i in range(folio.nr_pages) if not counted else (folio.index_of(page),):
            if folio.page(i) in self.tlb.dirty:
                text = f"page {i} is unmapped before its dirty translation is flushed"
                self.report(False, "I-42", folio, text, addr)
                return

    # -- what is not present ---------------------------------------------------------------

    def count_absent(self, mm: int, old: int, new: int) -> None:
        """Count swap and migration entries; called with the values swapped to undo."""
        for value, delta in ((old, -1), (new, 1)):
            if value & PTE_SWP:
                slot = value >> PFN_SHIFT
                _count(self.swapped, slot, delta)
                _count(self.swap_entries, mm, delta)
                if value & PTE_SWP_EXCLUSIVE:
                    _count(self.swapped_alone, slot, delta)
            elif value & PTE_MIGRATION:
                page = value >> PFN_SHIFT << PFN_TO_ADDR
                _count(self.migrations, page, delta)
                if value & MIGRATION_ONE:
                    _count(self.migrating_alone, page, delta)

    def count_swapped_file(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Count the slots that page caches name."""
        for value, delta in ((old, -1), (new, 1)):
            if xa_value_names_slot(value):
                _count(self.swapped_files, radix_to_swp_entry(value), delta)

    def absent_at_rest(self, word: int, now: int) -> None:
        """I-28, I-29, I-31, I-37 for an entry whose lock is released."""
        if now & PTE_SWP:
            self.swap_entry(word, now >> PFN_SHIFT)
        elif now & PTE_MIGRATION:
            self.migration_entry(word, now >> PFN_SHIFT << PFN_TO_ADDR)
        elif now & PTE_UFFD_WP:
            folio = self.ledger.folio(now >> PFN_SHIFT << PFN_TO_ADDR)
            ok = not now & PTE_WRITE
            self.report(ok, "I-37", folio, "a write-protected (uffd) entry is writable", word)

    def migration_entry(self, word: int, page: int) -> None:
        """I-28 and I-29."""
        folio = self.ledger.folio(page)
        flags, index = self.cells[folio.flags], folio.index_of(page)
        text = f"a migration entry stands for page {index}, the folio is not locked"
        self.report(bool(flags & PG_locked), "I-28", folio, text, word, folio.flags)
        alone = self.migrating_alone.get(page, 0)
        if flags & PG_anon:
            entries, ptes = self.migrations[page], self.ledger.page_leaves.get(page, 0)
            text = f"page {index} has an exclusive migration entry, {entries} of them, {ptes} PTEs"
            self.report(not alone or entries + ptes == 1, "I-29", folio, text, word)

    def unlocked_folio(self, folio: Folio) -> None:
        """I-28: a folio is unlocked while migration entries stand for it."""
        for i in range(folio.nr_pages):
            if folio.page(i) in self.migrations:
                text = f"unlocked while a migration entry stands for page {i}"
                self.report(False, "I-28", folio, text, folio.flags)
                return

    def swap_entry(self, word: int, slot: int) -> None:
        """I-31, and I-33 for the page that caches the slot."""
        counts = self.ledger.slot_word(TABLE_MAP, slot)
        count, cached = self.cells[counts], self.cells[self.ledger.slot_word(TABLE_CACHE, slot)]
        alone, entries = self.swapped_alone.get(slot, 0), self.swapped[slot]
        folio = Folio(cached)
        text = f"slot {slot} is named exclusively, counts {count} and has {entries} entries"
        ok = not alone or count == entries == 1
        self.report_slot(ok, "I-31", slot, text, word, counts)
        if cached:
            page = Page(self.cached_page(folio, slot))
            text = f"page {folio.index_of(page)} is exclusive while an entry names its swap slot"
            ok = not self.cells[page.flags] & PG_anon_exclusive
            self.report(ok, "I-33", folio, text, word, page.flags)

    def cached_page(self, folio: Folio, slot: int) -> int:
        """The page of a swap-cache folio that caches a slot."""
        return folio.page(max(slot - self.cells[folio.private] + 1, 0) % folio.nr_pages)

    def named_elsewhere(self, page: int) -> bool:
        """Does a swap or migration entry stand for a page (besides those that map it)?"""
        if page in self.migrations:
            return True
        folio = self.ledger.folio(page)
        if not self.swapped or not self.cells[folio.private]:
            return False
        return self.cells[folio.private] - 1 + folio.index_of(page) in self.swapped


def _count(table: dict[int, int], key: int, delta: int) -> None:
    """Add to a count and forget it at 0."""
    count = table.get(key, 0) + delta
    if count:
        table[key] = count
    else:
        table.pop(key, None)
