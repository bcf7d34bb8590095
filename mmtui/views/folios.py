"""The folios pane: references against mappings, pins, and the counters behind them, per page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from mmtui.model.bench import Bench
from mmtui.model.cursor import entry_under_cursor, page_of
from mmtui.model.living import Roll
from mmtui.views.lines import EMPTY, Doc, Line, clip, join, say
from mmtui.views.marks import GLYPHS, Marks, worst
from sandbox.arch.arm64.pgtable import pte_page
from sandbox.machine.memory import ADDR_MASK, Folio
from sandbox.mm import flags as f
from sandbox.truth.names.values import FLAG_NAMES
from sandbox.truth.observed import shown_runs

__all__ = ["Counter", "FolioView", "FoliosDoc", "PageRow", "clicked", "document", "view"]

_LABEL = 17
"""Cells of the left column of a block."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of a folio."""

    name: str
    text: str
    mark: str
    old: str | None = None
    """Its value before the last step, if that changed it."""


@dataclass(frozen=True, slots=True)
class PageRow:
    """One value per page, with a mark per page."""

    name: str
    glyphs: str
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FolioView:
    """One folio."""

    name: str
    order: int
    kind: str
    flags: str
    mark: str
    rules: tuple[str, ...]
    """Sentences on the rules that are broken for it now."""
    balance: Line
    counters: tuple[tuple[Counter, ...], ...]
    """Rows of counters, the same rows for every folio of this size on a kernel."""
    pages: tuple[PageRow, ...]
    selected: bool


def view(bench: Bench, marks: Marks, width: int) -> FoliosDoc:
    """Look at the folios that are alive."""
    return FoliosDoc(bench.living(), _selected_folio(bench), _Builder(bench, marks), width)


def _selected_folio(bench: Bench) -> Folio | None:
    pte = entry_under_cursor(bench)
    return None if pte is None else bench.session.ledger.folio(pte_page(pte))


