"""A small model of fork, pin and zap whose numbers of states are known: it tells a sound search.

One folio of four pages that a process maps.  Fork takes both page-table locks, makes the sequence
odd, takes references, shares each page that may be shared, maps them in the child and lets go.
Gup takes a page that is mapped and exclusive while the sequence is even, a reference and a pin of
it, and looks again; zap clears an entry.  Every step is atomic and may touch several words.  Spin,
TLC and stateright count the same states of it; a search that counts others is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from sandbox.explore.automaton import Automaton, Node
from sandbox.explore.recording import Recorder, WatchedList
from sandbox.explore.tables import BLOCKED, Effect

__all__ = ["BASE", "Golden", "GoldenModel", "Known"]

PAGES = 4
REF, PIN, SEQ, LOCKS, MAPCOUNT, PTES, EXCLUSIVE, HELD = 0, 1, 2, 3, 5, (9, 13), 17, 21
Words = WatchedList
Step = tuple[Any, ...]
"""A function of the words, and its other arguments."""


class GoldenModel(NamedTuple):
    """Which CPUs there are, and how they do it."""

    gups: int = 1
    zaps: int = 1
    any_page: bool = True
    """Does zap take any page of either process, or only page 2 of the first?"""
    counts_late: bool = False
    """Does fork take its references behind its mappings, as in the second version of a patch?"""
    looks_at_entry_only: bool = False
    """Does gup look again only whether the page is mapped?"""


class Known(NamedTuple):
    """What is known of a model."""

    model: GoldenModel
    states: int
    transitions: int
    depth: int


BASE = Known(GoldenModel(any_page=False), 2_142, 4_415, 24)


def _lock(m: Words) -> object:
    if m[LOCKS] or m[LOCKS + 1]:
        return BLOCKED
    m[SEQ] += 1
    m[LOCKS] = m[LOCKS + 1] = 1
    return None


def _add(m: Words, word: int, by: int) -> None:
    m[word] += by


def _share(m: Words, page: int) -> bool:
    if not m[PTES[0] + page] or (m[EXCLUSIVE + page] and m[PIN] > 0):
        return False
    m[MAPCOUNT + page] += 1
    m[EXCLUSIVE + page] = 0
    return True


def _map_child(m: Words, shared: int) -> None:
    for page in range(PAGES):
        m[PTES[1] + page] = shared >> page & 1


def _unlock(m: Words) -> None:
    m[SEQ] += 1
    m[LOCKS] = m[LOCKS + 1] = 0


def _pick(m: Words, page: int) -> object:
    sequence = m[SEQ]
    if sequence & 1 or not m[PTES[0] + page] or not m[EXCLUSIVE + page]:
        return BLOCKED
    return sequence


def _look_again(m: Words, page: int, sequence: int, gup: int, entry_only: bool) -> bool:
    same = m[PTES[0] + page]
    if not entry_only:
        same = m[SEQ] == sequence and same and m[EXCLUSIVE + page]
    if same:
        m[HELD + gup] = page + 1
    return bool(same)


def _unpin(m: Words, gup: int, held: bool, page: int) -> None:
    """Let go of a page, of which gup still knows which one it was."""
    m[PIN] -= 1
    if held:
        m[HELD + gup] = 0


def _take(m: Words, mm: int, page: int) -> object:
    if m[LOCKS + mm] or not m[PTES[mm] + page]:
        return BLOCKED
    m[LOCKS + mm] = 1
    return None


def _clear(m: Words, mm: int, page: int) -> None:
    m[PTES[mm] + page] = 0


def _let_go(m: Words, mm: int, page: int) -> None:
    """Drop a lock of zap's, which still knows which page it took."""
    m[LOCKS + mm] = 0


def _fork(late: bool) -> Generator[Any, Any, None]:
    yield (_lock,)
    if not late:
        yield (_add, REF, PAGES)
    shared = 0
    for page in range(PAGES):
        if (yield (_share, page)):
            shared |= 1 << page
    yield (_add, REF, shared.bit_count() - (0 if late else PAGES))
    yield (_map_child, shared)
    yield (_unlock,)


