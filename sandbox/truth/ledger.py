"""What the page tables really say, kept up to date event by event.

The kernel counts mappings in words of the folio; the ledger counts the entries themselves.  It is
derived from memory alone: the same watchers run backwards when events are taken back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import compress

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    HPAGE_PMD_ORDER,
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_PRESENT_INVALID,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_VALID,
    PTE_WRITE,
    PTRS_PER_PTE,
)
from sandbox.machine.fields import Struct, field
from sandbox.machine.handles import PFN_TO_ADDR
from sandbox.machine.machine import Machine
from sandbox.machine.memory import (
    ADDR_MASK,
    TABLE_ALIGN,
    Event,
    Folio,
    Globals,
    Mm,
    Vma,
    reused_frame,
)
from sandbox.machine.offsets import (
    CLUSTER_TABLE,
    COMPOUND_HEAD,
    ENTIRE_MAPCOUNT,
    MAPCOUNT,
    PT_MM,
    PUD,
    SWAP_CLUSTERS,
    SWAPFILE_CLUSTER,
    TABLE_FIRST,
)
from sandbox.machine.reuse import ALLOCATION
from sandbox.mm.flags import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, PG_anon, PG_swapbacked
from sandbox.truth.book import Book

PTE_KIND = field(Struct.PTE_TABLE, "pte")
PMD_KIND = field(Struct.PMD_TABLE, "pmd")
MAPCOUNT_KIND = field(Struct.PAGE, "_mapcount")
TABLE_MASK = -TABLE_ALIGN
MAPCOUNT_TO_HEAD = COMPOUND_HEAD - MAPCOUNT
"""From a page's `_mapcount` to the word that leads to its folio."""
PRESENT = PTE_VALID | PTE_PRESENT_INVALID
WHO_AND_WRITE = -1 << PFN_SHIFT | PTE_WRITE
"""What of an entry the ledger counts by: its frame and its write bit."""


def maps_page(pte: int) -> bool:
    """Does an entry (or PMD leaf) map a page that is counted?"""
    return bool(pte & PRESENT) and not pte & PTE_SPECIAL


