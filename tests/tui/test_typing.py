"""What is typed into a line, however fast: all of it, in order, at the cost of few insertions."""

from __future__ import annotations

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input

from mmtui.app import MmtuiApp
from mmtui.screens.library import LibraryScreen
from mmtui.screens.main import MainScreen
from mmtui.widgets.line_input import LineInput
from tests.tui.support import until

NAMED = {"\r": "enter", "\x1b": "escape", "\x01": "home", "\x7f": "backspace"}


def type_at_once(app: MmtuiApp, text: str) -> None:
    """Put keys into the queue before the application takes the first."""
    for char in text:
        named = NAMED.get(char)
        key = events.Key(named, None) if named else events.Key(_character_to_key(char), char)
        app.post_message(key)


@pytest.fixture
def insertions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are put into a line."""
    seen: list[str] = []
    replace = Input.replace

    def counted(field: Input, text: str, start: int, end: int) -> None:
        seen.append(text)
        replace(field, text, start, end)

    monkeypatch.setattr(Input, "replace", counted)
    return seen


async def test_a_page_that_is_typed_costs_a_few_insertions(insertions: list[str]) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(":")
        field = app.screen.query_one(LineInput)
        type_at_once(app, "mmap 中é" * 400 + "\x7f" + "x" * 100 + "\x01ab")
        wanted = "ab" + ("mmap 中é" * 400)[:-1] + "x" * 100
        await until(pilot, lambda: field.value == wanted)
        assert "".join(insertions) == "mmap 中é" * 400 + "x" * 100 + "ab"
        assert len(insertions) < 40
        type_at_once(app, "y" * 10_000)
        await until(pilot, lambda: len(field.value) == 4_000)
        await pilot.pause()
        assert field.value.startswith("ab" + "y" * 500)


async def test_what_comes_after_enter_and_escape_is_keys_of_the_screen() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        screen = app.screen
        assert isinstance(screen, MainScreen)
        type_at_once(app, ":step 2\rs:zz\x1bss:step 2\rs")
        await until(pilot, lambda: screen.bench.session.position == 8)
        await pilot.pause()
        assert screen.bench.session.position == 8


async def test_a_filter_takes_what_it_has_room_for() -> None:
    app = MmtuiApp()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LibraryScreen))
        await pilot.press("/")
        field = app.screen.query_one(LineInput)
        type_at_once(app, "pin" + "q" * 1_000)
        await until(pilot, lambda: len(field.value) == 200)
        assert field.value == "pin" + "q" * 197
