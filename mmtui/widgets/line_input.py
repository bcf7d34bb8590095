"""A line to type on that never holds what a terminal would act upon, and keeps up with typing."""

from __future__ import annotations

from typing import TypeGuard

from rich.cells import cell_len
from textual import events
from textual.geometry import Offset
from textual.widgets import Input

from mmtui.widgets.contained import ContainedWidget

__all__ = ["LineInput", "is_character"]

_LONGEST = 4_000
"""Characters that a line holds; a paste of a megabyte would be drawn with every key."""


class LineInput(ContainedWidget, Input):
    """An input for one line: pasted, completed or remembered control characters become `?`.

    Characters that wait one behind the other come as one key (`KeyQueue`) and are put in
    together: Textual measures and looks through the whole line each time.
    """

    def validate_value(self, value: str) -> str:
        """Textual asks this of each new value; character by character, so cursors stay right."""
        value = value[:_LONGEST]
        return value if value.isprintable() else "".join(map(_harmless, value))

    @property
    def takes_text(self) -> bool:
        """Whether characters that come now are written into the line."""
        return True

    @property
    def cursor_screen_offset(self) -> Offset:
        """Where the next character is written; Textual's is a cell further at the end of a line."""
        at = cell_len(self.value[: self.cursor_position]) - round(self.scroll_x)
        return self.content_region.offset + Offset(at, 0)

    async def _on_key(self, event: events.Key) -> None:
        if not event.is_printable or event.character is None:
            return  # Textual's own handler is called next
        event.stop()
        event.prevent_default()
        self._put_in(event.character)

    def _put_in(self, text: str) -> None:
        """Write what was typed at the cursor, or over what is selected, as far as there is room."""
        start, end = sorted(self.selection)
        room = (self.max_length or _LONGEST) - (len(self.value) - (end - start))
        if room < len(text):
            self.restricted()
        self._restart_blink()
        if text := text[: max(room, 0)]:
            self.replace(text, start, end)


def is_character(message: object) -> TypeGuard[events.Key]:
    """Whether a message is a key that writes a character, or several."""
    return isinstance(message, events.Key) and message.is_printable


def _harmless(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else "?"
