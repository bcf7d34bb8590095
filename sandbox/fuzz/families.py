"""Families of random scenarios: which verbs, how often, how long, how large."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import NamedTuple

from sandbox.errors import UsageError
from sandbox.fuzz.drawing import DRAWERS
from sandbox.reading import read_text

__all__ = ["FAMILIES", "MIXED", "Family", "family_of"]


class Family(NamedTuple):
    """A kind of random scenarios."""

    name: str
    weights: Mapping[str, int]
    """How often each verb is drawn, against the others."""
    length: tuple[int, int] = (6, 18)
    """Fewest and most actions, without the ones that set the scene."""
    pages: int = 64
    """Most pages of a mapping."""
    odd: float = 0.1
    """Part of the ranges that run over holes, over several VMAs, or past the end."""
    deaths: float = 0.0
    """Part of the accesses that end their process."""
    undrained: float = 0.0
    """Part of the scenarios in which LRU batches are not drained before a state."""


_ACCESSES = {"write": 24, "touch": 8, "read": 6}
_BASIC = _ACCESSES | {
    "mmap": 8, "fork": 12, "dontneed": 8, "munmap": 8, "mprotect": 8, "pin": 8, "get": 6,
    "unpin": 6, "exit": 4, "kill": 1, "mlock": 4, "munlock": 3, "mremap": 6, "populate_read": 3,
    "populate_write": 3, "free": 3,
}  # fmt: skip
_WIDE = dict.fromkeys(DRAWERS, 3) | _BASIC | {
    "mthp": 2, "shmem": 2, "swap": 3, "memfd": 2, "file": 3, "fsync": 2, "dropcache": 2,
    "pageout": 8, "cold": 4, "collapse": 5, "remove": 5, "split": 5, "poke": 4, "uring": 3,
    "unuring": 6, "kill": 2, "softoffline": 2, "autodrain": 1, "drain": 1, "proc": 1, "uffd": 6,
    "uffdwp": 12, "uffdcopy": 12, "uffdmove": 8, "repeat": 3,
}  # fmt: skip

FAMILIES = {
    family.name: family
    for family in (
        Family("core", _BASIC, (5, 14), 32, 0.08),
        Family("wide", _WIDE, (8, 22), 512, 0.12, 0.01, 0.08),
        Family("deep", _WIDE, (60, 120), 64, 0.08, 0.0, 0.05),
        Family("kill", _WIDE | {"exit": 6, "kill": 6}, (6, 18), 64, 0.1, 0.25, 0.05),
    )
}
"""By name."""

MIXED = ("core", "wide", "core", "wide", "core", "wide", "deep", "core", "wide", "kill")
"""Whose turn it is where no family is asked for."""

_KEYS = {"length", "pages", "odd", "deaths", "undrained", "weights"}


def family_of(text: str) -> Family:
    """Read what a person asks for: a name, `VERB=WEIGHT,...`, or a TOML file that says so.

    Raises:
        UsageError: there is no such family or verb, or the file says something else.
    """
    if text in FAMILIES:
        return FAMILIES[text]
    if text.endswith(".toml"):
        return _from_file(text)
    if "=" not in text:
        known = ", ".join(FAMILIES)
        raise UsageError(f"there is no family {text!r}", expected=f"{known}, VERB=N,... or a .toml")
    pairs = (part.partition("=") for part in text.split(","))
    weights = {verb.strip(): _number(weight.strip(), verb) for verb, _, weight in pairs}
    return Family("own", _checked(weights))


def _from_file(file: str) -> Family:
    try:
        said = tomllib.loads(read_text(file, "a family in TOML"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {error}", expected="a family in TOML") from error
    unknown = sorted(said.keys() - _KEYS)
    weights = said.get("weights")
    if unknown or not isinstance(weights, dict):
        what = f"{file}: {unknown[0]!r} is no key" if unknown else f"{file} has no table [weights]"
        raise UsageError(what, expected=", ".join(sorted(_KEYS)))
    own = Family("own", _checked({v: _number(str(n), v) for v, n in weights.items()}))
    fewest, most = said.get("length", own.length) if _pair(said.get("length")) else (0, 0)
    changes = {key: said[key] for key in ("pages", "odd", "deaths", "undrained") if key in said}
    for key, value in changes.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UsageError(f"{file}: {key} is {value!r}", expected="a number from 0")
        if key == "pages" and not (isinstance(value, int) and 1 <= value <= 512):
            raise UsageError(f"{file}: pages is {value!r}", expected="1 to 512")
    if not 1 <= fewest <= most <= 1000:
        raise UsageError(f"{file}: length is {said['length']!r}", expected="[FEWEST, MOST]")
    return own._replace(length=(fewest, most), **changes)


def _pair(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and [type(each) for each in value] == [int, int]


def _number(text: str, verb: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise UsageError(f"the weight of {verb.strip()!r} is {text!r}", expected="a number from 0")
    return int(text)


def _checked(weights: Mapping[str, int]) -> Mapping[str, int]:
    unknown = sorted(weights.keys() - DRAWERS.keys())
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no verb that is drawn", expected=", ".join(DRAWERS))
    if not sum(weights.values()):
        raise UsageError("no verb has a weight", expected="VERB=N")
    return weights
