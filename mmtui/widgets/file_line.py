"""A line for the name of a file to open."""

from __future__ import annotations

import os
from dataclasses import dataclass

from textual.message import Message
from textual.widgets import Input

from mmtui.widgets.line_input import LineInput

__all__ = ["FileLine"]


class FileLine(LineInput):
    """An input for a path; Enter names it."""

    DEFAULT_CSS = """
    FileLine { height: 1; border: none; padding: 0 1; background: $panel; display: none; }
    FileLine:focus { border: none; }
    FileLine.-open { display: block; }
    """

    @dataclass
    class Named(Message):
        """A file was named."""

        path: str

    def __init__(self) -> None:
        super().__init__(
            placeholder="a file: a preset document, a scenario or a session (~ is your home)",
            compact=True, select_on_focus=False, id="file",
        )  # fmt: skip

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Name the file that was typed."""
        event.stop()
        if path := event.value.strip():
            self.post_message(self.Named(os.path.expanduser(path)))
