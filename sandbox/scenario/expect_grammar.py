"""The grammar of expectations: one line of text to one check."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sandbox.errors import Where
from sandbox.scenario import checks
from sandbox.scenario.checks import Check, Comparison, Pages
from sandbox.scenario.entry_checks import (
    EntriesAre,
    EntriesCount,
    EntriesFolio,
    EntriesHave,
    Span,
)
from sandbox.scenario.expect_tokens import Cursor, tokenize, unexpected
from sandbox.scenario.lines import near
from sandbox.scenario.run_checks import Peak, RuleCount, RulesHold, Tally

__all__ = ["Parsed", "parse_line"]

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
_FOLIO = re.compile(r"F[0-9]+")
_PAGE = re.compile(r"page([0-9]{1,9})")
_MAX_PAGE = 1 << 36
_MAX_PAGES_LISTED = 1 << 18
_FLAG_WORDS = ("RW", "RO", "D", "Y", "C")
_ENTRY_KINDS = ("none", "zero", "swap", "migration", "protnone", "special", "pmd")
_COUNTED = ("cont", "present", "writable")


class Parsed(NamedTuple):
    """A line that is an expectation."""

    text: str
    where: Where
    check: Check


def parse_line(line: str, filename: str, number: int) -> Parsed | None:
    """Read one line; return None if it is empty.  Raises `ExpectationError`."""
    indent = len(line) - len(line.lstrip(" \t"))
    where = Where(filename, number, indent + 1)
    cursor = tokenize(line, where)
    if cursor.peek().kind == "end":
        return None
    check = _statement(cursor)
    if cursor.peek().kind != "end":
        cursor.fail(unexpected(cursor.peek()), "nothing more on the line")
    text = line[indent : cursor.peek().column - 1].strip()
    return Parsed(text, where, check)


def _statement(cursor: Cursor) -> Check:
    token = cursor.peek()
    if token.kind == "rule":
        return _rule(cursor)
    if token.kind != "name":
        cursor.fail(unexpected(token), "an expectation such as 'refcount = 32'")
    word = _STATEMENTS.get(token.text)
    # `F1.deferred` and the like start with other words: these stand alone.
    if word is not None:
        cursor.take()
        return word(cursor)
    if _FOLIO.fullmatch(token.text):
        cursor.take()
        cursor.need_text(".", "'.' and a field, such as F1.refcount")
        return _folio_field(cursor, token.text)
    if token.text.isupper():
        cursor.take()
        cursor.need_text(".", "'.' and a region or field, such as A.R or A.rss.anon")
        return _process(cursor, token.text)
    return _folio_field(cursor, None)


def _number(cursor: Cursor, limit: int = 1 << 63) -> int:
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


def _page_number(cursor: Cursor) -> int:
    if cursor.peek().text == "-":
        cursor.fail("a page has no sign", "a page number from 0")
    return _number(cursor, _MAX_PAGE)


def _span(cursor: Cursor) -> tuple[int, int]:
    """Read `5` or `0-15`: the first and the last page."""
    first = _page_number(cursor)
    last = _page_number(cursor) if cursor.skip("-") else first
    if last < first:
        cursor.fail(f"pages {first}-{last} run backwards", f"{last}-{first}", back=1)
    return first, last


def _page_list(cursor: Cursor) -> Pages:
    """Read `0-4,6-15` to runs of pages, in ascending order and none of them twice."""
    runs: list[tuple[int, int]] = []
    while True:
        first, last = _span(cursor)
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


def _one_page(page: int) -> Pages:
    return (range(page, page + 1),)


def _page_set(cursor: Cursor) -> Pages:
    """Read `{0-4, 7}`."""
    cursor.need_text("{", "a set of pages such as {5} or {}")
    if cursor.skip("}"):
        return ()
    pages = _page_list(cursor)
    cursor.need_text("}", "'}'")
    return pages


def _operator(cursor: Cursor) -> str:
    return cursor.need("op", "a comparison: = != < <= > >=")


def _comparison(cursor: Cursor) -> Comparison:
    """Read `= 32`, `!= true`, `= -EAGAIN`, `= "3x16"`, `= anon` or `absent`."""
    if cursor.skip("absent"):
        return Comparison("=", None)
    op = _operator(cursor)
    token = cursor.peek()
    if token.text == "-" and cursor.peek(1).kind == "name":
        cursor.take()
        return Comparison(op, -_errno(cursor))
    if token.kind == "number" or token.text == "-":
        return Comparison(op, _number(cursor))
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


def _plain_comparison(cursor: Cursor) -> Comparison:
    """Read a number to be equal to, or an operator and a number."""
    return Comparison("=" if cursor.peek().kind != "op" else _operator(cursor), _number(cursor))


def _rule(cursor: Cursor) -> Check:
    rule = cursor.take().text
    cursor.need_text("broken", f"'{rule} broken N'")
    broken = _plain_comparison(cursor)
    consecutive = _plain_comparison(cursor) if cursor.skip("consecutive") else None
    worst = _plain_comparison(cursor) if cursor.skip("worst") else None
    in_step = cursor.skip("in")
    if in_step:
        cursor.need_text("this", "'in this step'")
        cursor.need_text("step", "'in this step'")
    return RuleCount(rule, broken, consecutive, worst, in_step)


def _rules(cursor: Cursor) -> Check:
    cursor.need_text("ok", "'rules ok'")
    return RulesHold()


def _folio_name(cursor: Cursor) -> str:
    name = cursor.need("name", "a folio such as F1")
    if not _FOLIO.fullmatch(name):
        cursor.fail(f"{name[:40]!r} is no folio", "a folio such as F1", back=1)
    return name


def _proc_name(cursor: Cursor) -> str:
    name = cursor.need("name", "a process such as B")
    if not name.isupper():
        cursor.fail(f"{name[:40]!r} is no process", "an upper-case word such as B", back=1)
    return name


def _refusal(cursor: Cursor) -> Check:
    if cursor.peek().kind == "end":
        return checks.Refusal("")
    return checks.Refusal(cursor.need("string", 'words of the message in "quotes"')[1:-1])


def _hold(cursor: Cursor) -> Check:
    token = cursor.take()
    if token.kind not in ("number", "name"):
        cursor.fail(unexpected(token), "the id of a pin, such as 1", back=token.kind != "end")
    cursor.need_text("=", f"'hold {token.text} = pin F1.5'")
    kind = cursor.need("name", "pin, get or none")
    if kind not in ("pin", "get", "none"):
        cursor.fail(f"{kind[:40]!r} is no kind of hold", "pin, get or none", back=1)
    pages: list[str] = []
    while kind != "none" and cursor.peek().kind == "name":
        folio = _folio_name(cursor)
        cursor.need_text(".", "'.' and a page, such as F1.5")
        pages.append(f"{folio}.{_page_number(cursor)}")
    return checks.HoldIs(token.text, kind, tuple(pages))


def _tally(cursor: Cursor) -> Check:
    what = cursor.need("name", "what to count, such as copy or alloc")
    return Tally(what, _comparison(cursor))


def _peak(cursor: Cursor) -> Check:
    folio = None
    if _FOLIO.fullmatch(cursor.peek().text):
        folio = _folio_name(cursor)
        cursor.need_text(".", "'.' and a counter, such as F1.refcount")
    return Peak(folio, _field_name(cursor, tuple(checks.FOLIO_FIELDS)), _comparison(cursor))


_STATEMENTS: dict[str, Callable[[Cursor], Check]] = {
    "rules": _rules,
    "freed": lambda cursor: checks.Freed(_folio_name(cursor)),
    "exited": lambda cursor: checks.Exited(_proc_name(cursor)),
    "error": _refusal,
    "hold": _hold,
    "count": _tally,
    "peak": _peak,
    "ret": lambda cursor: checks.StepField("ret", _comparison(cursor)),
    "out": lambda cursor: checks.StepField("out", _comparison(cursor)),
    "folios": lambda cursor: checks.StepField("folios", _comparison(cursor)),
}


def _field_name(cursor: Cursor, known: tuple[str, ...]) -> str:
    """Read a field; the kernel's own spelling with `_` in front is the same field."""
    name = cursor.need("name", f"a field: {', '.join(known[:6])} ...")
    plain = name.removeprefix("_")
    if plain not in known:
        expected = f"one of {', '.join(known)}"
        cursor.fail(f"unknown field {name[:40]!r}{near(plain, known)}", expected, back=1)
    return plain


