"""The tokens of an expectation, with a cursor that reads them and points at errors."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from sandbox.errors import ExpectationError, Where
from sandbox.scenario.lines import MAX_LINE

__all__ = ["Cursor", "Token", "tokenize", "unexpected"]

_TOKEN = re.compile(
    r"""(?P<string>"[^"]*") | (?P<rule>[A-Z]{1,8}-[0-9]{1,4}\b) | (?P<number>0x[0-9a-fA-F]+|[0-9]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*) | (?P<op>!=|<=|>=|[=<>]) | (?P<punct>[-.,{}:])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of a line; `kind` is a group of the pattern, or `end`."""

    kind: str
    text: str
    column: int


class Cursor:
    """The tokens of a line, read from left to right."""

    def __init__(self, tokens: list[Token], where: Where, end: int) -> None:
        self._tokens = tokens
        self._where = where
        self._end = end
        self._at = 0

    def fail(self, message: str, expected: str | None = None, back: int = 0) -> NoReturn:
        """Raise at the next token, or `back` tokens before it."""
        at = self._at - back
        column = self._tokens[at].column if at < len(self._tokens) else self._end
        raise ExpectationError(message, Where(self._where.file, self._where.line, column), expected)

    def peek(self, ahead: int = 0) -> Token:
        """Return a token ahead; after the last one it is an empty `end` token."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "", self._end)

    def take(self) -> Token:
        """Return the next token and go past it."""
        token = self.peek()
        self._at += token.kind != "end"
        return token

    def skip(self, *texts: str) -> bool:
        """Go past a token if it is one of the texts, outside of strings."""
        token = self.peek()
        found = token.text in texts and token.kind not in ("string", "end")
        self._at += found
        return found

    def need(self, kind: str, expected: str) -> str:
        """Return the text of the next token, which must be of the kind."""
        token = self.peek()
        if token.kind != kind:
            self.fail(unexpected(token), expected)
        return self.take().text

    def need_text(self, text: str, expected: str) -> None:
        """Go past a token that must be there."""
        if not self.skip(text):
            self.fail(unexpected(self.peek()), expected)


def unexpected(token: Token) -> str:
    """Say that a token, or the end of the line, was not expected."""
    return f"unexpected {token.text[:40]!r}" if token.text else "the line ends too early"


def tokenize(line: str, where: Where) -> Cursor:
    """Cut a line into tokens; a `#` outside of a string starts a comment."""
    if len(line) > MAX_LINE:
        place = Where(where.file, where.line, MAX_LINE + 1)
        raise ExpectationError("the line is too long", place, f"at most {MAX_LINE} characters")
    tokens: list[Token] = []
    position, length = 0, len(line)
    while position < length and line[position] != "#":
        if line[position] in " \t":
            position += 1
            continue
        match = _TOKEN.match(line, position)
        if match is None or match.lastgroup is None:
            place = Where(where.file, where.line, position + 1)
            raise ExpectationError(f"unexpected {line[position]!r}", place, "an expectation")
        tokens.append(Token(match.lastgroup, match[0], position + 1))
        position = match.end()
    return Cursor(tokens, where, position + 1)
