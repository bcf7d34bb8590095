r"""Text made safe for a terminal: what it would act upon is spelled out.

A document, a file's name or a person's kernel can have any character in any text.  C0 and C1
control characters, DEL, and the controls of writing direction are shown as `\u001b`, a spelling
that JSON reads back as the very character; a lone surrogate (a byte of a file's name that is no
UTF-8) is shown in the same way.  This is the one place that knows which characters these are.
"""

from __future__ import annotations

import re

__all__ = ["LINE_LIMIT", "one_line", "printable", "short"]

LINE_LIMIT = 480
"""Characters of an error's line; a message that lists every kernel has some 400."""

_WORD_LIMIT = 200
"""Characters of a word in such a line: the path of a file is one."""

_ACTED_UPON = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f]"
)
"""All of C0 but tab and newline, DEL, C1, the controls of format (category Cf: direction of
writing, invisible characters and tags), line separators, lone surrogates."""

_LONG_WORD = re.compile(rf"\S{{{_WORD_LIMIT + 1},}}")


def printable(text: str) -> str:
    """Spell out every character that a terminal would act upon, but for newlines and tabs."""
    return _ACTED_UPON.sub(_spelled, text)


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Make a text one printable line of at most so many characters, what is cut being `...`."""
    # A word of megabytes is cut before it is looked at character by character.
    words = " ".join(_LONG_WORD.sub(lambda match: short(match[0], _WORD_LIMIT), text).split())
    return short(printable(short(words, 4 * limit)), limit)


def short(text: str, limit: int) -> str:
    """Cut a text in its middle: both its ends say something (a folder and a file, say)."""
    if len(text) <= limit:
        return text
    head = (limit - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"


def _spelled(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