def _folio_field(cursor: Cursor, folio: str | None) -> Check:
    """Read what follows `F1.`, or a line about the folio that needs no name."""
    text = cursor.peek().text
    if page := _PAGE.fullmatch(text):
        cursor.take()
        cursor.need_text(".", f"'.' and a field, such as {text}.mapcount")
        field = _field_name(cursor, checks.PAGE_FIELDS)
        return checks.FolioField(folio, field, _one_page(int(page[1])), _comparison(cursor))
    if cursor.skip("pages"):
        pages = _page_list(cursor)
        field = _field_name(cursor, checks.PAGE_FIELDS)
        return checks.FolioField(folio, field, pages, _comparison(cursor))
    if cursor.skip("slots"):
        return _slots(cursor, folio)
    field = _field_name(cursor, (*checks.FOLIO_FIELDS, *checks.PAGE_FIELDS, "slots"))
    if field == "exclusive" and cursor.peek(1).text == "{":
        op = _operator(cursor)
        if op not in ("=", "!="):
            cursor.fail(f"sets have no {op}", "= or !=", back=1)
        return checks.Exclusive(folio, _page_set(cursor), op == "=")
    return checks.FolioField(folio, field, None, _comparison(cursor))


def _slots(cursor: Cursor, folio: str | None) -> Check:
    """Read `A:15 B:14`; `-` is a free slot and `-1` the raw count of one."""
    slots: list[tuple[str, int] | None] = []
    if cursor.skip("absent"):
        return checks.NoSlots(folio)
    while cursor.peek().kind != "end":
        if cursor.skip("-"):
            slots.append(None)
            continue
        proc = _proc_name(cursor)
        cursor.need_text(":", f"':' and a raw count, such as {proc}:15")
        slots.append((proc, _number(cursor)))
    if not 1 <= len(slots) <= 2:
        cursor.fail("a folio has two slots", "such as 'slots A:15 B:14' or 'slots A:15 -'")
    return checks.Slots(folio, tuple(slots))


