"""A person's own kernel in the application: it cannot end it, hang it or stop its going back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mmtui.app import MmtuiApp
from mmtui.model.script import empty_source
from mmtui.screens import working
from mmtui.screens.main import MainScreen
from mmtui.screens.working import Mover, WorkingScreen
from mmtui.views.lines import plain
from sandbox.machine import watchdog
from sandbox.scenario.language import parse_action
from tests.test_own_kernels import HEAD, REST
from tests.tui.support import SIXTEEN, pane


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(watchdog, "PATIENCE", 0.3)
    monkeypatch.setattr(watchdog, "GRACE", 0.3)
    monkeypatch.setattr(watchdog, "LOOK", 0.02)


async def opened(app: MmtuiApp, pilot: Pilot[None]) -> MainScreen:
    await pilot.pause()
    screen = app.screen
    assert isinstance(screen, MainScreen)
    for line in SIXTEEN:
        screen.bench.act(parse_action(line))
    screen.moved()
    return screen


async def until_over(app: MmtuiApp, pilot: Pilot[None]) -> None:
    while isinstance(app.screen, WorkingScreen):
        await pilot.pause()
    await pilot.pause()


def app_on(tmp_path: Path, body: str) -> MmtuiApp:
    file = tmp_path / "k.py"
    file.write_text(HEAD + "".join(f"        {line}\n" for line in body.splitlines()))
    return MmtuiApp(empty_source(), f"{file}:K")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("while True: pass\nyield", "no event for 0.3 s at folio_try_dup_anon_rmap_ptes (k.py:12)"),
        ("import os\nos._exit(1)\nyield", "may not call _exit()"),
    ],
)
async def test_a_kernel_that_goes_wrong_is_a_message(tmp_path: Path, body: str, says: str) -> None:
    app = app_on(tmp_path, body)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await opened(app, pilot)
        start = screen.bench.session.position
        await pilot.press("f")
        await until_over(app, pilot)
        assert says in plain(screen.message.line)
        assert screen.bench.session.position > start
        await pilot.press("N")
        await until_over(app, pilot)
        assert screen.bench.session.position == start
        await pilot.press("w")
        await until_over(app, pilot)
        assert screen.bench.idle


@pytest.mark.usefixtures("impatient")
async def test_leaving_does_not_wait_for_a_kernel_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 1e9)
    monkeypatch.setattr(watchdog, "HURRIED", 0.05)
    app = app_on(tmp_path, "while True: pass\nyield")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        screen.mover.patience = 0
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(app.screen, WorkingScreen)
        app.leave()
        assert not screen.mover.busy


@pytest.mark.usefixtures("impatient")
async def test_one_that_cannot_be_ended_is_told_to_the_mover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(working, "let_go", let_go, raising=False)
    body = "from mmtui.screens import working\nworking.let_go.wait()\nyield load(folio.flags)"
    app = app_on(tmp_path, body)
    told: list[str] = []

    def end(text: str) -> None:
        told.append(text)
        let_go.set()

    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        screen.mover.on_stuck = end
        await pilot.press("f")
        await until_over(app, pilot)
        assert screen.mover.app is app
    (text,) = told
    assert "k.py:13" in text
    assert "cannot be ended" in text


async def test_an_impure_kernel_can_be_gone_back_over(tmp_path: Path) -> None:
    count = "box = globals()\nbox['n'] = box.get('n', 0) + 1\n"
    count += "for _ in range(n): yield load(folio.flags)\n"
    app = app_on(tmp_path, count + REST)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await opened(app, pilot)
        start = screen.bench.session.position
        screen.bench.act(parse_action("fork A B"), paused=True)
        while screen.bench.session.stack()[-1].function != "dup_anon_page":
            screen.bench.step_event()
        await pilot.press("s", "s", "s", "S")
        await until_over(app, pilot)
        assert "not a pure function" in pane(screen.bench, "source", 200)
        await pilot.press("s")
        await until_over(app, pilot)
        assert "not a pure function of its answers" in plain(screen.message.line)
        await pilot.press("S", "N")
        await until_over(app, pilot)
        assert screen.bench.session.position == start
        await pilot.press("w")
        await until_over(app, pilot)
        assert screen.bench.idle


def test_what_cannot_be_ended_saves_and_ends_with_70(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []

    class Desk:
        def keep_log(self) -> str:
            ended.append("saved")
            return "the session was saved"

    class Terminal:
        output = 77

        def restore(self) -> None:
            ended.append("screen")

    class App:
        desk, terminal = Desk(), Terminal()

    mover = Mover()
    monkeypatch.setattr(mover, "app", App())
    monkeypatch.setattr(working.os, "_exit", ended.append)
    monkeypatch.setattr(working.os, "write", lambda number, text: ended.append((number, text)))
    watchdog.on_stuck("no event")
    text = b"mmtui: no event\r\nthe session was saved\r\n"
    assert ended == ["saved", "screen", (2, text), (77, text), 70]
