"""The front matter of a preset: TOML between `+++` lines, read strictly."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple, NoReturn

from sandbox.errors import PresetError, Where
from sandbox.kernels import KERNEL_IDS, is_file_name, is_known, must_be_named
from sandbox.printable import short
from sandbox.scenario.lines import near

__all__ = ["FrontMatter", "Mail", "check_kernels", "read_front_matter"]

_MARK = "+++"
_KEYS = ("title", "number", "part", "kernels", "tags", "summary", "mails")
_MAIL_KEYS = ("author", "date", "id", "subject")
_MAX_LINES, _MAX_LINE = 1_000, 2_000
"""Lines of front matter and characters of each: TOML's dotted keys take the square of a line."""

_MAX_NUMBER = 9_999
_TOML_PLACE = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)$")


class Mail(NamedTuple):
    """A mail that a preset tells of; `id` is the message-id without angle brackets."""

    author: str
    date: str
    id: str
    subject: str = ""


class FrontMatter(NamedTuple):
    """What stands before the story."""

    title: str
    number: int | None
    kernels: tuple[str, ...]
    mails: tuple[Mail, ...]
    tags: tuple[str, ...]
    summary: str
    part: str = ""
    """Which part of the course it belongs to; empty for a document of one's own."""


class _Reader(NamedTuple):
    """The decoded table with the lines that it came from, for places in errors."""

    table: Mapping[str, object]
    lines: Sequence[str]
    filename: str

    def fail(self, key: str, message: str, expected: str) -> NoReturn:
        """Raise at the first line that starts with the key, or at the first of all."""
        starts = (n for n, line in enumerate(self.lines, 2) if _has_key(line, key))
        raise PresetError(message, Where(self.filename, next(starts, 1), 1), expected)

    def text(self, key: str) -> str:
        value = self.table.get(key)
        if not isinstance(value, str) or not value.strip():
            self.fail(key, f"{key} is {_shown(value)}", f'{key} = "..."')
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(key, f"{key} is {_shown(value)}", f'{key} = ["...", "..."]')
        return tuple(str(item) for item in value)

    def known(self, table: Mapping[str, object], keys: Sequence[str]) -> None:
        for key in table:
            if key not in keys:
                message = f"unknown key {key[:40]!r}{near(key, keys)}"
                self.fail(key, message, f"one of {', '.join(keys)}")


def _has_key(line: str, key: str) -> bool:
    return re.match(rf"\s*(\[\[)?{re.escape(key)}\b", line) is not None


def _shown(value: object) -> str:
    """Show a value as it was read; one that is nested or very long only by its kind."""
    if value is None:
        return "missing"
    if isinstance(value, dict | list):
        return f"a {'table' if isinstance(value, dict) else 'list'}"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "too large"  # Python itself refuses to write thousands of digits
    return f"{str(value)[:40]!r}"


def _split(lines: Sequence[str], filename: str) -> int:
    """Return the index of the line that closes the front matter."""
    if not lines or lines[0].rstrip() != _MARK:
        where = Where(filename, 1, 1)
        expected = f"a first line {_MARK} (a scenario file is for `mmtui run`)"
        raise PresetError("the document has no front matter", where, expected)
    for index, line in enumerate(islice(lines, 1, None), 1):
        if line.rstrip() == _MARK:
            return index
        if index > _MAX_LINES or len(line) > _MAX_LINE:
            where = Where(filename, index + 1, 1)
            expected = f"{_MARK} after at most {_MAX_LINES} lines of {_MAX_LINE} characters"
            raise PresetError("the front matter is too long", where, expected)
    where = Where(filename, 1, 1)
    raise PresetError("the front matter is never closed", where, f"a line {_MARK}")


def _decode(lines: Sequence[str], filename: str) -> Mapping[str, object]:
    # Imported here: only presets need it, and start-up time counts.
    import tomllib

    try:
        return tomllib.loads("\n".join(lines) + "\n")
    except (ValueError, RecursionError) as error:
        # tomllib says the place in its text only, counted from the first line given.
        place = _TOML_PLACE.search(str(error))
        line, column = (int(place[1]) + 1, int(place[2])) if place else (2, 1)
        message = _TOML_PLACE.sub("", str(error))
        where = Where(filename, line, column)
        raise PresetError(f"front matter: {message}", where, "TOML") from error


def _read_mail(reader: _Reader, item: object) -> Mail:
    if not isinstance(item, dict):
        reader.fail("mails", f"a mail is {_shown(item)}", "[[mails]] with author, date and id")
    reader.known(item, _MAIL_KEYS)
    values: dict[str, str] = {}
    for key in _MAIL_KEYS:
        value = item.get(key, "" if key == "subject" else None)
        if isinstance(value, datetime.date):
            value = value.isoformat()
        if not isinstance(value, str) or (key != "subject" and not value):
            reader.fail("mails", f"the {key} of a mail is {_shown(value)}", f'{key} = "..."')
        values[key] = value
    return Mail(**values)


def read_front_matter(lines: Sequence[str], filename: str) -> tuple[FrontMatter, int]:
    """Read the front matter; return it and the number of the line after it.

    Raises `PresetError`.
    """
    close = _split(lines, filename)
    inside = lines[1:close]
    reader = _Reader(_decode(inside, filename), inside, filename)
    reader.known(reader.table, _KEYS)
    number = reader.table.get("number")
    # TOML's true is a Python int as well, and no number of a preset.
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        reader.fail("number", f"number is {_shown(number)}", "number = 3")
    if number is not None and not 0 <= number <= _MAX_NUMBER:
        reader.fail("number", f"number is {_shown(number)}", f"0 to {_MAX_NUMBER}")
    mails = reader.table.get("mails", [])
    if not isinstance(mails, list):
        reader.fail("mails", f"mails is {_shown(mails)}", "[[mails]] tables")
    kernels = reader.texts("kernels")
    if not kernels or len(set(kernels)) != len(kernels):
        reader.fail("kernels", "kernels is empty or names one twice", 'kernels = ["6.9", ...]')
    front = FrontMatter(
        title=reader.text("title"),
        number=number,
        kernels=kernels,
        mails=tuple(_read_mail(reader, mail) for mail in mails),
        tags=reader.texts("tags"),
        summary=reader.text("summary"),
        part=reader.text("part") if "part" in reader.table else "",
    )
    return front, close + 2


def check_kernels(kernels: Sequence[str], text: str, filename: str) -> None:
    """Refuse kernels that are not known, with the line of a document's front matter they stand in.

    Raises `PresetError`.
    """
    for name in kernels:
        if is_known(name):
            continue
        # The word as TOML quotes it; one that was written with escapes is not found.
        starts = (n for n, line in enumerate(text[: 1 << 20].split("\n"), 1) if name in line)
        line = next(starts, 1)
        expected = f"an id of `mmtui kernels`{near(name, KERNEL_IDS)}"
        if must_be_named(name) and not is_file_name(name):
            expected += "; an installed kernel only if --kernel or :kernel names it"
        elif is_file_name(name):
            expected += "; a file's class only if --kernel or :kernel names it"
        raise PresetError(f"unknown kernel {short(name, 60)!r}", Where(filename, line, 1), expected)
