"""The line at the bottom where commands and searches are typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from mmtui.model.history import History
from mmtui.widgets.contained import ContainedWidget
from mmtui.widgets.line_input import LineInput

__all__ = ["Asking", "Prompt"]

Complete = Callable[[str], list[str]]


class _Field(LineInput):
    """The input proper; Tab and the arrows belong to the prompt."""

    BINDINGS = [  # noqa: RUF012  # textual declares it so
        Binding("tab", "prompt('complete')", "Complete", show=False, id="prompt.complete"),
        Binding("up", "prompt('older')", "Older", show=False, id="prompt.older"),
        Binding("down", "prompt('newer')", "Newer", show=False, id="prompt.newer"),
        Binding("escape", "prompt('close')", "Close", show=False, id="prompt.close"),
    ]

    @property
    def prompt(self) -> Prompt:
        """The prompt this is the field of."""
        assert isinstance(self.parent, Prompt)
        return self.parent

    def action_prompt(self, what: str) -> None:
        """Hand a key to the prompt."""
        self.prompt.key(what)

    async def action_submit(self) -> None:
        """Hand the line over."""
        self.prompt.submit(self.value)

    @property
    def takes_text(self) -> bool:
        """Not when it is closed: then they are keys of the screen."""
        return self.prompt.is_open

    async def _on_key(self, event: events.Key) -> None:
        """Take keys that are bound here, without the way round by the application."""
        if not event.is_printable:
            for binding in self._bindings.key_to_bindings.get(event.key, ()):
                event.stop()
                event.prevent_default()
                await self.app.run_action(binding.action, self)


class Asking(Container):
    """The row of the prompt, and of the message while no line is being typed.

    An open prompt pushes the message out of the row, so that there is never a frame with neither
    and the panes keep their height.
    """

    DEFAULT_CSS = "Asking { height: 1; overflow: hidden; }"


class Prompt(ContainedWidget, Horizontal):
    """A prompt that appears over the message line, with completion and history."""

    DEFAULT_CSS = """
    Prompt {
        height: 1;
        display: none;
        background: $panel;
        &.-open { display: block; }
        & > Label { width: 2; color: $mm-key; text-style: bold; padding: 0 0 0 1; }
        & > Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    }
    """

    @dataclass
    class Submitted(Message):
        """A line was entered."""

        lead: str
        """`:` or `/`."""
        text: str

    @dataclass
    class Completed(Message):
        """Words that may come next, to be shown."""

        words: list[str]

    @dataclass
    class Closed(Message):
        """The prompt was left without a line."""

    def __init__(self, history: History) -> None:
        super().__init__(id="prompt")
        self._history = history
        self._lead = ":"
        self._complete: Complete = lambda _line: []

    def compose(self) -> ComposeResult:
        """The lead and the field."""
        yield Label(":", markup=False)
        yield _Field(compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        """Whether a line is being typed."""
        return self.has_class("-open")

    def ask(self, lead: str, complete: Complete) -> None:
        """Open the prompt."""
        self._lead, self._complete = lead, complete
        self.query_one(Label).update(lead)
        field = self.query_one(_Field)
        field.value = ""
        self._history.rewind()
        self.add_class("-open")
        self.screen.set_focus(field)  # now: what is typed ahead belongs to the line

    def hold(self) -> None:
        """Have the keys go to the line again: a click takes them to a pane."""
        if self.is_open and not (field := self.query_one(_Field)).has_focus:
            self.screen.set_focus(field)

    def type_key(self, key: str, character: str | None) -> None:
        """Take a key as if it was pressed now."""
        self.query_one(_Field).post_message(events.Key(key, character))

    def close(self) -> None:
        """Hide the prompt."""
        self.remove_class("-open")

    def key(self, what: str) -> None:
        """Complete, leaf through the history, or close."""
        field = self.query_one(_Field)
        if what == "close":
            self.close()
            self.post_message(self.Closed())
        elif what == "complete":
            self._finish_word(field)
        elif self._lead == ":":
            field.value = (
                self._history.older(field.value) if what == "older" else self._history.newer()
            )
            field.cursor_position = len(field.value)

    def _finish_word(self, field: Input) -> None:
        """Write what all completions have in common; a single one is written whole."""
        words = self._complete(field.value)
        if not words:
            return
        start = field.value.rfind(" ") + 1
        partial = field.value[start:]
        common = words[0]
        for word in words[1:]:
            while not word.startswith(common):
                common = common[:-1]
        ending = " " if len(words) == 1 and not common.endswith("=") else ""
        if len(common) >= len(partial):
            field.value = field.value[:start] + common + ending
            field.cursor_position = len(field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Offer completions while typing."""
        event.stop()
        if self.is_open and event.value == event.input.value:  # else more was typed since
            self.post_message(self.Completed(self._complete(event.value)))

    def submit(self, text: str) -> None:
        """Hand a line over."""
        self.close()
        if self._lead == ":":
            self._history.add(text)
        self.post_message(self.Submitted(self._lead, text))
