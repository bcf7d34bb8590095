"""The log of the plugin `two`: what each CPU stored, and where it was frozen.

A line is a record; its first letter says which (`A` the module's door, `T` a table, `F` a new
folio, `R` a race begins, `S` a store, `X` a switch, `C` and `E` words at it, `Z` the end).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["WAITS", "RaceLog", "RaceStore", "Stop", "read_races"]

WAITS = frozenset({"lock", "idle", "spin"})
"""Why a CPU that must wait for the frozen one stops: a spin lock, asleep, going round."""


@dataclass(slots=True)
class RaceStore:
    """A store to a watched word."""

    cpu: int
    number: int
    """Of this CPU's stores that `store` counts, up to here."""
    word: int
    """The plugin's number of the word."""
    address: int
    old: int
    new: int
    at: list[str]


@dataclass(slots=True)
class Stop:
    """A switch: where a CPU was frozen or came to its end, and the watched words then."""

    cpu: int
    phase: int
    why: str
    stores: int
    instructions: int
    at: list[str]
    pages: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    """By frame, the page in its folio (64 at most) and the words of its struct page."""
    entries: list[tuple[int, int, int]] = field(default_factory=list)
    """(table, entry, value) of what is not empty."""


@dataclass(slots=True)
class RaceLog:
    """One race."""

    number: int
    tables: dict[int, tuple[int, int]]
    """By address, what entry 0 is for, and the pid (0: made in the race)."""
    stores: list[RaceStore] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    how: str = "open"
    """`ok`, or why the plugin gave the schedule up; `open` if the log ends in it."""
    total: tuple[int, int] = (0, 0)
    """Stores of each CPU."""

    @property
    def died(self) -> set[int]:
        """Frames whose count came to 0 for good; a split freezes one at 0 for a while."""
        return {
            store.address
            for store in self.stores
            if store.new == 0 and not any("split" in name for name in store.at)
        }


def read_races(text: str, function: Callable[[int], str]) -> dict[int, RaceLog]:
    """Read a log, its places named by a function; by the number of the race."""
    found: dict[int, RaceLog] = {}
    race: RaceLog | None = None
    tables: dict[int, tuple[int, int]] = {}
    *lines, _cut = text.split("\n")
    for line in lines:
        kind, *words = line.split()
        if kind == "A":
            tables = {}
        elif kind == "T":
            into = tables if race is None else race.tables
            into[int(words[0], 16)] = (int(words[1], 16), int(words[2]))
        elif kind == "R":
            race = found[int(words[0])] = RaceLog(int(words[0]), dict(tables))
        elif race is not None:
            race = _line(race, kind, words, function)
    return found


def _line(
    race: RaceLog, kind: str, words: list[str], function: Callable[[int], str]
) -> RaceLog | None:
    """Take a line of a race; None when it was the last one."""
    if kind == "S":
        cpu, number, _instructions, word = map(int, words[:4])
        pc, address, old, new, *callers = (int(text, 16) for text in words[4:])
        at = [function(place) for place in (pc, *callers)]
        race.stores.append(RaceStore(cpu, number, word, address, old, new, at))
    elif kind == "X":
        cpu, phase = int(words[0]), int(words[1])
        at = [function(int(place, 16)) for place in words[6:]]
        race.stops.append(Stop(cpu, phase, words[2], int(words[4]), int(words[5]), at))
    elif kind == "C":
        raw = tuple(int(word, 16) for word in words[2:])
        race.stops[-1].pages[int(words[0], 16)] = (int(words[1]), raw)
    elif kind == "E":
        entry = (int(words[0], 16), int(words[1]), int(words[2], 16))
        race.stops[-1].entries.append(entry)
    elif kind == "Z":
        race.how, race.total = words[1], (int(words[2]), int(words[3]))
        return None
    return race
