"""A move that takes long in the application: its progress is shown, and it can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from mmtui.app import MmtuiApp
from mmtui.model import changes
from mmtui.screens.main import MainScreen
from mmtui.screens.working import Mover, WorkingScreen
from mmtui.views.lines import plain
from mmtui.widgets.bars import Bar
from sandbox.machine import history
from sandbox.run.long_move import LongMove
from sandbox.scenario.language import parse_action
from tests.tui.support import SIXTEEN, until
from tests.tui.support import machine as bench_of


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold every move at its first look between events until the gate is opened."""
    opened = threading.Event()
    look = LongMove._look

    def held(self: LongMove) -> None:
        look(self)
        opened.wait(60)

    monkeypatch.setattr(history, "BURST", 32)
    monkeypatch.setattr(LongMove, "_look", held)
    yield opened
    opened.set()


async def prepared(app: MmtuiApp, pilot: Pilot[None]) -> MainScreen:
    """The main screen with a folio to fork, impatient from then on."""
    await pilot.pause()
    screen = app.screen
    assert isinstance(screen, MainScreen)
    for line in SIXTEEN:
        screen.bench.act(parse_action(line))
    screen.moved()
    screen.mover.patience = 0
    await pilot.press("f")
    await pilot.pause()
    assert isinstance(app.screen, WorkingScreen)
    return screen


async def until_over(app: MmtuiApp, pilot: Pilot[None]) -> None:
    while isinstance(app.screen, WorkingScreen):
        await pilot.pause()
    await pilot.pause()


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_long_move_is_stopped_by_a_key(gate: threading.Event, key: str) -> None:
    app = MmtuiApp("seed-pin-middle", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await prepared(app, pilot)
        position = screen.bench.session.position
        await pilot.press(key)
        gate.set()
        await until_over(app, pilot)
        assert screen.bench.session.running
        assert "stopped at event" in plain(screen.message.line)
        assert screen.bench.session.position >= position
        await pilot.press("n")
        await until_over(app, pilot)
        assert screen.bench.idle
        assert screen.bench.procs()[-2:] == ("A", "B")


async def test_progress_is_shown_and_the_move_ends_by_itself(gate: threading.Event) -> None:
    app = MmtuiApp("seed-pin-middle", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await prepared(app, pilot)
        working = app.screen
        while "events" not in plain(working.query_one("#progress", Bar).line):
            await pilot.pause()
        assert "fork A B: " in plain(working.query_one("#progress", Bar).line)
        screen.refresh_panes()  # nothing is drawn from what is being changed
        gate.set()
        await until_over(app, pilot)
        assert app.screen is screen
        assert screen.bench.idle
        assert screen.bench.procs()[-2:] == ("A", "B")


def test_functions_are_rebuilt_where_the_screen_does_not_wait() -> None:
    bench = bench_of("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"))
    _move, future = Mover().start(bench.session, lambda: bench.back_event(9))
    assert future.exception() is None
    (task,) = bench.session.running
    assert task.gen is not None


async def test_leaving_stops_a_long_move(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = LongMove.stop

    def stop_and_open(self: LongMove) -> None:
        stop(self)
        gate.set()

    monkeypatch.setattr(LongMove, "stop", stop_and_open)
    app = MmtuiApp("seed-pin-middle", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await prepared(app, pilot)
        await pilot.press("ctrl+q")
        await pilot.pause()
    assert screen.bench.session.running


def test_a_move_too_long_to_mark_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmtui.views.status import news

    bench = bench_of("7.2", *SIXTEEN)
    monkeypatch.setattr(changes, "MARKED", 20)
    bench.act(parse_action("fork A B"))
    assert bench.changes.unmarked
    assert not bench.changes.olds
    assert "too many to mark" in plain(news(bench))
    bench.back_action()
    assert bench.changes.unmarked
    bench.step_event()
    assert not bench.changes.unmarked


async def test_what_is_typed_meanwhile_is_taken_afterwards_in_order(gate: threading.Event) -> None:
    app = MmtuiApp("seed-pin-middle", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await prepared(app, pilot)
        done = len(screen.bench.session.steps)
        for key in (
            ":",
            *"pin A R 5 6 1 w",
            "enter",
            "n",
            ":",
            *"unq",
        ):
            char = key if len(key) == 1 else None
            app.post_message(events.Key(_character_to_key(char) if char else key, char))
        await pilot.pause()
        assert isinstance(app.screen, WorkingScreen)
        screen.mover.patience = 60
        gate.set()
        line = screen.query_one(Input)
        await until(pilot, lambda: line.has_focus and line.value == "unq")
        texts = [step.action.text for step in screen.bench.session.steps[done - 1 :]]
        assert texts == ["fork A B", "pin A R 5 6 1 w", "mthp 64K madvise"]


async def test_escape_forgets_what_was_typed_meanwhile(gate: threading.Event) -> None:
    app = MmtuiApp("seed-pin-middle", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await prepared(app, pilot)
        done = len(screen.bench.session.steps)
        await pilot.press(":", *"exit A", "enter", "escape")
        gate.set()
        await until_over(app, pilot)
        await pilot.press("n")
        await until_over(app, pilot)
        assert screen.bench.idle
        assert len(screen.bench.session.steps) == done
