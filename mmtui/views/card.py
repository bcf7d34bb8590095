"""The folio card: page columns run through the entries of every process and the folio's own rows.

Below them are two bars on one scale: the references that there are, and those that something
needs.  What sticks out of the first one is what breaks the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmtui.model.entries import Entry
from mmtui.model.mappers import MOST, Mapper, mappers_of, window_of
from mmtui.views.balance import bar_lines
from mmtui.views.counters import Counter, Glyphed, Reader
from mmtui.views.entries import attribute, glyph
from mmtui.views.glyphs import glyphs
from mmtui.views.lines import Line, join, length, wrap_words
from mmtui.views.marks import GLYPHS, worst
from sandbox.arch.arm64.pgtable import CONT_PTES, FLAGS_MASK, PTE_CONT, PTE_HUGE, pte_present
from sandbox.machine.handles import PAGE_WORDS
from sandbox.machine.memory import ADDR_MASK, Folio

__all__ = ["LABEL", "Card", "card_of", "size"]

LABEL = 14
"""Cells of the left column, after the mark and two blanks."""
_WHOLE = 64
"""Pages of a folio up to which each one has a column; of a larger one 32 columns are drawn, and
one block of 16 pages."""
_COLUMN = 28
"""Cells of a counter."""
_FLAGS = FLAGS_MASK
"""The bits of an entry that a glyph says something of."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Card:
    """The lines of a card, and which pages its columns stand for."""

    lines: tuple[Line, ...]
    pages: dict[int, tuple[int, int]]
    """By line: the page of its first column, and how many pages a column stands for."""
    heads: tuple[int, ...] = ()
    """Of small folios in a row: the one of each column, 0 for none."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """One column of a row."""

    glyph: str
    token: str = ""
    shape: str = ""
    """`cont`, `part` or `pmd` where it is a part of a larger entry."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a card: what it is, one cell a column, what is said of all of it."""

    name: str
    cells: tuple[_Cell, ...]
    note: str = ""
    names: tuple[str, ...] = ()
    """The processes of a row that is alike for several."""


