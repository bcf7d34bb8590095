"""The command palette: every command with its key, and why it cannot be given now."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Literal

from textual import events, work
from textual.app import ComposeResult
from textual.command import (
    CommandInput,
    CommandList,
    CommandPalette,
    DiscoveryHit,
    Hit,
    Hits,
    Provider,
    SearchIcon,
)
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.widgets import LoadingIndicator

from mmtui.commands.model import Command
from mmtui.commands.registry import COMMANDS
from mmtui.screens.main import MainScreen
from mmtui.widgets.bars import key_name
from mmtui.widgets.contained import ContainedScreen, ContainedWidget
from mmtui.widgets.line_input import LineInput

__all__ = ["CommandProvider", "Palette"]


class _Input(CommandInput, LineInput):  # styles are those of the first base
    """The line of the palette."""


class _List(ContainedWidget, CommandList):
    """The commands of the palette that were found."""

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        # Textual's looks up where the highlighted option is drawn. Before the first layout, or
        # when the list has just been filled anew, nothing is drawn anywhere: a KeyError.
        if self._lines and (self.highlighted or 0) in self._index_to_line:
            super()._move_page(direction)

    async def _on_click(self, event: events.Click) -> None:
        # Textual's takes the option that was drawn there; the list may have fewer by now.
        if event.style.meta.get("option", -1) >= self.option_count:
            event.prevent_default()


class Palette(ContainedScreen, CommandPalette):
    """Textual's palette, left once however often it is clicked at.

    Its own is dismissed by each click beside it, also by those that come when it is gone: the
    second takes the screen below away, the third finds none.
    """

    def compose(self) -> ComposeResult:
        """The line, the list, and the sign that it is searched; as Textual has them."""
        with Vertical(id="--container"):
            with Horizontal(id="--input"):
                icon = SearchIcon()
                icon.icon = ":"  # Textual's is two cells wide, and in few fonts
                yield icon
                yield _Input(placeholder=self._placeholder, select_on_focus=False, max_length=200)
            with Vertical(id="--results"):
                yield _List()
                yield LoadingIndicator()

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        # Textual's looks for the list, at the start and at the end; the palette may have been left.
        try:
            await _gather(self, search_value)
        except NoMatches:
            if not self.is_gone():
                raise

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]  # as Textual's
        # Textual's looks for what is there; a click from before a smaller size may be outside.
        if not self.region.contains(event.screen_x, event.screen_y):
            event.prevent_default()

    def _on_mount(self, event: events.Mount) -> None:
        # Textual's looks for the screen below; escape may have been faster.
        if not self.on_top:
            event.prevent_default()


_gather: Callable[[CommandPalette, str], Awaitable[None]] = inspect.unwrap(
    CommandPalette._gather_commands
)
"""What Textual runs in a worker of its own."""


class CommandProvider(Provider):
    """Finds commands for the palette."""

    def _commands(self) -> Iterator[tuple[Command, str, str, MainScreen]]:
        """Each command with the text to match and its help."""
        desk = self.screen
        if not isinstance(desk, MainScreen):
            return
        for command in COMMANDS.values():
            reason = command.check(desk.bench)
            text = f"{command.help} Not now: {reason}." if reason else command.help
            key = f"  {key_name(command.key)}" if command.key else ""
            yield command, f"{command.title}{key}  {command.syntax}", text, desk

    async def discover(self) -> Hits:
        """All commands, in their order."""
        for command, text, about, desk in self._commands():
            yield DiscoveryHit(text, partial(desk.give, command.name), help=about)

    async def search(self, query: str) -> Hits:
        """The commands that match a query."""
        matcher = self.matcher(query)
        for command, text, about, desk in self._commands():
            score = matcher.match(f"{text} {command.help}")
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(text),
                    partial(desk.give, command.name),
                    help=about,
                )