def _gup(gup: int, entry_only: bool) -> Generator[Any, Any, None]:
    picks = tuple((_pick, page) for page in range(PAGES))
    while True:
        page, sequence = yield ("choice", picks)
        yield (_add, REF, 1)
        yield (_add, PIN, 1)
        held = yield (_look_again, page, sequence, gup, entry_only)
        yield (_unpin, gup, held, page)
        yield (_add, REF, -1)


def _zap(any_page: bool) -> Generator[Any, Any, None]:
    everything = tuple((_take, mm, page) for mm in (0, 1) for page in range(PAGES))
    picks = everything if any_page else ((_take, 0, 2),)
    while True:
        chosen, _ = yield ("choice", picks)
        _, mm, page = picks[chosen]
        yield (_clear, mm, page)
        yield (_add, MAPCOUNT + page, -1)
        yield (_let_go, mm, page)
        yield (_add, REF, -1)


class Golden:
    """The model as an engine: each of its steps performed on the words it is given."""

    alternatives = 8

    def __init__(self, model: GoldenModel) -> None:
        self._recorder = Recorder()
        words = [0] * (HELD + model.gups)
        words[REF] = PAGES
        for page in range(PAGES):
            words[MAPCOUNT + page] = words[PTES[0] + page] = words[EXCLUSIVE + page] = 1
        self._words = WatchedList(self._recorder, words)
        self._gups = model.gups
        functions: list[Callable[[], Generator[Any, Any, None]]]
        functions = [lambda: _fork(model.counts_late)]
        for gup in range(model.gups):
            functions.append(partial(_gup, gup, model.looks_at_entry_only))
        functions += [lambda: _zap(model.any_page)] * model.zaps
        self.cpus = list(range(len(functions)))
        self.automata = [Automaton() for _ in functions]
        self.starts = [own.begin(make) for own, make in zip(self.automata, functions, strict=True)]

    def events(self, node: Node) -> Sequence[Step]:
        """The step of a node, or those that it chooses from."""
        event = node.event
        if event is None:
            return ()
        return event[1] if event[0] == "choice" else (event,)

    def perform(self, number: int, node: Node, alternative: int) -> Effect:
        """Do a step; what is to hold of the words it wrote is looked at in stages of their own."""
        recorder = self._recorder
        recorder.start()
        step = self.events(node)[alternative]
        answer = step[0](self._words, *step[1:])
        recorder.stop()
        if answer is BLOCKED:
            return Effect(recorder.reads, {}, frozenset())
        if node.event[0] == "choice":
            answer = (alternative, answer)
        after = self.automata[number].next(node, answer)
        stages = self._stages(recorder.writes)
        return Effect(recorder.reads, recorder.writes, frozenset(), stages, after)

    def _stages(self, written: dict[Hashable, Any]) -> list[Hashable]:
        mapcounts = any(MAPCOUNT + page in written for page in range(PAGES))
        stages: list[Hashable] = []
        if mapcounts or REF in written:
            stages.append("mapped")
        if REF in written or PIN in written:
            stages.append("pinned")
        stages += [gup for gup in range(self._gups) if mapcounts or HELD + gup in written]
        return stages

    def stage(self, key: Hashable) -> Effect:
        """Look whether one thing holds of the words."""
        m = self._words
        self._recorder.start()
        if key == "mapped":
            ok = m[REF] >= sum(m[MAPCOUNT + page] for page in range(PAGES))
        elif key == "pinned":
            ok = m[PIN] <= m[REF]
        else:
            held = m[HELD + cast("int", key)]
            ok = not held or m[MAPCOUNT + held - 1] <= 1
        self._recorder.stop()
        return Effect(self._recorder.reads, {}, frozenset() if ok else frozenset((str(key),)))

    def load(self, place: Hashable, value: Any) -> None:  # noqa: ANN401  # a word
        """Give a word a value."""
        self._words.put(cast("int", place), value)

    def kind(self, place: Hashable) -> Hashable:
        """Each word is of its own kind."""
        return place

    def lock_of(self, node: Node) -> tuple[Hashable, bool] | None:
        """Locks are words like others here."""
        return None
