"""The folios pane: the folio that the event touches as a card, and a line for every one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mmtui.model.bench import Bench
from mmtui.model.cursor import entry_under_cursor, page_of
from mmtui.model.living import Roll
from mmtui.views.balance import balance_of
from mmtui.views.card import LABEL, Card, card_of, size
from mmtui.views.counters import Reader
from mmtui.views.lines import EMPTY, Doc, Line, clip, join, say
from mmtui.views.marks import GLYPHS, Marks, worst
from sandbox.arch.arm64.pgtable import pte_page
from sandbox.machine.memory import ADDR_MASK, Folio
from sandbox.machine.offsets import COMPOUND_HEAD

_CHANGED = 64
"""Changed words of which the folios are looked up, the last ones."""

__all__ = ["FoliosDoc", "clicked", "document", "view"]


def view(bench: Bench, marks: Marks, width: int) -> FoliosDoc:
    """Look at the folios that are alive."""
    pte = entry_under_cursor(bench)
    selected = None if pte is None else int(pte_page(pte))
    shown = bench.cards.look(bench, selected)
    roll = bench.living()
    kept = [roll.folios[roll.index[head]] for head in bench.cards.pinned]
    first = [] if shown is None or shown in kept else [shown]
    return FoliosDoc(roll, shown, (*kept, *first), bench.cards.page, Reader(bench, marks), width)


@dataclass(frozen=True)
class FoliosDoc:
    """The cards, then a line for each folio in the order of their names, drawn when looked at."""

    roll: Roll
    shown: Folio | None
    whole: tuple[Folio, ...]
    """Those that are drawn as cards: the ones kept in sight, then the one shown."""
    page: int
    reader: Reader
    width: int

    @cached_property
    def _cards(self) -> tuple[tuple[Folio, int, Card], ...]:
        """Each card with the line that it begins at."""
        found, at = [], 0
        for folio in self.whole:
            page = self.page if folio == self.shown else int(folio) & ADDR_MASK
            card = card_of(self.reader, folio, page, self.width)
            found.append((folio, at, card))
            at += len(card.lines) + 1
        return tuple(found)

    @cached_property
    def _drawn(self) -> tuple[Line, ...]:
        """The lines of the cards, and the headline of the others."""
        lines: list[Line] = []
        for _, _, card in self._cards:
            lines += [clip(line, self.width) for line in card.lines]
            lines.append(EMPTY)
        count = len(self.roll.folios)
        if count < 2:
            return tuple(lines[:-1])
        headline = f" {count} folios"
        headline = f"{headline:<{LABEL + 4}}refcount  needed"
        return (*lines, clip(say(headline, "dim"), self.width))

    @property
    def head(self) -> tuple[Line, ...]:
        """Nothing stays at the top."""
        return ()

    @property
    def foot(self) -> tuple[Line, ...]:
        """Nothing stays at the bottom."""
        return ()

    @property
    def leaps(self) -> bool:
        """The card that is shown is followed line by line."""
        return False

    @property
    def height(self) -> int:
        """Lines of the cards, and one for each folio where there are several."""
        count = len(self.roll.folios)
        return max(1, len(self._drawn) + (count if count > 1 else 0))

    @property
    def focus(self) -> int | None:
        """Where the card of the folio that is shown begins."""
        return next((at for folio, at, _ in self._cards if folio == self.shown), None)

    @cached_property
    def changed(self) -> tuple[int, ...]:
        """The lines of cards that are marked as changed, and those of other changed folios."""
        marked = [y for y, line in enumerate(self._drawn) if line and line[0][0][:1] == "*"]
        whole = {int(folio) & ADDR_MASK for folio in self.whole}
        places = [self.roll.index[head] for head in self._heads_changed - whole]
        return (*marked, *sorted(len(self._drawn) + at for at in places))

    @cached_property
    def _heads_changed(self) -> frozenset[int]:
        """The folios that are alive of which a word changed."""
        heads = set()
        for addr in list(self.reader.marks.changes.olds)[-_CHANGED:]:
            if self.reader.is_page(addr):
                heads.add(self.reader.cells[(addr & ADDR_MASK) + COMPOUND_HEAD] & ADDR_MASK)
        return frozenset(heads & self.roll.index.keys())

    @property
    def goals(self) -> tuple[int, ...]:
        """The card from its title on, and in it the first line that changed."""
        start = self.focus
        if start is None:
            return ()
        after = next((at for _, at, _ in self._cards if at > start), len(self._drawn))
        return (start, *[y for y in self.changed if start < y < after][:1])

    def line(self, y: int) -> Line:
        """Line *y* of the document."""
        if not self.roll.folios:
            return say(" no folio is mapped yet", "dim")
        if y < len(self._drawn):
            return self._drawn[y]
        return clip(self._brief(self.roll.folios[y - len(self._drawn)]), self.width)

    def _brief(self, folio: Folio) -> Line:
        """A folio in one line."""
        reader = self.reader
        name, seen = reader.name(folio), balance_of(reader, folio)
        rules, mark = reader.broken_for(folio)
        changed = "changed" if folio & ADDR_MASK in self._heads_changed else ""
        token = worst((changed, mark))
        kind = f"{size(folio)} {reader.kind(folio)}"
        named = (
            "strong+selected" if folio == self.shown else "strong" if folio in self.whole else ""
        )
        spans = [(GLYPHS[token], token), (f" {name:<5}", named), (f" {kind:<10}", "dim")]
        loud = mark or reader.marks.token(folio._refcount)
        spans += [(f"{seen.refs:>9}", loud), (f"{seen.needed:>8}  ", loud), (seen.text, "dim")]
        if rules:
            spans.append((f"  {rules[0]}", mark))
        return join(spans)

    def at(self, y: int, column: int) -> tuple[Folio, int] | None:
        """Which folio a line is of, and the page if the column is one of its glyphs."""
        folios = self.roll.folios
        if y >= len(self._drawn):
            number = y - len(self._drawn)
            return (folios[number], 0) if number < len(folios) else None
        for folio, at, card in reversed(self._cards):
            if y < at:
                continue
            first, each = card.pages.get(y - at, (0, 0))
            across = column - LABEL - 3
            if not each or across < 0:
                return folio, 0
            block, cell = divmod(across, 18)
            page = first + (block * 16 + max(0, min(cell - 1, 15))) * each
            if card.heads:
                head = card.heads[min(page, 15)]
                whole = Folio(self.reader.cells[head + COMPOUND_HEAD]) if head else folio
                return whole, whole.index_of(head) if head else 0
            return folio, min(page, folio.nr_pages - 1)
        return None


def document(bench: Bench, marks: Marks, width: int, _height: int) -> FoliosDoc:
    """The folios, for a pane."""
    return view(bench, marks, width)


def clicked(bench: Bench, doc: Doc, line: int, column: int) -> bool:
    """Select the page at a place, where it is mapped."""
    found = doc.at(line, column) if isinstance(doc, FoliosDoc) else None
    chosen = page_of(bench, *found) if found is not None else None
    return chosen is not None and bench.point_at(chosen)
