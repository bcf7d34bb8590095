"""The text of a function as it is shown: which lines of it, and what its words are."""

from __future__ import annotations

import linecache
from functools import lru_cache

from mmtui.views.lines import Line, pure_text

__all__ = ["code_lines", "source_line", "window"]

_TOKENS = (
    ("Comment", "dim"),
    ("Literal.String", "string"),
    ("Literal.Number", "number"),
    ("Keyword", "keyword"),
    ("Name.Function", "strong"),
    ("Name.Builtin", "keyword"),
)
"""The tokens of this application for those of Pygments, the first that fits."""


def source_line(filename: str, number: int) -> str:
    """A line of a file without indentation, empty if there is none."""
    return pure_text(linecache.getline(filename, number).strip())


def window(text: list[str], lines: tuple[int, int | None], room: int) -> int:
    """The first line to show (from 0) so that the first of *lines* is in sight.

    It depends on where the function begins, so that the text stands still within it; in a long
    one the window moves half a pane at a time, or as far as the second line can be seen, too.
    """
    current, other = lines
    current = min(current, len(text) - 1)  # a file may have been cut since it was run
    begin = start = _start(text, current)
    half = max(room // 2, 1)
    if current - start >= room - 1:
        start += (current - start) // half * half - min(2, half - 1)
    if other is not None and other >= begin and not start <= other < start + room:
        low, high = sorted((current, other))
        if high - low < room:
            start = low if other < start else high - room + 1
    return max(0, min(start, len(text) - room))


def _start(text: list[str], line: int) -> int:
    while line > 0 and not text[line].lstrip().startswith("def "):
        line -= 1
    return line


def code_lines(text: list[str], lines: range) -> list[Line]:
    """Lines of a file (from 0) with the colours of their words; each function is read once."""
    found: list[Line] = []
    start = end = -1
    coloured: tuple[Line, ...] = ()
    for line in lines:
        if not start <= line < end:
            start = _start(text, line)
            indent = len(text[start]) - len(text[start].lstrip())
            end = line + 1
            while end < len(text) and not _begins(text[end], indent):
                end += 1
            coloured = _coloured("".join(text[start:end]))
        found.append(coloured[line - start] if line - start < len(coloured) else ())
    return found


def _begins(line: str, indent: int) -> bool:
    """Whether something else begins at a line, that stands no deeper than the function."""
    bare = line.lstrip()
    return bool(bare) and len(line) - len(bare) <= indent and bare[0] not in "):]#"


@lru_cache(maxsize=256)
def _coloured(text: str) -> tuple[Line, ...]:
    """Each line of a function with tokens."""
    from pygments.lexers.python import PythonLexer  # 50 ms, and no start-up needs it

    lines: list[Line] = []
    spans: list[tuple[str, str]] = []
    for kind, value in PythonLexer(stripnl=False).get_tokens(text):
        name = str(kind).removeprefix("Token.")
        token = next((ours for theirs, ours in _TOKENS if name.startswith(theirs)), "")
        for number, part in enumerate(value.split("\n")):
            if number:
                lines.append(tuple(spans))
                spans = []
            if part:
                spans.append((pure_text(part), token))
    return tuple(lines)
