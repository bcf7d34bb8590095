"""Translations that CPUs may still hold although the entry is gone: cleared and not flushed.

The model has no TLB that fills and ages; it takes the worst case, that every valid entry was
cached by somebody.  A PMD leaf is one translation, kept under the first address it maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.machine.derived import Derived
    from sandbox.machine.memory import Event

Stale = tuple[int, bool]
"""(page, was the entry dirty)"""


class Tlb:
    """Per mm, the addresses whose old translation has not been flushed."""

    def __init__(self, derived: Derived) -> None:
        self.derived = derived
        self._forget = derived.undoer(self._remember)
        self._flush = derived.undoer(self._unflush)
        self._keep = derived.undoer(self._kept)
        self.stale: dict[int, dict[int, tuple[Stale, ...]]] = derived.table("stale", {})
        self.pages: dict[int, int] = derived.table("stale pages", {}, follows=True)
        """By page: translations left."""
        self.dirty: dict[int, int] = derived.table("stale dirty pages", {}, follows=True)
        """By page: those left of dirty entries."""

    def forget(self, mm: int, addr: int, page: int, dirty: bool) -> None:
        """The entry at virtual page *addr* no longer maps *page*."""
        mine = self.stale.get(mm)
        if mine is None:
            mine = self.stale[mm] = {}
        before = mine.get(addr)
        mine[addr] = ((page, dirty),) if before is None else (*before, (page, dirty))
        self.pages[page] = self.pages.get(page, 0) + 1
        if dirty:
            self.dirty[page] = self.dirty.get(page, 0) + 1
        self.derived.add(self._forget, mm, addr)

    def _remember(self, mm: int, addr: int) -> None:
        """Undo `forget`."""
        mine = self.stale[mm]
        *before, item = mine.pop(addr)
        if before:
            mine[addr] = tuple(before)
        self._less((item,))

    def flush(self, event: Event, cpu: int) -> None:
        """A tlb_flush event: what lies in its range is gone."""
        _, _, mm, start, end = event
        mine = self.stale.get(mm)
        if not mine:
            return
        if end - start < len(mine):
            gone = {addr: mine.pop(addr) for addr in range(start, end) if addr in mine}
        else:
            gone = {addr: items for addr, items in mine.items() if start <= addr < end}
            for addr in gone:
                del mine[addr]
        if gone:
            for items in gone.values():
                self._less(items)
            flat = [n for addr, items in gone.items() for item in items for n in (addr, *item)]
            self.derived.add(self._flush, mm, *flat)

    def _unflush(self, mm: int, *flat: int) -> None:
        """Undo `flush`: (address, page, dirty) after one another."""
        mine = self.stale[mm]
        for addr, page, dirty in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            mine[addr] = (*mine.get(addr, ()), (page, bool(dirty)))
            self._more(page, bool(dirty))

    def another_folio(self, frame: int, end: int) -> None:
        """The pages [frame, end) are allocated again: what may reach them is told of no more.

        It was when they were freed.
        """
        if not self.pages:
            return
        for mm, mine in self.stale.items():
            for addr, items in list(mine.items()):
                gone = tuple(item for item in items if frame <= item[0] < end)
                if gone:
                    kept = tuple(item for item in items if item not in gone)
                    self.derived.add(self._keep, mm, addr, *(n for item in items for n in item))
                    self._less(gone)
                    mine[addr] = kept
                    if not kept:
                        del mine[addr]

    def _kept(self, mm: int, addr: int, *flat: int) -> None:
        """Undo `another_folio` for one address: (page, dirty) after one another."""
        mine = self.stale[mm]
        self._less(mine.get(addr, ()))
        items = tuple(
            (page, bool(dirty)) for page, dirty in zip(flat[::2], flat[1::2], strict=True)
        )
        for page, dirty in items:
            self._more(page, dirty)
        mine[addr] = items

    def _more(self, page: int, dirty: bool) -> None:
        """One translation more."""
        self.pages[page] = self.pages.get(page, 0) + 1
        if dirty:
            self.dirty[page] = self.dirty.get(page, 0) + 1

    def _less(self, items: tuple[Stale, ...]) -> None:
        """One translation less for each."""
        for page, dirty in items:
            for table in (self.pages, self.dirty) if dirty else (self.pages,):
                if table[page] == 1:
                    del table[page]
                else:
                    table[page] -= 1
