"""The words at every switch of a race, and who waited: a kernel's against the model's.

Turns end at the same landmarks on both sides, so where one CPU is frozen and the other goes on the
watched words must be the same.  They are compared as far as the same CPUs stop for the same reasons
on both sides; where one waits and the other does not, that is told, and what follows is of another
order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from sandbox.conform.outcomes import names_before
from sandbox.machine.memory import LOCK_BIT, Folio
from sandbox.mm.flags import PG_locked
from sandbox.run.session import Session
from sandbox.truth.compare import FOLIO_FLAGS

__all__ = ["Compared", "Switch", "Watcher", "compare_switches", "kernel_switches"]

Words = dict[str, str]
"""Each compared word by what it is of."""

_WAITS = {"lock": "spins", "spin": "goes round", "idle": "sleeps"}
"""How a CPU waits, by the rig's word for it.  It may also go round in an interrupt that another
CPU was frozen in, which says nothing."""
_SLEEPING = frozenset({"mmap_lock", "vm_lock", "rwsem", "i_mmap_rwsem"})
"""Locks that a task sleeps for; `PG_locked` is another one."""
_LOGGED_PAGES = 64
"""Pages of a folio that the rig watches."""
_HEAD_FLAGS = frozenset(FOLIO_FLAGS) - {"partially_mapped"}
"""Compared flags that are in the first page of a folio."""
_COUNTERS = ("refcount", "large_mapcount", "entire_mapcount", "nr_pages_mapped", "pincount")
_RUNS = ("mapcount", "exclusive")
_LETTERS = "wodye"


class Switch(NamedTuple):
    """Where one CPU stopped."""

    cpu: int
    why: str
    """`after`, `before`, `entry`, `end`, or `wait`."""
    on: str
    """How it waits: `spins`, `sleeps` or `goes round`; empty if it does not."""
    words: Words


class Compared(NamedTuple):
    """What came of the switches of one race."""

    switches: int
    """Of the kernel's."""
    met: int
    """Of them, those before the first that the model does not have."""
    same: int
    """Of these, those with the same words."""
    waits: int
    """How often a CPU of the kernel's waited, among those that were met and the next one."""
    waited: int
    """Of these, where one of the model's did so too, in the same way."""
    words: str | None
    """The first other words, as text."""
    wait: str | None
    """Where one side waits and the other does not, or in another way."""


def kernel_switches(race: Mapping[str, Any], before: Mapping[str, Any]) -> list[Switch]:
    """The switches of a recorded race; none of a recording that is older than they are."""
    dead = _deaths(race)
    counts = [0, 0]
    found = []
    for said in race.get("switches", ()):
        counts[said["cpu"]] = said["stores"]
        gone = [name for name, cpu, number in dead if number <= counts[cpu]]
        found.append(
            Switch(
                said["cpu"],
                "wait" if said["why"] in _WAITS else said["why"],
                _WAITS.get(said["why"], ""),
                _kernel_words(said, names_before(before, gone)),
            )
        )
    return found