class _Builder:
    """Reads one state; the words are named as in the kernel."""

    def __init__(self, bench: Bench, marks: Marks) -> None:
        self._kernel = bench.session.kernel
        self._ledger = bench.session.ledger
        self._cells = bench.session.machine.memory.cells
        self._marks = marks
        self._pinned = bench.session.book.pinned
        self.rules = self._broken()
        """Sentences and mark of the folios for which a rule is broken, by name."""

    def _broken(self) -> dict[str, tuple[tuple[str, ...], str]]:
        found: dict[str, dict[str, str]] = {}
        for v in self._marks.broken.values():
            mark = "window" if v.known_window else "violation"
            found.setdefault(v.subject.partition(".")[0], {})[f"{v.rule} {v.text}"] = mark
        return {name: (tuple(texts), worst(texts.values())) for name, texts in found.items()}

    def sentences(self, folio: Folio) -> int:
        """How many rules are broken for a folio."""
        if not self.rules:
            return 0
        return len(self.rules.get(self._ledger.name_of(folio), ((), ""))[0])

    def folio(self, folio: Folio, selected: bool) -> FolioView:
        name = self._ledger.name_of(folio)
        flags = self._cells[folio.flags]
        kind = (
            "anon" if flags & f.PG_anon else "file" if self._cells[folio.mapping] else "no mapping"
        )
        shown = " ".join(n for n, bit in FLAG_NAMES if flags & bit and n != "large_rmappable")
        rules, mark = self.rules.get(name, ((), ""))
        return FolioView(
            name, folio.order, kind, shown, mark, rules, self._balance(folio),
            tuple(self._counters(folio)), tuple(self._page_rows(folio)), selected,
        )  # fmt: skip

    def _counter(self, name: str, addr: int, *, biased: bool = False) -> Counter:
        value: Any = self._cells[addr]
        old = self._marks.changes.olds.get(addr)
        text = f"{value} (={value + 1})" if biased else f"{value}"
        if name == "_nr_pages_mapped" and value >= f.ENTIRELY_MAPPED:
            text = f"{value:#x}"
        return Counter(name, text, self._marks.token(addr), None if old is None else str(old))

    def _counters(self, folio: Folio) -> list[tuple[Counter, ...]]:
        kernel = self._kernel
        if not folio.large:
            return [(self._counter("_mapcount", folio._mapcount, biased=True),)]
        rows: list[tuple[Counter, ...]] = []
        if kernel.has_large_mapcount:
            rows.append((self._counter("_large_mapcount", folio._large_mapcount, biased=True),))
        rows.append((self._counter("_entire_mapcount", folio._entire_mapcount, biased=True),))
        if kernel.has_page_mapcount:
            rows.append((self._counter("_nr_pages_mapped", folio._nr_pages_mapped),))
        rows.append((self._counter("_pincount", folio._pincount),))
        if kernel.has_mm_id:
            rows.append((*(self._slot(folio, k) for k in (0, 1)), self._shared(folio)))
        if folio.order > 1:
            rows.append((self._deferred(folio),))
        return rows

    def _slot(self, folio: Folio, slot: int) -> Counter:
        ids = {self._cells[mm.mm_id]: n for n, mm in self._ledger.processes().items()}
        id_addr, addr = folio._mm_id(slot), folio._mm_id_mapcount(slot)
        owner = ids.get(self._cells[id_addr] & f.MM_ID_MASK, "-")
        text = f"{owner}:{self._cells[addr]}" if owner != "-" else "-"
        old = self._marks.changes.olds.get(addr)
        mark = worst([self._marks.token(id_addr), self._marks.token(addr)])
        return Counter("_mm_id" if slot == 0 else "", text, mark, None if old is None else str(old))

    def _shared(self, folio: Folio) -> Counter:
        shared = bool(self._cells[folio._mm_id(1)] & f.MM_ID_SHARED)
        old = self._marks.changes.olds.get(folio._mm_id(1))
        flipped = old is not None and bool(old & f.MM_ID_SHARED) != shared
        mark = "changed" if flipped else ""
        return Counter("", "maybe shared" if shared else "not shared", mark)

    def _deferred(self, folio: Folio) -> Counter:
        addr = folio._deferred_list
        queued = "queued" if self._cells[addr] else "no"
        return Counter("_deferred_list", queued, self._marks.token(addr))

    # -- references against what explains them ----------------------------------------------

    def _balance(self, folio: Folio) -> Line:
        addr = folio._refcount
        refs, old = self._cells[addr], self._marks.changes.olds.get(addr)
        mapped = self._mappings(folio)
        pins = sum(self._pins_of(folio))
        held = pins if folio.large else pins * f.GUP_PIN_COUNTING_BIAS
        rest = refs - mapped - held
        mark = worst([self._marks.token(addr), self._marks.subject(self._ledger.name_of(folio))])
        sign = "<" if rest < 0 else "="
        relation = f" {sign} {mapped} " + ("mappings" if refs < mapped else "mapped")
        loud = "alarm" if mark == "violation" else mark
        parts = [(f"{refs}", loud), (relation, loud if rest < 0 else "")]
        if held:
            parts.append((f" + {held} pinned", ""))
        if rest > 0:
            parts.append((f" + {rest} other", ""))
        if old is not None:
            parts.append((f"  was {old}", "dim"))
        return join(parts)

    def _mappings(self, folio: Folio) -> int:
        """Mappings as the kernel's own words count them."""
        if folio.large and not self._kernel.has_page_mapcount:
            return int(self._cells[folio._large_mapcount]) + 1
        return self._ledger.total_mapcount(folio)

    def _pins_of(self, folio: Folio) -> list[int]:
        return [self._pinned.get(int(folio.page(i)), 0) for i in range(folio.nr_pages)]

    def _page_rows(self, folio: Folio) -> list[PageRow]:
        cells, marks = self._cells, self._marks
        pages = [folio.page(i) for i in range(folio.nr_pages)]
        rows = []
        if self._kernel.has_page_mapcount and folio.large:
            counts = [cells[page._mapcount] + 1 for page in pages]
            tokens = tuple(marks.token(page._mapcount) for page in pages)
            rows.append(PageRow("_mapcount + 1", "".join(map(_digit, counts)), tokens))
        flags = "".join("X" if cells[p.flags] & f.PG_anon_exclusive else "." for p in pages)
        tokens = tuple(self._exclusive_mark(int(page.flags)) for page in pages)
        rows.append(PageRow("AnonExclusive", flags, tokens))
        pins = self._pins_of(folio)
        glyphs = "".join("." if not n else _digit(n) if n > 1 else "P" for n in pins)
        rows.append(PageRow("pinned", glyphs, ("",) * len(pages)))
        return rows

    def _exclusive_mark(self, addr: int) -> str:
        token = self._marks.token(addr)
        if token != "changed":
            return token
        differs = self._marks.changes.olds[addr] ^ self._cells[addr]
        return "changed" if differs & f.PG_anon_exclusive else ""


def _digit(value: int) -> str:
    """One glyph for a count: `.` for none, `-` below zero, `+` from ten on."""
    if value <= 0:
        return "." if value == 0 else "-"
    return str(value) if value < 10 else "+"


