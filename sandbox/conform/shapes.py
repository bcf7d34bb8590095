"""The shape of decoded JSON, checked once at the door: typed, bounded, with the path of a fault.

A check takes a value and raises `Misshapen` if it is none of what it stands for.  The checks of
objects and lists are made of those of their members, and put the member's name or index into the
path of a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sandbox.errors import SandboxError, Where
from sandbox.printable import short

__all__ = [
    "Check",
    "Misshapen",
    "boolean",
    "each",
    "either",
    "mapping",
    "nullable",
    "read_json",
    "record",
    "row",
    "scalar",
    "text",
    "whole",
]

Check = Callable[[Any], None]
"""Raises `Misshapen` for a value of another shape."""

_MISSING = object()


class Misshapen(Exception):
    """A value is not what it should be; the path grows from the inside out."""

    def __init__(self, value: object, expected: str, found: str = "") -> None:
        super().__init__(value, expected, found)
        self.value = value
        self.expected = expected
        self.found = found
        """What is wrong with the value, if that is not its shape."""
        self.path: list[str | int] = []

    def at(self, member: str | int) -> Misshapen:
        """Note in which member of an object or a list it stands."""
        self.path.append(member)
        return self

    def error(self, file: str) -> SandboxError:
        """Make it an error that names the file and the path, `steps[3].procs.A`."""
        path = "".join(map(_spell, reversed(self.path))).removeprefix(".")
        found = self.found or _shown(self.value)
        return SandboxError(f"{file}: {path or 'the whole'} is {found}", expected=self.expected)


def _spell(member: str | int) -> str:
    if isinstance(member, int):
        return f"[{member}]"
    return f".{member}" if member.isidentifier() else f"[{json.dumps(short(member, 60))}]"


def _shown(value: object) -> str:
    """Show a value of JSON briefly, whatever it holds."""
    if value is _MISSING:
        return "missing"
    if isinstance(value, dict | list):
        return f"an {'object' if isinstance(value, dict) else 'array'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number of very many digits"
    return short(json.dumps(value), 60)


# -- checks ------------------------------------------------------------------------------------


def whole(low: int = -(1 << 63), high: int = (1 << 63) - 1) -> Check:
    """Stand for whole numbers from `low` to `high`; true and 1.0 are none."""
    expected = f"a whole number from {low} to {high}"

    def check(value: object) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Misshapen(value, expected)

    return check


def text(longest: int, shortest: int = 0, *, word: bool = False) -> Check:
    """Stand for texts of so many characters; a `word` has no blanks in it."""
    expected = f"a {'word' if word else 'text'} of {shortest} to {longest} characters"

    def check(value: object) -> None:
        if type(value) is not str or not shortest <= len(value) <= longest:
            raise Misshapen(value, expected)
        if word and value.split() != [value]:
            raise Misshapen(value, expected)

    return check


_any_number = whole()
_any_text = text(10_000)


def boolean(value: object) -> None:
    """Stand for true and false."""
    if type(value) is not bool:
        raise Misshapen(value, "true or false")


def nullable(check: Check) -> Check:
    """Stand for null and what a check stands for."""

    def check_value(value: object) -> None:
        if value is not None:
            check(value)

    return check_value


def scalar(value: object) -> None:
    """Stand for whatever is neither an object nor an array, and not too long."""
    kind = type(value)
    if kind is int:
        _any_number(value)
    elif kind is str:
        _any_text(value)
    elif value is not None and kind is not bool:
        raise Misshapen(value, "a whole number, a text, true, false or null")


def either(check: Check, rows: Check) -> Check:
    """Stand for an array that one check stands for, or else what the other one stands for."""

    def check_either(value: object) -> None:
        (rows if type(value) is list else check)(value)

    return check_either


def each(check: Check, fewest: int = 0) -> Check:
    """Stand for arrays, of whatever length, of what a check stands for."""

    def check_all(value: object) -> None:
        if type(value) is not list or len(value) < fewest:
            raise Misshapen(value, f"an array of at least {fewest}")
        for index, item in enumerate(value):
            try:
                check(item)
            except Misshapen as fault:
                raise fault.at(index) from None

    return check_all


def row(*checks: Check) -> Check:
    """Stand for arrays of one length with a check for each place."""

    def check_row(value: object) -> None:
        if type(value) is not list or len(value) != len(checks):
            raise Misshapen(value, f"an array of {len(checks)}")
        for index, (item, check) in enumerate(zip(value, checks, strict=True)):
            try:
                check(item)
            except Misshapen as fault:
                raise fault.at(index) from None

    return check_row


def mapping(key: Check, check: Check) -> Check:
    """Stand for objects with any keys of one shape, and values of one shape."""

    def check_mapping(value: object) -> None:
        if not isinstance(value, dict):
            raise Misshapen(value, "an object")
        for name, item in value.items():
            try:
                key(name)
                check(item)
            except Misshapen as fault:
                raise fault.at(name) from None

    return check_mapping


def record(
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    others: Check | None = None,
) -> Check:
    """Stand for objects with some keys, and perhaps some more; those not named are `others`."""
    known = {**required, **(optional or {})}

    def check_record(value: object) -> None:
        if not isinstance(value, dict):
            raise Misshapen(value, "an object with " + ", ".join(required))
        for name in required:
            if name not in value:
                raise Misshapen(_MISSING, f"{name} in it").at(name)
        for name, item in value.items():
            check = known.get(name, others)
            if check is None:
                continue
            try:
                check(item)
            except Misshapen as fault:
                raise fault.at(name) from None

    return check_record


# -- reading -----------------------------------------------------------------------------------


class _Twice(dict[str, Any]):
    """An object that had a key twice."""

    key = ""


def read_json(source: str, file: str, what: str) -> object:
    """Decode JSON strictly: no key twice, no NaN, nothing deeper or longer than Python takes.

    Raises:
        SandboxError: the text is not that, with its place or its path.
    """
    odd: list[str] = []

    def constant(name: str) -> float:
        odd.append(name)
        return float(name)

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) == len(members):
            return found
        odd.append("")
        return _twice(members)

    def number(digits: str) -> int | float:
        if len(digits) < 1_000:
            return int(digits)
        return constant("inf")

    try:
        try:
            value: object = json.loads(source, parse_constant=constant, object_pairs_hook=pairs)
        except json.JSONDecodeError:
            raise
        except ValueError:  # more digits than Python reads; once more, to say where
            value = json.loads(
                source, parse_int=number, parse_constant=constant, object_pairs_hook=pairs
            )
    except json.JSONDecodeError as error:
        place = Where(file, error.lineno, error.colno)
        raise SandboxError(f"not JSON: {error.msg}", place, what) from error
    except RecursionError as error:
        raise SandboxError(f"{file}: not JSON: nested too deeply", expected=what) from error
    if odd:
        raise next(_oddities(value)).error(file)
    return value


def _twice(members: list[tuple[str, Any]]) -> _Twice:
    found = _Twice()
    for key, value in members:
        if key in found:
            found.key = key
        found[key] = value
    return found


def _oddities(value: object) -> Iterator[Misshapen]:
    """Yield what JSON does not have, with its path."""
    waiting: list[tuple[object, tuple[str | int, ...]]] = [(value, ())]
    while waiting:
        item, path = waiting.pop()
        if isinstance(item, _Twice):
            fault = Misshapen(None, "each key once", "there twice")
            fault.path = [item.key, *reversed(path)]
            yield fault
        if isinstance(item, float) and not abs(item) <= 1e308:
            fault = Misshapen(None, "a whole number", "no number of JSON")
            fault.path = list(reversed(path))
            yield fault
        members = (
            item.items()
            if isinstance(item, dict)
            else enumerate(item if isinstance(item, list) else ())
        )
        waiting.extend((inner, (*path, key)) for key, inner in members)
    # A key that is there twice can hide the odd number that one of its values was.
    yield Misshapen(None, "each key once, and whole numbers", "no JSON")
