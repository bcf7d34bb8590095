"""Rules that hold when nothing is in flight anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.machine.memory import ADDR_MASK, Fbatch, Folio, Globals, Mm, PerCpu
from sandbox.machine.offsets import COMPOUND_HEAD, REFCOUNT
from sandbox.mm.flags import (
    GUP_PIN_COUNTING_BIAS,
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    MM_SWAPENTS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger


class QuietChecks:
    """I-07, I-08, I-17, I-36 and I-59; calls those for I-32, I-50 and places."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    cells: list[Any]
    report: Callable[..., None]
    mapped: Callable[[Folio], int]
    cache_refs: Callable[[Folio], int]
    swap_at_rest: Callable[[], None]
    statistics: Callable[[set[int]], None]
    places: Callable[[Iterable[int]], None]
    touched: dict[int, int]
    swap_entries: dict[int, int]
    forget_touched: Callable[[], None]

    def quiet(self) -> None:
        """Check the folios and mms that were touched since the machine was last quiet."""
        self.places(list(self.touched))
        known = self.known_references()
        recent = self.recent(known)
        for head in recent:
            folio = Folio(self.cells[head + COMPOUND_HEAD])
            self.references(folio, known.get(head, 0))
        self.zero_page()
        self.swap_at_rest()
        self.statistics(recent)
        for name, mm in self.ledger.book.processes.items():
            self.rss(name, mm)

    def zero_page(self) -> None:
        """I-17 at rest: only FOLL_GET takes references on the zero page."""
        zero = self.cells[Globals.zero_page]
        holds = self.ledger.book.holds
        gets = sum(hold.pages.count(zero) for hold in holds if hold.kind == "get")
        ref = self.cells[zero + REFCOUNT]
        text = f"the zero page has refcount {ref}, {gets} gets hold it"
        folio = Folio(self.cells[zero + COMPOUND_HEAD])
        self.report(ref == 1 + gets, "I-17", folio, text, zero + REFCOUNT)

    def recent(self, known: dict[int, int]) -> set[int]:
        """Heads of named folios that were touched since the last quiet point, and of known ones."""
        out = {head for head in {*known, *self.touched} if head in self.ledger.names}
        out.discard(self.cells[Globals.zero_page])  # has a rule of its own
        self.forget_touched()
        return out

    def known_references(self) -> dict[int, int]:
        """References of gets, pins and LRU batches by folio head."""
        known: dict[int, int] = {}
        for hold in self.ledger.book.holds:
            for page in hold.pages:
                folio = Folio(self.cells[page + COMPOUND_HEAD])
                weight = GUP_PIN_COUNTING_BIAS if hold.kind != "get" and not folio.large else 1
                known[folio & ADDR_MASK] = known.get(folio & ADDR_MASK, 0) + weight
        for cpu in range(len(self.machine.running)):
            for batch, nr in zip(Fbatch, PerCpu.fbatch_nrs(cpu), strict=True):
                for i in range(self.cells[nr]):
                    item = self.cells[PerCpu.fbatch_folio(cpu, batch, i)]
                    known[item & ADDR_MASK] = known.get(item & ADDR_MASK, 0) + 1
        return known

    def references(self, folio: Folio, others: int) -> None:
        """I-07 and I-08 for one folio."""
        head = folio & ADDR_MASK
        if head == self.cells[Globals.huge_zero] & ADDR_MASK:
            return  # never counted, kept by a counter of its own
        ref, cached = self.cells[head + REFCOUNT], self.cache_refs(folio)
        mapped, leaves = self.mapped(folio), self.ledger.leaves[head]
        want = mapped + cached + others
        if ref == want and mapped == leaves:
            self.engine.holds("I-07", head)
            self.engine.holds("I-08", head)
            return
        self.report(
            ref == want,
            "I-07",
            folio,
            f"refcount {ref}, accounted for {mapped} mappings + {cached} cache + "
            f"{others} pins, gets and batches",
            folio._refcount,
            deficit=abs(ref - want),
        )
        owned = ref - cached - others
        self.report(
            owned == leaves,
            "I-08",
            folio,
            f"mappings own {owned} references, {leaves} entries map it",
            folio._refcount,
            deficit=abs(owned - leaves),
        )

    def rss(self, name: str, mm: Mm) -> None:
        """I-36 and I-59 for one mm."""
        wrong = []
        for member, label in (
            (MM_ANONPAGES, "anon"),
            (MM_FILEPAGES, "file"),
            (MM_SHMEMPAGES, "shmem"),
        ):
            have, want = self.cells[mm.rss_stat(member)], self.ledger.rss.get((mm, member), 0)
            if have != want:
                wrong.append(f"{label} {have}, in page tables {want}")
        if wrong:
            self.engine.fails("I-36", mm, name, "; ".join(wrong), (mm.rss_stat(MM_ANONPAGES),))
        else:
            self.engine.holds("I-36", mm)
        word, want = mm.rss_stat(MM_SWAPENTS), self.swap_entries.get(mm, 0)
        if self.cells[word] == want:
            self.engine.holds("I-59", mm)
        else:
            text = f"swap {self.cells[word]}, in page tables {want}"
            self.engine.fails("I-59", mm, name, text, (word,), abs(self.cells[word] - want))
