"""The source pane: two lines are marked, frames can be chosen, scaffolding is no frame."""

from __future__ import annotations

import os

import pytest

from mmtui.model.bench import Bench
from mmtui.model.done import last_done
from mmtui.model.stack import kernel_frames, look_up
from mmtui.views import source
from mmtui.views.lines import plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import document
from sandbox.scenario.language import parse_action
from tests.tui.support import SIXTEEN, machine, pane, preset

SIZES = [(78, 6), (54, 14), (58, 18)]
LIBRARY = range(1, 49) if os.environ.get("MMTUI_ALL") else (3, 30)


def lines(bench: Bench, width: int, height: int) -> list[str]:
    doc = document("source", bench, marks_of(bench), width, height)
    body = [doc.line(y) for y in range(min(doc.height, height - len(doc.head) - len(doc.foot)))]
    return [plain(line) for line in (*doc.head, *body, *doc.foot)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_line_that_broke_the_rule_is_marked_and_the_next_one(width: int, height: int) -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    shown = lines(bench, width, height)
    broke = [line for line in shown if line.startswith("!")]
    assert any("yield add(page._mapcount, 1)" in line or "add F1" in line for line in broke)
    assert any(line.startswith(">") and "yield load(page.flags)" in line for line in shown)


@pytest.mark.parametrize("number", LIBRARY)
def test_both_lines_are_on_screen_at_every_event(number: int) -> None:
    bench = preset(str(number))
    while bench.next_item is not None or not bench.idle:
        bench.step_event()
        seen = source.view(bench, marks_of(bench))
        if len(seen.stack) < 2 or bench.session.position % 25:
            continue
        assert seen.done is not None
        assert seen.done.place is not None or not bench.session.stack()
        shown = lines(bench, 54, 14)
        here = f"{seen.stack[-1].line:>4} "
        assert any(line[:1] in ">!*" and line[1:6] == here for line in shown)
        assert any(line[:1] in "!*-" for line in shown)
        assert len(shown) <= 14
        if bench.session.position > 2500:
            break


def test_going_back_finds_the_line_again() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    for _ in range(12):
        bench.step_event()
    places = {}
    for _ in range(12):
        done = last_done(bench.session, bench.done)
        assert done is not None
        places[bench.session.position] = done[2:]
        bench.back_event()
    for _ in range(12):
        bench.step_event()
        done = last_done(bench.session, bench.done)
        assert done is not None
        assert places[bench.session.position] == done[2:]
    bench.goto(bench.session.position - 3)
    bench.goto(bench.session.position + 2)
    done = last_done(bench.session, bench.done)
    assert done is not None
    assert places[bench.session.position] == done[2:]


def test_what_begins_and_ends_an_action_is_no_frame() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"), paused=True)
    while not bench.idle:
        frames = kernel_frames(bench.session, bench.session.running[0])
        assert frames[0].function == "sys_fork"
        assert "machine/calls.py" not in pane(bench, "source", 90)
        bench.step_event()


def test_frames_are_chosen_and_a_step_goes_back_to_the_innermost() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_until_violation()
    turn = bench.turn
    assert turn is not None
    frames = kernel_frames(bench.session, bench.session.machine.running[turn])
    assert look_up(bench, 1)
    seen = source.view(bench, marks_of(bench))
    assert seen.stack[seen.chosen].function == frames[-2].function
    assert dict(seen.variables).keys() == frames[-2].locals.keys()
    for _ in frames[1:]:
        look_up(bench, 1)
    assert source.view(bench, marks_of(bench)).chosen == len(frames) - 1
    look_up(bench, 2)
    bench.step_event()
    seen = source.view(bench, marks_of(bench))
    assert seen.chosen == len(seen.stack) - 1


def test_every_cpu_has_a_lane_with_its_locks() -> None:
    bench = preset("30")
    while len(bench.session.running) < 2:
        bench.step_event()
    for _ in range(60):
        bench.step_event()
    shown = lines(bench, 78, 24)
    assert any(line.startswith(">cpu") and line.endswith("next") for line in shown)
    assert any(line.startswith(" cpu") and line.endswith("may go") for line in shown)
    assert any("holds mm(B).mmap_lock r" in line for line in shown)
    small = lines(bench, 54, 8)
    assert sum("cpu" in line for line in small) == 2
    assert len(small) <= 8
