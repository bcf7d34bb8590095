"""A screen with one long text and a line to search it."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from mmtui.views.lines import Lines
from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import ContainedScreen
from mmtui.widgets.line_input import LineInput
from mmtui.widgets.pane import Pane

__all__ = ["SearchScreen"]


class SearchScreen(ContainedScreen, ModalScreen[None]):
    """A text over the whole screen; what is typed narrows it, escape goes back."""

    DEFAULT_CSS = """
    SearchScreen { layout: vertical; background: $background; }
    SearchScreen Input { height: 1; border: none; padding: 0 1; background: $panel; }
    SearchScreen Input:focus { border: none; }
    SearchScreen Pane, SearchScreen Pane:focus { border-top: none; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False),
        Binding("up", "scroll_text(-1)", "Up", show=False, priority=True),
        Binding("down", "scroll_text(1)", "Down", show=False, priority=True),
        Binding("pageup", "page_text(-1)", "Page up", show=False, priority=True),
        Binding("pagedown", "page_text(1)", "Page down", show=False, priority=True),
    ]
    AUTO_FOCUS = "LineInput"
    placeholder = "type to search"

    def __init__(self) -> None:
        super().__init__()
        self.pane = Pane("text", "text")
        self.pane.can_focus = False
        self._keys = Bar("text-keys")
        self._field = LineInput(placeholder=self.placeholder, compact=True, max_length=200)

    def document(self, search: str, width: int) -> Lines:
        """The text, narrowed by a search."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """A search line over the text."""
        yield self._field
        yield self.pane
        yield self._keys

    def on_mount(self) -> None:
        """Show everything."""
        self._keys.show(((" esc", "key"), (" back  ", ""), ("up down", "key"), (" scroll", "")))

    def _show(self) -> None:
        self.pane.show(self.document(self._field.value, self.pane.room[0]))

    @on(Pane.Resized)
    def _resized(self, event: Pane.Resized) -> None:
        event.stop()
        self._show()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value == self._field.value:  # else more was typed since, and will be told
            self._show()

    def action_scroll_text(self, lines: int) -> None:
        """Scroll the text."""
        self.pane.scroll_lines(lines)

    def action_page_text(self, pages: int) -> None:
        """Scroll the text by what is shown, less two lines."""
        self.pane.scroll_lines(pages * max(1, self.pane.rows - 2))

    def action_back(self) -> None:
        """Go back; a search is emptied first."""
        if self._field.value:
            self._field.value = ""
        else:
            self.dismiss(None)
