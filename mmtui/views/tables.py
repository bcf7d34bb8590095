"""The page tables pane: regions at a glance, entries as a grid, or entries decoded.

The lines are made when they are looked at, so a large region costs what is seen of it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmtui.model.bench import Bench
from mmtui.model.cursor import GUTTER, pages_per_row
from mmtui.model.entries import Entry, in_vma, read_entries
from mmtui.model.selection import Area, Selection, areas_of
from mmtui.views import glyphs
from mmtui.views.descriptor import descriptor_lines
from mmtui.views.entries import attribute, glyph
from mmtui.views.lines import EMPTY, Doc, Line, clip, join, say
from mmtui.views.marks import GLYPHS, Marks, worst
from sandbox.arch.arm64.pgtable import PTE_CONT, PTE_HUGE
from sandbox.machine.fields import Struct
from sandbox.machine.memory import Folio
from sandbox.machine.offsets import LAST_ENTRY, PT_MM, PT_START
from sandbox.mm.flags import PG_anon_exclusive
from sandbox.truth.names.values import pte_bits
from sandbox.truth.names.words import Words

__all__ = ["Tables", "clicked", "document", "view"]

_CHANGED = 64
"""Changed words of which the lines are looked up, the last ones."""
_DECODED = 22
"""Lines of a pane that may have room for all fields of an entry."""
_SMALL = 4096
"""Regions of up to so many pages are counted for their headline."""


@dataclass(frozen=True, slots=True)
class _Section:
    """The lines of one region: a headline, the body, and a blank line."""

    area: Area
    first: int
    rows: int


@dataclass(frozen=True)
class Tables:
    """The page tables of all processes, as a document of lazily made lines."""

    areas: tuple[Area, ...]
    selection: Selection
    level: int
    marks: Marks
    words: Words
    cells: list[Any]
    width: int
    room: int = 0
    """Lines that the pane has."""
    descriptor: tuple[Line, ...] = ()
    """The entry under the cursor field by field, shown where there is room for all of it."""

    # -- geometry ----------------------------------------------------------------------

    @property
    def per_row(self) -> int:
        """Pages that one row stands for."""
        return pages_per_row(self.level, self.width)

    @property
    def lines_per_row(self) -> int:
        """Lines that one row takes."""
        return 3 if self.level == 1 else 1

    @cached_property
    def sections(self) -> tuple[_Section, ...]:
        """Where each region's lines are."""
        out, at = [], 0
        for area in self.areas:
            rows = -(-area.pages // self.per_row)
            out.append(_Section(area, at, rows))
            at += 2 + rows * self.lines_per_row
        return tuple(out)

    @property
    def height(self) -> int:
        """Number of lines."""
        if not self.sections:
            return 1
        last = self.sections[-1]
        return last.first + 1 + last.rows * self.lines_per_row

    @property
    def leaps(self) -> bool:
        """The cursor is followed line by line."""
        return False

    @property
    def head(self) -> tuple[Line, ...]:
        """Nothing stays at the top."""
        return ()

    @property
    def focus(self) -> int | None:
        """The line of the cursor."""
        for section in self.sections:
            area = section.area
            if (area.proc, area.region) == (self.selection.proc, self.selection.region):
                row = self.selection.page // self.per_row
                return section.first + 1 + row * self.lines_per_row
        return None

    @cached_property
    def changed(self) -> tuple[int, ...]:
        """The lines of entries that the last move changed, as far as so many are looked at."""
        return tuple(sorted(set(self._lines_changed)))

    @property
    def goals(self) -> tuple[int, ...]:
        """The line of the entry that was changed last."""
        return tuple(self._lines_changed[-1:])

    @cached_property
    def _lines_changed(self) -> list[int]:
        """The same in the order in which they were changed."""
        found = []
        for addr in list(self.marks.changes.olds)[-_CHANGED:]:
            base, struct, _ = self.words.object_at(addr)
            if struct not in (Struct.PTE_TABLE, Struct.PMD_TABLE) or addr - base > LAST_ENTRY:
                continue
            shift = 9 if struct is Struct.PMD_TABLE else 0
            page = self.cells[base + PT_START] + (addr - base << shift)
            line = self._line_of(self.cells[base + PT_MM], page)
            if line is not None:
                found.append(line)
        return found

    def _line_of(self, mm: int, page: int) -> int | None:
        """The line of a virtual page of a process."""
        for section in self.sections:
            area = section.area
            if area.mm == mm and area.base <= page < area.base + area.pages:
                row = (page - area.base) // self.per_row
                return section.first + 1 + row * self.lines_per_row
        return None

    # -- lines -------------------------------------------------------------------------

    def line(self, y: int) -> Line:
        """Line *y* of the document."""
        if not self.sections:
            return say(" no mapping yet: for example :mmap A R 64K", "dim")
        index = bisect_right([section.first for section in self.sections], y) - 1
        section = self.sections[index]
        offset = y - section.first - 1
        if offset < 0:
            return clip(self._headline(section.area), self.width)
        row, part = divmod(offset, self.lines_per_row)
        if row >= section.rows:
            return EMPTY
        first = row * self.per_row
        count = min(self.per_row, section.area.pages - first)
        if self.level == 0:
            return clip(self._overview(section.area, first, count), self.width)
        if self.level == 1:
            return clip(self._grid(section.area, first, count, part), self.width)
        return clip(self._decoded(section.area, first), self.width)

    def at(self, y: int, column: int) -> Selection | None:
        """What a click on a line means: the page there, the region's first, or nothing."""
        index = bisect_right([section.first for section in self.sections], y) - 1
        if index < 0:
            return None
        section = self.sections[index]
        area, offset = section.area, max(y - section.first - 1, 0)
        if y == section.first:
            return self.selection.at(area, 0)
        row = offset // self.lines_per_row
        if row >= section.rows:
            return None
        across = max(column - GUTTER, 0)
        if self.level == 1:
            block, cell = divmod(across, 18)
            across = block * 16 + max(0, min(cell - 1, 15))
        page = row * self.per_row + min(across * (16, 1, 0)[self.level], self.per_row - 1)
        return self.selection.at(area, page)

    def _headline(self, area: Area) -> Line:
        parts = [
            (" ", ""),
            (f"{area.proc}.{area.region}", "strong"),
            (f"  {_size(area.pages)}", ""),
        ]
        if area.pages <= _SMALL:
            entries = read_entries(self.cells, area, 0, area.pages)
            present = sum(1 for entry in entries if entry.value)
            cont = sum(1 for entry in entries if entry.value & PTE_CONT)
            parts.append((f"  {present} mapped, {cont} CONT", "dim"))
        return join(parts)

    def _overview(self, area: Area, first: int, count: int) -> Line:
        """One glyph per block of 16 entries."""
        entries = read_entries(self.cells, area, first, count)
        inside = in_vma(self.cells, area, first, count)
        spans: list[tuple[str, str]] = []
        for start in range(0, count, 16):
            block = entries[start : start + 16]
            token = worst(self._token(entry) for entry in block)
            shown = _block_glyph([e.value for e in block], any(inside[start : start + 16]))
            spans.append((shown, self._chosen(area, first + start, 16, token)))
        mark = worst(token.partition("+")[0] for _, token in spans)
        return join(((GLYPHS[mark], mark), (f"{first:>{GUTTER - 2}} ", "dim")), spans)

    def _grid(self, area: Area, first: int, count: int, part: int) -> Line:
        """One glyph per entry: the entry itself, dirty and young, AnonExclusive."""
        entries = read_entries(self.cells, area, first, count)
        label = (f"{first:>{GUTTER - 2}} ", "     dy ", "      X ")[part]
        if part == 0:
            inside = in_vma(self.cells, area, first, count)
            glyphs = [glyph(e.value, i) for e, i in zip(entries, inside, strict=True)]
        elif part == 1:
            glyphs = [attribute(entry.value) for entry in entries]
        else:
            glyphs = [self._exclusive(entry) for entry in entries]
        tokens = [self._cell_token(entry, part) for entry in entries]
        spans = self._cells(area, first, entries, glyphs, tokens, part)
        mark = worst(tokens)
        notes = self._folio_runs(entries) if part == 0 else EMPTY
        return join(((GLYPHS[mark], mark), (label[-GUTTER + 1 :], "dim")), spans, notes)

    def _cells(
        self,
        area: Area,
        first: int,
        entries: list[Entry],
        glyphs: list[str],
        tokens: list[str],
        part: int,
    ) -> list[tuple[str, str]]:
        spans: list[tuple[str, str]] = []
        for start in range(0, len(entries), 16):
            (left, right), edge, fill = _shape([e.value for e in entries[start : start + 16]], part)
            spans.append((left, edge))
            for i in range(start, min(start + 16, len(entries))):
                token = (tokens[i] or _PLAIN.get(glyphs[i], "")) + fill
                spans.append((glyphs[i], self._chosen(area, first + i, 1, token, part)))
            spans.append((right, edge))
        return spans

    def _chosen(self, area: Area, page: int, count: int, token: str, part: int = 0) -> str:
        """Add the selection or the cursor to a cell's token."""
        chosen = self.selection
        if (area.proc, area.region) != (chosen.proc, chosen.region):
            return token
        if page <= chosen.page < page + count and part == 0:
            return f"{token}+cursor"
        if chosen.anchor is not None and chosen.start < page + count and page < chosen.end:
            return f"{token}+selected"
        return token

    def _token(self, entry: Entry) -> str:
        return self.marks.token(entry.word) if entry.word else ""

    def _cell_token(self, entry: Entry, part: int) -> str:
        """How a cell is marked: each row by the bits that it shows."""
        page = entry.page
        if part == 2:
            return self.exclusive_token(page) if page is not None else ""
        token = self._token(entry)
        if token != "changed":
            return token
        shape = attribute if part == 1 else (lambda pte: glyph(pte, True) + str(pte >> 16))
        old = self.marks.changes.olds[entry.word]
        cont = part == 0 and (old ^ self.cells[entry.word]) & PTE_CONT
        return "changed" if cont or shape(old) != shape(self.cells[entry.word]) else ""

    def exclusive_token(self, page: int) -> str:
        """How the AnonExclusive bit of a page is marked."""
        token = self.marks.token(page)
        if token != "changed":
            return token
        differs = self.marks.changes.olds[page] ^ self.cells[page]
        return "changed" if differs & PG_anon_exclusive else ""

    def _exclusive(self, entry: Entry) -> str:
        page = entry.page
        if page is None:
            return " "
        return "X" if self.cells[page.flags] & PG_anon_exclusive else "-"

    def _folio_runs(self, entries: list[Entry]) -> Line:
        """Which folios a row maps, as `F1.0-4 F2.0 F1.6-15`."""
        runs: list[tuple[Folio, int, int]] = []
        for entry in entries:
            page = entry.page
            if page is None:
                continue
            folio = Folio(self.cells[page.compound_head])
            index = folio.index_of(page)
            if runs and runs[-1][0] == folio and runs[-1][2] + 1 == index:
                runs[-1] = (runs[-1][0], runs[-1][1], index)
            else:
                runs.append((folio, index, index))
        spans: list[tuple[str, str]] = [(" ", "")] if runs else []
        for folio, low, high in runs:
            name = self.words.folio(folio)
            pages = f"{low}" if low == high else f"{low}-{high}"
            spans.append((f" {name}.{pages}", self.marks.subject(name) or "dim"))
        return join(spans)

    def _decoded(self, area: Area, page: int) -> Line:
        """One entry in words."""
        entry = read_entries(self.cells, area, page, 1)[0]
        mark = self._token(entry)
        spans = [
            (GLYPHS[mark], mark),
            (f"{page:>{GUTTER - 2}}", self._chosen(area, page, 1, "dim")),
        ]
        if not entry.value:
            return join(spans, ((" none", "dim"),))
        spans.append((f" {self.words.entry(entry.value):<17}", mark))
        target = entry.page
        if target is not None:
            folio = Folio(self.cells[target.compound_head])
            if self.cells[target.flags] & PG_anon_exclusive:
                spans.append((" X", self.exclusive_token(target) or "excl"))
            else:
                spans.append((" -", self.exclusive_token(target) or "dim"))
            count = f" mapcount {self.cells[target._mapcount]:>2}"
            spans.append((count, self.marks.token(target._mapcount) or "dim"))
            refs = f" refcount {self.cells[folio._refcount]}"
            spans.append((refs, self.marks.token(folio._refcount) or "dim"))
        return join(spans)

    # -- the line at the bottom -----------------------------------------------------------

    @cached_property
    def foot(self) -> tuple[Line, ...]:
        """The entry under the cursor, decoded, with what it was before the last step."""
        area = self.selection.area(self.areas)
        if area is None:
            return (say(" nothing is selected", "dim"), EMPTY)
        entry = read_entries(self.cells, area, self.selection.page, 1)[0]
        place = f" {area.proc}.{area.region} {self.selection.page}"
        if self.selection.anchor is not None:
            place += f" (selected {self.selection.start}-{self.selection.end - 1})"
        mark = self._token(entry)
        shown = self.words.entry(entry.value)
        first = join(((place, "strong"), (f" = {shown}", mark)), self._was(entry))
        lines = clip(first, self.width), clip(self._bits(entry), self.width)
        fields = self.descriptor if self.height + len(self.descriptor) + 2 <= self.room else ()
        return (*lines, *(clip(line, self.width) for line in fields))

    def _was(self, entry: Entry) -> Line:
        old = self.marks.changes.olds.get(entry.word) if entry.word else None
        former = self.words.before(self.marks.changes.size)
        return EMPTY if old is None else say(f"  was {former.entry(old)}", "dim")

    def _bits(self, entry: Entry) -> Line:
        """The descriptor's bits by their kernel names, and the page behind it."""
        if not entry.value:
            return say(" no descriptor", "dim")
        bits = pte_bits(entry.value)
        page = entry.page
        if page is None:
            return say(f" PTE {bits}", "dim")
        exclusive = self.cells[page.flags] & PG_anon_exclusive
        known = f"{'AnonExclusive' if exclusive else 'not exclusive'}, _mapcount "
        known += str(self.cells[page._mapcount])
        whole = f" PTE {bits} page {known}"
        return say(whole if len(whole) <= self.width else f" {bits} {known}", "dim")


_PLAIN = {"W": "write", "P": "write", "r": "read", "p": "read", "X": "excl"} | dict.fromkeys(
    ".-", "dim"
)


def _size(pages: int) -> str:
    kib = pages * 4
    for unit, size in (("G", 1 << 20), ("M", 1 << 10)):
        if kib >= size and kib % size == 0:
            return f"{kib // size}{unit}"
    return f"{kib}K"


def _shape(values: list[int], part: int) -> tuple[tuple[str, str], str, str]:
    """The ends of a block of entries, how they look, and what fills the block."""
    shapes = glyphs.glyphs()
    cont = sum(1 for value in values if value & PTE_CONT)
    huge = sum(1 for value in values if value & PTE_HUGE)
    if part or not (cont or huge):
        return (" ", " "), "", ""
    if huge == len(values):
        return (shapes.pmd[0], shapes.pmd[2]), "pmdedge", "+pmd"
    if cont == len(values):
        return shapes.cont, "blockedge", "+block"
    return shapes.part, "cont", ""


def _block_glyph(values: list[int], inside: bool) -> str:
    """One glyph for a block of 16 entries."""
    there = [value for value in values if value]
    if not there:
        return "." if inside else " "
    if all(value & PTE_CONT for value in values):
        return "#"
    return "=" if len(there) == len(values) else "-"


def view(bench: Bench, marks: Marks, width: int, height: int = 0) -> Tables:
    """Look at the page tables of all processes."""
    cells = bench.session.machine.memory.cells
    areas = areas_of(bench.session)
    fields = descriptor_lines(bench, brief=True)[1:] if height > _DECODED else ()
    words = Words(bench.session.ledger)
    return Tables(areas, bench.selection, bench.level, marks, words, cells, width, height, fields)


def document(bench: Bench, marks: Marks, width: int, height: int) -> Tables:
    """The page tables, for a pane."""
    return view(bench, marks, width, height)


def clicked(bench: Bench, doc: Doc, line: int, column: int) -> bool:
    """Select the page or region at a place."""
    chosen = doc.at(line, column) if isinstance(doc, Tables) else None
    return chosen is not None and bench.point_at(chosen)
