"""The folio card: page columns, shapes of blocks, two bars, and a form for every size."""

from __future__ import annotations

import pytest

from mmtui.views import glyphs
from mmtui.views.balance import balance_of
from mmtui.views.counters import Reader
from mmtui.views.descriptor import descriptor_lines
from mmtui.views.lines import length, plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import document
from sandbox.scenario.language import parse_action
from tests.tui.support import SIXTEEN, machine, pane, preset, tokens

HUGE = ("mthp 2M always", "mmap A R 2M", "write A R 0 512")


def test_the_entries_of_every_process_stand_over_the_pages() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    bench.act(parse_action("write B R 3 4"))
    shown = pane(bench, "folios", 64)
    assert "page           0123456789abcdef" in shown
    assert "A.R 0         ▐rrrrrrrrrrrrrrrr▌  CONT dirty young" in shown
    assert "* F1 " in shown or "*  B.R 0" in shown
    assert "rrrorrrrrrrrrrrr" in shown  # page 3 is another folio's now
    assert "2221222222222222" in shown


def test_what_sticks_out_is_the_violation() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    shown = pane(bench, "folios", 64)
    have = next(line for line in shown.splitlines() if " refcount " in line)
    need = next(line for line in shown.splitlines() if " needed " in line)
    assert have.count("█") == 16
    assert need.count("▒") == 16
    assert need.count("!") == 2  # the mark, and the cell that sticks out
    assert "17 mappings: 1 reference short" in shown
    assert {"violation", "bar"} <= tokens(bench, "folios", 64)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ((*SIXTEEN, "pin A R 5 6 1 w"), "= 16 mappings + 1 pin"),
        (("mmap A R 4K", "write A R 0 1", "pin A R 0 1 1 w"), "1 mapping + 1 pin of 1024"),
        (("file F 64K /x/f 64K", "mmap A R 64K shared fd=F", "read A R 0 1"), "page cache"),
        (("autodrain off", "mmap A R 4K nohuge", "write A R 0 1"), "1 mapping + 1 LRU batch"),
    ],
)
def test_what_needs_references(lines: tuple[str, ...], wanted: str) -> None:
    bench = machine("7.2", *lines)
    assert wanted in pane(bench, "folios", 100)
    reader = Reader(bench, marks_of(bench))
    for folio in bench.living().folios:
        seen = balance_of(reader, folio)
        assert seen.refs == seen.needed


def test_a_pmd_leaf_is_one_shape_and_what_it_was_split_into_another() -> None:
    bench = machine("7.2", *HUGE, "fork A B")
    assert "◀PPPP" in pane(machine("7.2", *HUGE), "folios")
    bench.act(parse_action("mprotect B R 0 3 r"))
    shown = pane(bench, "folios")
    assert "a column = 16 pages" in shown
    assert "pppp▶  PMD" in shown
    assert "▌" in shown
    assert shown.count("\n") < 24


def test_twenty_processes_are_few_rows() -> None:
    bench = machine("7.2", *SIXTEEN, *(f"fork A P{n}" for n in range(20)), "write P3 R 1 2")
    shown = pane(bench, "folios", 64)
    assert "19 processes  ▐rrrrrrrrrrrrrrrr▌" in shown
    assert "P3.R 0         rorrrrrrrrrrrrrr" in shown
    assert "335 mappings" in shown
    assert "a cell = " in shown


def test_small_folios_stand_in_a_row() -> None:
    bench = machine("7.2", "mmap A R 64K nohuge", "write A R 0 16", "fork A B", "write B R 3 5")
    shown = pane(bench, "folios", 64)
    assert "refcount       2221122222222222" in shown
    assert "18 folios" in shown
    assert "F17 " in shown


def test_the_card_is_of_the_folio_that_the_event_touches_and_one_can_be_kept() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    pane(bench, "folios")
    bench.act(parse_action("write B R 3 4"), paused=True)
    seen = set()
    while not bench.idle:
        bench.step_event()
        seen.add(pane(bench, "folios").split()[1 if bench.session.rules.broken else 0])
    assert {"F1", "F2"} & {name.strip("*! ") for name in seen}
    bench.cards.toggle()
    bench.act(parse_action("write A R 5 6"))
    assert pane(bench, "folios").count("needed  ") >= 2


@pytest.mark.parametrize("width", [18, 40, 64, 120])
def test_no_line_is_wider_than_the_pane(width: int) -> None:
    bench = machine("7.2", *HUGE, "fork A B", "mprotect B R 0 3 r", "pin A R 9 10 1 w")
    doc = document("folios", bench, marks_of(bench), width, 30)
    assert max(length(doc.line(y)) for y in range(doc.height)) <= width


def test_the_other_set_of_shapes_is_ascii() -> None:
    try:
        glyphs.choose(glyphs.ASCII)
        bench = machine("7.2", *HUGE, "fork A B", "mprotect B R 0 3 r")
        doc = document("folios", bench, marks_of(bench), 64, 30)
        assert all(plain(doc.line(y)).isascii() for y in range(doc.height))
        assert "[rrrrrrrrrrrrrrrr]" in pane(machine("7.2", *SIXTEEN, "fork A B"), "folios")
    finally:
        glyphs.choose(glyphs.UNICODE)


def test_a_gigabyte_costs_what_is_seen_of_it() -> None:
    bench = machine("7.2", "mthp 2M always", "mmap A R 64M", "write A R 0 16384")
    doc = document("folios", bench, marks_of(bench), 60, 20)
    assert doc.height > 32
    assert "F32" in plain(doc.line(doc.height - 1))


def test_the_descriptor_has_every_field_with_its_bits() -> None:
    bench = machine("7.2", *SIXTEEN, "swap on", "fork A B")
    shown = "\n".join(plain(line) for line in descriptor_lines(bench))
    assert "A.R 0 = F1.0 RO D Y C" in shown
    for row in (
        "52 CONT ",
        "7 AP[2] (RDONLY)",
        "0 valid",
        "frame of F1.0",
    ):
        assert row in shown, row
    assert "nothing is mapped" in plain(descriptor_lines(machine("7.2", "mmap A R 64K"))[1])
    swapped = machine("7.2", "swap on", "mmap A R 4K nohuge", "write A R 0 1", "pageout A R 0 1")
    assert "SWP_EXCLUSIVE " in "\n".join(plain(line) for line in descriptor_lines(swapped))
