"""Rules about pins: looked at when one is recorded or given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.machine.derived import GONE, Derived
from sandbox.machine.memory import ADD, MAX_CPUS, TRY_ADD, Event, Folio, Word
from sandbox.machine.offsets import COMPOUND_HEAD, WRITE_PROTECT_SEQ
from sandbox.mm.flags import MMF_HAS_PINNED, PG_anon, PG_anon_exclusive

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger


class PinChecks:
    """I-22, I-26, I-27."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    cells: list[Word]
    derived: Derived
    pinned: dict[int, int]
    mapped: Callable[[Folio], int]
    report: Callable[..., None]
    sanity_check_pinned_pages: Callable[[int], None]

    def held(self, event: Event, cpu: int) -> None:
        """I-22, I-26, I-27 when a pin is recorded."""
        _, _, _, _, kind, pages, mm = event
        if kind in ("get", "repeat") or not pages:
            return
        folio = Folio(self.cells[pages[0] + COMPOUND_HEAD])
        self.report(
            bool(self.cells[mm] & MMF_HAS_PINNED),
            "I-27",
            folio,
            "pinned before MMF_HAS_PINNED",
            mm,
        )
        overlapped = self.pinned_during_fork(pages, mm, cpu)
        self.report(
            not overlapped, "I-26", folio, "pinned while fork copied the mm", mm + WRITE_PROTECT_SEQ
        )
        for page in pages:
            self.pin_exclusive(page)
            self.sanity_check_pinned_pages(page)

    def given_back(self, event: Event) -> None:
        """I-22 is about pages that are pinned; unpin_user_pages() looks at them once more."""
        _, _, _, _, kind, pages = event
        for page in pages:
            if kind != "get":
                self.sanity_check_pinned_pages(page)
            if page not in self.pinned:
                self.engine.holds("I-22", page)

    def start_pins(self) -> None:
        """Make the tables of sequences that are odd, and of references taken meanwhile."""
        table = self.derived.table
        self.pinned = self.ledger.book.pinned
        self.odd: dict[int, int] = table("odd", {})
        """By mm whose `write_protect_seq` is odd: the CPU that made it so."""
        self.taken: list[dict[int, tuple[int, ...]]]
        self.taken = [table(f"taken {cpu}", {}) for cpu in range(MAX_CPUS)]
        """By CPU and word of a reference count: the mms whose sequence another CPU held odd when
        the CPU last took that reference in its present action."""

    def sequence(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """A `write_protect_seq` becomes odd, or even."""
        self.derived.put("odd", addr - WRITE_PROTECT_SEQ, cpu if new & 1 else GONE)

    def reference_taken(self, event: Event, cpu: int, old: int, new: int) -> None:
        """Remember what was odd when a reference was taken: the last one counts.

        What a fast walk took before, and found out about, is given back.
        """
        if new > old and event[0] in (ADD, TRY_ADD):
            mms = tuple(sorted(mm for mm, other in self.odd.items() if other != cpu))
            self.derived.put(f"taken {cpu}", event[1], mms or GONE)

    def action_begins(self, cpu: int) -> None:
        """What an action before this one took is none of its holds' references."""
        for word in list(self.taken[cpu]):
            self.derived.put(f"taken {cpu}", word, GONE)

    def pinned_during_fork(self, pages: tuple[int, ...], mm: int, cpu: int) -> bool:
        """Was a reference on one of the pages taken while fork copied the mm?"""
        refs = {Folio(self.cells[page + COMPOUND_HEAD])._refcount for page in pages}
        return any(mm in self.taken[cpu].get(ref, ()) for ref in refs)

    def pin_exclusive(self, page: int) -> None:
        """I-22 for one page."""
        folio = Folio(self.cells[page + COMPOUND_HEAD])
        if not self.cells[folio.flags] & PG_anon:
            return
        # The head's flag stands for all pages of a leaf, and still does when the leaf is gone.
        whole = self.cells[folio._entire_mapcount] >= 0 or not self.mapped(folio)
        whole = whole and bool(self.cells[folio.flags] & PG_anon_exclusive)
        ok = bool(self.cells[page] & PG_anon_exclusive or whole)
        name = f"{self.ledger.name_of(folio)} page {folio.index_of(page)}"
        if ok:
            self.engine.holds("I-22", page)
        else:
            self.engine.fails("I-22", page, name, "pinned but not exclusive", (page,))
