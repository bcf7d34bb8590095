"""Styled lines: what a pane is made of before it meets a screen.

A span is a text and a token, the name of a meaning (`changed`, `violation`).  Tokens are
joined by `+` where meanings meet.  A theme says how a token looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = [
    "EMPTY",
    "TOKENS",
    "Changing",
    "Doc",
    "Line",
    "Lines",
    "Span",
    "clip",
    "join",
    "length",
    "ljust",
    "plain",
    "pure_text",
    "say",
    "wrap_line",
    "wrap_words",
]

Span = tuple[str, str]
Line = tuple[Span, ...]
EMPTY: Line = ()

TOKENS = {
    "dim": "what is there but does not matter now",
    "strong": "names and headings",
    "changed": "changed by the last step (marked * as well)",
    "violation": "breaks a rule (marked ! as well)",
    "alarm": "breaks a rule, where it must not be overlooked",
    "window": "breaks a rule in a window that upstream itself has (marked ~ as well)",
    "ok": "an expectation that holds",
    "write": "a writable entry",
    "read": "a read-only entry",
    "excl": "an AnonExclusive page",
    "cont": "the brackets of a CONT block",
    "current": "the line or step that is next",
    "selected": "the selected pages",
    "cursor": "where the cursor is",
    "key": "a key to press",
    "keyword": "a word of the language, in source",
    "string": "a text, in source",
    "number": "a number, in source",
    "block": "inside a block of entries with PTE_CONT",
    "blockedge": "the ends of such a block",
    "pmd": "inside a leaf of the PMD",
    "pmdedge": "the ends of such a leaf",
    "bar": "references that a folio has",
    "done": "the line of the event just done (marked -, * or ! as well)",
}
"""The meanings a span can have, and what each says."""


class Doc(Protocol):
    """Lines that may be made only when they are looked at."""

    @property
    def head(self) -> Sequence[Line]:
        """Lines that stay at the top."""

    @property
    def foot(self) -> Sequence[Line]:
        """Lines that stay at the bottom."""

    @property
    def height(self) -> int:
        """Number of lines that scroll."""

    @property
    def focus(self) -> int | None:
        """The line that should be in sight, if any."""

    @property
    def leaps(self) -> bool:
        """Whether to follow the focus by half a pane, so that lines stay where they are."""

    def line(self, y: int) -> Line:
        """Line *y* of those that scroll, from 0."""


@runtime_checkable
class Changing(Protocol):
    """A document that knows where the last move changed something."""

    @property
    def changed(self) -> Sequence[int]:
        """The lines with a word that the last move changed, ascending."""

    @property
    def goals(self) -> Sequence[int]:
        """The lines to bring into sight after a move, the most important last."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A document whose lines are all there."""

    lines: tuple[Line, ...]
    focus: int | None = None
    head: tuple[Line, ...] = ()
    foot: tuple[Line, ...] = ()
    leaps: bool = False

    @property
    def height(self) -> int:
        """Number of lines that scroll."""
        return len(self.lines)

    def line(self, y: int) -> Line:
        """Line *y*, or an empty one beyond the end."""
        return self.lines[y] if 0 <= y < len(self.lines) else EMPTY


def say(text: str, token: str = "") -> Line:
    """A line of one span."""
    return ((pure_text(text), token),) if text else EMPTY


def pure_text(text: str) -> str:
    """Replace what a terminal would act upon: control characters, and wide or combining ones."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _narrow(c) else "?" for c in text.replace("\t", "    "))


def _narrow(char: str) -> bool:
    """Whether a character is printable and one cell wide (a close and cheap approximation)."""
    if char < "\x7f":
        return char >= " "
    code = ord(char)
    return char.isprintable() and (
        code < 0x300 or 0x370 <= code < 0x1100 or 0x2010 <= code < 0x2E80
    )


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)


def length(line: Line) -> int:
    """Cells of a line; every character is one cell wide."""
    return sum(len(text) for text, _ in line)


def clip(line: Line, width: int) -> Line:
    """Cut a line to *width* cells, with `~` where something is missing."""
    if length(line) <= width:
        return line
    out: list[Span] = []
    left = max(width - 1, 0)
    for text, token in line:
        if left <= 0:
            break
        out.append((text[:left], token))
        left -= len(text)
    if width > 0:
        out.append(("~", "dim"))
    return tuple(out)


def wrap_line(line: Line, width: int, indent: int) -> list[Line]:
    """Break a line at blanks into lines of at most *width* cells; all but the first indented."""
    found: list[Line] = []
    indent = min(indent, max(width // 2, 0))
    while length(line) > width > indent + 1:
        text = plain(line)
        first = len(text) - len(text.lstrip())
        at = text.rfind(" ", max(first, indent) + 1, width + 1)
        at = width if at < 0 else at
        found.append(_part(line, 0, at))
        rest = _part(line, at, len(text))
        skip = len(text[at:]) - len(text[at:].lstrip())
        line = join(((" " * indent, ""),), _part(rest, skip, len(text)))
    return [*found, line]


def _part(line: Line, first: int, after: int) -> Line:
    """The cells of a line from one on and before another."""
    out: list[Span] = []
    at = 0
    for text, token in line:
        piece = text[max(first - at, 0) : max(after - at, 0)]
        if piece:
            out.append((piece, token))
        at += len(text)
    return tuple(out)


def ljust(line: Line, width: int) -> Line:
    """Pad a line with blanks to *width* cells."""
    missing = width - length(line)
    return (*line, (" " * missing, "")) if missing > 0 else line


def join(*parts: Line | Iterable[Span]) -> Line:
    """Put spans together, merging neighbours of one token and dropping empty ones."""
    out: list[Span] = []
    for part in parts:
        for text, token in part:
            if not text:
                continue
            if out and out[-1][1] == token:
                out[-1] = (out[-1][0] + text, token)
            else:
                out.append((text, token))
    return tuple(out)


def wrap_words(text: str, width: int, first: str = "", rest: str | None = None) -> Iterator[str]:
    """Fill lines of at most *width* cells; a word that is longer is cut into pieces."""
    indent = rest if rest is not None else first
    width = max(width, len(indent) + 4)
    line, empty = first, True
    for whole in pure_text(text).split():
        word = whole
        while True:
            gap = 0 if empty else 1
            if len(line) + gap + len(word) <= width:
                line, empty = line + " " * gap + word, False
                break
            if empty:
                cut = width - len(line)
                yield line + word[:cut]
                word = word[cut:]
            else:
                yield line
            line, empty = indent, True
    if not empty or line.strip():
        yield line
