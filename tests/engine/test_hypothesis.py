"""Random lives of processes: upstream breaks no rule, and every move is exact both ways.

`HYPOTHESIS_PROFILE=long` (read in this module) runs fifty times as many examples, each time others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox.errors import UsageError
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines
from tests.engine.support import (
    UPSTREAM,
    act,
    action_bounds,
    as_json,
    begin,
    broken,
    explain,
    snapshot,
)

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
PROCESSES, REGIONS = "ABCDE", "RST"
V2_MAY_BREAK = {"I-05", "I-06", "I-09"}
"""What follows from counting mappings before references."""


Strategy = Callable[[Session], st.SearchStrategy[str]]


def examples(count: int) -> settings:
    """Settings for a property: *count* examples, always the same ones unless the run is long."""
    return settings(
        max_examples=count * 50 if LONG else count,
        phases=[Phase.explicit, Phase.generate] if os.environ.get("QUICK") else list(Phase),
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# -- actions that are valid in the present state ---------------------------------------------


def regions_of(session: Session) -> list[tuple[str, str, int]]:
    """(process, region, size) of everything that can be named now."""
    return [
        (name, region, size)
        for name, mm in session.ledger.processes().items()
        for region, _, size in session.book.regions(mm)
    ]


def holds_of(session: Session) -> list[str]:
    """Ids that can be unpinned."""
    return session.book.ids


def uring_owners(session: Session) -> list[str]:
    """Processes with a registered buffer."""
    return [name for name, mm in session.book.processes.items() if session.book.buffer(mm)]


RANGE_VERBS = (
    "write", "write", "write", "read", "dontneed", "dontneed", "munmap", "mlock", "munlock",
    "populate_read", "populate_write", "dontfork", "dofork",
)  # fmt: skip


@st.composite
def ranges(draw: st.DrawFn, session: Session, verb: str, only: str = PROCESSES) -> str:
    """``verb P R a b`` within a region; blocks and whole folios are as likely as odd ends."""
    choices = [r for r in regions_of(session) if r[0] in only]
    proc, region, size = draw(st.sampled_from(choices))
    edges = st.one_of(
        st.integers(0, size), st.sampled_from([e for e in (0, 4, 8, 16, 32, size) if e <= size])
    )
    start, end = sorted((draw(edges), draw(edges)))
    if start == end:
        start, end = (start, start + 1) if start < size else (start - 1, start)
    return f"{verb} {proc} {region} {start} {end}"


@st.composite
def later_actions(draw: st.DrawFn, session: Session) -> str:
    """What came to the model after the seed's verbs, and those too."""
    if not regions_of(session) or draw(st.integers(0, 2)):
        return draw(actions(session))
    verbs = ["free", "cold", "pageout", "wipeonfork", "split", "poke"]
    return draw(ranges(session, draw(st.sampled_from(verbs))))


@st.composite
def range_actions(draw: st.DrawFn, session: Session, only: str = PROCESSES, hold: str = "h") -> str:
    """An action on a range that exists; what it holds gets a free id that begins with *hold*."""
    kind = draw(st.sampled_from([*RANGE_VERBS, "pin", "get", "pin", "mprotect", "uring", "mremap"]))
    line = draw(ranges(session, kind, only))
    if kind in ("pin", "get"):
        free = next(i for i in range(99) if f"{hold}{i}" not in holds_of(session))
        flags = draw(st.sampled_from(["w", "-", "wl", "l"] if kind == "pin" else ["w", "-"]))
        return f"{line} {hold}{free} {flags}"
    if kind == "mprotect":
        return f"{line} {draw(st.sampled_from(['r', 'rw', 'rw', '-']))}"
    if kind == "mremap":
        target = draw(st.sampled_from([f"M{i}" for i in range(10) if f"M{i}" != line.split()[2]]))
        return f"{line} {target} {draw(st.sampled_from([0, 3, 16, 500]))}"
    return line


@st.composite
def actions(draw: st.DrawFn, session: Session) -> str:
    """One line that the machine as it is now does not refuse (the kernel may, with an errno)."""
    alive = list(session.ledger.processes())
    dead = [name for name in PROCESSES if name not in alive]
    kinds = ["mmap"] if not regions_of(session) else ["range"] * 10 + ["mmap", "drain"]
    if regions_of(session):
        kinds += ["fork"] * 4 * bool(dead) + ["exit"] + ["unpin"] * 3 * bool(holds_of(session))
        kinds += ["unuring"] * 2 * bool(uring_owners(session))
    kind = draw(st.sampled_from(kinds))
    if kind == "range":
        return draw(range_actions(session))
    if kind == "fork":
        return f"fork {draw(st.sampled_from(alive))} {dead[0]}"
    if kind == "exit":
        return f"exit {draw(st.sampled_from(alive))}"
    if kind == "unpin":
        return f"unpin {draw(st.sampled_from(holds_of(session)))}"
    if kind == "unuring":
        return f"unuring {draw(st.sampled_from(uring_owners(session)))}"
    if kind == "drain":
        return "drain"
    return draw(new_regions(session, alive))