# -- drawing -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FoliosDoc:
    """One block per folio in the order of their names, drawn when it is looked at."""

    roll: Roll
    selected: Folio | None
    builder: _Builder
    width: int

    @cached_property
    def _base(self) -> list[int]:
        """Where each block would begin without broken rules: those of one order are as high."""
        heights: dict[int, int] = {}
        for order, folio in self.roll.examples.items():
            size = len(_block(self.builder.folio(folio, False), self.width))
            heights[order] = size - self.builder.sentences(folio) + 1
        return self.roll.starts(heights)

    @cached_property
    def _longer(self) -> tuple[list[int], list[int]]:
        """The places of folios with broken rules, and how many sentences stand above each."""
        rules, places = self.builder.rules, self.roll.places if self.builder.rules else {}
        found = sorted((places[name], len(rules[name][0])) for name in rules if name in places)
        return [at for at, _ in found], [0, *accumulate(size for _, size in found)]

    def _start(self, number: int) -> int:
        """The line a block begins at; after the last one, the end."""
        longer, above = self._longer
        return self._base[number] + above[bisect_left(longer, number)]

    @cached_property
    def _blocks(self) -> dict[int, list[Line]]:
        """The blocks drawn so far."""
        return {}

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
        """The selected folio is followed line by line."""
        return False

    @property
    def height(self) -> int:
        """Lines of all blocks, without the blank one at the end."""
        return max(1, self._start(len(self.roll.folios)) - 1)

    @property
    def focus(self) -> int | None:
        """Where the selected folio begins."""
        place = None if self.selected is None else self.roll.index.get(self.selected & ADDR_MASK)
        return None if place is None else self._start(place)

    def line(self, y: int) -> Line:
        """Line *y* of the document."""
        folios = self.roll.folios
        if not folios:
            return say(" no folio is mapped yet", "dim")
        number = bisect_right(range(len(folios)), y, key=self._start) - 1
        if number not in self._blocks:
            folio = folios[number]
            seen = self.builder.folio(folio, folio == self.selected)
            self._blocks[number] = [clip(line, self.width) for line in _block(seen, self.width)]
        block, row = self._blocks[number], y - self._start(number)
        return block[row] if row < len(block) else EMPTY

    def at(self, y: int, column: int) -> tuple[Folio, int] | None:
        """Which folio's block a line is in, and the page if the column is one of its glyphs."""
        folios = self.roll.folios
        number = bisect_right(range(len(folios)), y, key=self._start) - 1
        if number < 0:
            return None
        folio, page = folios[number], 0
        rows = _rows_of_pages(self.builder.folio(folio, False), self.width)
        across = column - _LABEL - 3
        if across >= 0 and (first := rows.get(y - self._start(number))) is not None:
            page = first + across // 17 * 16 + min(across % 17, 15)
        return folio, min(page, folio.nr_pages - 1)


def _rows_of_pages(folio: FolioView, width: int) -> dict[int, int]:
    """The first page of each line of a block that has one glyph a page."""
    at, found = 2 + len(folio.counters), {}
    for row in folio.pages:
        lines = len(_page_lines(row, width))
        each = 16 * max(1, max(width - _LABEL - 4, 16) // 17)
        if len(row.glyphs) <= each * lines:
            found.update({at + i: i * each for i in range(lines)})
        at += lines
    return found


def _block(folio: FolioView, width: int) -> list[Line]:
    size = f"order {folio.order}, {4 << folio.order}K"
    title = join(
        (
            (GLYPHS[folio.mark], folio.mark),
            (folio.name, "strong+selected" if folio.selected else "strong"),
            (f"  {size}, {folio.kind}  ", ""),
            (folio.flags, "dim"),
        )
    )
    tokens = ("violation" if token == "alarm" else token for _, token in folio.balance)
    mark = worst(token if token in GLYPHS else "" for token in tokens)
    lines = [title, join(_label("_refcount", mark), folio.balance)]
    lines += [_counter_row(row) for row in folio.counters]
    for row in folio.pages:
        lines += _page_lines(row, width)
    lines += [join(((" ! ", folio.mark), (text, folio.mark))) for text in folio.rules]
    return lines


def _label(name: str, mark: str) -> Line:
    return ((GLYPHS[mark], mark), (f"  {name:<{_LABEL}}", "dim"))


def _counter_row(row: tuple[Counter, ...]) -> Line:
    mark = worst(counter.mark for counter in row)
    parts: list[tuple[str, str]] = []
    for counter in row:
        parts += [(counter.text, counter.mark), ("  ", "")]
        if counter.old is not None:
            parts.insert(-1, (f"  was {counter.old}", "dim"))
    return join(_label(row[0].name, mark), parts)


def _page_lines(row: PageRow, width: int) -> list[Line]:
    """One glyph a page where that fits, in blocks of 16; else the runs."""
    mark = worst(row.marks)
    room = max(width - _LABEL - 4, 16)
    count = len(row.glyphs)
    blocks = max(1, room // 17)
    if count <= 64 or count <= 16 * blocks:
        lines = []
        for first in range(0, count, 16 * blocks):
            cells = _cells(row, first, min(first + 16 * blocks, count))
            label = _label(row.name, mark) if not first else ((" " * (_LABEL + 3), ""),)
            lines.append(join(label, cells))
        return lines
    return [join(_label(row.name, mark), say(shown_runs(row.glyphs), mark))]


def _cells(row: PageRow, first: int, last: int) -> list[tuple[str, str]]:
    spans = []
    for page in range(first, last):
        glyph = row.glyphs[page]
        token = row.marks[page] or {"X": "excl", ".": "dim"}.get(glyph, "")
        spans.append((glyph, token))
        if page % 16 == 15 and page + 1 < last:
            spans.append((" ", ""))
    return spans


def document(bench: Bench, marks: Marks, width: int, _height: int) -> FoliosDoc:
    """The folios, for a pane."""
    return view(bench, marks, width)


def clicked(bench: Bench, doc: Doc, line: int, column: int) -> bool:
    """Select the page at a place, where it is mapped."""
    found = doc.at(line, column) if isinstance(doc, FoliosDoc) else None
    chosen = page_of(bench, *found) if found is not None else None
    return chosen is not None and bench.point_at(chosen)
