"""Lines of words with their places, and errors that point into them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from sandbox.errors import ScenarioError, Where

__all__ = ["MAX_LINE", "Budget", "Line", "Word", "near", "quote", "read_line", "read_lines"]

MAX_LINE = 1_000_000
"""Characters of a line that is read word by word; the schedule of a long action has many."""

_MAX_ACTIONS = 100_000
_MAX_SCHEDULE = 1_000_000


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
    code: str = ""
    """The line as it was written, without its comment."""

    def fail(self, column: int, message: str, expected: str | None = None) -> NoReturn:
        """Raise a `ScenarioError` at a column of the line."""
        raise ScenarioError(message, Where(self.where.file, self.where.line, column), expected)


class Budget:
    """What a document may still have: a short text can ask for more than a memory holds."""

    __slots__ = ("actions", "blocks", "expectations", "turns")

    def __init__(self) -> None:
        self.actions = _MAX_ACTIONS
        """Actions, of all its scenarios or blocks."""
        self.blocks = _MAX_ACTIONS
        """Blocks of a preset, of actions and of expectations."""
        self.expectations = _MAX_ACTIONS
        """Lines of its blocks of expectations."""
        self.turns = _MAX_SCHEDULE
        """Events that its schedules give to a CPU."""

    def take_action(self, line: Line) -> None:
        """Count an action; raises `ScenarioError` at the first that is too many."""
        self.actions -= 1
        if self.actions < 0:
            message = "too many actions in one document"
            line.fail(line.where.column, message, f"at most {_MAX_ACTIONS}")

    def take_turns(self, line: Line, word: Word, count: int) -> None:
        """Count events of a schedule; raises `ScenarioError` where there are too many."""
        self.turns -= count
        if self.turns < 0:
            expected = f"at most {_MAX_SCHEDULE} events in one document"
            line.fail(word.column, "the schedule is too long", expected)


def quote(word: str) -> str:
    """Return a word of the text as an error shows it: printable and not too long."""
    return repr(word if len(word) <= 40 else word[:37] + "...")


def read_line(text: str, filename: str, number: int) -> Line:
    """Cut one line into words; only spaces and tabs separate them."""
    if len(text) > MAX_LINE:
        where = Where(filename, number, MAX_LINE + 1)
        raise ScenarioError("the line is too long", where, f"at most {MAX_LINE} characters")
    code = text.rstrip("\r").partition("#")[0]
    words = tuple(Word(m[0], m.start() + 1) for m in re.finditer(r"[^ \t]+", code))
    column = words[0].column if words else 1
    end = words[-1].column + len(words[-1].text) if words else 1
    return Line(words, Where(filename, number, column), end, code)


def read_lines(text: str, filename: str, first_line: int) -> Iterable[Line]:
    """Yield the lines that are not empty."""
    start, number = int(text.startswith("\ufeff")), first_line
    while start < len(text):  # no list of all lines: there may be millions
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        # Most lines that have no words are empty or a comment, and need no closer look.
        if end > start and text[start] != "#":
            read = read_line(text[start:end], filename, number)
            if read.words:
                yield read
        start, number = end + 1, number + 1


def near(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known word that is nearest, or nothing."""
    # Imported here: only an error needs it, and start-up time counts.
    from difflib import get_close_matches

    found = get_close_matches(word[:40].lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""
