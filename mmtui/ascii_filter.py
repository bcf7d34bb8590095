"""What is drawn on a terminal that shows ASCII alone: the last door, through which all lines go.

The views draw with the shapes of `mmtui.views.glyphs`; borders, scroll bars and what Textual's own
widgets draw are put into ASCII here, and so is what a document or a file name has in it.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

__all__ = ["AsciiFilter", "in_ascii"]

_SHAPES = str.maketrans(
    {
        **dict.fromkeys("─╌┄┈╴╶", "-"),
        **dict.fromkeys("━═╍┅┉▔▁", "="),
        **dict.fromkeys("│┃║╎╏▏▕", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┣┫┳┻╋╔╗╚╝", "+"),
        **dict.fromkeys("█▉▊▋▌▐▀▄■", "#"),
        **dict.fromkeys("░▒▓", "="),
        **dict.fromkeys("…·•", "."),
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u201c\u201d", '"'),
        **dict.fromkeys("\u2013\u2014\u2212", "-"),
        "▲": "^", "▼": "v", "◀": "<", "▶": ">", "→": ">", "←": "<", "↑": "^", "↓": "v",
        "\u00d7": "x", "≥": ">", "≤": "<", "\N{NO-BREAK SPACE}": " ",
    }
)  # fmt: skip


@lru_cache(4096)
def in_ascii(text: str) -> str:
    """A text with one ASCII character for each cell: the shape nearest to it, else `?`."""
    if text.isascii():
        return text
    shaped = text.translate(_SHAPES)
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in shaped)


class AsciiFilter(LineFilter):
    """Puts segments into ASCII, cell by cell."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments with other texts."""
        if all(text.isascii() for text, _, _ in segments):
            return segments
        return [Segment(in_ascii(text), style, control) for text, style, control in segments]
