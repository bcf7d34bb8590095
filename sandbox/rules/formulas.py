"""The formulas: each method reads words and tells the engine whether a rule holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.machine.fields import DEFERRED_LIST, Struct, field
from sandbox.machine.memory import (
    ADD,
    ADDR_MASK,
    PAGE_WORDS,
    STORE,
    USER_STORE,
    Event,
    Folio,
    Globals,
    Page,
    Word,
    reused_frame,
)
from sandbox.machine.offsets import (
    COMPOUND_HEAD,
    DEFERRED_NODE,
    ENTIRE_MAPCOUNT,
    LARGE_MAPCOUNT,
    MAPCOUNT,
    MAPPING,
    NR_PAGES_MAPPED,
    PINCOUNT,
    REFCOUNT,
    WRITE_PROTECT_SEQ,
)
from sandbox.machine.reuse import ALLOCATION
from sandbox.mm.flags import (
    GUP_PIN_COUNTING_BIAS,
    PG_anon,
    PG_anon_exclusive,
    PG_buddy,
    PG_locked,
    PG_private,
    PG_swapbacked,
    PG_swapcache,
)
from sandbox.rules.blocks import BlockChecks
from sandbox.rules.complaints import ComplaintChecks
from sandbox.rules.contents import ContentChecks
from sandbox.rules.entries import EntryChecks
from sandbox.rules.freeze import FreezeChecks
from sandbox.rules.pins import PinChecks
from sandbox.rules.places import PlaceChecks
from sandbox.rules.quiet import QuietChecks
from sandbox.rules.section import SectionChecks
from sandbox.rules.statistics import StatisticsChecks
from sandbox.truth.ledger import PMD_KIND, PTE_KIND

if TYPE_CHECKING:
    from sandbox.rules.engine import RuleEngine


HEAD_FLAGS = PG_buddy | PG_swapbacked | PG_swapcache
"""Flags whose change some rule looks at."""


def _kind(name: str) -> int:
    return field(Struct.PAGE, name)


class Checks(
    SectionChecks,
    QuietChecks,
    PinChecks,
    EntryChecks,
    BlockChecks,
    FreezeChecks,
    StatisticsChecks,
    PlaceChecks,
    ContentChecks,
    ComplaintChecks,
):
    """Event-scope checks, hung on the kinds of words they read."""

    def __init__(self, engine: RuleEngine) -> None:
        self.engine, self.ledger, self.machine = engine, engine.ledger, engine.machine
        self.kernel, self.now = engine.kernel, engine.now
        self.derived = self.machine.derived
        self.page_mapcount = self.kernel.has_page_mapcount
        self.block = getattr(self.kernel, "CONT_PTES", 16)
        self.cells = self.machine.memory.cells
        self.kinds = self.machine.memory.kinds
        self.zero = self.cells[Globals.zero_page]
        self.held_ptls = self.derived.table("held_ptls", [0] * 8, follows=True)
        self.start_section()
        self.start_sound()
        self.start_pins()
        self.start_entries()
        self.start_freeze()
        self.start_statistics()
        self.start_places()
        self.start_contents()
        self.start_complaints()
        self.machine.flush_watchers.append(self.tlb.flush)
        on = self.machine.check
        on(ALLOCATION, self.allocated)
        on(_kind("_refcount"), self.refcount)
        on(_kind("_mapcount"), self.mapcount)
        on(_kind("_entire_mapcount"), self.entire)
        on(_kind("_large_mapcount"), self.large)
        on(_kind("_pincount"), self.pincount)
        on(_kind("flags"), self.flags)
        on(_kind("data"), self.data)
        on(DEFERRED_LIST, self.deferred)
        on(PTE_KIND, self.entry_changed)
        on(PMD_KIND, self.pmd_changed)
        on(field(Struct.SWAP_TABLE, "swap_cache"), self.cache_slot)
        if not self.kernel.has_large_mapcount:
            on(_kind("_nr_pages_mapped"), self.pages_mapped)
        on(field(Struct.CPU, "mmu_gather.pages"), self.gather)
        on(field(Struct.MM, "write_protect_seq"), self.sequence)
        for struct, name in ((Struct.PTE_TABLE, "ptl"), (Struct.PMD_TABLE, "pmd_ptl")):
            self.machine.watch(field(struct, name), self.ptl_moved)
            on(field(struct, name), self.ptl_released)

    def report(
        self, ok: bool, rule: str, folio: int, text: str, *words: int, deficit: int = 1
    ) -> None:
        """Tell the engine about a folio."""
        key = folio & ADDR_MASK
        if ok:
            self.engine.holds(rule, key)
        else:
            self.engine.fails(rule, key, self.ledger.name_of(folio), text, words, deficit)

    def allocated(self, event: Event, cpu: int, addr: int, was: Word, new: int) -> None:
        """A frame that is used again is another folio: nothing is remembered of the one before.

        Holds are of frames: who still holds it would write to the new folio.
        """
        frame = reused_frame(was)
        if frame:
            end = frame + (PAGE_WORDS << event[3])
            self.engine.another_folio(frame, end)
            self.tlb.another_folio(frame, end)

    # -- references and mappings -------------------------------------------------------

    def refcount(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-01, I-02, I-05, I-06, I-09, I-10, I-34, I-35 after a reference count changed."""
        page = addr - 1
        folio = self.cells[page + COMPOUND_HEAD]
        head = folio & ADDR_MASK
        op = event[0]
        if new < 0 or (old == 0 and op == ADD):
            self.report(False, "I-01", folio, f"refcount {old} -> {new}", addr)
        if head != page:
            tail = Folio(folio).index_of(page)
            self.report(new == 0, "I-02", folio, f"tail {tail} has refcount {new}", addr)
            return
        if self.odd or self.taken[cpu]:
            self.reference_taken(event, cpu, old, new)
        if old == 0 or new == 0 or op == STORE:
            self.frozen_or_thawed(op, cpu, addr, old, new, folio)
        if head == self.zero:  # FOLL_GET does take references: looked at when quiet
            return
        self.balance(folio, new, op)
        pins = self.pinned.get(head, 0)
        if pins and not folio & 15:
            need = GUP_PIN_COUNTING_BIAS * pins
            self.report(
                new >= need,
                "I-10",
                folio,
                f"refcount {new} < {need} for {pins} pin{'s' * (pins != 1)}",
                addr,
                deficit=need - new,
            )

    def balance(self, packed: int, ref: int, op: int) -> None:
        """I-05 and I-06, and I-09 for pinned large folios, after an operation."""
        cells, head = self.cells, packed & ADDR_MASK
        if not packed & 15:
            mapped = cells[head + MAPCOUNT] + 1
        elif self.page_mapcount:
            mapped = cells[head + ENTIRE_MAPCOUNT] + 1 + self.ledger.mapcounts[head]
        else:
            mapped = cells[head + LARGE_MAPCOUNT] + 1
        simple = cells[head] & (PG_anon | PG_swapcache) == PG_anon and not cells[head + PINCOUNT]
        if simple and mapped <= ref and not self.now:
            return  # nothing cached, pinned or broken: most events end here
        folio = Folio(packed)
        words = (folio._refcount, folio._mapcount, folio._entire_mapcount)
        text = f"mapcount {mapped} > refcount {ref}"
        self.report(mapped <= ref, "I-05", folio, text, *words, deficit=mapped - ref)
        cached = self.cache_refs(folio)
        frozen = ref == 0 and op != ADD
        if cached and not frozen:
            need = mapped + cached
            self.report(
                need <= ref,
                "I-06",
                folio,
                f"{mapped} mappings + {cached} cache > refcount {ref}",
                *words,
                deficit=need - ref,
            )
        pins = cells[head + PINCOUNT]
        if folio.large and pins:
            room = ref - mapped - cached
            self.report(
                pins <= room,
                "I-09",
                folio,
                f"{pins} pin{'s' * (pins != 1)}, {room} references left for them",
                *words,
                folio._pincount,
                deficit=pins - room,
            )

    def mapped(self, folio: Folio) -> int:
        """M, from the words this kernel maintains."""
        if folio.large and not self.kernel.has_page_mapcount:
            return int(self.cells[folio._large_mapcount]) + 1
        return self.ledger.total_mapcount(folio)

    def cache_refs(self, folio: Folio) -> int:
        """C: references of the page cache."""
        head = folio & ADDR_MASK
        flags = self.cells[head]
        if flags & PG_swapcache:
            return folio.nr_pages
        if flags & (PG_anon | PG_buddy) or not self.cells[head + MAPPING]:
            return 0
        return folio.nr_pages + bool(flags & PG_private)

    def mapcount(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-04, I-05, I-13, I-17, I-25, I-42, I-52 after a page's mapcount changed."""
        page = addr - MAPCOUNT
        folio = self.cells[page + COMPOUND_HEAD]
        head = folio & ADDR_MASK
        if not self.held_ptls[cpu] or self.frozen:
            self.counted(folio, addr, cpu)
        if new < old and (self.tlb.dirty or (new == -1 and not folio & 15)):
            self.uncounted(Folio(folio), page, addr)
        if new < -1:
            tail = Folio(folio).index_of(page)
            self.report(False, "I-04", folio, f"page {tail}: _mapcount {new}", addr)
            self.bad_page_map(folio, new + 1)
        if page == self.zero:
            self.report(False, "I-17", folio, "the zero page is counted", addr)
        self.balance(folio, self.cells[head + REFCOUNT], event[0])
        if folio & 15 and self.kernel.has_large_mapcount:
            self.total(folio)
        if old >= 0 and new > old:
            self.duplicated(folio)

    def entire(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-04, I-05, I-13, I-15 after an entire mapcount changed."""
        folio = Folio(self.cells[addr - ENTIRE_MAPCOUNT + COMPOUND_HEAD])
        self.counted(folio, addr, cpu)
        if new < -1:
            self.report(False, "I-04", folio, f"_entire_mapcount {new}", addr)
        self.report(
            new < 0 or folio.order >= 9,
            "I-15",
            folio,
            f"entire mapping of a folio of order {folio.order}",
            addr,
        )
        self.balance(folio, self.cells[folio._refcount], event[0])
        if self.kernel.has_large_mapcount:
            self.total(folio)

    def large(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-04, I-13, I-25, I-42, I-52 after the large mapcount changed."""
        folio = Folio(self.cells[addr - LARGE_MAPCOUNT + COMPOUND_HEAD])
        if not self.held_ptls[cpu] or self.frozen:
            self.counted(folio, addr, cpu)
        if new < old and (self.tlb.dirty or new == -1):
            self.uncounted(folio, addr - 8, addr)
        if new < -1:
            self.report(False, "I-04", folio, f"_large_mapcount {new}", addr)
            self.bad_page_map(folio, new + 1)
        if not self.kernel.has_large_mapcount:
            return
        self.total(folio)
        if not self.kernel.has_page_mapcount:
            self.balance(folio, self.cells[folio._refcount], event[0])
            if old >= 0 and new > old:
                self.duplicated(folio)

    def counted(self, folio: int, addr: int, cpu: int) -> None:
        """I-34 and I-54: who may change a mapcount."""
        if not self.held_ptls[cpu]:
            self.unlocked_count(Folio(folio), addr)
        if self.frozen:
            self.touched_while_frozen(Folio(folio), folio & ADDR_MASK, addr, cpu)

    def pages_mapped(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-52 up to 6.9, where two words say whether anything maps the folio."""
        folio = Folio(self.cells[addr - NR_PAGES_MAPPED + COMPOUND_HEAD])
        if new == 0 and self.cells[folio._entire_mapcount] < 0:
            self.missed(folio, addr)

    def total(self, packed: int) -> None:
        """L <= M after every event (page mapcounts only)."""
        if not self.page_mapcount:
            return
        cells, head = self.cells, packed & ADDR_MASK
        large = cells[head + LARGE_MAPCOUNT] + 1
        mapped = cells[head + ENTIRE_MAPCOUNT] + 1 + self.ledger.mapcounts[head]
        if large > mapped or self.now:
            folio = Folio(packed)
            self.report(
                large <= mapped,
                "I-13",
                folio,
                f"large mapcount {large} > {mapped} mappings counted",
                folio._large_mapcount,
                folio._mapcount,
                deficit=large - mapped,
            )

    def duplicated(self, packed: int) -> None:
        """I-25: a second mapping of an anon folio that is not locked can only come from fork."""
        head = packed & ADDR_MASK
        flags = self.cells[head]
        if not flags & PG_anon or flags & PG_locked or head in self.engine.windows:
            return
        processes = self.ledger.book.processes.values()
        odd = any(self.cells[mm + WRITE_PROTECT_SEQ] & 1 for mm in processes)
        if odd and not self.now:
            return
        folio = Folio(packed)
        self.report(
            odd,
            "I-25",
            folio,
            "a mapping was duplicated while every write_protect_seq is even",
            folio._mapcount,
        )

    def pincount(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-09 after a pin count changed."""
        folio = Folio(self.cells[addr - PINCOUNT + COMPOUND_HEAD])
        if new < 0:
            self.report(False, "I-09", folio, f"_pincount {new}", addr)
        self.balance(folio, self.cells[folio._refcount], event[0])
        if new == 0:
            self.engine.holds("I-09", folio & ADDR_MASK)

    # -- freeing, flags, data ------------------------------------------------------------

    def flags(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-03 and I-41 when a folio is freed; I-22 when a page stops being exclusive."""
        page = Page(addr)
        if (old ^ new) & HEAD_FLAGS or self.frozen or self.migrations:
            self.flags_moved(Folio(self.cells[page.compound_head]), cpu, addr, old, new)
        if (old ^ new) & PG_buddy and new & PG_buddy:
            self.freed(Folio(self.cells[page.compound_head]))
        elif old & PG_anon_exclusive and not new & PG_anon_exclusive and page in self.pinned:
            self.pin_exclusive(page)

    def data(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-21: a process's write to anon memory that others map or hold; I-61."""
        if len(event) < 4 or (event[0] == USER_STORE and self.cells[event[4]] != event[5]):
            return
        page, mm = Page(addr - 5), event[3]
        folio = Folio(self.cells[page.compound_head])
        if self.cells[folio.flags] & (PG_anon | PG_swapcache) != PG_anon:
            self.written(event, folio, addr)
        if not self.cells[folio.flags] & PG_anon:
            return
        others = [other for other in self.ledger.owners[folio & ADDR_MASK] if other != mm]
        seen = self.ledger.page_leaves[page] > 1 and bool(others)
        held = [h.id for h in self.ledger.book.holds if h.mm != mm and page in h.pages]
        if not (seen or held):
            self.engine.holds("I-21", folio & ADDR_MASK)
            return
        text = f"page {folio.index_of(page)} is written while " + (
            f"{self.ledger.process_of(min(others))} maps it"
            if seen
            else f"{', '.join(map(str, held))} holds it"
        )
        self.report(False, "I-21", folio, text, addr)

    def deferred(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-48."""
        folio = Folio(self.cells[addr - DEFERRED_NODE + COMPOUND_HEAD])
        ok = new != 1 or (folio.order > 1 and bool(self.cells[folio.flags] & PG_anon))
        self.report(ok, "I-48", folio, f"order {folio.order} on the deferred-split queue", addr)

    def gather(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-16: what is gathered lies in one folio."""
        if not new:
            return
        page, nr = Page(new >> 11), new >> 1 & 1023
        folio = Folio(self.cells[page.compound_head])
        ok = folio.index_of(page) + nr <= folio.nr_pages and nr >= 1
        self.report(
            ok,
            "I-16",
            folio,
            f"{nr} pages from page {folio.index_of(page)} of {folio.nr_pages}",
            addr,
        )

    # -- locks -----------------------------------------------------------------------------

    def ptl_moved(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Count the page-table locks each CPU holds (both directions)."""
        if old < 0:
            self.held_ptls[-old - 1] -= 1
        if new < 0:
            self.held_ptls[-new - 1] += 1

    def ptl_released(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """The CPU holds no page-table lock any more: look at what it touched."""
        if new == 0 and old < 0 and self.held_ptls[-old - 1] == 0:
            self.section(-old - 1)
