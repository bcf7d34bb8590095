"""The values in an expectation: numbers, pages, errors, and what they are compared with."""

from __future__ import annotations

from sandbox.scenario.expect_state import Comparison, Pages
from sandbox.scenario.expect_tokens import Cursor

__all__ = [
    "comparison",
    "number",
    "one_page",
    "operator",
    "page_list",
    "page_number",
    "page_set",
    "plain_comparison",
    "span",
]

# Linux's own numbers: those of the system that runs the sandbox may differ.
_ERRNO = {
    "EPERM": 1,
    "ENOENT": 2,
    "EIO": 5,
    "EBADF": 9,
    "EAGAIN": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EFAULT": 14,
    "EBUSY": 16,
    "EEXIST": 17,
    "EINVAL": 22,
    "EOPNOTSUPP": 95,
    "EHWPOISON": 133,
}
_MAX_PAGE = 1 << 36
_MAX_PAGES_LISTED = 1 << 18


def number(cursor: Cursor, limit: int = 1 << 63) -> int:
    """Read a decimal or hexadecimal number, with a sign if it has one."""
    negative = cursor.skip("-")
    text = cursor.need("number", "a number")
    value = int(text, 0) if text.startswith("0x") and len(text) <= 18 else _decimal(cursor, text)
    if value > limit:
        cursor.fail(f"the number {text[:40]} is too large", f"at most {limit}", back=1)
    return -value if negative else value


def _decimal(cursor: Cursor, text: str) -> int:
    # int() refuses very long digits, and we say it with a place.
    if len(text) > 19 or not text.isdigit():
        cursor.fail(f"the number {text[:40]} is too large", "at most 19 digits", back=1)
    return int(text)


def page_number(cursor: Cursor) -> int:
    """Read the number of a page."""
    if cursor.peek().text == "-":
        cursor.fail("a page has no sign", "a page number from 0")
    return number(cursor, _MAX_PAGE)


def span(cursor: Cursor) -> tuple[int, int]:
    """Read `5` or `0-15`: the first and the last page."""
    first = page_number(cursor)
    last = page_number(cursor) if cursor.skip("-") else first
    if last < first:
        cursor.fail(f"pages {first}-{last} run backwards", f"{last}-{first}", back=1)
    return first, last


def page_list(cursor: Cursor) -> Pages:
    """Read `0-4,6-15` to runs of pages, in ascending order and none of them twice."""
    runs: list[tuple[int, int]] = []
    while True:
        first, last = span(cursor)
        if last - first >= _MAX_PAGES_LISTED:
            cursor.fail("too many pages", f"at most {_MAX_PAGES_LISTED}", back=1)
        runs.append((first, last))
        if not cursor.skip(","):
            break
    merged: list[range] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, last + 1))
        else:
            merged.append(range(first, last + 1))
    return tuple(merged)


def one_page(page: int) -> Pages:
    """A set of one page."""
    return (range(page, page + 1),)


def page_set(cursor: Cursor) -> Pages:
    """Read `{0-4, 7}`."""
    cursor.need_text("{", "a set of pages such as {5} or {}")
    if cursor.skip("}"):
        return ()
    pages = page_list(cursor)
    cursor.need_text("}", "'}'")
    return pages


def operator(cursor: Cursor) -> str:
    """Read how something is compared."""
    return cursor.need("op", "a comparison: = != < <= > >=")


def comparison(cursor: Cursor) -> Comparison:
    """Read `= 32`, `!= true`, `= -EAGAIN`, `= "3x16"`, `= anon` or `absent`."""
    if cursor.skip("absent"):
        return Comparison("=", None)
    op = operator(cursor)
    token = cursor.peek()
    if token.text == "-" and cursor.peek(1).kind == "name":
        cursor.take()
        return Comparison(op, -_errno(cursor))
    if token.kind == "number" or token.text == "-":
        return Comparison(op, number(cursor))
    if op not in ("=", "!="):
        cursor.fail(f"{op} needs a number, not {token.text[:40]!r}", "a number")
    if token.kind == "string":
        return Comparison(op, cursor.take().text[1:-1])
    text = cursor.need("name", "a number, true, false, or a word")
    return Comparison(op, {"true": True, "false": False}.get(text, text))


def _errno(cursor: Cursor) -> int:
    """Read the name of an error number, such as EAGAIN."""
    name = cursor.need("name", "the name of an error, such as EAGAIN")
    if name not in _ERRNO:
        expected = f"a number, or one of {', '.join(_ERRNO)}"
        cursor.fail(f"unknown error {name[:40]!r}", expected, back=1)
    return _ERRNO[name]


def plain_comparison(cursor: Cursor) -> Comparison:
    """Read a number to be equal to, or an operator and a number."""
    return Comparison("=" if cursor.peek().kind != "op" else operator(cursor), number(cursor))
