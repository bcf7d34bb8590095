"""A broken rule explained: which one, its numbers, what broke it, and what will become of it."""

from __future__ import annotations

import re

import pytest

from mmtui.app import MmtuiApp
from mmtui.model import foresight, why
from mmtui.model.bench import Bench
from mmtui.screens.main import MainScreen
from mmtui.views import rules, status
from mmtui.views.lines import plain
from mmtui.views.marks import marks_of
from sandbox.machine.memory import Folio
from tests.tui.support import SIXTEEN, machine, pane, preset, text, until


def pinned_fork() -> Bench:
    """Preset 3 on ryan-v2 in the middle of the fork that breaks two rules."""
    bench = preset("3", "ryan-v2")
    while bench.run_until_violation().violation is not None:
        if len(bench.session.rules.broken) == 2:
            return bench
    raise AssertionError("no state breaks two rules")


def foreseen(bench: Bench) -> foresight.Outlook:
    assert bench.chosen is not None
    return foresight.outlook(bench, bench.chosen).finish()


def test_title_message_pane_and_marks_are_of_one_rule() -> None:
    bench = pinned_fork()
    for step in (0, 1):
        rules.choose(bench, rules.view(bench).cursor + step)
        chosen = bench.chosen
        assert chosen is not None
        assert f"! {chosen.rule} {chosen.subject}: " in plain(
            status.render(status.view(bench), 120)
        )
        assert pane(bench, "rules").startswith(f"! {chosen.rule} F1: ")
        assert {v.rule for v in marks_of(bench).broken.values()} == {chosen.rule}
    fresh = bench.fresh()
    bench.chosen = why.Choice(fresh[-1].rule, "F1")
    assert f" ! {fresh[-1].rule} F1" in plain(status.news(bench))


def test_the_words_of_a_sum_are_those_of_every_page_that_is_mapped() -> None:
    bench = pinned_fork()
    rules.choose(bench, [e.rule for e in rules.view(bench).episodes].index("I-05"))
    violation = why.present(bench)
    assert violation is not None
    folio = Folio(next(iter(bench.living().folios)))
    words = set(why.involved(bench.session, violation))
    assert {folio.page(i)._mapcount for i in range(16)} <= words
    assert folio._refcount in words
    assert folio._pincount not in words


def test_a_choice_stays_while_it_is_broken_and_follows_what_breaks() -> None:
    bench = pinned_fork()
    bench.chosen = why.Choice("I-09", "F1")
    bench.step_event()
    assert bench.chosen == ("I-09", "F1", None)
    bench.run_to_end()
    at = [e.rule for e in rules.view(bench).episodes].index("I-09")
    rules.choose(bench, at)
    position = rules.event(bench)
    assert position is not None
    bench.goto(position)
    assert bench.chosen is not None
    assert bench.chosen.rule == "I-09"
    assert bench.session.position == position


def test_the_formula_has_numbers_and_the_line_that_broke_it() -> None:
    bench = pinned_fork()
    bench.chosen = why.Choice("I-05", "F1")
    shown = pane(bench, "rules", 70)
    violation = why.present(bench)
    assert violation is not None
    assert "M <= R     18 <= 17  is false" in shown
    assert f"broken by   event {violation.event} add F1.page1._mapcount +1" in shown
    assert f"folio_try_dup_anon_rmap_pte(), rmap.py:{violation.line}" in shown
    assert "yield add(page._mapcount, 1)" in shown
    assert "told in     " in shown


def test_it_holds_again_where_the_look_ahead_says() -> None:
    bench = pinned_fork()
    bench.chosen = why.Choice("I-05", "F1")
    before = bench.session.position, list(bench.session.machine.memory.cells)
    seen = foreseen(bench)
    assert (bench.session.position, list(bench.session.machine.memory.cells)) == before
    assert seen.again is not None
    assert seen.again.event is not None
    assert "add F1._refcount +5" in seen.again.text
    bench.goto(bench.session.position)
    bench.step_event(seen.again.event - bench.session.position)
    assert ("I-05", "F1") in bench.session.rules.broken
    bench.step_event()
    assert ("I-05", "F1") not in bench.session.rules.broken
    assert f"until event {seen.again.event};" in pane(bench, "rules", 70)


