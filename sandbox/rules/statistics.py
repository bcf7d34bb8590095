"""The machine-wide statistic of mapped anonymous pages, which upstream's counters let drift."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from sandbox.machine.memory import Folio, Globals, Word
from sandbox.machine.offsets import COMPOUND_HEAD
from sandbox.mm.flags import PG_anon

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel
    from sandbox.machine.derived import Derived
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger

DRIFT = "RC-11"
"""The race that makes the statistic drift, named where it is reported."""


class StatisticsChecks:
    """I-50."""

    engine: RuleEngine
    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Word]
    derived: Derived

    def start_statistics(self) -> None:
        """Nothing is mapped yet."""
        self.anon_mapped = self.derived.table("anon_mapped", array("H"), follows=True)
        """By frame of a folio's head: pages that should count, when last looked at."""
        self._undo_contribution = self.derived.undoer(self._replace)
        self.anon_mapped_total = sum(self.anon_mapped)

    def statistics(self, recent: set[int]) -> None:
        """I-50, by the folios that were touched since the machine was last quiet."""
        for head in recent:
            self._contribute(head, self.pages_to_count(Folio(self.cells[head + COMPOUND_HEAD])))
        have, want = self.cells[Globals.nr_anon_mapped], self.anon_mapped_total
        if have == want:
            self.engine.holds("I-50", 0)
        else:
            text = f"says {have} pages, {want} are mapped"
            words = (Globals.nr_anon_mapped,)
            self.engine.fails(
                "I-50", 0, "NR_ANON_MAPPED", text, words, abs(have - want), window=DRIFT
            )

    def pages_to_count(self, folio: Folio) -> int:
        """Anonymous pages with a mapping; without page mapcounts all of a mapped folio's."""
        cells = self.cells
        if not cells[folio.flags] & PG_anon:
            return 0
        if not folio.large:
            return int(cells[folio._mapcount] >= 0)
        if not self.kernel.has_page_mapcount:
            return folio.nr_pages if cells[folio._large_mapcount] >= 0 else 0
        if cells[folio._entire_mapcount] >= 0:
            return folio.nr_pages
        if not self.ledger.mapcounts[folio & ~15]:
            return 0
        return sum(cells[folio.page(i)._mapcount] >= 0 for i in range(folio.nr_pages))

    def _contribute(self, head: int, pages: int) -> None:
        pfn = head >> 4
        if pfn >= len(self.anon_mapped):
            more = max(pfn + 1 - len(self.anon_mapped), len(self.anon_mapped))
            self.anon_mapped.frombytes(bytes(more * self.anon_mapped.itemsize))
        before = self.anon_mapped[pfn]
        if pages != before:
            self._replace(pfn, pages)
            self.derived.add(self._undo_contribution, pfn, before)

    def _replace(self, pfn: int, pages: int) -> None:
        self.anon_mapped_total += pages - self.anon_mapped[pfn]
        self.anon_mapped[pfn] = pages
