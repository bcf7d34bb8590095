"""The grammar of expectations: one line of text to one check."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sandbox.errors import Where
from sandbox.scenario import expect_state as state
from sandbox.scenario.expect_entries import (
    EntriesAre,
    EntriesCount,
    EntriesFolio,
    EntriesHave,
    Span,
)
from sandbox.scenario.expect_run import Peak, RuleCount, RulesHold, Tally
from sandbox.scenario.expect_state import Check, Comparison
from sandbox.scenario.expect_tokens import Cursor, tokenize, unexpected
from sandbox.scenario.expect_values import (
    comparison,
    number,
    one_page,
    operator,
    page_list,
    page_number,
    page_set,
    plain_comparison,
    span,
)
from sandbox.scenario.lines import near

__all__ = ["Parsed", "parse_line"]

_FOLIO = re.compile(r"F[0-9]+")
_PAGE = re.compile(r"page([0-9]{1,9})")
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


def _rule(cursor: Cursor) -> Check:
    rule = cursor.take().text
    cursor.need_text("broken", f"'{rule} broken N'")
    broken = plain_comparison(cursor)
    consecutive = plain_comparison(cursor) if cursor.skip("consecutive") else None
    worst = plain_comparison(cursor) if cursor.skip("worst") else None
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
        return state.Refusal("")
    return state.Refusal(cursor.need("string", 'words of the message in "quotes"')[1:-1])


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
        pages.append(f"{folio}.{page_number(cursor)}")
    return state.HoldIs(token.text, kind, tuple(pages))


def _tally(cursor: Cursor) -> Check:
    what = cursor.need("name", "what to count, such as copy or alloc")
    return Tally(what, comparison(cursor))


def _peak(cursor: Cursor) -> Check:
    folio = None
    if _FOLIO.fullmatch(cursor.peek().text):
        folio = _folio_name(cursor)
        cursor.need_text(".", "'.' and a counter, such as F1.refcount")
    return Peak(folio, _field_name(cursor, tuple(state.FOLIO_FIELDS)), comparison(cursor))


_STATEMENTS: dict[str, Callable[[Cursor], Check]] = {
    "rules": _rules,
    "freed": lambda cursor: state.Freed(_folio_name(cursor)),
    "exited": lambda cursor: state.Exited(_proc_name(cursor)),
    "error": _refusal,
    "hold": _hold,
    "count": _tally,
    "peak": _peak,
    "ret": lambda cursor: state.StepField("ret", comparison(cursor)),
    "out": lambda cursor: state.StepField("out", comparison(cursor)),
    "folios": lambda cursor: state.StepField("folios", comparison(cursor)),
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
        field = _field_name(cursor, state.PAGE_FIELDS)
        return state.FolioField(folio, field, one_page(int(page[1])), comparison(cursor))
    if cursor.skip("pages"):
        pages = page_list(cursor)
        field = _field_name(cursor, state.PAGE_FIELDS)
        return state.FolioField(folio, field, pages, comparison(cursor))
    if cursor.skip("slots"):
        return _slots(cursor, folio)
    field = _field_name(cursor, (*state.FOLIO_FIELDS, *state.PAGE_FIELDS, "slots"))
    if field == "exclusive" and cursor.peek(1).text == "{":
        op = operator(cursor)
        if op not in ("=", "!="):
            cursor.fail(f"sets have no {op}", "= or !=", back=1)
        return state.Exclusive(folio, page_set(cursor), op == "=")
    return state.FolioField(folio, field, None, comparison(cursor))


def _slots(cursor: Cursor, folio: str | None) -> Check:
    """Read `A:15 B:14`; `-` is a free slot and `-1` the raw count of one."""
    slots: list[tuple[str, int] | None] = []
    if cursor.skip("absent"):
        return state.NoSlots(folio)
    while cursor.peek().kind != "end":
        if cursor.skip("-"):
            slots.append(None)
            continue
        proc = _proc_name(cursor)
        cursor.need_text(":", f"':' and a raw count, such as {proc}:15")
        slots.append((proc, number(cursor)))
    if not 1 <= len(slots) <= 2:
        cursor.fail("a folio has two slots", "such as 'slots A:15 B:14' or 'slots A:15 -'")
    return state.Slots(folio, tuple(slots))


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
    return state.ProcField(proc, tuple(path), comparison(cursor))


def _entries(cursor: Cursor, proc: str, region: str) -> Check:
    """Read what follows `A.R`, with pages or without."""
    pages: Span = span(cursor) if cursor.peek().kind == "number" else None
    token = cursor.peek()
    if token.text in _COUNTED:
        cursor.take()
        return EntriesCount(proc, region, pages, token.text, comparison(cursor))
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
        op = operator(cursor)
        if op not in ("=", "!="):
            cursor.fail(f"folios have no {op}", "= or !=", back=1)
        return EntriesFolio(proc, region, pages, None, Comparison(op, _folio_name(cursor)))
    if word == "page":
        cursor.need_text(".", "'.' and a field, such as page.mapcount")
    known = tuple(state.FOLIO_FIELDS) if word == "folio" else state.PAGE_FIELDS
    field = _field_name(cursor, known)
    return EntriesFolio(proc, region, pages, field, comparison(cursor))


def _entries_are(cursor: Cursor, proc: str, region: str, pages: Span) -> Check:
    """Read `[KIND] [FOLIO[.PAGE]] [FLAGS]` after `=`."""
    if cursor.skip("."):
        return EntriesAre(proc, region, pages, "none")
    start = cursor.peek()
    kind = cursor.take().text if start.text in _ENTRY_KINDS else "present"
    folio, page = None, None
    if _FOLIO.fullmatch(cursor.peek().text):
        folio = cursor.take().text
        page = page_number(cursor) if cursor.skip(".") else None
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
