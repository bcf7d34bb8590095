"""A line to type on that never holds what a terminal would act upon."""

from __future__ import annotations

from textual.widgets import Input

from mmtui.widgets.contained import ContainedWidget

__all__ = ["LineInput"]

_LONGEST = 4_000
"""Characters that a line holds; a paste of a megabyte would be drawn with every key."""


class LineInput(ContainedWidget, Input):
    """An input for one line: pasted, completed or remembered control characters become `?`."""

    def validate_value(self, value: str) -> str:
        """Textual asks this of each new value; character by character, so cursors stay right."""
        value = value[:_LONGEST]
        return value if value.isprintable() else "".join(map(_harmless, value))


def _harmless(char: str) -> str:
    if char == "\t":
        return " "
    return char if char.isprintable() else "?"
