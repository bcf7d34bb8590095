"""A search over all interleavings, written against the public model alone.

Two searches that tell states apart differently must find the same: one by the words, what derived
words remember and every answer of each CPU; one by what is left of the answers in the frames of
the functions that run, which are far fewer states.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from types import GeneratorType
from typing import Any, NamedTuple

import pytest

from sandbox.errors import KernelBug
from sandbox.memory import Gen, cas
from sandbox.run.model import Model
from sandbox.truth.canonical import canonical
from tests.engine.support import act, begin, put, run

PIN = "cpu0: fork A B\ncpu1: pin A R 0 1 p w"


class Found(NamedTuple):
    """What a search found."""

    finals: set[Hashable]
    """States at rest, addresses being names."""
    broken: set[str]
    hung: int
    states: int
    transitions: int


def search(
    start: Model,
    identity: Callable[[Model], Hashable],
    enough: frozenset[str] | set[str] = frozenset(),
) -> Found:
    """All interleavings, or as many as break the rules that are *enough*."""
    seen, stack = {identity(start)}, [start]
    finals: set[Hashable] = set()
    broken: set[str] = set()
    hung = transitions = 0
    while stack and not (enough and enough <= broken):
        model = stack.pop()
        enabled = model.enabled()
        if model.resting:
            finals.add(model.canonical())
        elif not enabled:
            hung += 1
        for left, cpu in enumerate(reversed(enabled), 1 - len(enabled)):
            after = model.clone() if left else model
            transitions += 1
            broken |= {v.rule for v in after.apply(cpu) if v.known_window is None}
            if (key := identity(after)) not in seen:
                seen.add(key)
                stack.append(after)
    return Found(finals, broken, hung, len(seen), transitions)


def by_answers(model: Model) -> Hashable:
    return hash(model.identity())


def by_frames(model: Model) -> Hashable:
    machine = model.machine
    functions = tuple(
        (task.pending, tuple((f.function, f.line, plain(f.locals)) for f in machine.stack(task)))
        for task in machine.running
        if task is not None
    )
    state = tuple(machine.memory.cells), machine.derived.remembered(), machine.group.value()
    return hash((state, functions, model.begun))


def plain(value: Any) -> Hashable:  # noqa: ANN401  # a local variable of a kernel function
    """A local variable as a value: what it says, not where it is."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, tuple | list):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return tuple((plain(key), plain(item)) for key, item in value.items())
    if isinstance(value, GeneratorType) or callable(value) or hasattr(value, "cpu"):
        return getattr(value, "__name__", type(value).__name__)
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return (type(value).__name__, *(plain(getattr(value, name)) for name in names))


def started(kernel: str, lines: str, block: str) -> Model:
    session = run(kernel, f"reuse on\n{lines}")
    begin(session, block)
    return Model.of(session)


LONG = pytest.mark.skipif("MMTUI_ALL" not in os.environ, reason="minutes: set MMTUI_ALL")
SMALL = "mmap A R 4K\nwrite A R 0 1"


@pytest.mark.parametrize(
    ("block", "finals"),
    [
        ("cpu0: dontneed A R 0 1\ncpu1: get A R 0 1 p w", 2),  # the page before, or a new one
        pytest.param(PIN, 2, marks=LONG),  # whether the pin came before the copy, or after
    ],
)
def test_both_searches_find_the_same(block: str, finals: int) -> None:
    start = started("7.2", SMALL, block)
    whole, few = search(start.clone(), by_answers), search(start, by_frames)
    assert few.finals == whole.finals
    assert few.broken == whole.broken == set()
    assert few.hung == whole.hung == 0
    assert len(few.finals) == finals
    assert few.states < whole.states


def test_a_search_finds_the_race_without_the_sequence_count() -> None:
    found = search(started("no-seqcount", SMALL, PIN), by_frames, enough={"I-22", "I-24", "I-26"})
    assert {"I-22", "I-24", "I-26"} <= found.broken


@LONG
def test_all_of_fork_and_pin_on_a_large_folio() -> None:
    lines = "mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4"
    found = search(started("7.2", lines, "cpu0: fork A B\ncpu1: pin A R 1 2 p w"), by_frames)
    assert (found.broken, found.hung, len(found.finals)) == (set(), 0, 2)


@pytest.mark.parametrize("identity", [by_answers, by_frames])
def test_a_search_goes_on_to_the_next_actions_of_a_cpu(
    identity: Callable[[Model], Hashable],
) -> None:
    lines = "autodrain off\nmmap A R 4K\nread A R 0 1"
    actions = "dontneed A R 0 1", "read A R 0 1"
    block = f"cpu0: {actions[0]}\ncpu0: {actions[1]}\ncpu1: mprotect A R 0 1 r"
    found = search(started("7.2", lines, block), identity)
    assert (found.broken, found.hung) == (set(), 0)
    alone = run("7.2", f"reuse on\n{lines}")
    start = alone.position
    act(alone, actions[0])
    ends = set()
    for schedule in ("cpu0 all", "cpu1 all", f"cpu0 {alone.position - start}, cpu1 all"):
        session = run("7.2", f"reuse on\n{lines}\n{block}\nschedule {schedule}")
        ends.add(canonical(session.machine))
    assert ends <= found.finals
    assert all(len(end[1]) == len(next(iter(ends))[1]) for end in found.finals)  # type: ignore[index]


def test_an_action_that_cannot_be_meant_when_its_cpu_comes_to_it_does_nothing() -> None:
    block = "cpu0: munmap A R 0 4\ncpu0: fold A R 0 4\ncpu0: fork A B\ncpu1: drain"
    model = started("7.2", "mmap A R 16K nohuge\ntouch A R 0 4 w", block)
    for cpu in (1, 0):
        while cpu in model.enabled():
            model.apply(cpu)
    assert model.resting
    functions = [call.function for call in model.begun[0]]
    assert functions == ["sys_munmap", "sys_refused", "sys_fork"]
    assert set(model.ledger.processes()) == {"A", "B"}


def test_a_clone_goes_its_own_way() -> None:
    model = started("7.2", SMALL, PIN)
    before = model.identity()
    other = model.clone()
    assert other.identity() == before
    while other.enabled():
        other.apply(other.enabled()[-1])
    assert model.identity() == before
    assert other.resting
    for cpu in (0, 1):
        model.apply(cpu)
    again = model.clone()
    assert again.identity() == model.identity()
    assert again.machine.apply(0) == model.machine.apply(0)
    assert again.identity() == model.identity()


def test_an_event_whose_function_fails_has_not_happened() -> None:
    model = Model.of(run("7.2", SMALL))
    (folio,) = model.ledger.live_folios()

    def fails() -> Gen[None]:
        yield cas(folio._refcount, model.machine.peek(folio._refcount), 0)  # I-35, and frozen
        raise ValueError("wrong")

    put(model.machine, "fails", fails)
    before = model.identity()
    with pytest.raises(KernelBug):
        model.apply(0)
    assert model.rules.checks.frozen == {}
    assert model.rules.violations == []
    assert model.identity() == before
