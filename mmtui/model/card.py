"""Which folios are looked at whole: the one that the last event touched, and those that are pinned.

Moving the cursor looks at the folio of the page that it stands on, until the next event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmtui.model.changes import Changes
from mmtui.model.selection import Selection
from sandbox.arch.arm64.pgtable import pte_page
from sandbox.machine.fields import Struct
from sandbox.machine.memory import ADDR_MASK, Folio
from sandbox.run.session import Session
from sandbox.truth.ledger import maps_page

if TYPE_CHECKING:
    from mmtui.model.standing import Standing

__all__ = ["Cards", "folio_at"]

_FEW = 64
"""Changed words of a long move that are looked at for a folio."""


class Cards:
    """The folio that is looked at, and those that a person keeps in sight."""

    def __init__(self) -> None:
        self.pinned: tuple[int, ...] = ()
        """Heads of the folios that stay, in the order in which they were pinned."""
        self._head = 0
        self._page = 0
        self._seen: tuple[int, Selection] | None = None

    def look(self, bench: Standing, selected: int | None) -> Folio | None:
        """The folio to show; *selected* is the page that the cursor stands on, if there is one."""
        seen = (bench.moves, bench.selection)
        before, self._seen = self._seen, seen
        page: int | None = None
        if before is None or before[0] != seen[0]:
            page = _touched(bench.session, bench.changes)
        if page is None and (before is None or before[1] != seen[1] or not self._head):
            page = selected
        index = bench.living().index
        if page is not None:
            head = _head(bench.session, page)
            if head in index:
                self._head, self._page = head, page & ADDR_MASK
        if self._head not in index:
            folios = bench.living().folios
            chosen = selected and _head(bench.session, selected)
            self._head = chosen if chosen in index else folios[0] & ADDR_MASK if folios else 0
            self._page = self._head
        self.pinned = tuple(head for head in self.pinned if head in index)
        return bench.living().folios[index[self._head]] if self._head else None

    @property
    def page(self) -> int:
        """The page of that folio that was touched or is under the cursor."""
        return self._page

    def toggle(self) -> bool:
        """Keep the folio that is shown in sight, or let it go; whether it is kept now."""
        if self._head in self.pinned:
            self.pinned = tuple(head for head in self.pinned if head != self._head)
            return False
        if self._head:
            self.pinned = (*self.pinned, self._head)
        return bool(self._head)


def _head(session: Session, page: int) -> int:
    return int(session.ledger.folio(page)) & ADDR_MASK


def _touched(session: Session, changes: Changes) -> int | None:
    """The page that a move touched: of the last event, or of the last word that it changed."""
    machine = session.machine
    if changes.end > changes.start and machine.events:
        page = folio_at(session, machine.events[-1][1], machine.olds[-1])
        if page is not None:
            return page
    for addr, old in list(changes.olds.items())[: -_FEW - 1 : -1]:
        page = folio_at(session, addr, old)
        if page is not None:
            return page
    return None


def folio_at(session: Session, addr: int, old: object) -> int | None:
    """The page that a word is of or leads to, now or by its old value; None if there is none."""
    memory, cells = session.machine.memory, session.machine.memory.cells
    if not 0 < addr < len(cells):
        return None
    field = memory.field_at(addr)
    if field.struct is Struct.PAGE:
        return addr & ADDR_MASK
    if field.name not in ("pte", "pmd"):
        return None
    for value in (cells[addr], old):
        if isinstance(value, int) and maps_page(value):
            page = int(pte_page(value))
            if page < len(cells) and memory.field_at(page).struct is Struct.PAGE:
                return page
    return None
