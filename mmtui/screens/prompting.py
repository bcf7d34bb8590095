"""The part of the main screen where a line is typed: `:` and `/`."""

from __future__ import annotations

from textual import events, on

from mmtui.commands.registry import completions
from mmtui.model.bench import Bench
from mmtui.model.files import state_directory
from mmtui.model.history import History
from mmtui.screens.showing import ShowingScreen
from mmtui.themes import THEMES
from mmtui.views.lines import say
from mmtui.widgets.prompt import Prompt

__all__ = ["PromptingScreen"]


class PromptingScreen(ShowingScreen):
    """A screen with a prompt over its message."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.line = Prompt(History(state_directory() / "history"))

    def entered(self, lead: str, text: str) -> None:
        """Do what was typed after `:` or `/`."""
        raise NotImplementedError

    def prompt(self, text: str) -> None:
        """Ask for a line."""
        search = text == "/"
        self.line.ask(text, lambda _: []) if search else self.line.ask(":", self._completions)

    def _completions(self, line: str) -> list[str]:
        if self.mover.busy:
            return []
        return completions(line, self.bench, [theme.name for theme in THEMES])

    def _prompt_gone(self) -> None:
        self.show_bars()
        self.set_focus(self.frame.current)

    @on(Prompt.Closed)
    def _prompt_closed(self, event: Prompt.Closed) -> None:
        event.stop()
        self._prompt_gone()

    def on_key(self, event: events.Key) -> None:
        """Give a key to the line that is being typed, wherever the focus was taken."""
        if self.line.is_open:
            event.stop()
            event.prevent_default()
            self.line.hold()
            self.line.type_key(event.key, event.character)

    @on(Prompt.Completed)
    def _prompt_completed(self, event: Prompt.Completed) -> None:
        event.stop()
        words = "  ".join(event.words[:40])
        self.keys.show(say(f" {words}" if words else " ", "dim"))

    @on(Prompt.Submitted)
    def _prompt_submitted(self, event: Prompt.Submitted) -> None:
        event.stop()
        self._prompt_gone()
        self.entered(event.lead, event.text)
