"""Rules that hold whenever no page-table lock covers the folio: looked at on release.

What a CPU touches while it holds one is counted, forth and back; when it has released the last of
them, that is looked at and put away.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MIGRATION,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_UFFD_WP,
    PTE_VALID,
)
from sandbox.machine.fields import DEFERRED_LIST, FIELDS, Struct, field
from sandbox.machine.handles import PFN_TO_ADDR
from sandbox.machine.memory import ADDR_MASK, MAX_CPUS, Event, Folio, Page, Word
from sandbox.machine.offsets import (
    COMPOUND_HEAD,
    ENTIRE_MAPCOUNT,
    MAPCOUNT,
    MM_ID,
    PAGE_DATA,
    PT_MM,
)
from sandbox.mm.flags import (
    ENTIRELY_MAPPED,
    FOLIO_PAGES_MAPPED,
    MM_ID_MASK,
    MM_ID_SHARED,
    PG_anon,
    PG_anon_exclusive,
    PG_buddy,
    PG_ksm,
)
from sandbox.rules.places import less
from sandbox.rules.sound import SoundFolios
from sandbox.truth.ledger import PMD_KIND, PRESENT, PTE_KIND, TABLE_MASK, maps_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.kernels.base import Kernel
    from sandbox.machine.derived import Derived
    from sandbox.machine.machine import Machine
    from sandbox.machine.performing import Watcher
    from sandbox.truth.ledger import Ledger

PAGE_KINDS = frozenset(f.number for f in FIELDS if f.struct is Struct.PAGE)
PTL_KINDS = frozenset((field(Struct.PTE_TABLE, "ptl"), field(Struct.PMD_TABLE, "pmd_ptl")))
ENTRY_KINDS = frozenset((PTE_KIND, PMD_KIND))
NOT_PRESENT_OR_UFFD = PTE_SWP | PTE_MIGRATION | PTE_UFFD_WP
OFFSETS = {f.number: f.offset for f in FIELDS if f.struct is Struct.PAGE}
_Wrong = defaultdict[str, list[tuple[str, int]]]
"""By rule, what is wrong with each page that breaks it, and the word of the page."""


class SectionChecks(SoundFolios):
    """Checks at the end of a page-table-lock section."""

    machine: Machine
    derived: Derived
    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Any]
    pinned: dict[int, int]
    report: Callable[..., None]
    absent_at_rest: Callable[[int, int], None]
    named_elsewhere: Callable[[int], bool]
    replaced: Callable[[int, int, int, int], None]
    frames_before: set[int] | None
    migrations: dict[int, int]
    swapped: dict[int, int]

    def start_section(self) -> None:
        """Make the tables of what is touched, and have every word that counts fill them."""
        table, cpus = self.derived.table, range(MAX_CPUS)
        self.section_heads: list[dict[int, int]] = table("section heads", [{} for _ in cpus])
        """By CPU: folios touched since it took the first page-table lock it holds, how often."""
        self.section_entries: list[dict[int, tuple[int, int]]]
        self.section_entries = table("section entries", [{} for _ in cpus])
        """By CPU and word of an entry: the value at the start of the section, and changes."""
        self.touched: dict[int, int] = table("touched", {}, follows=True)
        """Folios touched since nothing was in flight, how often."""
        self._reopen = self.derived.undoer(self._reopened)
        self._retouch = self.derived.undoer(self._retouched)
        watch = self.machine.watch
        for kind in PAGE_KINDS - {DEFERRED_LIST}:
            watch(kind, *self._page_watchers(COMPOUND_HEAD - OFFSETS[kind]))
        for kind in ENTRY_KINDS:
            watch(kind, self.touch_entry, self.untouch_entry)

    def _page_watchers(self, to_head: int) -> tuple[Watcher, Watcher]:
        """Forth and back for a word of a page whose `compound_head` is *to_head* words away."""
        cells, held, sections, touched = (
            self.cells, self.held_ptls, self.section_heads, self.touched,
        )  # fmt: skip

        def touch(event: Event, cpu: int, addr: int, old: Word, new: Word) -> None:
            if old != new:
                heads = sections[cpu] if held[cpu] else touched
                head = cells[addr + to_head] & ADDR_MASK
                heads[head] = heads.get(head, 0) + 1

        def untouch(event: Event, cpu: int, addr: int, old: Word, new: Word) -> None:
            if old != new:
                heads = sections[cpu] if held[cpu] else touched
                # The head that was counted: of `compound_head` itself it is the old value now.
                less(heads, (cells[addr + to_head] if to_head else old) & ADDR_MASK)

        return touch, untouch

    def touch_entry(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """An entry changed: note it, and the folios it mapped and maps."""
        if old == new:
            return
        heads = self.touched
        if self.held_ptls[cpu]:
            heads, entries = self.section_heads[cpu], self.section_entries[cpu]
            first, count = entries.get(addr, (old, 0))
            entries[addr] = (first, count + 1)
        cells = self.cells
        for value in (old, new):
            if value & PRESENT and not value & PTE_SPECIAL:
                head = cells[(value >> PFN_SHIFT << PFN_TO_ADDR) + COMPOUND_HEAD] & ADDR_MASK
                heads[head] = heads.get(head, 0) + 1

    def untouch_entry(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """The change of an entry is taken back."""
        if old == new:
            return
        heads = self.touched
        if self.held_ptls[cpu]:
            heads, entries = self.section_heads[cpu], self.section_entries[cpu]
            first, count = entries.get(addr, (new, 1))
            if count > 1:
                entries[addr] = (first, count - 1)
            else:
                entries.pop(addr, None)
        for value in (old, new):
            if maps_page(value):
                page = value >> PFN_SHIFT << PFN_TO_ADDR
                less(heads, self.cells[page + COMPOUND_HEAD] & ADDR_MASK)

    def section(self, cpu: int) -> None:
        """Check what the CPU touched under its locks; it holds none any more."""
        heads, entries = self.section_heads[cpu], self.section_entries[cpu]
        cells, sound = self.cells, not self.now
        beside = any(others for other, others in enumerate(self.section_heads) if other != cpu)
        for head in reversed(heads):
            if cells[head] & PG_buddy or (beside and self.foreign(head, cpu)):
                continue
            folio = cells[head + COMPOUND_HEAD]
            if not (sound and self.sound(folio)):
                self.folio_at_rest(Folio(folio))
                sound = not self.now
        self.frames_before = None
        for word, (first, _) in reversed(entries.items()):
            now = cells[word]
            # Most entries are gone, or name the page that they named; no rule is about these.
            if now and (now & NOT_PRESENT_OR_UFFD or (first ^ now) >> PFN_SHIFT):
                self.entry_at_rest(word, first, cpu)
        for touched in chain(heads, self.mms_of(entries)):
            self.touched[touched] = self.touched.get(touched, 0) + 1
        flat = [n for word, pair in entries.items() for n in (word, *pair)]
        self.derived.add(self._reopen, cpu, len(heads), *chain(*heads.items()), *flat)
        heads.clear()
        entries.clear()

    def _reopened(self, cpu: int, folios: int, *flat: int) -> None:
        """The end of a section is taken back."""
        heads, entries = self.section_heads[cpu], self.section_entries[cpu]
        heads.update(zip(flat[: 2 * folios : 2], flat[1 : 2 * folios : 2], strict=True))
        rest = flat[2 * folios :]
        pairs = zip(rest[1::3], rest[2::3], strict=True)
        entries.update(zip(rest[::3], pairs, strict=True))
        for touched in chain(heads, self.mms_of(entries)):
            less(self.touched, touched)

    def mms_of(self, entries: dict[int, tuple[int, int]]) -> list[int]:
        """The mms whose tables have these entries."""
        tables = {word & TABLE_MASK for word in entries}
        return [self.cells[table + PT_MM] for table in tables]

    def forget_touched(self) -> None:
        """Nothing is in flight, and what was touched has been looked at."""
        if self.touched:
            self.derived.add(self._retouch, *chain(*self.touched.items()))
            self.touched.clear()

    def _retouched(self, *flat: int) -> None:
        self.touched.update(zip(flat[::2], flat[1::2], strict=True))

    # -- folios ------------------------------------------------------------------------

    def folio_at_rest(self, folio: Folio) -> None:
        """I-11 … I-14, I-18 … I-20, I-24, I-30, I-43 … I-45, I-51, I-53."""
        self.totals(folio)
        self.pages(folio)
        if folio.large and self.kernel.has_mm_id:
            self.slots(folio)

    def foreign(self, head: int, cpu: int) -> bool:
        """Whether another CPU is working on a folio under its own page-table lock."""
        return any(head in heads for other, heads in enumerate(self.section_heads) if other != cpu)

    held_ptls: list[int]
    now: Mapping[Any, Any]

    def totals(self, folio: Folio) -> None:
        """I-12, I-13 at rest, I-14."""
        cells, head = self.cells, folio & ADDR_MASK
        leaves = self.ledger.leaves[head]
        precise = self.kernel.has_page_mapcount or not folio.large
        mapped = self.ledger.total_mapcount(folio) if precise else cells[folio._large_mapcount] + 1
        self.report(
            mapped == leaves,
            "I-12",
            folio,
            f"mapcounts say {mapped}, {leaves} entries map it",
            folio._mapcount,
            deficit=abs(mapped - leaves),
        )
        if not folio.large or not precise:
            return
        if self.kernel.has_large_mapcount:
            large = cells[folio._large_mapcount] + 1
            self.report(
                large == mapped,
                "I-13",
                folio,
                f"large mapcount {large}, mappings counted {mapped}",
                folio._large_mapcount,
                deficit=abs(large - mapped),
            )
        raw = cells[folio._nr_pages_mapped]
        pages = sum(cells[folio.page(i)._mapcount] >= 0 for i in range(folio.nr_pages))
        entire = cells[folio._entire_mapcount] >= 0
        ok = raw & FOLIO_PAGES_MAPPED == pages and bool(raw & ENTIRELY_MAPPED) == entire
        self.report(
            ok,
            "I-14",
            folio,
            f"_nr_pages_mapped {raw:#x}, {pages} pages mapped",
            folio._nr_pages_mapped,
        )

    def pages(self, folio: Folio) -> None:
        """I-11, I-18 … I-20, I-24, I-30, I-53: the last page that is wrong, and how many are."""
        cells, ledger, head = self.cells, self.ledger, folio & ADDR_MASK
        anon = cells[head] & PG_anon
        entire = cells[head + ENTIRE_MAPCOUNT] + 1 if folio.large else 0
        counted = self.kernel.has_page_mapcount or not folio.large
        pmd_leaves = self.pmd_leaves(folio)
        wrong: _Wrong = defaultdict(list)
        for i in range(folio.nr_pages):
            page = folio.page(i)
            ptes = ledger.page_leaves.get(page, 0)
            mc = cells[page + MAPCOUNT] + 1 if counted else ptes
            if counted and mc + entire != ptes + pmd_leaves:
                text = f"page {i}: mapcount {mc} + entire {entire}, {ptes + pmd_leaves} entries"
                wrong["I-11"].append((text, page + MAPCOUNT))
            if not anon:
                continue
            exclusive, writable = cells[page] & PG_anon_exclusive, ledger.writable.get(page, 0)
            if exclusive or writable:
                mine = (ptes, pmd_leaves, mc + entire)
                self.one_owner(folio, i, bool(exclusive), bool(writable), mine, wrong)
            if page in self.pinned and ptes > 1:
                text = f"pinned page {i} is mapped {ptes} times"
                wrong["I-24"].append((text, page))
        for rule in ("I-11", "I-18", "I-19", "I-20", "I-24", "I-30", "I-53"):
            found = wrong.get(rule)
            if found is None:
                self.report(True, rule, folio, "")
                continue
            text = found[-1][0] + (f", and {len(found) - 1} more" if len(found) > 1 else "")
            self.report(False, rule, folio, text, *(word for _, word in found))
        if anon and not cells[head] & PG_ksm:
            self.mapped_once_per_mm(folio)

    def one_owner(
        self,
        folio: Folio,
        i: int,
        exclusive: bool,
        writable: bool,
        mappings: tuple[int, int, int],
        wrong: _Wrong,
    ) -> None:
        """I-18 … I-20, I-30, I-53 for a page that is exclusive or writable somewhere.

        *mappings*: entries for the page, PMD leaves for all of the folio, what the words count.
        """
        (ptes, leaves, counted), page = mappings, folio.page(i)
        if self.cells[folio.flags] & PG_ksm:
            wrong["I-30"].append((f"KSM page {i} is exclusive or writable", page))
        if writable and not exclusive:
            wrong["I-18"].append((f"page {i} is writable but not exclusive", page))
        if writable and ptes > 1:
            wrong["I-20"].append((f"page {i} is writable and mapped {ptes} times", page))
        if exclusive and counted > 1:
            wrong["I-19"].append((f"page {i} is exclusive and mapped {counted} times", page))
        if exclusive and ptes and self.reached(page, ptes + leaves):
            wrong["I-53"].append((f"page {i} is exclusive and within others' reach", page))

    def reached(self, page: int, leaves: int) -> bool:
        """Can anybody but the one mapping get at a page?"""
        return leaves > 1 or (bool(self.migrations or self.swapped) and self.named_elsewhere(page))

    def pmd_leaves(self, folio: Folio) -> int:
        """PMD leaves that map the folio (they count for every page)."""
        if not folio.large:
            return 0
        entries = sum(self.ledger.page_leaves.get(folio.page(i), 0) for i in range(folio.nr_pages))
        return self.ledger.leaves[folio & ADDR_MASK] - entries

    def mapped_once_per_mm(self, folio: Folio) -> None:
        """I-51: no mm has more entries for the folio than it has pages."""
        head = folio & ADDR_MASK
        worst = max((n for _, n in self.mm_leaves_of(head)), default=0)
        self.report(
            worst <= folio.nr_pages,
            "I-51",
            folio,
            f"one mm maps {worst} of {folio.nr_pages} pages",
            head,
        )

    def mm_leaves_of(self, head: int) -> list[tuple[int, int]]:
        """(mm, entries) for every mm that maps the folio."""
        return list(self.ledger.owners[head].items())

    def slots(self, folio: Folio) -> None:
        """I-43, I-44, I-45."""
        cells, head = self.cells, folio & ADDR_MASK
        shared = cells[folio._mm_id(1)] & MM_ID_SHARED
        large = cells[folio._large_mapcount] + 1
        owners = self.mm_leaves_of(head)
        self.report(
            bool(shared) or large == 0 or len(owners) <= 1,
            "I-43",
            folio,
            f"not marked shared, {len(owners)} mms map it",
            folio._mm_id(1),
        )
        self.report(
            large > 0 or not shared, "I-45", folio, "unmapped but marked shared", folio._mm_id(1)
        )
        ids = {cells[mm + MM_ID]: n for mm, n in owners}
        for slot in (0, 1):
            count, mm_id = (
                cells[folio._mm_id_mapcount(slot)] + 1,
                cells[folio._mm_id(slot)] & MM_ID_MASK,
            )
            have = ids.get(mm_id, 0)
            self.report(
                count <= have and bool(mm_id) == (count > 0),
                "I-44",
                folio,
                f"slot {slot} counts {count}, its mm maps {have}",
                folio._mm_id_mapcount(slot),
            )

    # -- entries -----------------------------------------------------------------------

    def entry_at_rest(self, word: int, first: int, cpu: int) -> None:
        """I-23: an entry that mapped a pinned page maps another one now; what is not present."""
        now = self.cells[word]
        if (first ^ now) >> PFN_SHIFT and (
            first or (now & PTE_VALID and self.cells[(now >> PFN_SHIFT << PFN_TO_ADDR) + PAGE_DATA])
        ):
            self.replaced(word, first, now, cpu)
        if now & NOT_PRESENT_OR_UFFD:
            self.absent_at_rest(word, now)
        if not self.pinned or not first & PTE_VALID or not now & PTE_VALID:
            return
        page, other = Page(first >> PFN_SHIFT << PFN_TO_ADDR), Page(now >> PFN_SHIFT << PFN_TO_ADDR)
        if page == other or page not in self.pinned:
            return
        folio = Folio(self.cells[page.compound_head])
        if not self.cells[folio.flags] & PG_anon:  # a read-only pin of a file or the zero page
            return
        self.report(
            False,
            "I-23",
            folio,
            f"the entry of pinned page {folio.index_of(page)} maps a copy now",
            word,
        )