def _process(cursor: Cursor, proc: str) -> Check:
    """Read what follows `A.`: a field of the process or a region."""
    name = cursor.need("name", "a region such as R, or rss.anon, has_pinned, folios")
    if name.isupper():
        return _entries(cursor, proc, name)
    path = [name]
    while cursor.skip("."):
        path.append(cursor.need("name", "a field, such as anon"))
    known = {
        "folios",
        "has_pinned",
        "pinned_vm",
        "locked_vm",
        "rss.anon",
        "rss.file",
        "rss.shmem",
        "rss.swap",
    }
    field = ".".join(path)
    if field not in known:
        message = f"a process has no {field[:40]!r}{near(field, known)}"
        cursor.fail(message, f"one of {', '.join(sorted(known))}", back=1)
    return checks.ProcField(proc, tuple(path), _comparison(cursor))


def _entries(cursor: Cursor, proc: str, region: str) -> Check:
    """Read what follows `A.R`, with pages or without."""
    pages: Span = _span(cursor) if cursor.peek().kind == "number" else None
    token = cursor.peek()
    if token.text in _COUNTED:
        cursor.take()
        return EntriesCount(proc, region, pages, token.text, _comparison(cursor))
    if cursor.skip("has", "lacks"):
        words = _flag_words(cursor)
        if not words:
            cursor.fail(unexpected(cursor.peek()), "flags: RW RO D Y C")
        return EntriesHave(proc, region, pages, words, token.text == "has")
    if cursor.skip("folio", "page"):
        return _entries_folio(cursor, proc, region, pages, token.text)
    expected = "'= F1 RO D', 'has C', 'lacks C', 'cont = 16', 'folio != F1' or 'page.FIELD = N'"
    cursor.need_text("=", expected)
    return _entries_are(cursor, proc, region, pages)


def _entries_folio(cursor: Cursor, proc: str, region: str, pages: Span, word: str) -> Check:
    if word == "folio" and not cursor.skip("."):
        op = _operator(cursor)
        if op not in ("=", "!="):
            cursor.fail(f"folios have no {op}", "= or !=", back=1)
        return EntriesFolio(proc, region, pages, None, Comparison(op, _folio_name(cursor)))
    if word == "page":
        cursor.need_text(".", "'.' and a field, such as page.mapcount")
    known = tuple(checks.FOLIO_FIELDS) if word == "folio" else checks.PAGE_FIELDS
    field = _field_name(cursor, known)
    return EntriesFolio(proc, region, pages, field, _comparison(cursor))


def _entries_are(cursor: Cursor, proc: str, region: str, pages: Span) -> Check:
    """Read `[KIND] [FOLIO[.PAGE]] [FLAGS]` after `=`."""
    if cursor.skip("."):
        return EntriesAre(proc, region, pages, "none")
    start = cursor.peek()
    kind = cursor.take().text if start.text in _ENTRY_KINDS else "present"
    folio, page = None, None
    if _FOLIO.fullmatch(cursor.peek().text):
        folio = cursor.take().text
        page = _page_number(cursor) if cursor.skip(".") else None
    words = _flag_words(cursor)
    if cursor.peek().column == start.column:
        expected = f"a folio, flags ({' '.join(_FLAG_WORDS)}), or {', '.join(_ENTRY_KINDS)}"
        cursor.fail(unexpected(start), expected)
    return EntriesAre(proc, region, pages, kind, folio, page, words or None)


def _flag_words(cursor: Cursor) -> frozenset[str]:
    words: set[str] = set()
    while cursor.peek().kind == "name" and cursor.peek().text in _FLAG_WORDS:
        words.add(cursor.take().text)
    return frozenset(words)
