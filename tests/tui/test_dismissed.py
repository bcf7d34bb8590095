"""A screen is left once, however many events that leave it are still to come."""

from __future__ import annotations

from typing import Any

import pytest
from rich.style import Style
from textual import events
from textual.command import CommandList
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import Screen

from mmtui.app import MmtuiApp
from mmtui.palette import Palette
from mmtui.screens.choose import ChooseScreen
from mmtui.screens.help import HelpScreen
from mmtui.screens.library import LibraryScreen
from mmtui.screens.main import MainScreen
from mmtui.views.lines import plain
from mmtui.widgets.chooser import Chooser
from tests.tui.support import until


def click(app: MmtuiApp, x: int, y: int) -> None:
    for kind in (events.MouseDown, events.MouseUp):
        app.post_message(kind(None, x, y, 0, 0, 1, False, False, False, x, y))


async def clicks_beside(app: MmtuiApp, pilot: Pilot[None]) -> None:
    for _ in range(2):
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, Palette)
        for _ in range(4):
            click(app, 1, 28)
        await pilot.pause()
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    session = app.screen.bench.session
    before = session.position
    await pilot.press("n")
    assert session.position > before


async def test_any_key_right_after_the_palette_is_opened() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("n")
        for key in ("pageup", "pagedown", "up", "end", "enter", "escape", "shift+end"):
            for name in ("ctrl+p", key, key, "pageup", "a", "escape", "ctrl+p", "pageup", "escape"):
                app.post_message(events.Key(name, name if len(name) == 1 else None))
            await pilot.pause()
            await pilot.pause()
            await until(pilot, lambda: isinstance(app.screen, MainScreen))
        await pilot.press("ctrl+p")
        command_list = app.screen.query_one(CommandList)
        await until(pilot, lambda: command_list.option_count)
        command_list.action_page_down()
        last = command_list.option_count - 1
        command_list.clear_options()
        command_list.action_page_up()
        drawn = Style(meta={"option": last})
        await command_list._dispatch_message(
            events.Click(command_list, 1, 1, 0, 0, 1, False, False, False, 1, 1, drawn)
        )
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, MainScreen)
        await clicks_beside(app, pilot)


async def test_screens_left_several_times() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("n")
        desk = app.screen
        assert isinstance(desk, MainScreen)
        desk.choose_kernel()
        chooser = app.screen
        assert isinstance(chooser, ChooseScreen)
        for _ in range(3):
            chooser.chooser.post_message(Chooser.Chosen("6.9"))
        await pilot.pause()
        await pilot.pause()
        assert desk.bench.kernel == "6.9"
        assert app.screen is desk
        for screen in (HelpScreen(desk.bench), ChooseScreen("t", []), LibraryScreen([], over=True)):
            await app.push_screen(screen)
            for _ in range(3):
                screen.dismiss(None)
            await pilot.pause()
            assert app.screen is desk
            for name in ("back", "cancel"):
                if action := getattr(screen, f"action_{name}", None):
                    action()
            await pilot.pause()
            assert app.screen is desk


async def test_a_document_of_the_library_is_opened_once() -> None:
    app = MmtuiApp()
    async with app.run_test(size=(100, 30)) as pilot:
        library = app.screen
        assert isinstance(library, LibraryScreen)
        for _ in range(3):
            library.chooser.post_message(Chooser.Chosen("3"))
        await pilot.pause()
        desk = app.screen
        assert isinstance(desk, MainScreen)
        desk.open("")
        await pilot.pause()
        library = app.screen
        assert isinstance(library, LibraryScreen)
        for _ in range(3):
            library.chooser.post_message(Chooser.Chosen("4"))
        await pilot.pause()
        await pilot.pause()
        assert app.screen is desk
        assert desk.bench.source.title.startswith("4.")
        assert "internal" not in plain(desk.message.line)


async def test_what_comes_to_a_screen_that_is_gone_says_nothing() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        desk = app.screen
        assert isinstance(desk, MainScreen)
        for screen in (
            HelpScreen(desk.bench), ChooseScreen("t", []), LibraryScreen([], over=True), Palette(),
        ):  # fmt: skip
            await app.push_screen(screen)
            assert not screen.is_gone()
            screen.dismiss(None)
            await until(pilot, screen.is_gone)
            await until(pilot, lambda screen=screen: not screen.is_attached)  # type: ignore[misc]
            for message in (
                events.Mount(),
                events.Click(None, 30, 5, 0, 0, 1, False, False, False),
            ):
                await screen._dispatch_message(message)
        palette = Palette()
        await app.push_screen(palette)
        click(app, 30, 5)
        await pilot.resize_terminal(20, 4)
        await palette._dispatch_message(
            events.Click(None, 30, 5, 0, 0, 1, False, False, False, 30, 5)
        )
        await pilot.press("escape")
        assert app.screen is desk


async def test_a_size_that_is_not_the_terminals_any_more_is_not_laid_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = MmtuiApp("3")
    sizes = []
    refresh = Screen._refresh_layout

    def noted(screen: Screen[Any], size: Size | None = None, scroll: bool = False) -> None:
        sizes.append(size)
        refresh(screen, size, scroll)

    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        desk = app.screen
        assert isinstance(desk, MainScreen)
        chooser = ChooseScreen("t", [])
        for screen in (chooser, HelpScreen(desk.bench), Palette()):
            await app.push_screen(screen)
        await pilot.pause()
        monkeypatch.setattr(Screen, "_refresh_layout", noted)
        for number, screen in enumerate((desk, chooser, app.screen)):
            size = Size(80 + 7 * number, 30)
            screen.post_message(events.Resize(size, size))
        for _ in range(20):
            await pilot.pause()
        await pilot.resize_terminal(120, 40)
        for _ in range(20):
            await pilot.pause()
        assert set(sizes) <= {None, Size(120, 40)}
        assert desk.size == chooser.size == app.screen.size == Size(120, 40)
