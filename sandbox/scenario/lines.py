"""Lines of words with their places, and errors that point into them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from sandbox.errors import ScenarioError, Where

__all__ = ["Line", "Word", "near", "quote", "read_line", "read_lines"]


class Word(NamedTuple):
    """A word of a line with its column, which counts from 1."""

    text: str
    column: int


class Line(NamedTuple):
    """The words of one line, its comment removed."""

    words: tuple[Word, ...]
    where: Where
    end: int
    """The column after the last word: where something is missing."""

    def fail(self, column: int, message: str, expected: str | None = None) -> NoReturn:
        """Raise a `ScenarioError` at a column of the line."""
        raise ScenarioError(message, Where(self.where.file, self.where.line, column), expected)


def quote(word: str) -> str:
    """Return a word of the text as an error shows it: printable and not too long."""
    return repr(word if len(word) <= 40 else word[:37] + "...")


def read_line(text: str, filename: str, number: int) -> Line:
    """Cut one line into words; only spaces and tabs separate them."""
    code = text.rstrip("\r").split("#", 1)[0]
    words = tuple(Word(m[0], m.start() + 1) for m in re.finditer(r"[^ \t]+", code))
    column = words[0].column if words else 1
    end = words[-1].column + len(words[-1].text) if words else 1
    return Line(words, Where(filename, number, column), end)


def read_lines(text: str, filename: str, first_line: int) -> Iterable[Line]:
    """Yield the lines that are not empty."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), first_line):
        read = read_line(line, filename, number)
        if read.words:
            yield read


def near(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known word that is nearest, or nothing."""
    # Imported here: only an error needs it, and start-up time counts.
    from difflib import get_close_matches

    found = get_close_matches(word[:40].lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""
