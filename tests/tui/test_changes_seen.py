"""Every word that an event changed is on the screen: in its pane, or in the line of the event."""

from __future__ import annotations

import os

import pytest

from mmtui.model.bench import Bench
from mmtui.views import status
from mmtui.views.lines import Changing, plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import document
from mmtui.widgets.pane import Pane
from sandbox.machine.memory import Globals
from sandbox.scenario.language import parse_action
from sandbox.truth.names.words import Words
from tests.tui.support import SIXTEEN, machine, preset

ALL = bool(os.environ.get("MMTUI_ALL"))
LIBRARY = range(1, 49) if ALL else (3, 5, 24)
NARROW = 80
EVENTS = 100_000 if ALL else 400


def changed_words(bench: Bench) -> list[int]:
    return [addr for addr in bench.changes.olds if addr != Globals.step]


@pytest.mark.parametrize("number", LIBRARY)
def test_the_line_of_the_event_has_the_word_with_both_values(number: int) -> None:
    bench = preset(str(number))
    lost = []
    for _ in range(EVENTS):
        if bench.idle and bench.next_item is None:
            break
        bench.step_event()
        words = changed_words(bench)
        if len(words) != 1 or (bench.checked and any(not one.ok for one in bench.checked)):
            continue  # a frame used again is new altogether, and a failed check comes first
        line = status.news(bench)
        name = Words(bench.session.ledger).name(words[0])
        at = [token for _, token in line].index("changed")
        assert line[at][0] == f"* {name}"
        assert " -> " in line[at + 1][0]
        if len(plain(line[: at + 2]).rstrip()) >= NARROW:
            lost.append(plain(line))
    assert not lost


def test_the_panes_go_to_the_word_that_changed_and_say_what_is_out_of_sight() -> None:
    lines = (*SIXTEEN[:1], "mmap A R 512K", "write A R 0 128", "fork A B")
    bench = machine("7.2", *lines)
    bench.act(parse_action("write B R 100 101"))
    for name in ("tables", "folios", "processes"):
        doc = document(name, bench, marks_of(bench), 60, 20)
        assert isinstance(doc, Changing)
        if name != "processes":
            assert doc.changed, name
        assert all(0 <= y < doc.height for y in (*doc.changed, *doc.goals))
        marked = [y for y in range(doc.height) if plain(doc.line(y))[:1] == "*"]
        assert set(doc.changed) & set(marked) == set(doc.changed), name


def test_a_pane_scrolls_to_the_change_unless_it_is_held() -> None:
    bench = machine("7.2", "mmap A R 2M nohuge", "write A R 0 1")
    bench.act(parse_action("write A R 400 401"))

    class Small(Pane):
        @property
        def room(self) -> tuple[int, int]:
            return 60, 14

        def refresh(self, *_args: object, **_kwargs: object) -> Small:
            return self

    pane = Small("tables", "page tables")
    doc = document("tables", bench, marks_of(bench), 60, 14)
    pane.show(doc, follow=False, moved=True)
    assert pane._top == 0
    assert "▼ 1" in pane._more
    pane.show(doc, moved=True)
    assert pane._top > 50
    assert "▼" not in pane._more
