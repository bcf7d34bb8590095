"""Rules about pins: looked at when one is recorded or given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.memory import ADD, TRY_ADD, Folio, Globals, Word
from sandbox.mm.flags import MMF_HAS_PINNED, PG_anon, PG_anon_exclusive

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.ledger import Ledger
    from sandbox.machine import Machine
    from sandbox.rules.engine import RuleEngine


class PinChecks:
    """I-22, I-26, I-27."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    cells: list[Word]
    pinned: dict[int, int]
    report: Callable[..., None]

    def holds_moved(self, addr: int, old: Word, new: Word) -> None:
        """Keep the table of pinned pages (both directions)."""
        self.pinned = self.pinned_pages()

    def holds_changed(self, addr: int, old: Word, new: Word) -> None:
        """I-22, I-26, I-27 when a pin is recorded or released."""
        for hold in new:
            if hold in old or hold[1] == "get":
                continue
            mm = hold[3]
            folio = Folio(self.cells[hold[2][0] + 6])
            self.report(
                bool(self.cells[mm] & MMF_HAS_PINNED),
                "I-27",
                folio,
                "pinned before MMF_HAS_PINNED",
                mm,
            )
            overlapped = self.pinned_during_fork(hold)
            self.report(not overlapped, "I-26", folio, "pinned while fork copied the mm", mm + 2)
            for page in hold[2]:
                self.pin_exclusive(page)
        for page in {p for h in old for p in h[2]} - self.pinned.keys():
            self.engine.holds("I-22", page)

    def pinned_during_fork(self, hold: Word) -> bool:
        """Was a reference of the hold taken while fork copied the mm?

        The last reference counts: what a fast walk took before and found out about is given back.
        """
        machine, sequence = self.machine, hold[3] + 2
        cpu, value = machine.cpus[-1], self.cells[sequence]
        task = machine.running[cpu]
        left = {Folio(self.cells[page + 6])._refcount for page in hold[2]}
        for i in range(len(machine.events) - 1, task.start if task else 0, -1):
            event = machine.events[i]
            if event[1] == sequence and event[0] == ADD:
                value -= event[2]
            taken = event[1] in left and event[0] in (ADD, TRY_ADD) and event[2] > 0
            if taken and machine.cpus[i] == cpu:
                if value & 1:
                    return True
                left.remove(event[1])
        return False

    def pinned_pages(self) -> dict[int, int]:
        """How often each page is pinned (FOLL_PIN)."""
        pages: dict[int, int] = {}
        for hold in self.cells[Globals.holds]:
            if hold[1] != "get":
                for page in hold[2]:
                    pages[page] = pages.get(page, 0) + 1
        return pages

    def pin_exclusive(self, page: int) -> None:
        """I-22 for one page."""
        folio = Folio(self.cells[page + 6])
        if not self.cells[folio.flags] & PG_anon:
            return
        whole = (
            self.cells[folio._entire_mapcount] >= 0 and self.cells[folio.flags] & PG_anon_exclusive
        )
        ok = bool(self.cells[page] & PG_anon_exclusive or whole)
        name = f"{self.ledger.name_of(folio)} page {folio.index_of(page)}"
        if ok:
            self.engine.holds("I-22", page)
        else:
            self.engine.fails("I-22", page, name, "pinned but not exclusive", (page,))