def card_of(reader: Reader, folio: Folio, page: int, width: int) -> Card:
    """Draw a folio; *page* is the one of interest, which a large folio shows more of."""
    lines: list[Line] = [_title(reader, folio, width)]
    pages: dict[int, tuple[int, int]] = {}
    places = mappers_of(reader.session, folio)
    heads: tuple[int, ...] = ()
    each = max(1, folio.nr_pages // 32) if folio.nr_pages > _WHOLE else 1
    if not folio.large and places:
        heads = _neighbours(reader, (folio, places), lines, width)
        pages.update((line, (0, 1)) for line in range(1, len(lines)))
    else:
        _columns(reader, (folio, places), (0, folio.nr_pages, each), (lines, pages), width)
        if each > 1:
            first = max(0, min(_index(folio, page), folio.nr_pages - 1)) // 16 * 16
            _columns(reader, (folio, places), (first, first + 16, 1), (lines, pages), width)
    lines += bar_lines(reader, folio, width, LABEL)
    lines += _counter_lines(reader.counters(folio), width)
    rules, mark = reader.broken_for(folio)
    for text in rules:
        lines += [((" ! ", mark), (part, mark)) for part in wrap_words(text, width - 3)]
    return Card(tuple(lines), pages, heads)


def _index(folio: Folio, page: int) -> int:
    return folio.index_of(page & ADDR_MASK)


def size(folio: Folio) -> str:
    """The size of a folio, as a person says it."""
    kib = 4 << folio.order
    return f"{kib}K" if kib < 1024 else f"{kib >> 10}M"


def _title(reader: Reader, folio: Folio, width: int) -> Line:
    """What the folio is; of its flags those that there is room for, all or the last ones."""
    mark = reader.broken_for(folio)[1]
    flags = reader.flags(folio)
    room = width - len(f"  {reader.name(folio)}  {size(folio)} {reader.kind(folio)}, order 9  ")
    while len(flags) > room and flags:
        flags = flags.partition(" ")[2]
    return join(
        (
            (GLYPHS[mark], mark),
            (f" {reader.name(folio)}", "strong+selected"),
            (f"  {size(folio)} {reader.kind(folio)}", ""),
            (f", order {folio.order}  ", "dim"),
            (flags, "dim"),
        )
    )


# -- rows over columns -------------------------------------------------------------------


def _columns(
    reader: Reader,
    what: tuple[Folio, list[Mapper]],
    span: tuple[int, int, int],
    into: tuple[list[Line], dict[int, tuple[int, int]]],
    width: int,
) -> None:
    """The rows of some pages, as many blocks of 16 columns beside each other as fit."""
    folio, places = what
    low, high, each = span
    lines, pages = into
    room = max(1, (width - LABEL - 3) // 18)
    step = 16 * room * each
    for first in range(low, high, step):
        last = min(first + step, high)
        rows = _alike([_entries(reader, place, folio, (first, last, each)) for place in places])
        rows += _page_rows(reader, folio, (first, last, each))
        lines.append(_ruler(first, last, each, folio))
        for row in rows:
            pages[len(lines)] = first, each
            lines.append(_row_line(row, width))


def _ruler(first: int, last: int, each: int, folio: Folio) -> Line:
    """The numbers of the columns."""
    if each > 1:
        label = f"a column = {each} pages"
        return join(((f"   {label:<{LABEL}}", "dim"),))
    label = f"pages {first}-{last - 1}" if folio.nr_pages > 16 else "page"
    blocks = [
        "".join(_DIGITS[page & 15] for page in range(at, min(at + 16, last)))
        for at in range(first, last, 16)
    ]
    return join(((f"   {label:<{LABEL}} ", "dim"), ("  ".join(blocks), "dim")))


def _entries(reader: Reader, place: Mapper, folio: Folio, span: tuple[int, int, int]) -> _Row:
    """The entries of one process over pages of the folio."""
    first, last, each = span
    found = place.entries(reader.cells, first, last)
    name = f"{place.proc}.{place.region} {max(place.first + first, 0)}"
    cells = []
    for at in range(0, last - first, each):
        group = found[at : at + each]
        number = first + at
        cells.append(_entry_cell(reader, group, folio, number))
    note = _entries_note([entry for entry in found if entry is not None and entry.value])
    return _Row(name, tuple(cells), note, (place.proc,))


def _entry_cell(reader: Reader, group: list[Entry | None], folio: Folio, number: int) -> _Cell:
    """One column: an entry, or what some of them have in common."""
    entry = group[0]
    if len(group) > 1:
        return _group_cell(reader, group)
    if entry is None:
        return _Cell(" ")
    token = reader.marks.token(entry.word) if entry.word else ""
    if not entry.value:
        return _Cell(".", token or "dim")
    drawn = glyph(entry.value, True)
    page = entry.page
    if page is not None and page & ADDR_MASK != (folio & ADDR_MASK) + 16 * number:
        return _Cell("o", token or "dim", _shape(entry.value))
    return _Cell(drawn, token or PLAIN.get(drawn, ""), _shape(entry.value))


PLAIN = {
    "W": "write", "P": "write", "r": "read", "p": "read", "X": "excl", ".": "dim", "-": "dim",
}  # fmt: skip
"""How glyphs of entries and pages look that nothing marks."""


def _shape(pte: int) -> str:
    if pte & PTE_HUGE:
        return "pmd"
    return "cont" if pte & PTE_CONT and pte_present(pte) else ""


def _group_cell(reader: Reader, group: Sequence[Entry | None]) -> _Cell:
    """What several entries are together: all alike, or `+` where only some are there."""
    entries = [entry for entry in group if entry is not None]
    values = {entry.value & _FLAGS if entry.value else 0 for entry in entries}
    token = worst({reader.marks.token(word) for word in {entry.word for entry in entries} if word})
    if not any(values):
        return _Cell("." if entries else " ", token or "dim")
    drawn = {glyph(value, True) for value in values}
    alike = len(drawn) == 1 and len(entries) == len(group)
    one = drawn.pop() if alike else "+"
    shapes = {_shape(value) for value in values}
    return _Cell(one, token or PLAIN.get(one, ""), shapes.pop() if len(shapes) == 1 else "")


def _entries_note(there: list[Entry]) -> str:
    """What all the entries have in common besides what their glyphs say."""
    values = {entry.value & _FLAGS for entry in there}
    if not values:
        return ""
    notes = []
    if all(value & PTE_HUGE for value in values):
        notes.append("PMD")
    elif all(value & PTE_CONT for value in values):
        notes.append("CONT")
    shown = {attribute(value) for value in values}
    names = {"b": "dirty young", "d": "dirty", "y": "young"}
    if len(shown) == 1 and (name := names.get(shown.pop())):
        notes.append(name)
    return " ".join(notes)


def _alike(rows: list[_Row]) -> list[_Row]:
    """Rows that are the same for several processes as one, where there are many."""
    if len(rows) <= 3:
        return rows
    found: dict[tuple[object, ...], _Row] = {}
    for row in rows:
        key = (row.cells, row.note)
        known = found.get(key)
        found[key] = row if known is None else _Row(
            known.name, known.cells, known.note, (*known.names, *row.names)
        )  # fmt: skip
    return [_named_row(row) for row in found.values()]


def _named_row(row: _Row) -> _Row:
    if len(row.names) < 2:
        return row
    many = len(row.names)
    name = f"{many}+ processes" if many >= MOST else f"{many} processes"
    return _Row(name, row.cells, f"{row.note}  {' '.join(row.names)}", row.names)


def _page_rows(reader: Reader, folio: Folio, span: tuple[int, int, int]) -> list[_Row]:
    """What each page has of its own."""
    first, last, each = span
    pages = range(int(folio.page(first)), int(folio.page(last)), PAGE_WORDS)
    kinds: list[tuple[str, Callable[[Sequence[int]], Glyphed]]] = [
        ("mapped", reader.counts)
        if reader.counts_pages and folio.large
        else ("entries", reader.entries)
    ]
    if reader.is_anon(folio):
        kinds.append(("exclusive", reader.exclusive))
    kinds += [("pinned", reader.pinned), ("data", reader.data)]
    return [_Row(name, _grouped(read(pages), each)) for name, read in kinds]


def _grouped(seen: Glyphed, each: int) -> tuple[_Cell, ...]:
    """The glyphs of pages as columns of so many."""
    drawn, tokens = seen
    cells = []
    for at in range(0, len(drawn), each):
        kinds = set(drawn[at : at + each])
        one = kinds.pop() if len(kinds) == 1 else "+"
        cells.append(_Cell(one, worst(tokens[at : at + each]) or PLAIN.get(one, "")))
    return tuple(cells)


def _row_line(row: _Row, width: int) -> Line:
    """A row with the shapes of its blocks, and its note where there is room."""
    mark = worst(cell.token for cell in row.cells)
    line = join(
        ((GLYPHS[mark], mark), (f"  {row.name[:LABEL]:<{LABEL}}", "dim")), shaped(row.cells)
    )
    if row.note and length(line) + 4 < width:
        room = width - length(line) - 2
        note = row.note if len(row.note) <= room else row.note[: room + 1].rpartition(" ")[0]
        line = join(line, ((f"  {note}", "dim"),))
    return line


def shaped(cells: Sequence[_Cell]) -> Iterable[tuple[str, str]]:
    """The cells of a row in blocks of 16, each within its ends."""
    shapes = glyphs()
    for start in range(0, len(cells), 16):
        block = cells[start : start + CONT_PTES]
        kinds = {cell.shape for cell in block}
        whole = kinds.pop() if len(kinds) == 1 else "part" if "cont" in kinds else ""
        ends, edge = (" ", " "), ""
        if whole == "cont":
            ends, edge = shapes.cont, "blockedge"
        elif whole == "part":
            ends, edge = shapes.part, "cont"
        elif whole == "pmd":
            ends, edge = (shapes.pmd[0], shapes.pmd[2]), "pmdedge"
        if start and start + 16 <= len(cells) and whole == "pmd":
            ends = (shapes.pmd[1], ends[1])
        if start + 16 < len(cells) and whole == "pmd":
            ends = (ends[0], shapes.pmd[1])
        fill = {"cont": "+block", "pmd": "+pmd"}.get(whole, "")
        yield ends[0], edge
        for cell in block:
            yield cell.glyph, f"{cell.token}{fill}".removeprefix("+")
        yield ends[1], edge


# -- small folios in a row ---------------------------------------------------------------


def _neighbours(
    reader: Reader, what: tuple[Folio, list[Mapper]], lines: list[Line], width: int
) -> tuple[int, ...]:
    """Small folios beside each other: the 16 pages around this one, a folio in each column."""
    folio, places = what
    here = places[0]
    start = here.first // 16 * 16
    shift = start - here.first
    base = here.base + shift
    rows = []
    heads: list[int] = []
    cells = reader.cells
    for place in places:
        window = window_of(reader.session, place, start, base)
        found = window.entries(cells, 0, 16)
        row = []
        for entry in found:
            row.append(_Cell(" ") if entry is None else _group_cell(reader, [entry]))
        mine = found[-shift]
        if not heads or (mine is not None and mine.page == folio & ADDR_MASK):
            heads = [_head_of(reader, entry) for entry in found]
        note = _entries_note([e for e in found if e is not None and e.value])
        rows.append(_Row(f"{place.proc}.{place.region} {start}", tuple(row), note, (place.proc,)))
    rows = _alike(rows)
    ruler = "".join(_DIGITS[i] for i in range(16))
    column = -shift
    lines.append(
        join(
            ((f"   {'page':<{LABEL}} ", "dim"), (ruler[:column], "dim")),
            ((ruler[column : column + 1], "strong"), (ruler[column + 1 :], "dim")),
        )
    )
    there = [head for head in heads if head]
    for name, read in (
        ("refcount", reader.refs), ("mapped", reader.counts), ("exclusive", reader.exclusive),
        ("pinned", reader.pinned), ("data", reader.data),
    ):  # fmt: skip
        seen = iter(_grouped(read(there), 1))
        rows.append(_Row(name, tuple(next(seen) if head else _Cell(" ") for head in heads)))
    lines += [_row_line(row, width) for row in rows]
    return tuple(heads)


def _head_of(reader: Reader, entry: Entry | None) -> int:
    """The page that an entry points at, 0 for none."""
    page = None if entry is None else entry.page
    return 0 if page is None else int(page) & ADDR_MASK


# -- the counters behind it --------------------------------------------------------------


def _counter_lines(rows: list[tuple[Counter, ...]], width: int) -> list[Line]:
    """Counters in columns, so that they stand still; the old value where there is room for it."""
    lines: list[Line] = []
    count = max(1, (width - 3) // _COLUMN)
    spans: list[tuple[str, str]] = []
    marks: list[str] = []
    used = 0
    for row in rows:
        parts, olds = [], []
        for counter in row:
            name = f"{counter.name} " if counter.name else ""
            parts += [(name, "dim"), (counter.text, counter.mark), ("  ", "")]
            olds += [counter.old] if counter.old is not None else []
        need = -(-length(tuple(parts)) // _COLUMN)
        if used and used + need > count:
            lines.append(_counters_line(spans, marks))
            spans, marks, used = [], [], 0
        room = need * _COLUMN - length(tuple(parts))
        was = f"was {' '.join(olds)}"[: max(room - 1, 0)] if olds else ""
        spans += [*parts, (f"{was:<{room}}", "dim")]
        marks += [counter.mark for counter in row]
        used += need
    return [*lines, _counters_line(spans, marks)]


def _counters_line(spans: list[tuple[str, str]], marks: list[str]) -> Line:
    mark = worst(marks)
    return join(((GLYPHS[mark], mark), ("  ", "")), spans)
