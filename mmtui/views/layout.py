"""Where the panes stand: for a size of the screen, which are shown, and where.

Up to 99 columns the panes stand over one another, up to 159 in two columns, then in three.  How
many stand in a column follows from its height, so that more room is one pane more, never all of
them.  Those that there is no room for take turns in the last place of their column: the one that
was gone to last is shown there, and its title names the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from mmtui.views.panes import COLUMNS, PANES

__all__ = ["Plan", "Rectangle", "arrange", "columns_of"]

_LEAST = (60, 12)
"""Columns and rows of the panes' room below which one pane has all of it."""
_TWO, _THREE = 100, 160
"""Columns from which panes stand in two columns, and in three."""
_ROWS = 9
"""Rows that a pane needs to be worth showing over or under another one."""
_NARROW, _NARROW_ROWS = 120, 12
"""Below so many columns two of them are narrow, and panes need more rows for as much."""
_GUTTER = 1
"""Cells between two columns."""
_PRIORITY = ("story", "tables", "source", "folios", "rules", "log", "processes")
"""Which panes are shown first where there is no room for all."""


class Rectangle(NamedTuple):
    """Cells of the room that the panes share."""

    x: int
    y: int
    width: int
    height: int


class Plan(NamedTuple):
    """Which panes are shown where."""

    places: dict[str, Rectangle]
    """By the name of each pane that is shown."""
    behind: dict[str, tuple[str, ...]]
    """The panes that take turns in a place, in their order, by the one that is shown there."""


def columns_of(width: int) -> int:
    """In how many columns the panes stand at a width."""
    return 1 + (width >= _TWO) + (width >= _THREE)


def arrange(
    width: int,
    height: int,
    recent: Sequence[str],
    *,
    alone: bool = False,
    shares: Mapping[str, int] | None = None,
) -> Plan:
    """Share a room of *width* by *height* cells among the panes.

    `recent` are panes in the order in which they were last gone to, the present one first; `alone`
    gives everything to that one.  `shares` overrides shares: of a column's width by `2/0` (of two
    columns, the first), of the heights of all panes in a column by `2/story` and so on.
    """
    shares = shares or {}
    if alone or width < _LEAST[0] or height < _LEAST[1]:
        whole = Rectangle(0, 0, max(width, 0), max(height, 0))
        return Plan({recent[0]: whole}, {recent[0]: tuple(PANES)})
    count = columns_of(width)
    if count == 1:
        return _stacked(width, height, recent, shares)
    groups = _groups(count)
    plan = Plan({}, {})
    sizes = _split(
        width - _GUTTER * (count - 1),
        [shares.get(f"{count}/{i}", share) for i, share in enumerate(_WIDTHS[count])],
        _LEAST[0] // 3,
    )
    x, rows = 0, _NARROW_ROWS if width < _NARROW else _ROWS
    for group, size in zip(groups, sizes, strict=True):
        shown = _column(plan, group, max(1, height // rows), recent)
        _place(plan, shown, Rectangle(x, 0, size, height), shares, count)
        x += size + _GUTTER
    return plan


_WIDTHS = {2: (50, 50), 3: (34, 31, 35)}
"""Shares of the columns' widths."""


_TURNS = 5
"""Share of the height of a place in which panes take turns: the same for all of them."""


_CROWDED = {"tables": 4, "folios": 7, "processes": 3, "log": 4}
"""Shares where a column has more to hold than on a wide screen."""


def _share(name: str, columns: int) -> int:
    """A pane's share of the height."""
    return _CROWDED.get(name, PANES[name].share) if columns < 3 else PANES[name].share


def _groups(count: int) -> list[list[str]]:
    """The panes of each of two or three columns."""
    columns = [[name for name, spec in PANES.items() if spec.column is each] for each in COLUMNS]
    if count == 3:
        return columns
    left = [*columns[0], "log"]
    return [left, [name for name in PANES if name not in left]]


def _stacked(width: int, height: int, recent: Sequence[str], shares: Mapping[str, int]) -> Plan:
    """Texts over the machine, each of them in one place or more."""
    slots = max(2, min(height // _ROWS, len(PANES)))
    upper = [name for name, spec in PANES.items() if spec.column.upper]
    lower = [name for name in PANES if name not in upper]
    above = min(1 if slots < 4 else 2, len(upper))
    plan = Plan({}, {})
    shown = _column(plan, upper, above, recent) + _column(plan, lower, slots - above, recent)
    _place(plan, shown, Rectangle(0, 0, width, height), shares, 1)
    return plan


def _column(plan: Plan, group: Sequence[str], slots: int, recent: Sequence[str]) -> list[str]:
    """Which panes of a group are shown in so many places; notes in the plan which take turns."""
    if slots >= len(group):
        return list(group)
    wanted = sorted(group, key=lambda n: _PRIORITY.index(n) if n in _PRIORITY else len(_PRIORITY))
    fixed, turns = wanted[: slots - 1], wanted[slots - 1 :]
    latest = next((name for name in recent if name in turns), turns[0])
    plan.behind[latest] = tuple(name for name in PANES if name in turns)
    return [name for name in PANES if name in fixed or name == latest]


def _place(
    plan: Plan, names: Sequence[str], room: Rectangle, shares: Mapping[str, int], columns: int
) -> None:
    """Put panes over one another."""
    kept = [shares.get(f"{columns}/{name}", 0) for name in names]
    first = [_TURNS if name in plan.behind else _share(name, columns) for name in names]
    wanted = kept if all(kept) else first
    y = room.y
    for name, size in zip(names, _split(room.height, wanted, _ROWS - 2), strict=True):
        plan.places[name] = Rectangle(room.x, y, room.width, size)
        y += size


def _split(whole: int, shares: Sequence[int], least: int) -> list[int]:
    """Divide cells by shares, none getting less than *least* while there are enough."""
    total, ends = sum(shares), list(accumulate(shares, initial=0))
    sizes = [whole * b // total - whole * a // total for a, b in pairwise(ends)]
    for at in range(len(sizes)):
        while sizes[at] < least and max(sizes) > least:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[at] += 1
    return sizes
