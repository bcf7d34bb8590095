"""What is shown while a document is being opened: its title, where the main screen has it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen

from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import ContainedScreen

__all__ = ["OpeningScreen"]


class OpeningScreen(ContainedScreen, Screen[None]):
    """A status line, painted before the engine is imported; keeps what is typed until then."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._status = Bar("status")
        self._status.show(((" ", ""), (title, "strong"), ("  opening ...", "dim")))
        self.typed: list[events.Key] = []
        """Keys that are meant for the screen to come."""

    def compose(self) -> ComposeResult:
        """The status line alone."""
        yield self._status

    def on_key(self, event: events.Key) -> None:
        """Keep a key."""
        event.stop()
        self.typed.append(events.Key(event.key, event.character))
