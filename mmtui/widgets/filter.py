"""A line that narrows a list while it is typed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from mmtui.widgets.chooser import Chooser
from mmtui.widgets.line_input import LineInput

__all__ = ["Filter"]


class Filter(LineInput):
    """An input for a chooser: what is typed narrows it, the arrows and Enter go to it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "list('move', -1)", "Up", show=False),
        Binding("down", "list('move', 1)", "Down", show=False),
        Binding("pageup", "list('move', -10)", "Page up", show=False),
        Binding("pagedown", "list('move', 10)", "Page down", show=False),
    ]
    DEFAULT_CSS = """
    Filter { height: 1; border: none; padding: 0 1; background: $panel; }
    Filter:focus { border: none; }
    """

    def __init__(self, chooser: Chooser, placeholder: str) -> None:
        # A longer text finds nothing, and each of its characters would cost its whole line.
        super().__init__(
            placeholder=placeholder, compact=True, select_on_focus=False, max_length=200
        )
        self._chooser = chooser

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        event.stop()
        if event.value == self.value:  # else more was typed since, and will be told
            self._chooser.narrow(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose."""
        event.stop()
        self._chooser.action_choose()

    def action_list(self, _what: str, rows: int) -> None:
        """Move the list's cursor."""
        self._chooser.action_move(rows)
