"""Where the cursor goes: in the page tables and over regions.

How many pages stand in one row is known here, because down is a row on.
"""

from __future__ import annotations

from collections.abc import Callable

from mmtui.model.bench import Bench
from mmtui.model.entries import read_entries
from mmtui.model.selection import Selection, areas_of
from mmtui.model.stack import look_up
from sandbox.machine.memory import Folio

__all__ = [
    "GUTTER",
    "LEVELS",
    "Move",
    "entry_under_cursor",
    "move_across",
    "move_over_areas",
    "move_over_frames",
    "move_over_pages",
    "moved",
    "page_of",
    "pages_per_row",
]

LEVELS = ("regions", "entries", "decoded")
"""The zoom levels of the page tables, by `Bench.level`."""

GUTTER = 8
"""Cells at the left of each row of the page tables, which have its first page."""

Move = Callable[[Bench, int, int, int], bool]
"""Moves the cursor across and down, where the page tables are so wide; False when nothing there
follows that direction, so that the pane may scroll."""


def move_over_pages(bench: Bench, across: int, down: int, width: int) -> bool:
    """Move in the page tables, in both directions."""
    bench.selection = moved(bench, across, down, width)
    return True


def move_across(bench: Bench, across: int, down: int, width: int) -> bool:
    """Move by pages across; down there is something else than rows of pages."""
    return bool(across) and move_over_pages(bench, across, down, width)


def move_over_areas(bench: Bench, across: int, down: int, width: int) -> bool:
    """Move by pages across, and down by regions."""
    if across:
        return move_over_pages(bench, across, down, width)
    areas = areas_of(bench.session)
    area = bench.selection.area(areas)
    if area is not None:
        at = max(0, min(areas.index(area) + down, len(areas) - 1))
        bench.selection = bench.selection.at(areas[at], 0)
    return True


def move_over_frames(bench: Bench, _across: int, down: int, _width: int) -> bool:
    """Move over the call stack: up to callers, down towards the innermost function."""
    return look_up(bench, -down)


def pages_per_row(level: int, width: int) -> int:
    """Pages in one row at a zoom level: whole blocks of 16, a power of two of them."""
    if level == 2:
        return 1
    if level == 0:
        return 16 * max(16, min(64, (width - GUTTER) // 16 * 16))
    blocks = (width - GUTTER) // 18
    return 16 * (4 if blocks >= 5 else 2 if blocks >= 3 else 1)


def entry_under_cursor(bench: Bench) -> int | None:
    """The value of the selected page's entry if it points at a page, else None."""
    area = bench.selection.area(areas_of(bench.session))
    if area is None:
        return None
    cells = bench.session.machine.memory.cells
    entry = read_entries(cells, area, bench.selection.page, 1)[0]
    return entry.value if entry.page is not None else None


def page_of(bench: Bench, folio: Folio, index: int) -> Selection | None:
    """Where a page of a folio is mapped, in the selected process if it is mapped there."""
    cells, chosen = bench.session.machine.memory.cells, bench.selection
    word = int(folio.page(index))
    areas = areas_of(bench.session)
    for area in sorted(areas, key=lambda area: area.proc != chosen.proc):
        for page, entry in enumerate(read_entries(cells, area, 0, area.pages)):
            if entry.page == word:
                return chosen.at(area, page)
    return None


def moved(bench: Bench, across: int, down: int, width: int) -> Selection:
    """Where the cursor goes: across by pages or blocks, down by rows, on to the next region."""
    areas = areas_of(bench.session)
    chosen = bench.selection
    area = chosen.area(areas)
    if area is None:
        return chosen
    per_row = pages_per_row(bench.level, width)
    page = chosen.page + across * (16 if bench.level == 0 else 1) + down * per_row
    index = areas.index(area)
    if down and not 0 <= page < area.pages and chosen.anchor is None:
        other = index + (1 if down > 0 else -1)
        if 0 <= other < len(areas):
            column = chosen.page % per_row
            area = areas[other]
            page = column if down > 0 else (area.pages - 1) // per_row * per_row + column
        else:
            page = chosen.page
    return chosen.at(area, page)
