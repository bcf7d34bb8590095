"""Both walkers on the model of which the numbers are known, and on blocks of the engine."""

from __future__ import annotations

import os
from dataclasses import astuple

import pytest

from sandbox.explore.block import Block
from sandbox.explore.core import Core
from sandbox.explore.fallback import Fallback
from sandbox.explore.golden import BASE, Golden, GoldenModel
from sandbox.explore.reference import explore_machine
from sandbox.explore.tables import Tables
from sandbox.explore.walker import Stopped, Walker
from tests.explore.support import (
    FOLIO_16K,
    ONE_PAGE,
    Outcome,
    begun,
    compiled,
    outcome,
    reduced,
    walked,
)

WALKERS = [Fallback, pytest.param(Core, marks=compiled)]
LONG = pytest.mark.skipif("MMTUI_ALL" not in os.environ, reason="seconds: set MMTUI_ALL")


def counts(walker: type[Walker], model: GoldenModel) -> tuple[Walker, tuple[int, int, int]]:
    search = walker(Tables(Golden(model)))  # type: ignore[call-arg]  # one of the two
    assert search.run(1 << 40) is Stopped.DONE
    return search, (search.states, search.transitions, search.depth)


def broken(search: Walker) -> dict[str, int]:
    """Events of the shortest way to each thing that broke."""
    return {
        name: len(search.schedule(hit.state)) + 1
        for hit in search.hits()
        for name in search.tables.verdicts[hit.verdict]
    }


@pytest.mark.parametrize("walker", WALKERS)
def test_the_small_model_has_the_known_states(walker: type[Walker]) -> None:
    search, found = counts(walker, BASE.model)
    assert found == (BASE.states, BASE.transitions, BASE.depth)
    assert not search.hits()


@pytest.mark.parametrize("walker", WALKERS)
def test_references_taken_late_break_at_the_second_event(walker: type[Walker]) -> None:
    search, found = counts(walker, GoldenModel(any_page=False, counts_late=True))
    assert found == (2_076, 4_264, 23)
    assert broken(search) == {"mapped": 2}


@compiled
def test_the_middle_model_has_the_known_states() -> None:
    _, found = counts(Core, GoldenModel())
    assert found == (238_644, 516_922, 54)


def ladder(walker: type[Fallback] | type[Core], model: GoldenModel, most: int) -> list[int]:
    """States with at most 0, 1 ... preemptions, whoever had the last turn."""
    out = []
    for preemptions in range(most + 1):
        tables = Tables(Golden(model), turns=True)
        search = walker(tables, 1 << 40, preemptions)
        assert search.run(1 << 40) is Stopped.DONE
        assert not search.all_seen
        states = map(search.numbers, range(search.states))
        count = len(tables.fields)
        out.append(len({(*nodes, *values[1:count]) for nodes, values in states}))
    return out


@pytest.mark.parametrize("walker", WALKERS)
def test_each_preemption_more_leads_to_more_states(walker: type[Fallback] | type[Core]) -> None:
    assert ladder(walker, BASE.model, 2) == [59, 581, 1_122]


@compiled
def test_the_ladder_of_the_middle_model_is_the_known_one() -> None:
    assert ladder(Core, GoldenModel(), 1) == [3_744, 43_369]


@compiled
@pytest.mark.parametrize("walker", WALKERS)
def test_with_enough_preemptions_all_is_seen(walker: type[Fallback] | type[Core]) -> None:
    start = begun("no-seqcount", ONE_PAGE, "cpu0: fork A B\ncpu1: pin A R 0 1 1 w")
    whole = outcome(start, walked(start, Core))
    search = walker(Tables(Block(start), turns=True), 1 << 40, 9)
    assert search.run(1 << 40) is Stopped.DONE
    assert search.all_seen
    assert outcome(start, search) == whole
    few = walker(Tables(Block(start), turns=True), 1 << 40, 1)
    assert few.run(1 << 40) is Stopped.DONE
    assert not few.all_seen
    assert outcome(start, few).broken == whole.broken


