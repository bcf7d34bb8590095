"""No error of our own ends the application: it is a message, a report on file, and on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from mmtui.app import MmtuiApp
from mmtui.commands.registry import COMMANDS
from mmtui.keys import textual_key
from mmtui.model.bench import Bench
from mmtui.screens.choose import ChooseScreen
from mmtui.screens.main import MainScreen
from mmtui.views.lines import plain
from mmtui.widgets.bars import Bar
from mmtui.widgets.pane import Pane
from mmtui.widgets.prompt import Prompt
from tests.tui.support import until

pytestmark = pytest.mark.reports

KINDS = (ZeroDivisionError, RecursionError, KeyError, SystemExit, KeyboardInterrupt, MemoryError)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def desk(app: MmtuiApp) -> MainScreen:
    found = app.desk
    assert found is not None
    return found


def raiser(error: BaseException) -> Callable[..., Any]:
    def broken(*_args: object, **_options: object) -> object:
        raise error

    return broken


def reported(app: MmtuiApp, what: str) -> str:
    """The report that the message names, once it tells of that error."""
    said = plain(desk(app).message.line)
    found = re.match(r" internal error; report in (\S+) \((\w+)", said)
    assert found, said
    assert found[2] == what
    return Path(found[1]).expanduser().read_text(encoding="utf-8")


async def goes_on(app: MmtuiApp, pilot: Pilot[None]) -> None:
    """A key still does what it says."""
    at = desk(app).bench.session.position
    await pilot.press("s")
    await pilot.pause()
    assert desk(app).bench.session.position == at + 1


async def test_an_error_in_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(60, 14)) as pilot:
        await pilot.pause()
        for number, command in enumerate(COMMANDS.values()):
            error = KINDS[number % len(KINDS)](command.name)
            with monkeypatch.context() as patch:
                broken = replace(command, run=raiser(error), check=lambda _bench: None)
                patch.setitem(COMMANDS, command.name, broken)
                if command.keys and number % 2:
                    app.post_message(events.Key(textual_key(command.keys[0]), None))
                else:
                    app.screen.post_message(Prompt.Submitted(":", command.name))
                await pilot.pause()
                assert command.name in reported(app, type(error).__name__)
            assert app.is_running
        await goes_on(app, pilot)


@pytest.mark.parametrize("error", [Unprintable(), asyncio.CancelledError("x"), KeyError("\x1b]0;")])
async def test_an_error_of_any_class(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(60, 14)) as pilot:
        await pilot.pause()
        with monkeypatch.context() as patch:
            patch.setattr(desk(app), "zoom", raiser(error))
            await pilot.press("z")
            assert "broken" in reported(app, type(error).__name__)
            patch.setattr(Bench, "_one_event", raiser(error))
            await pilot.press("s")
            assert "one_event" in reported(app, type(error).__name__)
        await goes_on(app, pilot)


async def test_an_error_in_what_is_chosen_found_or_clicked(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        with monkeypatch.context() as patch:
            patch.setitem(
                COMMANDS, "kernel", replace(COMMANDS["kernel"], run=raiser(OSError(5, "chosen")))
            )
            desk(app).choose_kernel()
            await pilot.pause()
            assert isinstance(app.screen, ChooseScreen)
            await pilot.press("enter")
            await pilot.pause()
            assert "chosen" in reported(app, "OSError")
            patch.setitem(COMMANDS, "zoom", replace(COMMANDS["zoom"], run=raiser(OSError("found"))))
            await pilot.press("ctrl+p", *"zoom pane")
            await until(pilot, lambda: getattr(app.screen, "_list_visible", False))
            await pilot.press("enter")
            await pilot.pause()
            assert "found" in reported(app, "OSError")
            patch.setattr("mmtui.screens.showing.clicked", raiser(IndexError("clicked")))
            await pilot.click("#tables", offset=(5, 4))
            assert "clicked" in reported(app, "IndexError")
        await goes_on(app, pilot)


async def test_an_error_in_a_timer_a_callback_or_a_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        screen = desk(app)
        for node in (app, screen.message):
            desk(app).say("")
            node.set_timer(0.001, raiser(OSError("timer")))
            await until(pilot, lambda: desk(app).message.line != ((" ", ""),))
            assert "timer" in reported(app, "OSError")
            node.call_later(raiser(LookupError("later")))
            await pilot.pause()
            assert "later" in reported(app, "LookupError")
            desk(app).say("")
            ticks = node.set_interval(0.01, raiser(BufferError("tick")))
            await until(pilot, lambda: desk(app).message.line != ((" ", ""),))
            ticks.stop()
            assert "tick" in reported(app, "BufferError")
        with monkeypatch.context() as patch:
            patch.setattr(Pane, "scroll_lines", raiser(OSError("wheel")))
            pane = screen.frame.panes["log"]
            pane.post_message(
                events.MouseScrollDown(pane, 1, 1, 0, 1, 0, False, False, False, 1, 1)
            )
            await pilot.pause()
            assert "wheel" in reported(app, "OSError")
        await goes_on(app, pilot)


async def test_an_error_in_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        for number, name in enumerate(("story", "source", "processes", "log"), 1):
            a_broken_view(app, name, KINDS[number](name), monkeypatch)
            # Not one with every frame.
            assert len(list(Path.home().rglob("crash-*.txt"))) == number
        await goes_on(app, pilot)


def a_broken_view(
    app: MmtuiApp, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    panes = desk(app).frame.panes
    with monkeypatch.context() as patch:
        for function in ("view", "render"):
            broken = raiser(error)
            patch.setattr(f"mmtui.views.{name}.{function}", broken, raising=False)
        for _ in range(3):
            desk(app).refresh_panes()
        assert "internal error" in panes[name].render_line(0).text
        assert name in reported(app, type(error).__name__)
        others = [pane.render_line(0).text for pane in panes.values() if pane.id != name]
        assert not any("internal" in text for text in others)
    desk(app).refresh_panes()
    assert "internal" not in panes[name].render_line(0).text


async def test_an_error_in_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        for kind in (Pane, Bar):
            for function in ("render_line", "paint"):
                with monkeypatch.context() as patch:
                    patch.setattr(kind, function, raiser(KeyError(function)))
                    await pilot.press("n", "N")
                    app.refresh()
                    await pilot.pause()
                    assert app.is_running
        monkeypatch.setattr("mmtui.screens.showing.status.view", raiser(ValueError("bars")))
        await pilot.press("n")
        assert "bars" in reported(app, "ValueError")
        monkeypatch.undo()
        await goes_on(app, pilot)


async def test_an_error_in_another_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        monkeypatch.setattr("mmtui.screens.help.help_doc", raiser(ValueError("help")))
        await pilot.press("question_mark", "x")
        assert "help" in reported(app, "ValueError")
        await pilot.press("escape", "escape")
        assert app.screen is desk(app)
        await goes_on(app, pilot)


async def test_an_error_of_textual_itself_ends_it_properly() -> None:
    app = MmtuiApp("3")

    async def broken() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("n", "n")
            app._handle_exception(ZeroDivisionError("textual"))
            await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        await broken()
    assert app.status == 70
    saved, said = app.last_words
    assert "session is on file" in saved
    assert said.startswith("mmtui: internal error: ZeroDivisionError: textual; report in ")
