"""Markdown prose as styled lines: paragraphs, headings, lists and verbatim blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from mmtui.views.lines import EMPTY, Line, clip, join, pure_text, say, wrap_words

__all__ = ["prose_lines"]

_ITEM = re.compile(r"( *)([-*+]|[0-9]+\.) +(.*)")
_INLINE = re.compile(r"(\*\*|`|(?<![\w*])\*(?=\w)|(?<=\w)\*(?![\w*]))")


@lru_cache(maxsize=512)
def prose_lines(text: str, width: int) -> tuple[Line, ...]:
    """Wrap Markdown to a width; what is not understood is shown as it is."""
    lines: list[Line] = []
    for table, rows in _pieces(text):
        if table:
            lines.extend(_table(rows, width))
        else:
            _prose(lines, rows, width)
    return tuple(lines)


def _pieces(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines, and whether they are a table."""
    run: list[str] = []
    verbatim = was = False
    for raw in text.split("\n"):
        verbatim ^= raw.startswith("```")
        table = raw.startswith("|") and not verbatim
        if run and table is not was:
            yield was, run
            run = []
        run.append(raw)
        was = table
    yield was, run


def _prose(lines: list[Line], rows: list[str], width: int) -> None:
    """Add what is no table."""
    paragraph: list[str] = []
    verbatim = False

    def flush() -> None:
        if paragraph:
            lines.extend(_paragraph(" ".join(paragraph), width))
            paragraph.clear()

    for raw in rows:
        line = raw.rstrip()
        if line.startswith("```"):
            flush()
            verbatim = not verbatim
        elif verbatim:
            flush()
            lines.append(clip(say(" " + line), width))
        elif not line:
            flush()
            if lines and lines[-1]:
                lines.append(EMPTY)
        elif line.startswith("#"):
            flush()
            lines.append(clip(say(" " + line.lstrip("# "), "strong"), width))
        elif _begins_item(line, paragraph):
            flush()
            paragraph.append(line)
        else:
            paragraph.append(line.strip() if paragraph else line)
    flush()


def _table(rows: list[str], width: int) -> Iterator[Line]:
    """A table in columns; what does not fit is wrapped within its column."""
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    count = max(len(row) for row in cells)
    texts = [row + [""] * (count - len(row)) for row in cells if any(c.strip("-: ") for c in row)]
    if not texts:
        return
    sizes = [max(4, *(len(row[i]) for row in texts)) for i in range(count)]
    while sum(sizes) + 2 * count > width and max(sizes) > 4:
        sizes[sizes.index(max(sizes))] -= 1
    for number, row in enumerate(texts):
        wrapped = [list(wrap_words(cell, size)) for cell, size in zip(row, sizes, strict=True)]
        for y in range(max(1, *map(len, wrapped))):
            parts = (
                f"{column[y] if y < len(column) else '':<{size}}"
                for column, size in zip(wrapped, sizes, strict=True)
            )
            line = " " + "  ".join(parts).rstrip()
            yield clip(say(line, "" if number else "strong"), width)


def _begins_item(line: str, paragraph: list[str]) -> bool:
    """Whether a line begins a list item; inside a paragraph a number does so only from 1 on."""
    item = _ITEM.fullmatch(line)
    if item is None or not paragraph or not item[2][0].isdigit() or item[2] == "1.":
        return item is not None
    before = _ITEM.fullmatch(paragraph[0])
    return before is not None and before[2][0].isdigit()


def _paragraph(text: str, width: int) -> Iterator[Line]:
    item = _ITEM.fullmatch(text)
    first, rest = " ", " "
    if item is not None:
        first = f" {item[1]}{item[2]} "
        rest = " " * len(first)
        text = item[3]
    return _fill(_words(text), width, first, rest)


def _words(text: str) -> Iterator[Line]:
    """Words as spans; `**` and backquotes switch the token and vanish."""
    token = ""
    word: list[tuple[str, str]] = []
    for piece in _INLINE.split(pure_text(text)):
        if piece in ("**", "*", "`"):
            token = "" if token else "strong"
            continue
        for part in re.split(r"( +)", piece):
            if part.isspace():
                if word:
                    yield tuple(word)
                word = []
            elif part:
                word.append((part, token))
    if word:
        yield tuple(word)


def _fill(words: Iterator[Line], width: int, first: str, rest: str) -> Iterator[Line]:
    line: list[tuple[str, str]] = [(first, "")]
    used, fresh = len(first), True
    for word in words:
        size = sum(len(text) for text, _ in word)
        if not fresh and used + 1 + size > width:
            yield clip(join(line), width)
            line, used, fresh = [(rest, "")], len(rest), True
        if not fresh:
            line.append((" ", ""))
            used += 1
        line += word
        used += size
        fresh = False
    yield clip(join(line), width)
