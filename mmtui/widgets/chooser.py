"""A list to choose from, narrowed by what is typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from mmtui.views.lines import EMPTY, Line, Lines, clip, join, plain, pure_text, say, wrap_words
from mmtui.widgets.pane import Pane

__all__ = ["Choice", "Chooser"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One row: what it stands for, how it is shown, and what is told about it when chosen.

    What is told may have several lines.
    """

    value: str
    columns: Line
    about: str = ""
    keywords: str = ""
    heading: str = ""
    """What stands above it, and above those after it with the same one."""

    @property
    def haystack(self) -> str:
        """What a filter looks at."""
        return f"{plain(self.columns)} {self.about} {self.keywords}".casefold()


_ABOUT = 8
"""Lines at the bottom, at most, that tell of the chosen row."""


class Chooser(Pane):
    """A list with a cursor, explained at the bottom."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "move(-10)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "move(10)", "Page down", show=False),
        Binding("home,g", "move(-100000)", "Top", show=False),
        Binding("end,G", "move(100000)", "Bottom", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A row was chosen."""

        value: str

    def __init__(self, name: str, title: str, choices: list[Choice]) -> None:
        super().__init__(name, title)
        self._choices = choices
        self._filter = ""
        self._cursor = 0

    @property
    def found(self) -> list[Choice]:
        """The rows that have every word of the filter."""
        words = self._filter.casefold().split()
        return [choice for choice in self._choices if all(w in choice.haystack for w in words)]

    @property
    def chosen(self) -> Choice | None:
        """The row under the cursor."""
        found = self.found
        return found[min(self._cursor, len(found) - 1)] if found else None

    def narrow(self, text: str) -> None:
        """Show only rows with every word of a text."""
        self._filter = text
        self._cursor = 0
        self.update()

    def on_mount(self) -> None:
        """Begin at the first row."""
        self.update()

    def on_resize(self) -> None:
        """Draw to the new width."""
        self._shown = []
        self.update()

    def update(self) -> None:
        """Draw the rows."""
        width, height = self.room
        if width <= 0:
            return
        found = self.found
        self._cursor = max(0, min(self._cursor, len(found) - 1))
        lines: list[Line] = []
        focus, heading = 0, ""
        for index, choice in enumerate(found):
            if choice.heading != heading:
                heading = choice.heading
                lines += [EMPTY] if lines else []
                lines.append(clip(say(f" {heading}", "strong"), width))
            if index == self._cursor:
                focus = len(lines)
            lines.append(self._row(choice, index == self._cursor, width))
        if not found:
            lines = [say(f" nothing has {pure_text(self._filter)!r} in it", "dim")]
        if self._cursor == 0:
            self._top = 0  # the heading of the first row as well
        self.show(Lines(tuple(lines), focus, foot=self._about(width, height)))

    def _about(self, width: int, height: int) -> tuple[Line, ...]:
        """What is told of the chosen row, at the bottom."""
        size = max(0, min(_ABOUT, height // 3 if height < 12 else height // 4 + 1))
        texts = self.chosen.about.split("\n") if self.chosen else []
        told = [say(line) for text in texts for line in wrap_words(text, width, " ", "   ")]
        told = told[: max(size - 1, 0)]
        return (*[EMPTY] * (size - len(told)), *told) if size else ()

    def _row(self, choice: Choice, here: bool, width: int) -> Line:
        row = clip(
            join(((" > " if here else "   ", "current" if here else ""),), choice.columns), width
        )
        if not here:
            return row
        return tuple(
            (text, "current" if index == 0 else f"{token}+strong")
            for index, (text, token) in enumerate(row)
        )

    def go_to(self, value: str) -> bool:
        """Move the cursor to the row that stands for something; whether there is one."""
        for index, choice in enumerate(self.found):
            if choice.value == value:
                self._cursor = index
                self.update()
                return True
        return False

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self._cursor = max(0, min(self._cursor + rows, len(self.found) - 1))
        self.update()

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        if self.chosen is not None:
            self.post_message(self.Chosen(self.chosen.value))
