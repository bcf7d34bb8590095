"""Rules about what is read: an entry that is replaced, a fresh page, a swap slot, a file.

A page's content is the number of the step that last wrote it, so that whose data a process reads
can be told from words.  A write that is in flight on another CPU may come in between; what has
its number is not judged then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_PRESENT_INVALID,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_VALID,
)
from sandbox.machine.fields import Struct, field
from sandbox.machine.handles import PFN_TO_ADDR
from sandbox.machine.memory import (
    ADDR_MASK,
    STORE,
    USER_STORE,
    Event,
    Folio,
    Mapping,
    Mm,
    Vma,
)
from sandbox.machine.offsets import (
    COMPOUND_HEAD,
    LAST_ENTRY,
    PAGE_DATA,
    PT_MM,
    PT_START,
    TABLE_DATA,
)
from sandbox.mm.flags import VM_SHARED, PG_anon, PG_swapcache
from sandbox.truth.ledger import PMD_KIND, TABLE_MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.machine.derived import Derived
    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger

PRESENT = PTE_VALID | PTE_PRESENT_INVALID
MAPS = PRESENT | PTE_SPECIAL
NAMES_A_PAGE = MAPS | PTE_MIGRATION


class ContentChecks:
    """I-60 … I-63."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    cells: list[Any]
    derived: Derived
    pinned: dict[int, int]
    swapped: dict[int, int]
    alone: dict[int, int]
    section_entries: list[dict[int, tuple[int, int]]]
    report: Callable[..., None]
    report_slot: Callable[..., None]
    cached_page: Callable[[Folio, int], int]

    def start_contents(self) -> None:
        """Make the table of what swap slots have."""
        self.slot_contents: dict[int, int] = self.derived.table("slot contents", {})
        """By swap slot: the content of the page whose entry named it first."""
        self.machine.check(field(Struct.SWAP_TABLE, "swap_data"), self.slot_written)

    # -- entries ---------------------------------------------------------------------------

    def replaced(self, word: int, first: int, now: int, cpu: int) -> None:
        """I-60, I-62 and I-63 for an entry that names another page or slot, or is no longer empty.

        Not looked at: the contents of PMD leaves.
        """
        if (first | now) & PTE_HUGE or self.machine.memory.kinds[word] == PMD_KIND:
            return
        if self.pinned and first & NAMES_A_PAGE:
            self.pinned_entry(word, first, now)
        if now & PTE_SWP:
            if first & PRESENT:
                self.slot_named(
                    word,
                    now >> PFN_SHIFT,
                    self.cells[(first >> PFN_SHIFT << PFN_TO_ADDR) + PAGE_DATA],
                )
        elif now & PRESENT:
            page = now >> PFN_SHIFT << PFN_TO_ADDR
            data = self.cells[page + PAGE_DATA]
            if first & PTE_SWP:
                slot = first >> PFN_SHIFT
                want = self.slot_contents.get(slot, data)
                text = f"slot {slot} was written with {want} and is read as {data}"
                ok = data == want or self.in_flight(data, want)
                self.report_slot(ok, "I-63", slot, text, word, page + 5)
            elif first & NAMES_A_PAGE:
                self.same_content(word, first >> PFN_SHIFT << PFN_TO_ADDR, page)
            elif not first and data:
                self.fresh(word, page, data, cpu)

    def same_content(self, word: int, old: int, new: int) -> None:
        """I-60: an entry of a page is one of another page now."""
        want, data = self.cells[old + PAGE_DATA], self.cells[new + PAGE_DATA]
        folio = Folio(self.cells[new + COMPOUND_HEAD])
        if data == want:
            self.engine.holds("I-60", folio & ADDR_MASK)
            return
        text = f"page {folio.index_of(new)} reads as {data}, the page it replaces as {want}"
        self.report(self.in_flight(data, want), "I-60", folio, text, word, old + 5, new + 5)

    def in_flight(self, *contents: int) -> bool:
        """May what differs have been written beside this action?"""
        beside = not self.alone.get(self.machine.acting)
        return beside and self.machine.action_in_flight() + 1 in contents

    def fresh(self, word: int, page: int, data: int, cpu: int) -> None:
        """I-60: an entry was empty and maps a page that is not zeroes.

        The page may be mapped elsewhere (fork), be a file's, or have been moved; a page of its own
        has what the file has or, when fork had to copy it, the parent's at the same place.
        """
        folio = Folio(self.cells[page + COMPOUND_HEAD])
        if self.ledger.page_leaves[page] > 1 or not self.cells[folio.flags] & PG_anon:
            return
        if data == self.machine.action_in_flight() + 1 or self.moved(word, page, folio, cpu):
            return
        table = word & TABLE_MASK
        mm, addr = Mm(self.cells[table + PT_MM]), self.cells[table + PT_START] + (word & LAST_ENTRY)
        vma = self.vma_at(mm, addr)
        if vma is None or self.file_has(vma, addr, data) or self.parent_has(mm, addr, data):
            return
        text = f"page {folio.index_of(page)} is fresh and reads as {data}"
        self.report(False, "I-60", folio, text, word, page + 5)

    def moved(self, word: int, page: int, folio: Folio, cpu: int) -> bool:
        """Did an entry that changed in the same section map the page, or the folio as a whole?"""
        entries = self.section_entries[cpu]
        kinds, pfn, head = self.machine.memory.kinds, page >> 4, folio.pfn
        before = self.frames_before
        if before is None:
            before = self.frames_before = {first >> PFN_SHIFT for first, _ in entries.values()}
        if pfn in before:
            return True
        return folio.order >= 9 and any(
            first & PTE_HUGE and first >> PFN_SHIFT == head
            for other, (first, _) in entries.items()
            if kinds[other] == PMD_KIND
        )

    frames_before: set[int] | None
    """Frames that the entries of the section at whose end we are mapped before it."""

    def vma_at(self, mm: Mm, addr: int) -> Vma | None:
        """The VMA of a virtual page."""
        cells = self.cells
        vmas = self.ledger.vmas(mm)
        return next((v for v in vmas if cells[v] <= addr < cells[v.vm_end]), None)

    def file_has(self, vma: Vma, addr: int, data: int) -> bool:
        """Is that what the file of a VMA has there, as far as it is cached?"""
        cells = self.cells
        mapping = Mapping(cells[vma.vm_file])
        if not mapping:
            return False
        index = addr - cells[vma.vm_start] + cells[vma.vm_pgoff]
        folio = Folio(cells[cells[mapping.i_pages] + index])
        if not folio:
            return True
        have = cells[folio.page(index - cells[folio.index]).data]
        return bool(have == data) or self.in_flight(have, data)

    def parent_has(self, mm: Mm, addr: int, data: int) -> bool:
        """Does another process read the same there, as after a fork that had to copy?"""
        cells = self.cells
        for other in self.ledger.book.processes.values():
            pmds = cells[other.pud(addr)] if other != mm else 0
            pmd = cells[pmds + (addr >> 9 & LAST_ENTRY)] if pmds else 0
            if pmd & PTE_HUGE:
                frame = (pmd >> PFN_SHIFT) + (addr & LAST_ENTRY)
            elif pmd:
                frame = cells[(pmd >> PFN_SHIFT) + (addr & LAST_ENTRY)] >> PFN_SHIFT
            else:
                continue
            have = cells[(frame << PFN_TO_ADDR) + PAGE_DATA]
            if frame and (have == data or self.in_flight(have)):
                return True
        return False

    def pinned_entry(self, word: int, first: int, now: int) -> None:
        """I-62: what becomes of the entry of a pinned page; that it goes is nobody's mistake.

        A private copy may replace a file's page or the zero page: such a pin is of the file.
        """
        page = first >> PFN_SHIFT << PFN_TO_ADDR
        if page not in self.pinned or not now or first & PTE_SPECIAL:
            return
        folio = Folio(self.cells[page + COMPOUND_HEAD])
        anon = self.cells[folio.flags] & PG_anon
        if not now & PTE_SWP:
            other = Folio(self.cells[(now >> PFN_SHIFT << PFN_TO_ADDR) + COMPOUND_HEAD])
            if not now & NAMES_A_PAGE or (anon and first & now & PTE_VALID):
                return  # a marker; I-23
            if not anon and self.cells[other.flags] & PG_anon:
                return
        what = "names a swap slot" if now & PTE_SWP else "names another page"
        text = f"the entry of pinned page {folio.index_of(page)} {what} now"
        self.report(False, "I-62", folio, text, word)

    # -- swap slots ------------------------------------------------------------------------

    def slot_named(self, word: int, slot: int, data: int) -> None:
        """I-63: an entry of a page with content *data* names a slot now; the first one says."""
        if self.swapped[slot] == 1 or slot not in self.slot_contents:
            self.derived.put("slot contents", slot, data)
        want = self.slot_contents[slot]
        text = f"slot {slot} has {want} for the entries before, and {data} for one more"
        self.report_slot(data == want, "I-63", slot, text, word)

    def slot_written(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-63: a page is written to its slot."""
        slot = self.ledger.slot_at(addr, TABLE_DATA)
        want = self.slot_contents.get(slot, new)
        if slot in self.swapped:
            text = f"slot {slot} has {want} for its entries, and {new} is written to it"
            self.report_slot(new == want or self.in_flight(new), "I-63", slot, text, addr)

    # -- writes ----------------------------------------------------------------------------

    def written(self, event: Event, folio: Folio, addr: int) -> None:
        """I-61, and what /proc/PID/mem writes to a page that waits in the swap cache."""
        mm, page = Mm(event[3]), addr - 5
        flags = self.cells[folio.flags]
        if not flags & PG_anon:
            self.file_written(event, folio, mm, page)
        elif flags & PG_swapcache and event[0] == STORE and self.slot_contents:
            slot = self.cells[folio.private] - 1 + folio.index_of(page)
            if slot in self.slot_contents:
                self.derived.put("slot contents", slot, event[2])

    def file_written(self, event: Event, folio: Folio, mm: Mm, page: int) -> None:
        """I-61: a process writes to a file's page; through a shared mapping of it, or not."""
        cells = self.cells
        if event[0] == USER_STORE:
            word = event[4]
            start = cells[(word & TABLE_MASK) + PT_START]
            if self.machine.memory.kinds[word] == PMD_KIND:
                addr = start + ((word & LAST_ENTRY) << 9) + folio.index_of(page)
            else:
                addr = start + (word & LAST_ENTRY)
            vma = self.vma_at(mm, addr)
            # munmap has taken the VMA out and not come to the entry yet: nothing says what it was
            shared = vma is None or bool(cells[vma.vm_flags] & VM_SHARED)
        else:
            mapping = cells[folio.mapping]
            shared = any(
                cells[v.vm_flags] & VM_SHARED and cells[v.vm_file] == mapping
                for v in self.ledger.vmas(mm)
            )
        text = f"page {folio.index_of(page)} of the file is written through a private mapping"
        self.report(shared, "I-61", folio, text, page + 5)
