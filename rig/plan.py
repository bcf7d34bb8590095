"""Schedules by landmarks as the plugin `two` plays them: its file of hooks, words and races."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rig.errors import UnplayableError
from rig.symbols import Layout, Symbols
from rig.words import NOISE
from sandbox.errors import Where
from sandbox.scenario.schedule import Landmark, Turn

__all__ = ["PTE", "SEQUENCE", "Phase", "Plan"]

PTE, SEQUENCE, _HEAD = 100, 101, 99
"""Words that are none of struct page's, by the plugin's numbers; the flag of a large folio."""

_HOOKS = {
    "handle_mm_fault": "A",
    "copy_page_range": "V",
    "move_page_tables": "M",
    "pmd_install": "p",
    "folio_add_new_anon_rmap": "f",
    **dict.fromkeys(("queued_spin_lock_slowpath", "queued_read_lock_slowpath"), "l"),
    "queued_write_lock_slowpath": "l",
    "default_idle_call": "i",
    "do_task_dead": "e",
    **dict.fromkeys(("el1h_64_irq_handler", "el0t_64_irq_handler"), "q"),
}
"""What the plugin must know of in every race, with the letter for what it does there."""
_QUIET, _QUIET_AT_END, _LONGEST = 400_000, 4_000_000, 60_000_000
"""Instructions without a watched store after which a CPU goes round; those of a whole race."""
_OF_EACH_PAGE = frozenset({"flags", "_mapcount", "_refcount"})
_PASSING = frozenset({"referenced", "active", "workingset"})
"""Flags that depend on what ran before: a change of these alone is not counted."""
_UNCOUNTED = (*NOISE, "deferred", "_flags_1")


class Phase(NamedTuple):
    """One turn, in the plugin's letters (its head says which)."""

    cpu: int
    kind: str
    arg: int = 0
    number: int = 0

    def __str__(self) -> str:
        return f"{self.cpu} {self.kind} {self.arg} {self.number}"


class _Word(NamedTuple):
    ident: int
    page: int
    """Of the folio; -1 for each."""
    offset: int
    mask: int
    name: str


class Plan:
    """The races of one boot."""

    def __init__(self, symbols: Symbols, layout: Layout) -> None:
        self._symbols = symbols
        self._hooks: list[tuple[int, str, str]] = []
        self._words = list(_words(layout))
        self._races: list[list[Phase]] = []
        self._quiet = _QUIET
        self._ids = {word.name: word.ident for word in self._words}
        self._ids |= {"pte": PTE, "write_protect_seq": SEQUENCE}
        self.word_names = {ident: name for name, ident in self._ids.items()}
        """Names of the watched words by the plugin's numbers."""
        for name, kind in _HOOKS.items():
            if name in symbols.by_name:
                self._hooks.append((symbols.by_name[name], kind, name))

    def race(self, turns: Sequence[Turn], where: Where, *, ends: bool = False) -> int:
        """Add a race, and return its number; without turns CPU 0 does all of its call first.

        `ends` says that a CPU is long at what is not watched: a process ends, which unmaps all that
        is its own before it comes to a region, or a child begins.  It is given longer before it
        is taken for one that goes round.

        Raises:
            UnplayableError: a turn cannot be given to this kernel; with its place.
        """
        self._races.append([self._phase(turn, where) for turn in turns])
        if ends:
            self._quiet = _QUIET_AT_END
        return len(self._races)

    def _phase(self, turn: Turn, where: Where) -> Phase:
        place = turn.where or where
        if turn.events is not None:
            message = f"a real kernel has other events: {turn} cannot be played on it"
            raise UnplayableError(message, place, "until store:N, until WORD:N, or all")
        if turn.until is None:
            return Phase(turn.cpu, "a")
        return self._until(turn.cpu, turn.until, place)

    def _until(self, cpu: int, mark: Landmark, where: Where) -> Phase:
        if mark.what == "store":
            return Phase(cpu, "b" if mark.before else "s", 0, mark.number)
        if mark.is_store:
            if mark.what not in self._ids:
                raise UnplayableError(f"this kernel has no {mark.what}", where, "store:N")
            kind = "v" if mark.before else "w"
            return Phase(cpu, kind, self._ids[mark.what], mark.number)
        known = [name for _, _, name in self._hooks]
        if mark.what not in known:
            address = self._symbols.by_name.get(mark.what)
            if address is None:
                message = f"this kernel has no entry of {mark.what} (inlined, or not there)"
                raise UnplayableError(message, where, "store:N or WORD:N")
            self._hooks.append((address, "c", mark.what))
            known.append(mark.what)
        return Phase(cpu, "f", known.index(mark.what), mark.number)

    def text(self) -> str:
        """The plugin's file."""
        lines = [f"H {address:x} {kind} {name}" for address, kind, name in self._hooks]
        lines.append(f"L {self._quiet} {_LONGEST}")
        lines += [f"W {w.ident} {w.page} {w.offset} {w.mask:x} {w.name}" for w in self._words]
        lines += [
            f"R {number} " + " ; ".join(map(str, race))
            for number, race in enumerate(self._races, 1)
        ]
        return "\n".join(lines) + "\n"


def _words(layout: Layout) -> list[_Word]:
    """The words of struct page that landmarks count."""
    counted = {name: bit for name, bit in layout.bits.items() if name not in _PASSING}
    mask = sum(1 << bit for bit in counted.values() if bit < 32)
    second = mask | sum(1 << bit for bit in layout.bits1.values() if bit < 32)
    words: list[_Word] = []
    for name, place in layout.fields.items():
        page, offset = divmod(place, layout.page)
        if name.startswith(_UNCOUNTED):
            continue
        ident = len(words)
        if name == "flags":
            words.append(_Word(ident, -1, offset, mask, name))
            words.append(_Word(ident, 1, offset, second, name))
        else:
            page = -1 if name in _OF_EACH_PAGE else page
            words.append(_Word(ident, page, offset, 0xFFFFFFFF, name))
    words.append(_Word(_HEAD, 1000, 0, 1 << layout.bits["head"], "head"))
    return words