@st.composite
def new_regions(draw: st.DrawFn, session: Session, alive: list[str]) -> str:
    """An ``mmap`` at a place that is free."""
    taken = {(proc, region) for proc, region, _ in regions_of(session)}
    proc = draw(st.sampled_from(alive or ["A"]))
    free = [r for r in [*REGIONS, *(f"N{i}" for i in range(30))] if (proc, r) not in taken]
    size = draw(st.sampled_from(["64K", "64K", "128K", "32K", "20K"]))
    option = draw(st.sampled_from(["", "", "", " nohuge", " shared", " ro", " at=7"]))
    return f"mmap {proc} {free[0]} {size}{option}"


NONSENSE = (
    "write Q R 0 1", "write A Q 0 1", "fork Q B", "fork A A", "exit Q", "mthp 12K madvise",
    "fold A R 0 16", "unfold A R 0 16", "split A Q 0 1", "proc A", "cpu3: fork A A",
    "mmap A Y 64K fd=F",
)  # fmt: skip
"""Lines refused on a machine where A has a fresh region R of small pages, and more."""


def setup(session: Session) -> None:
    """Sizes, a process with memory, another process."""
    act(session, "mmap A R 128K\nmmap A S 20K nohuge")
    if session.kernel.has_contpte:
        act(session, "mthp 64K madvise\nmthp 16K madvise")
    act(session, "touch A R 0 32 w")


def live(
    session: Session, data: st.DataObject, count: int, strategy: Strategy = actions
) -> list[str]:
    """Do up to *count* random actions; what was done."""
    done: list[str] = []
    for _ in range(data.draw(st.integers(1, count), label="how many")):
        line = data.draw(strategy(session), label="action")
        act(session, line)
        done.append(line)
    return done


def leave(session: Session) -> None:
    """End every process and give everything back."""
    for name in list(session.ledger.processes()):
        act(session, f"exit {name}")
    for id_ in holds_of(session):
        act(session, f"unpin {id_}")


