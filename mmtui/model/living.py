"""The folios that are alive, kept from one look to the next.

Asking the ledger for all of them, and adding up where each one stands in a list, takes as long as
there are folios.  A step hardly ever changes which there are, and its changes tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate

from mmtui.model.changes import NO_CHANGES, Changes
from sandbox.arch.arm64.pgtable import pte_page
from sandbox.machine.fields import Struct
from sandbox.machine.memory import ADDR_MASK, Folio, Page
from sandbox.run.session import Session

__all__ = ["Living", "Roll"]

_FEW = 64
"""Changed words that are looked at one by one; more of them are a long move."""


class Roll:
    """Which folios are alive, in the order of their names."""

    def __init__(self, session: Session) -> None:
        self.folios: tuple[Folio, ...] = tuple(session.ledger.live_folios())
        self._names = session.ledger.names
        self._heights: dict[int, int] = {}
        self._starts: list[int] = [0]

    @cached_property
    def index(self) -> dict[int, int]:
        """The place of each folio by the address of its head."""
        return {folio & ADDR_MASK: at for at, folio in enumerate(self.folios)}

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each folio by its name."""
        return {self._names[head]: at for head, at in self.index.items()}

    @cached_property
    def examples(self) -> dict[int, Folio]:
        """One folio of each order."""
        return {folio.order: folio for folio in self.folios}

    def starts(self, heights: Mapping[int, int]) -> list[int]:
        """Where each folio begins and the last one ends, if those of an order are so high."""
        if heights != self._heights:
            self._heights = dict(heights)
            self._starts = list(accumulate((heights[f.order] for f in self.folios), initial=0))
        return self._starts


class Living:
    """The roll of a session's folios, read anew only when a move may have changed it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._roll = Roll(session)
        self._held = tuple(session.book.holds)
        self._seen = (0, 0)
        self._size = 0
        self._names = 0
        """Names given to folios: another folio has one of them, or none, where it differs."""

    def roll(self, moves: int, changes: Changes = NO_CHANGES) -> Roll:
        """The roll after so many moves, the last of which made these changes."""
        position = self._session.position
        if (moves, position) == self._seen:
            return self._roll
        known = (moves - 1, changes.start) == self._seen
        self._seen = (moves, position)
        size, self._size = self._size, len(self._session.machine.memory.objects)
        names, self._names = self._names, self._session.ledger.names_given
        # Words that an undone allocation took away are not among the changes.
        if not known or self._size < size or self._names != names or not self._same(changes):
            self._roll = Roll(self._session)
            self._held = tuple(self._session.book.holds)
        return self._roll

    def _same(self, changes: Changes) -> bool:
        """Whether the changed words leave all folios alive that were, and no others."""
        if (
            self._held != tuple(self._session.book.holds)
            or changes.unmarked
            or len(changes.olds) > _FEW
        ):
            return False
        memory = self._session.machine.memory
        for addr, old in changes.olds.items():
            field = memory.field_at(addr)
            if field.name in ("compound_head", "pmd"):
                return False
            if field.struct is Struct.PTE_TABLE and field.name == "pte":
                entries = (old, memory.cells[addr])
                if not all(self._as_before(pte_page(pte)) for pte in entries if pte):
                    return False
        return True

    def _as_before(self, page: Page) -> bool:
        """Whether the folio of a page is alive exactly if it was."""
        cells, ledger = self._session.machine.memory.cells, self._session.ledger
        if page.compound_head >= len(cells):  # a swap entry
            return False
        head = cells[page.compound_head] & ADDR_MASK
        return (ledger.leaves[head] > 0) == (head in self._roll.index)
