"""Keys as people type them, and as the screen library names them."""

from __future__ import annotations

__all__ = ["textual_key"]

_NAMES = {
    "]": "right_square_bracket",
    "[": "left_square_bracket",
    "(": "left_parenthesis",
    ")": "right_parenthesis",
    "+": "plus",
    "-": "minus",
    ":": "colon",
    "/": "slash",
    "?": "question_mark",
    "@": "at",
    ".": "full_stop",
    ",": "comma",
    ">": "greater_than_sign",
    "<": "less_than_sign",
}


def textual_key(key: str) -> str:
    """The library's name of a key."""
    return _NAMES.get(key, key)
