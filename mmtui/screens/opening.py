"""What is shown while a document is being opened: its title, where the main screen has it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen

from mmtui.key_queue import HoldsKeys
from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import ContainedScreen

__all__ = ["OpeningScreen"]


class OpeningScreen(HoldsKeys, ContainedScreen, Screen[None]):
    """A status line, painted before the engine is imported."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._status = Bar("status")
        self._status.show(((" ", ""), (title, "strong"), ("  opening ...", "dim")))

    def compose(self) -> ComposeResult:
        """The status line alone."""
        yield self._status
