"""The command palette: every command with its key, and why it cannot be given now."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from mmtui.commands.model import Command
from mmtui.commands.registry import COMMANDS
from mmtui.screens.main import MainScreen
from mmtui.widgets.bars import key_name

__all__ = ["CommandProvider"]


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
            yield DiscoveryHit(text, partial(desk.action_give, command.name), help=about)

    async def search(self, query: str) -> Hits:
        """The commands that match a query."""
        matcher = self.matcher(query)
        for command, text, about, desk in self._commands():
            score = matcher.match(f"{text} {command.help}")
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(text),
                    partial(desk.action_give, command.name),
                    help=about,
                )