class Ledger:
    """Truth about mappings, and the names of folios in order of first appearance.

    `mapcounts[head]` is the sum of logical page mapcounts as stored; `leaves[head]` the number of
    leaf entries that map any part of the folio; `page_leaves[page]` the PTEs of one page,
    `writable[page]` the writable ones;
    `owners[head][mm]` those of one mm; `rss[mm, member]` what rss should say.  Only what is not
    zero is in these two, and `mapped` has the heads of folios that any entry maps: a history of
    many processes and folios that are gone costs nothing.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cells = machine.memory.cells
        self.book = Book(machine)
        table = machine.derived.table
        self.mapcounts: defaultdict[int, int] = table("mapcounts", _counts(), follows=True)
        self.leaves: defaultdict[int, int] = table("leaves", _counts(), follows=True)
        self.page_leaves: defaultdict[int, int] = table("page_leaves", _counts(), follows=True)
        self.mapped: dict[int, None] = table("mapped", {}, follows=True)
        self.owners: defaultdict[int, dict[int, int]]
        self.owners = table("owners", defaultdict(dict), follows=True)
        self.writable: defaultdict[int, int] = table("writable", _counts(), follows=True)
        self.rss: dict[tuple[int, int], int] = table("rss", {}, follows=True)
        self.zero_leaves: defaultdict[int, int] = table("zero_leaves", _counts(), follows=True)
        self.names: dict[int, str] = table("names", {}, follows=True)
        """By head, of the folios that are there now."""
        self.former: dict[int, tuple[tuple[int, str], ...]] = table(
            "names before", {}, follows=True
        )
        """By head, of the folios that had the frame before: until which event each one did."""
        self._given: list[int] = table("names given", [0], follows=True)
        self._unname = machine.derived.undoer(self._forget_name)
        self._unrenew = machine.derived.undoer(self._former_back)
        machine.watch(PTE_KIND, self._pte)
        machine.watch(PMD_KIND, self._pmd)
        machine.watch(MAPCOUNT_KIND, self._mapcount)
        machine.check(ALLOCATION, self._allocated)
        machine.note_watchers.append(self._noted)

    # -- watchers ----------------------------------------------------------------------

    def _noted(self, event: Event, cpu: int) -> None:
        """What is held has a name: the zero page, too, which no entry gives one."""
        if event[2] == "hold":
            for page in event[5]:
                self._name(self.cells[page + COMPOUND_HEAD] & ADDR_MASK, 1)

    def _mapcount(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        head = self.cells[addr + MAPCOUNT_TO_HEAD] & ADDR_MASK
        self.mapcounts[head] += new - old

    def _pte(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        # As `maps_page` has it: this is told of every entry that changes.
        was = old & PRESENT and not old & PTE_SPECIAL
        now = new & PRESENT and not new & PTE_SPECIAL
        if was and now and (old ^ new) & WHO_AND_WRITE == 0:
            return
        mm = self.cells[(addr & TABLE_MASK) + PT_MM]
        if was:
            self._leaf(old, mm, -1)
        if now:
            self._leaf(new, mm, 1)

    def _pmd(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        mm = self.cells[(addr & TABLE_MASK) + PT_MM]
        for value, delta in ((old, -1), (new, 1)):
            if value & PTE_HUGE and value & PTE_SPECIAL:
                head = value >> PFN_SHIFT << PFN_TO_ADDR
                self.zero_leaves[head] += delta
                if not self.zero_leaves[head]:
                    del self.zero_leaves[head]
                self._name(head, delta)
            elif value & PTE_HUGE and maps_page(value):
                self._name(
                    self._count(value >> PFN_SHIFT << PFN_TO_ADDR, mm, delta, HPAGE_PMD_NR), delta
                )

    def _leaf(self, pte: int, mm: int, delta: int) -> None:
        page = pte >> PFN_SHIFT << PFN_TO_ADDR
        self.page_leaves[page] += delta
        if pte & PTE_WRITE:
            self.writable[page] += delta
        head = self._count(page, mm, delta, 1)
        if delta > 0 and head not in self.names:
            self._name(head, delta)

    def _count(self, page: int, mm: int, delta: int, pages: int) -> int:
        head: int = self.cells[page + COMPOUND_HEAD] & ADDR_MASK
        leaves = self.leaves[head] = self.leaves[head] + delta
        if leaves == 1:
            self.mapped[head] = None
        elif leaves < 1:
            self.mapped.pop(head, None)
        owners = self.owners[head]
        mine = owners.get(mm, 0) + delta
        if mine:
            owners[mm] = mine
        else:
            del owners[mm]
        flags = self.cells[head]
        member = (
            MM_ANONPAGES
            if flags & PG_anon
            else MM_SHMEMPAGES
            if flags & PG_swapbacked
            else MM_FILEPAGES
        )
        rss, account = self.rss, (mm, member)
        charged = rss.get(account, 0) + delta * pages
        if charged:
            rss[account] = charged
        else:
            del rss[account]
        return head

    def _name(self, head: int, delta: int) -> None:
        if delta > 0 and head not in self.names:
            self._given[0] += 1
            self.names[head] = f"F{self._given[0]}"
            self.machine.derived.add(self._unname, head)

    def _forget_name(self, head: int) -> None:
        del self.names[head]
        self._given[0] -= 1

    def _allocated(self, event: Event, cpu: int, addr: int, was: object, new: int) -> None:
        """A frame that is used again is another folio, which gets a name as others do.

        That is when it is first mapped; one that is mapped already, because entries of the folio
        before it were forgotten, gets it now.
        """
        head = reused_frame(was)
        if not head:
            return
        before = self.names.pop(head, "")
        self.machine.derived.add(self._unrenew, head, before, self.mapcounts.pop(head, 0))
        if before:
            end = self.machine.position - 1
            self.former[head] = (*self.former.get(head, ()), (end, before))
        if self.leaves.get(head):
            self._name(head, 1)

    def _former_back(self, head: int, name: str, mapcount: int) -> None:
        """Undo `_allocated`."""
        if name:
            self.names[head] = name
            self.former[head] = self.former[head][:-1]
            if not self.former[head]:
                del self.former[head]
        if mapcount:
            self.mapcounts[head] = mapcount

    @property
    def names_given(self) -> int:
        """How many folios were given a name so far."""
        return self._given[0]

    # -- reading -----------------------------------------------------------------------

    def folio(self, page: int) -> Folio:
        """The folio a page belongs to."""
        return Folio(self.cells[(page & ADDR_MASK) + COMPOUND_HEAD])

    def slot_word(self, array: int, slot: int) -> int:
        """The word of a swap slot in an array of its cluster's table; 0 if it never had one."""
        device = self.cells[Globals.swap_device]
        if not device or not 0 <= slot < SWAP_CLUSTERS * SWAPFILE_CLUSTER:
            return 0
        table: int = self.cells[device + CLUSTER_TABLE + slot // SWAPFILE_CLUSTER]
        return table and table + array + slot % SWAPFILE_CLUSTER

    def slot_at(self, addr: int, array: int) -> int:
        """The swap slot that a word of an array of a cluster's table is about."""
        table = self.machine.memory.object_at(addr)[0]
        return int(self.cells[table + TABLE_FIRST]) + addr - table - array

    def name_of(self, folio: int, event: int | None = None) -> str:
        """The folio's name; a folio not mapped yet is called by its frame.

        With an *event*: the name of the folio that had the frame when it happened.
        """
        head = folio & ADDR_MASK
        if event is not None and head in self.former:
            for end, name in self.former[head]:
                if event < end:
                    return name
        return self.names.get(head, f"pfn:{head >> PFN_TO_ADDR:#x}")

    def head_of(self, name: str) -> tuple[int, range] | None:
        """(Head, events of its life) of the folio of that name, also of one that is gone."""
        for head, lives in self.former.items():
            start = 0
            for end, known in lives:
                if known == name:
                    return head, range(start, end)
                start = end
        for head, known in self.names.items():
            if known == name:
                lives = self.former.get(head, ())
                return head, range(lives[-1][0] if lives else 0, self.machine.position)
        return None

    def total_mapcount(self, folio: Folio) -> int:
        """M: entire and page mapcounts as the words have them (logical)."""
        head = folio & ADDR_MASK
        if not folio.large:
            return int(self.cells[head + MAPCOUNT]) + 1
        return int(self.cells[head + ENTIRE_MAPCOUNT]) + 1 + self.mapcounts[head]

    def processes(self) -> dict[str, Mm]:
        """Living processes by name."""
        return dict(self.book.processes)

    def process_of(self, mm: int) -> str:
        """Name of the process that has *mm*."""
        return next((n for n, m in self.book.processes.items() if m == mm), f"mm:{mm:#x}")

    def region_of(self, addr: int) -> tuple[str, int]:
        """(region name, page within it) of a virtual page."""
        best = max(
            (r for r in self.book.places.items() if r[1] <= addr),
            key=lambda r: r[1],
            default=("?", 0),
        )
        return best[0], addr - best[1]

    def vmas(self, mm: int) -> list[Vma]:
        """The VMAs of an mm in address order."""
        return vmas_of(self.cells, mm)

    def leaf_entries(self, mm: Mm) -> Iterator[tuple[int, int, int]]:
        """Non-empty leaf entries of an mm in address order: (virtual page, word, value)."""
        cells = self.cells
        puds = mm + PUD
        for gib in _filled(cells[puds : puds + PTRS_PER_PTE]):
            table = cells[puds + gib]
            for i in _filled(cells[table : table + PTRS_PER_PTE]):
                pmd, addr = cells[table + i], (gib << 9 | i) << HPAGE_PMD_ORDER
                if pmd & PTE_HUGE:
                    yield addr, table + i, pmd
                    continue
                pte_table = pmd >> PFN_SHIFT
                for j in _filled(cells[pte_table : pte_table + PTRS_PER_PTE]):
                    yield addr + j, pte_table + j, cells[pte_table + j]

    def live_folios(self) -> list[Folio]:
        """Named folios that are mapped or held, in the order of their names.

        Not those that a buffer of io_uring alone holds: nobody could find them in a real kernel.
        """
        holds = (hold for hold in self.book.holds if hold.kind != "uring")
        held = {int(p) & ADDR_MASK for hold in holds for p in hold.pages}
        heads = {int(self.cells[p + COMPOUND_HEAD]) & ADDR_MASK for p in held}
        heads.update(head for head, leaves in self.zero_leaves.items() if leaves > 0)
        heads.update(self.mapped)
        found = [head for head in heads if head in self.names]
        found.sort(key=lambda head: int(self.names[head][1:]))
        return [Folio(self.cells[head + COMPOUND_HEAD]) for head in found]


def vmas_of(cells: Sequence[int], mm: int) -> list[Vma]:
    """The VMAs of an mm in address order, from the words of memory."""
    found, vma = [], cells[Mm(mm).mm_mt]
    while vma:
        found.append(Vma(vma))
        vma = cells[found[-1].vm_next]
    return found


def _counts() -> defaultdict[int, int]:
    return defaultdict(int)


def _filled(table: Sequence[int]) -> Iterator[int]:
    """Indices of a table's entries that are not 0: most are, and it is walked at every step."""
    return compress(range(PTRS_PER_PTE), table)


def entry_kind(pte: int) -> str:
    """Kind of an entry as the state format names it."""
    if pte & PTE_HUGE:
        return "pmd" if pte & (PTE_VALID | PTE_PRESENT_INVALID) else "migration"
    if pte & (PTE_VALID | PTE_PRESENT_INVALID):
        if pte & PTE_SPECIAL:
            return "zero"
        return "present" if pte & PTE_VALID else "protnone"
    if pte & PTE_SWP:
        return "swap"
    return "migration" if pte & PTE_MIGRATION else "special"
