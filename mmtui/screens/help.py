"""The help: every key, command and verb, and what the glyphs mean; searchable also by key."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from mmtui.model.bench import Bench
from mmtui.views.help import help_doc
from mmtui.widgets.bars import Bar
from mmtui.widgets.pane import Pane

__all__ = ["HelpScreen"]


class HelpScreen(ModalScreen[None]):
    """Everything that can be done; a key alone finds what it does."""

    DEFAULT_CSS = """
    HelpScreen { layout: vertical; background: $background; }
    HelpScreen Input { height: 1; border: none; padding: 0 1; background: $panel; }
    HelpScreen Input:focus { border: none; }
    HelpScreen Pane, HelpScreen Pane:focus { border-top: none; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False),
        Binding("up", "scroll_help(-1)", "Up", show=False, priority=True),
        Binding("down", "scroll_help(1)", "Down", show=False, priority=True),
        Binding("pageup", "scroll_help(-12)", "Page up", show=False, priority=True),
        Binding("pagedown", "scroll_help(12)", "Page down", show=False, priority=True),
    ]
    AUTO_FOCUS = "Input"

    def __init__(self, bench: Bench | None) -> None:
        super().__init__()
        self._bench = bench
        self.pane = Pane("help", "help")
        self.pane.can_focus = False
        self._keys = Bar("help-keys")

    def compose(self) -> ComposeResult:
        """A search line over the list."""
        yield Input(placeholder="type to search: a word, or one key", compact=True)
        yield self.pane
        yield self._keys

    def on_mount(self) -> None:
        """Show everything."""
        self._keys.show(((" esc", "key"), (" back  ", ""), ("up down", "key"), (" scroll", "")))

    def _show(self) -> None:
        text = self.query_one(Input).value
        self.pane.show(help_doc(self._bench, text, self.pane.room[0]))

    @on(Pane.Resized)
    def _resized(self, event: Pane.Resized) -> None:
        event.stop()
        self._show()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._show()

    def action_scroll_help(self, lines: int) -> None:
        """Scroll the list."""
        self.pane.scroll_lines(lines)

    def action_back(self) -> None:
        """Go back; a search is emptied first."""
        field = self.query_one(Input)
        if field.value:
            field.value = ""
        else:
            self.dismiss(None)