@compiled
def test_looking_at_the_entry_alone_shares_a_pinned_page_in_seven_events() -> None:
    search, _ = counts(Core, GoldenModel(looks_at_entry_only=True))
    assert broken(search) == {"0": 7}


@LONG
@compiled
def test_the_large_model_has_the_known_states() -> None:
    _, found = counts(Core, GoldenModel(gups=2))
    assert found == (6_693_740, 21_098_656, 59)
    search, found = counts(Core, GoldenModel(gups=2, counts_late=True))
    assert found == (6_678_736, 21_047_748, 58)
    assert broken(search)["mapped"] == 2


@compiled
@pytest.mark.parametrize(
    ("kernel", "setup", "block"),
    [
        ("7.2", ONE_PAGE, "cpu0: fork A B\ncpu1: pin A R 0 1 1 w"),
        ("no-seqcount", ONE_PAGE, "cpu0: fork A B\ncpu1: pin A R 0 1 1 w"),
        ("7.2", f"{FOLIO_16K}\nfork A B", "cpu0: munmap B R 0 4\ncpu1: write A R 0 1"),
    ],
)
def test_both_walkers_find_the_same(kernel: str, setup: str, block: str) -> None:
    start = begun(kernel, setup, block)
    plain, core = walked(start, Fallback), walked(start, Core)
    for name in ("states", "transitions", "depth", "deadlocks", "finals"):
        assert getattr(plain, name) == getattr(core, name)
    named = [
        {plain.tables.verdicts[hit.verdict]: hit[1:] for hit in plain.hits()},
        {core.tables.verdicts[hit.verdict]: hit[1:] for hit in core.hits()},
    ]
    assert named[0] == named[1]
    assert outcome(start, plain) == outcome(start, core)


@compiled
@pytest.mark.parametrize(
    ("kernel", "setup", "block"),
    [
        ("7.2", FOLIO_16K, "cpu0: fork A B\ncpu1: pin A R 1 2 1 w"),
        ("no-seqcount", ONE_PAGE, "cpu0: fork A B\ncpu1: pin A R 0 1 1 w\ncpu2: read A R 0 1"),
        ("7.2", f"swap on\n{ONE_PAGE}", "cpu0: pageout A R 0 1\ncpu1: pin A R 0 1 1 -"),
    ],
)
def test_what_may_go_first_changes_nothing(kernel: str, setup: str, block: str) -> None:
    start = begun(kernel, setup, block)
    whole, few = walked(start, Core), reduced(start, Core)
    assert outcome(start, few) == outcome(start, whole)
    assert few.states < whole.states
    assert few.transitions < whole.transitions


@pytest.mark.parametrize("walker", WALKERS)
@pytest.mark.parametrize(
    ("kernel", "setup", "block"),
    [
        pytest.param("7.2", ONE_PAGE, "cpu0: dontneed A R 0 1\ncpu1: get A R 0 1 p w", marks=LONG),
        ("7.2", f"reuse on\n{ONE_PAGE}", "cpu0: dontneed A R 0 1\ncpu1: read A R 0 1"),
        (
            "7.2",
            "autodrain off\nmmap A R 4K\nread A R 0 1",
            "cpu0: dontneed A R 0 1\ncpu0: read A R 0 1\ncpu1: mprotect A R 0 1 r",
        ),
    ],
)
def test_the_machine_itself_comes_to_the_same(
    walker: type[Fallback] | type[Core], kernel: str, setup: str, block: str
) -> None:
    start = begun(kernel, setup, block)
    reached = explore_machine(start, 5_000)
    assert reached.complete
    assert astuple(reached)[2:4] == (0, 0)
    found = outcome(start, walked(start, walker))
    assert found == Outcome(frozenset(reached.broken), frozenset(reached.finals), False)
