"""Completion of a line of the scenario language, derived from the table of verbs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from string import ascii_uppercase

from sandbox.machine.handles import MAX_CPUS
from sandbox.scenario.schedule import complete_schedule
from sandbox.scenario.verbs import VERBS, Kind, Param, Style, Verb

__all__ = ["complete"]

_PREFIX = re.compile(r"cpu[0-9]{1,4}:|traced")
_COMMON = {"SIZE": ("64K", "128K", "2M", "4p"), "CHUNK": ("64K",)}


def complete(line: str, procs: Collection[str], regions: Collection[str]) -> list[str]:
    """Return the words that may stand where the last word of the line is being written.

    The last word is empty after a space.  `procs` and `regions` are the names that
    exist now, in the order to offer them.  A line that is wrong already gets none.
    """
    *done, partial = re.split(r"[ \t]+", line.lstrip(" \t"))
    prefixed = False
    while done and _PREFIX.fullmatch(done[0]):
        prefixed = True
        done.pop(0)
    if done and done[0] == "schedule" and not prefixed:
        words: Iterable[str] = complete_schedule(done[1:], range(MAX_CPUS))
    elif not done:
        words = VERBS if prefixed else (*VERBS, "traced")
    elif (verb := VERBS.get(done[0])) is None:
        words = ()
    else:
        words = _arguments(verb, done[1:], procs, regions)
    return [word for word in words if word.startswith(partial)]


def _arguments(
    verb: Verb, done: Sequence[str], procs: Collection[str], regions: Collection[str]
) -> list[str]:
    """Return what the next word may be after the words that are written."""
    places = [p for p in verb.params if p.style in (Style.POSITIONAL, Style.OPTIONAL)]
    if len(done) < len(places):
        return _values(places[len(done)].kind, procs, regions)
    written = {word.partition("=")[0] for word in done[len(places) :]}
    options = [p for p in verb.params if p not in places and p.name not in written]
    return [_option(param) for param in options]


def _option(param: Param) -> str:
    return f"{param.name}=" if param.style is Style.KEYWORD else param.name


def _values(kind: Kind, procs: Collection[str], regions: Collection[str]) -> list[str]:
    """Return the words to offer for one positional parameter."""
    if kind.role == "proc":
        return list(procs)
    if kind.role == "region":
        return list(regions)
    if kind.role == "new proc":
        return _unused(ascii_uppercase, procs)
    if kind.role == "new region":
        return _unused("RSTUVWXYZ", regions)
    return list(kind.choices or _COMMON.get(kind.label, ()))


def _unused(letters: str, taken: Collection[str]) -> list[str]:
    """Return the first letter that names nothing yet."""
    return [letter for letter in letters if letter not in taken][:1]