def _deaths(race: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Folios whose count came to 0, and by which store of which CPU: their frames are used anew."""
    return [
        (store["folio"], store["cpu"], store["n"])
        for store in race.get("stores", ())
        if store["what"] == "_refcount"
        and store["new"] == 0
        and not store.get("page")
        and not any("split" in name for name in store["at"])
    ]


class Watcher:
    """Takes down where the turns of a block end on the model."""

    def __init__(self, session: Session, before: Mapping[str, Any]) -> None:
        self._session, self._before = session, before
        self._frames = {
            folio.page(index): (self._name(folio), index)
            for folio in session.ledger.live_folios()
            for index in range(folio.nr_pages if folio.large else 1)
        }
        """Pages of the folios of before, by their addresses: a split leaves them where they are."""
        self.switches: list[Switch] = []

    def _name(self, folio: Folio) -> str:
        return self._session.ledger.name_of(folio)

    def _pieces(self) -> dict[str, tuple[str, int]]:
        """Folios that were split off one of before: its name, and the page where they begin."""
        live = {self._name(folio): folio for folio in self._session.ledger.live_folios()}
        found = {name: self._frames.get(folio.page(0), ("", 0)) for name, folio in live.items()}
        return {name: piece for name, piece in found.items() if piece[1] and piece[0] in live}

    def __call__(self, cpu: int, why: str) -> None:
        """Take down a switch."""
        names = names_before(self._before)
        words = _model_words(self._session.state(), names, self._pieces())
        on = self._on(cpu) if why == "wait" else ""
        self.switches.append(Switch(cpu, why, on, words))

    def _on(self, cpu: int) -> str:
        """How the CPU waits for the lock that it is at, or for what another one will do."""
        machine = self._session.machine
        task = machine.running[cpu]
        if task is None or task.pending is None or machine.blocked(cpu) is None:
            return _WAITS["spin"]
        event = task.pending
        if event[0] == LOCK_BIT:
            return "sleeps" if event[2] & PG_locked else _WAITS["spin"]
        return "sleeps" if machine.memory.field_at(event[1]).name in _SLEEPING else "spins"


def compare_switches(theirs: Sequence[Switch], ours: Sequence[Switch]) -> Compared:
    """Hold the switches of a race against the model's."""
    met = same = waits = waited = 0
    words = wait = None
    for at, one in enumerate(theirs):
        model = ours[at] if at < len(ours) else None
        waits += bool(one.on)
        alike = model is not None and _alike(one.on, model.on)
        waited += bool(one.on) and alike
        if not alike and wait is None and one.on != _WAITS["spin"]:
            wait = f"switch {at + 1}: cpu{one.cpu} {_doing(one)}, {_doing(model)} on the model"
        if model is None or (one.cpu, one.why) != (model.cpu, model.why):
            break
        met += 1
        wrong = next(_differences(one.words, model.words), None)
        same += wrong is None
        if wrong is not None and words is None:
            words = f"switch {at + 1} (cpu{one.cpu} {one.why}): {wrong}"
    return Compared(len(theirs), met, same, waits, waited, words, wait)


def _alike(one: str, other: str) -> bool:
    """Whether both wait in the same way, or neither does."""
    return one == other or (_WAITS["spin"] in (one, other) and "" not in (one, other))


def _doing(switch: Switch | None) -> str:
    if switch is None:
        return "nothing more"
    return switch.on or f"comes to {'its end' if switch.why == 'end' else 'its landmark'}"


def _differences(theirs: Words, ours: Words) -> Iterator[str]:
    """Words that both have and do not agree in, and entries that only one has."""
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        if one and other and key.endswith(_RUNS):  # of a folio that was split, the first pages
            shorter = min(one.count(" "), other.count(" ")) + 1
            one, other = (" ".join(each.split()[:shorter]) for each in (one, other))
        if one != other and ((one and other) or "[" in key):
            yield f"{key}: {one or 'none'} not {other or 'none'}"


def _kernel_words(said: Mapping[str, Any], names: dict[str, str]) -> Words:
    """The words of a recorded switch; what only looks like a folio is left out."""
    found: Words = {}
    entries: list[tuple[str, str, int, str, str]] = []
    for process, rows in said["ptes"].items():
        for region, page, target, letters in rows:
            entries.append((process, region, page, target, letters))
    names = _named(names, [target for *_, target, _ in entries], said["folios"])
    for process, region, page, target, letters in entries:
        found[f"{process}.{region}[{page}]"] = _spelled(target, letters, names)
    for name, folio in said["folios"].items():
        if folio["refcount"] > 0 and name in names:
            found.update(_folio(names[name], folio))
    return found


def _model_words(
    state: Mapping[str, Any], names: dict[str, str], pieces: Mapping[str, tuple[str, int]]
) -> Words:
    """The words of a state of the model's, as far as the rig watches them."""
    found: Words = {}
    entries: list[tuple[str, str, int, str, str]] = []
    for process, tables in state["procs"].items():
        for region, first, count, kind, target, page, letters in tables["ptes"]:
            for index in range(count):
                if kind == "migration":
                    letters = "m"  # noqa: PLW2901
                whole, first_page = pieces.get(target, (target, 0))
                shown = f"{whole}.{first_page + page + index}" if kind != "swap" else "swap"
                entries.append((process, region, first + index, shown, letters))
    names = _named(names, [target for *_, target, _ in entries], state["folios"])
    for process, region, page, target, letters in entries:
        found[f"{process}.{region}[{page}]"] = _spelled(target, letters, names)
    for name, folio in state["folios"].items():
        if name in names and name not in pieces:
            found.update(_folio(names[name], folio))
    return found


def _named(
    names: dict[str, str], targets: Sequence[str], folios: Mapping[str, Any]
) -> dict[str, str]:
    """Names that both sides have: by the state before, and of new folios by their places."""
    mapped = (target.rpartition(".")[0] for target in targets)
    fresh = dict.fromkeys(name for name in mapped if name in folios and name not in names)
    return names | {name: f"n{at}" for at, name in enumerate(fresh, 1)}


def _spelled(target: str, letters: str, names: Mapping[str, str]) -> str:
    """An entry: what it maps, and its letters."""
    folio, _, page = target.rpartition(".")
    if "m" in letters:
        return "migration"
    if target.startswith("swap"):
        return "swap"
    # Any entry of a block may carry the block's young and dirty.
    kept = [c for c in _LETTERS if c in letters and not ("c" in letters and c in "yd")]
    where = f"{names[folio]}.{page}" if folio in names else folio
    return f"{where} {''.join(kept)}"


def _folio(name: str, folio: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for word in _COUNTERS:
        if word in folio:
            yield f"{name}.{word}", str(folio[word])
    for word in _RUNS:
        if word in folio:
            runs = ([str(value)] * min(count, _LOGGED_PAGES) for value, count in folio[word])
            yield f"{name}.{word}", " ".join([*chain.from_iterable(runs)][:_LOGGED_PAGES])
    yield f"{name}.flags", " ".join(sorted(_HEAD_FLAGS.intersection(folio["flags"]))) or "-"
