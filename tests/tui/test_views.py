"""Every pane as text, without an application."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmtui.model.cursor import moved
from mmtui.model.selection import Selection, areas_of
from mmtui.views import status
from mmtui.views.lines import length, plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document
from sandbox.scenario.language import parse_action
from tests.tui.support import SIXTEEN, machine, pane, preset, tokens


def test_a_contiguous_block_is_drawn_as_a_block() -> None:
    shown = pane(machine("7.2", *SIXTEEN), "tables")
    assert "0 ▐WWWWWWWWWWWWWWWW▌  F1.0-15" in shown
    assert "dy  bbbbbbbbbbbbbbbb" in shown
    assert " X  XXXXXXXXXXXXXXXX" in shown


def test_fork_shares_and_protects() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    shown = pane(bench, "tables")
    assert shown.count("▐rrrrrrrrrrrrrrrr▌") == 2
    assert "----------------" in shown
    assert "*" in shown
    assert "changed" in tokens(bench, "tables")


def test_a_hole_a_gap_and_the_zero_page() -> None:
    lines = ("mmap A R 64K nohuge", "read A R 0 1", "write A R 1 2", "munmap A R 8 12")
    shown = pane(machine("7.2", *lines), "tables")
    assert "0  zW......    ....  " in shown


def test_decoded_and_overview() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.level = 2
    assert "5 F1.5 RW D Y C     X mapcount  0 refcount 16" in pane(bench, "tables")
    bench.level = 0
    assert "0 #" in pane(bench, "tables")


def test_the_line_at_the_bottom_has_the_old_value() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"))
    assert "A.R 0 = F1.0 RO D Y C  was F1.0 RW D Y C" in pane(bench, "tables")
    assert "VALID|RDONLY|DIRTY|AF|CONT" in pane(bench, "tables")


def test_folio_counters_of_each_era() -> None:
    new, old = (pane(machine(k, *SIXTEEN, "fork A B"), "folios") for k in ("7.2", "6.9"))
    assert "32 mappings" in new
    assert "_large_mapcount 31 (=32)" in new
    assert "A:15  B:15" in new
    assert "_large_mapcount" not in old
    assert "mapped         2222222222222222" in old
    bare = pane(machine("7.2-nopm", *SIXTEEN, "fork A B"), "folios")
    assert "mapped  " not in bare
    assert "entries        2222222222222222" in bare
    assert "32 mappings" in bare


def test_a_pin_is_part_of_the_balance() -> None:
    shown = pane(machine("7.2", *SIXTEEN, "pin A R 5 6 1 w"), "folios")
    assert "17  was 16" in shown
    assert "= 16 mappings + 1 pin" in shown
    assert "pinned         .....P.........." in shown


def test_processes_are_a_tree() -> None:
    lines = (*SIXTEEN, "fork A B", "fork B C", "pin A R 5 6 1 w")
    shown = pane(machine("7.2", *lines), "processes")
    assert "A  rss anon 16" in shown
    assert "  └ C  rss anon 16" in shown
    assert "HAS_PINNED" in shown
    assert "1 pin F" in shown


def test_the_source_has_the_pending_event_the_stack_and_the_variables() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    shown = pane(bench, "source", 100)
    assert "next load F1.page1.flags" in shown
    assert "> folio_try_dup_anon_rmap_pte" in shown
    assert any(line.startswith(">") and "yield" in line for line in shown.splitlines())
    assert "folio=F1" in shown


def test_a_broken_rule_is_marked_wherever_its_words_are() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    assert "= 17 mappings: 1 reference short" in pane(bench, "folios")
    for name in ("folios", "rules", "log", "tables"):
        assert tokens(bench, name) & {"violation", "alarm"}, name
    shown = pane(bench, "rules")
    assert "! I-05 F1: mapcount 17 > refcount 16" in shown
    assert "says who    David Hildenbrand" in shown
    assert "I-05 F1" in plain(status.render(status.view(bench), 100))
    assert "by event" in plain(status.news(bench))


def test_the_story_says_what_held() -> None:
    bench = preset("3", "7.2")
    bench.step_story()
    shown = pane(bench, "story", 70)
    assert "ok refcount = 31" in shown
    assert "> exit C" in shown
    assert "? refcount = 16" in shown
    assert "FAIL" not in shown


@pytest.mark.parametrize("name", PANES)
@pytest.mark.parametrize("width", [18, 40, 78, 200])
def test_no_line_is_wider_than_its_pane(name: str, width: int) -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    doc = document(name, bench, marks_of(bench), width, 20)
    lines = [*doc.head, *(doc.line(y) for y in range(doc.height)), *doc.foot]
    assert max(map(length, lines)) <= width


@pytest.mark.parametrize("name", PANES)
def test_an_empty_machine_can_be_shown(name: str) -> None:
    assert pane(machine("6.6"), name)


def test_a_step_moves_nothing() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"), paused=True)
    heights = set()
    for _ in range(200):
        bench.step_event()
        doc = document("folios", bench, marks_of(bench), 60, 20)
        heights.add(doc.height)
    assert len(heights) <= 3  # B's row, when B has the region, and a sentence on a window


def test_a_large_region_costs_what_is_seen_of_it() -> None:
    bench = machine("7.2", "mmap A R 1G", "write A R 262143 262144")
    doc = document("tables", bench, marks_of(bench), 60, 20)
    assert doc.height > 10_000
    assert "W" in plain(doc.line(doc.height - 3))


def test_the_cursor_goes_from_region_to_region() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    bench.selection = Selection("A", "R", 3)
    bench.selection = moved(bench, 0, 1, 60)
    assert (bench.selection.proc, bench.selection.page) == ("B", 3)
    bench.selection = moved(bench, 1, 0, 60)
    assert bench.selection.page == 4
    bench.selection = moved(bench, 0, -1, 60)
    assert bench.selection.proc == "A"


def test_the_selection_survives_the_end_of_its_process() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    bench.selection = Selection("B", "R", 3)
    bench.act(parse_action("exit B"))
    assert bench.selection.proc == "A"
    chosen = replace(bench.selection, page=99, anchor=50)
    assert chosen.settle(areas_of(bench.session), bench.procs()).end <= 16


def test_the_text_of_a_function_stands_still_while_it_runs() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    windows: dict[str, set[tuple[str, ...]]] = {}
    for _ in range(60):
        doc = document("source", bench, marks_of(bench), 90, 44)
        function = bench.session.stack()[-1].function
        numbers = tuple(plain(doc.line(y))[:5].strip(" >-*!") for y in range(doc.height))
        windows.setdefault(function, set()).add(numbers)
        bench.step_event()
    assert all(len(seen) == 1 for seen in windows.values())


def test_the_bar_shows_actions_violations_and_the_place() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_to_end()
    bench.back_action()
    bar = pane(bench, "log", 70).splitlines()[0]
    assert "|" in bar
    assert "!" in bar
    assert "^" in bar
    assert bar.rstrip("]").endswith("-")


def test_a_long_move_is_summed_up() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_to_end()
    said = plain(status.news(bench))
    assert "expectations hold" in said
    assert "times a rule broke: I-05" in said


def test_the_status_never_cuts_the_position() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    for width in (80, 100, 120):
        line = plain(status.render(status.view(bench), width))
        assert line.rstrip().endswith(f"event {bench.session.position}/{bench.end}")
        assert len(line) <= width