def test_the_kernels_that_keep_the_rule_are_named() -> None:
    bench = pinned_fork()
    bench.chosen = why.Choice("I-05", "F1")
    seen = foreseen(bench)
    assert {"ryan-v3", "6.9", "7.2"} <= set(seen.holds)
    assert "ryan-v2-free" in seen.breaks
    assert "ryan-v2" not in [*seen.holds, *seen.breaks]
    assert "not on      6.6 6.8 6.9 6.12 6.15" in pane(bench, "rules", 70)
    bench.step_event()
    assert foresight.outlook(bench, bench.chosen) is not seen


def test_what_is_foreseen_is_found_piece_by_piece() -> None:
    bench = pinned_fork()
    assert foresight.pending(bench) is None
    assert "looking ahead" in pane(bench, "rules", 70)
    seen = foresight.pending(bench)
    assert seen is not None
    while seen.again is None:
        assert seen.advance(0.0)
    assert not seen.holds
    assert "asking the others" in pane(bench, "rules", 70)


def test_two_cpus_can_avoid_it_until_some_event() -> None:
    bench = preset("45", "no-seqcount")
    stop = bench.run_until_violation()
    assert stop.violation is not None
    assert stop.violation.rule == "I-26"
    since = foreseen(bench).since
    assert since is not None
    assert not since.alone
    assert bench.session.starts[-1] < since.position <= stop.violation.event
    alone = foreseen(pinned_fork()).since
    assert alone is not None
    assert alone.alone


def test_until_violation_follows_the_schedule_of_the_story() -> None:
    stepped, whole = preset("45", "no-seqcount"), preset("45", "no-seqcount")
    whole.run_to_end()
    while stepped.run_until_violation().violation is not None:
        pass
    assert stepped.session.rules.breaks == whole.session.rules.breaks
    assert bytes(stepped.session.machine.cpus) == bytes(whole.session.machine.cpus)
    assert whole.session.rules.breaks


def test_every_wrong_page_belongs_to_a_rule_about_pages() -> None:
    bench = preset("37")
    stop = bench.run_until_violation()
    assert stop.violation is not None
    assert stop.violation.text == "page 15 is writable but not exclusive, and 7 more"
    assert len(stop.violation.words) == 8
    shown = pane(bench, "rules", 78)
    assert "looked at when the last page-table lock is dropped" in shown
    assert "changed by  event" in shown


@pytest.mark.parametrize("width", [20, 34, 60, 120])
def test_nothing_is_explained_while_all_rules_hold(width: int) -> None:
    bench = machine("7.2", *SIXTEEN)
    assert "rules hold so far" in pane(bench, "rules", width)
    assert foresight.pending(bench) is None


def shown(screen: MainScreen) -> str:
    return text(screen.frame.panes["rules"].doc)


async def test_it_is_looked_ahead_while_no_key_is_pressed() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, MainScreen)
        screen.foreseer.patience = screen.foreseer.pause = 0.001
        screen.foreseer.piece = 1.0
        await pilot.press(*"vv")
        await until(pilot, lambda: re.search(r"holds again:? +after event", shown(screen)))
        bench, position = screen.bench, screen.bench.session.position
        first = bench.chosen
        await pilot.press(".")
        assert bench.chosen != first
        await pilot.press(",")
        assert bench.chosen is not None
        assert bench.chosen == first
        assert bench.session.position == position
        await until(pilot, lambda: re.search(r"not on:? +6\.6", shown(screen)))


async def test_a_look_ahead_is_dropped_by_a_key() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, MainScreen)
        screen.foreseer.patience = 0.001
        screen.foreseer.pause = 60.0
        await pilot.press(*"vv")
        await until(pilot, lambda: foresight.pending(screen.bench) is not None)
        left = foresight.pending(screen.bench)
        await pilot.press("A")
        await until(pilot, lambda: not screen.bench.session.position)
        assert "rules hold so far" in shown(screen)
        assert left is not None
        assert not left.done
