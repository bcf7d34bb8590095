"""Where the cursor goes: the model's part of what the arrows do in each pane."""

from __future__ import annotations

import pytest

from mmtui.model.cursor import GUTTER, LEVELS, move_across, move_over_areas, pages_per_row
from mmtui.views import rules
from mmtui.views.panes import COLUMNS, PANES
from tests.tui.support import SIXTEEN, machine, preset


def test_down_goes_by_regions_among_processes_and_across_by_pages() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B", "mmap B S 32K")
    seen = []
    for _ in range(4):
        chosen = bench.selection
        seen.append((chosen.proc, chosen.region, chosen.page))
        assert move_over_areas(bench, 0, 1, 80)
    assert seen == [("A", "R", 0), ("B", "R", 0), ("B", "S", 0), ("B", "S", 0)]
    assert move_over_areas(bench, 3, 0, 80)
    assert bench.selection.page == 3
    assert move_over_areas(bench, 0, -9, 80)
    assert (bench.selection.proc, bench.selection.region) == ("A", "R")


def test_what_does_not_move_the_cursor_is_left_to_scroll() -> None:
    bench = machine("7.2", *SIXTEEN)
    before = bench.selection
    assert not move_across(bench, 0, 5, 80)
    assert bench.selection == before
    assert move_across(bench, 2, 0, 80)
    assert bench.selection.page == before.page + 2


def test_the_cursor_of_the_rules_stops_above() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    bench.run_until_violation()
    move = PANES["rules"].move
    assert move is not None
    for down, place in ((1, 1), (9, 1), (-5, 0)):
        assert move(bench, 0, down, 80)
        assert rules.view(bench).cursor == place


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("width", [GUTTER + 1, 40, 80, 200])
def test_a_row_down_is_as_many_pages_as_stand_in_a_row(level: int, width: int) -> None:
    bench = machine("7.2", "mmap A R 64M")
    bench.level = level
    move = PANES["tables"].move
    assert move is not None
    assert move(bench, 0, 3, width)
    assert bench.selection.page == 3 * pages_per_row(level, width)


def test_every_column_has_panes_and_one_of_two_rows_is_above() -> None:
    assert {spec.column for spec in PANES.values()} == set(COLUMNS)
    assert {column.upper for column in COLUMNS} == {True, False}