# -- one CPU ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [*UPSTREAM, "ryan-v3", "david-batch", "ryan-v2"])
@given(data=st.data())
@examples(12)
def test_no_rule_is_broken(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    setup(session)
    live(session, data, 25)
    leave(session)
    allowed = V2_MAY_BREAK if kernel == "ryan-v2" else set()
    assert not broken(session) - allowed, explain(session)
    assert not session.ledger.live_folios()


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2", "7.2-nopm"])
@given(data=st.data())
@examples(4)
def test_no_rule_is_broken_by_reclaim_and_splits(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    act(session, "swap on")
    if data.draw(st.integers(0, 3)) == 0:
        act(session, "mthp 2M madvise\nmmap A H 2M\nwrite A H 0 1")
    setup(session)
    fresh, position = snapshot(session), session.position
    live(session, data, 20, later_actions)
    end = snapshot(session)
    session.goto(position)
    assert snapshot(session) == fresh
    session.goto(end["position"])
    assert snapshot(session) == end
    leave(session)
    assert not broken(session), explain(session)
    assert not session.ledger.live_folios()


@pytest.mark.parametrize("kernel", ["6.6", "7.2", "7.2-nopm", "ryan-v2", "barry-entire"])
@given(data=st.data())
@examples(6)
def test_undo_restores_and_redo_repeats(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    fresh = snapshot(session)
    setup(session)
    live(session, data, 20)
    end, text = snapshot(session), as_json(session)
    for _ in range(data.draw(st.integers(0, 5))):
        session.goto(data.draw(st.integers(0, end["position"]), label="goto"))
    session.goto(0)
    assert snapshot(session) == fresh
    session.goto(end["position"])
    assert snapshot(session) == end
    assert as_json(session) == text


@pytest.mark.parametrize("kernel", ["6.9", "7.2", "barry-entire"])
@given(data=st.data())
@examples(10)
def test_acting_in_the_past_is_as_if_the_future_had_never_been(
    kernel: str, data: st.DataObject
) -> None:
    session, other = Session(kernel), Session(kernel)
    for each in (session, other):
        setup(each)
    bounds = [session.position]
    done = []
    for _ in range(data.draw(st.integers(1, 12))):
        done += live(session, data, 1)
        bounds.append(session.position)
    kept = data.draw(st.integers(0, len(done) - 1), label="kept")
    session.goto(bounds[kept])
    done[kept:] = live(session, data, 6)
    for line in done:
        act(other, line)
    session.machine.branches.clear()
    assert snapshot(session) == snapshot(other)
    assert as_json(session) == as_json(other)


@pytest.mark.parametrize("kernel", ["6.6", "7.2-nopm", "7.3", "barry-entire"])
@given(data=st.data())
@examples(8)
def test_state_and_events_are_json(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    setup(session)
    live(session, data, 15)
    for thing in (session.state(), list(session.event_log())):
        assert json.loads(json.dumps(thing)) == thing


@pytest.mark.parametrize("kernel", ["6.6", "7.2"])
@given(data=st.data())
@examples(12)
def test_nonsense_is_refused_and_changes_nothing(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    setup(session)
    live(session, data, 8)
    if data.draw(st.booleans()):  # also with a future that must not be lost
        session.goto(data.draw(st.sampled_from(action_bounds(session))))
    before, future = snapshot(session), bytes(session.machine.future_cpus)
    line = data.draw(st.sampled_from(NONSENSE))
    (step,) = parse_lines(line, "<nonsense>")
    refused: UsageError | None = None
    try:
        session.begin(step)
    except UsageError as error:
        refused = error
    if refused is not None:
        assert refused.expected
        assert refused.where is not None
        assert snapshot(session) == before
        assert bytes(session.machine.future_cpus) == future
        assert not session.machine.branches


@pytest.mark.parametrize("line", NONSENSE)
def test_each_nonsense_is_refused_by_a_machine_that_knows_a_and_r(line: str) -> None:
    session = Session("6.6")
    setup(session)
    before = snapshot(session)
    (step,) = parse_lines(line, "<nonsense>")
    with pytest.raises(UsageError):
        session.begin(step)
    assert snapshot(session) == before


# -- two CPUs --------------------------------------------------------------------------------


@st.composite
def pairs(draw: st.DrawFn, session: Session) -> tuple[str, str]:
    """Two lines that two CPUs may do at once: the second never ends the first one's process."""
    first = draw(actions(session))
    words = first.split()
    ends = words[1] if words[0] == "exit" else ""
    owners = "".join({r[0] for r in regions_of(session)} - {ends})
    if not owners:
        return first, "drain"
    second = draw(range_actions(session, owners, "g"))
    verbs = {words[0], second.split()[0]}
    if verbs & {"mmap", "mremap"} or verbs <= {"uring", "unuring"}:
        second = "drain"
    if words[0] == "fork" and second.startswith(f"write {words[1]} "):
        # a known fault of the model, see test_a_store_translated_before_forks_flush
        second = second.replace("write", "read", 1)
    return first, second


def race(session: Session, lines: tuple[str, str], schedule: list[int]) -> None:
    """Run two lines at once: runs of events as *schedule* says, then the rest."""
    begin(session, f"cpu0: {lines[0]}\ncpu1: {lines[1]}")
    for turn, count in enumerate(schedule):
        for _ in range(count):
            if turn & 1 in session.machine.enabled():
                session.machine.step(turn & 1)
    session.finish()


@pytest.mark.parametrize("kernel", UPSTREAM)
@given(data=st.data())
@examples(20)
def test_two_cpus_at_once_break_no_rule(kernel: str, data: st.DataObject) -> None:
    session = Session(kernel)
    setup(session)
    if data.draw(st.booleans()):
        act(session, "fork A B")
    live(session, data, 6)
    for _ in range(data.draw(st.integers(1, 3))):
        if not regions_of(session):
            break
        lines = data.draw(pairs(session), label="at once")
        schedule = data.draw(st.lists(st.integers(0, 60), max_size=20), label="schedule")
        race(session, lines, schedule)
    assert not broken(session), explain(session)
    session.state()


@pytest.mark.parametrize("kernel", UPSTREAM)
@pytest.mark.parametrize("other", ["pin A R 0 16 h w", "get A R 3 7 h -", "dontneed A R 3 9",
                                   "dontneed B R 2 5", "pin B R 4 6 h -", "exit B",
                                   "write B R 2 4", "fork B D"])  # fmt: skip
@given(schedule=st.lists(st.integers(0, 80), max_size=24))
@examples(8)
def test_fork_against_everything_breaks_no_rule(
    kernel: str, other: str, schedule: list[int]
) -> None:
    session = Session(kernel)
    setup(session)
    act(session, "fork A B\nwrite A R 5 6")
    race(session, ("fork A C", other), schedule)
    assert not broken(session), explain(session)
    leave(session)
    assert not broken(session), explain(session)
    assert not session.ledger.live_folios()
