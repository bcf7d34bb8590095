"""Going back and forward: exact for memory, ledger, rules and functions; branches keep futures."""

from __future__ import annotations

import pytest

from sandbox.errors import SandboxError, UsageError
from sandbox.run.session import Session
from tests.engine.support import (
    ALL,
    BUSY_LIFE,
    FORK_64K,
    act,
    action_bounds,
    as_json,
    back_action,
    begin,
    frozen,
    run,
    snapshot,
)


@pytest.mark.parametrize("kernel", ALL)
def test_undo_to_the_start_restores_everything(kernel: str) -> None:
    session = Session(kernel)
    fresh = snapshot(session)
    act(session, BUSY_LIFE)
    end, text = snapshot(session), as_json(session)
    session.goto(0)
    assert snapshot(session) == fresh
    session.goto(end["position"])
    assert snapshot(session) == end
    assert as_json(session) == text


@pytest.mark.parametrize("kernel", ["6.6", "7.2", "7.2-nopm", "ryan-v2", "barry-entire"])
def test_ten_thousand_events_back_and_forward(kernel: str) -> None:
    session = run(kernel, BUSY_LIFE)
    generation = 0
    while session.position < 11_000:
        generation += 1
        act(session, f"fork A X{generation}\nwrite X{generation} R 0 10\nexit X{generation}")
    text, everything = as_json(session), snapshot(session)
    for _ in range(10_000):
        session.machine.undo()
    assert session.position == everything["position"] - 10_000
    for _ in range(10_000):
        session.step_event()
    assert snapshot(session) == everything
    assert as_json(session) == text


@pytest.mark.parametrize("kernel", ["6.9", "7.3", "ryan-v2", "barry-entire"])
def test_every_point_on_the_way_back_is_the_one_passed_on_the_way_there(kernel: str) -> None:
    session = run(kernel, "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\npin A R 3 4 p w")
    begin(session, "fork A B")
    there = []
    while session.running:
        there.append(snapshot(session))
        session.step_event()
    session.goto(there[-1]["position"] + 1)
    for was in reversed(there):
        session.machine.undo()
        if not session.running:  # an event back from the first lands before the action began
            break
        assert snapshot(session) == was


def test_a_word_unpinned_again_by_going_back_is_not_taken_for_pinned() -> None:
    session = run("7.2", "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w")
    here = session.position
    act(session, "pin A R 3 4 p w")
    session.goto(here)
    act(session, "fork A B")
    assert not session.rules.violations


def test_a_result_is_unknown_again_before_the_end() -> None:
    session = run("7.2", "mmap A R 16K nohuge")
    assert session.result_of(1) is not None
    session.machine.undo()
    assert session.result_of(1) is None


# -- functions ---------------------------------------------------------------------------


def test_the_stack_in_the_middle_is_the_one_seen_going_forward() -> None:
    session = run("7.2", "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w")
    begin(session, "fork A B")
    session.step_event()
    there = {}
    while session.running:
        there[session.position] = frozen(session.stack(0))
        session.step_event()
    for position in sorted(there, reverse=True)[::7]:
        session.goto(position)
        assert frozen(session.stack(0)) == there[position]
    session.goto(min(there))
    for position in sorted(there):
        assert frozen(session.stack(0)) == there[position]
        session.step_event()


def test_goto_takes_positions_of_the_present_branch_only() -> None:
    session = run("7.2", FORK_64K)
    end = session.position
    for position in (end // 2, 0, end, 1, end - 1):
        session.goto(position)
        assert session.position == position
    before = snapshot(session)
    for position in (-1, end + 1):
        with pytest.raises(UsageError, match="there is no event"):
            session.goto(position)
    assert snapshot(session) == before


# -- branches ----------------------------------------------------------------------------


def test_acting_in_the_past_keeps_the_old_future() -> None:
    session = run("7.2", FORK_64K)
    old, old_text = snapshot(session), as_json(session)
    back_action(session)
    forked_at = session.position
    act(session, "pin A R 5 6 p w\nfork A B")
    new, new_text = snapshot(session), as_json(session)
    (branch,) = session.machine.branches
    assert branch.position == forked_at
    session.machine.switch_branch(branch)
    assert session.position == forked_at
    session.goto(old["position"])
    assert snapshot(session) == old
    assert as_json(session) == old_text
    (branch,) = session.machine.branches
    session.machine.switch_branch(branch)
    session.goto(new["position"])
    assert snapshot(session) == new
    assert as_json(session) == new_text


def test_branches_of_branches_are_found_again() -> None:
    session = run("7.2", FORK_64K)
    root = action_bounds(session)
    ends: dict[str, str] = {}

    def mark(name: str) -> None:
        ends[name] = as_json(session)

    mark("fork")
    session.goto(root[3])
    act(session, "pin A R 5 6 p w")
    pinned = session.position
    act(session, "fork A B")
    mark("pin, fork")
    session.goto(pinned)
    act(session, "unpin p")
    mark("pin, unpin")
    session.goto(root[2])
    act(session, "touch A R 0 3 r\nfork A C\nfork C D\nexit A\nexit C\nexit D")
    mark("read")
    seen = {as_json(session)}
    for _ in range(12):
        branch = session.machine.branches[0]
        session.machine.switch_branch(branch)
        session.goto(session.position + len(session.machine.future_cpus))
        seen.add(as_json(session))
    assert seen == set(ends.values())


def test_doing_the_same_again_step_by_step_is_no_branch() -> None:
    session = run("7.2", FORK_64K)
    end, text = session.position, as_json(session)
    session.goto(end - 40)
    while session.position < end:
        session.machine.step(0)
    assert not session.machine.branches
    assert as_json(session) == text


def test_a_step_that_is_refused_keeps_the_future() -> None:
    session = run("7.2", FORK_64K)
    end = session.position
    session.goto(end - 40)
    with pytest.raises(SandboxError, match="CPU 1 is idle"):
        session.step_event(1)
    assert not session.machine.branches
    session.goto(end)


def test_a_begun_action_is_not_lost_by_going_back_and_forward() -> None:
    session = run("7.2", FORK_64K)
    begin(session, "exit B")
    session.machine.undo()
    session.step_event()
    assert [task.name for task in session.running] == ["exit B"]
    session.finish()
    assert list(session.ledger.processes()) == ["A"]


# -- two CPUs ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2", "ryan-v2", "barry-entire"])
def test_two_cpus_interleaved_with_undo_and_redo(kernel: str) -> None:
    session = run(kernel, FORK_64K)
    start = session.position
    before = as_json(session)
    begin(session, "cpu0: dontneed A R 3 4\ncpu1: exit B")
    turns = 0
    while len(session.running) == 2:
        turns += 1
        for cpu in (0, 1, 1):
            if cpu in session.machine.enabled():
                session.machine.step(cpu)
        if turns % 3 == 0:
            for _ in range(5):
                session.machine.undo()
            for _ in range(5):
                session.step_event()
    session.finish()
    text, everything = as_json(session), snapshot(session)
    assert not session.machine.branches
    session.goto(start)
    assert as_json(session) == before
    session.goto(everything["position"])
    assert snapshot(session) == everything
    assert as_json(session) == text


def test_another_choice_of_cpu_in_the_past_is_a_branch() -> None:
    session = run("7.2", FORK_64K)
    begin(session, "cpu0: dontneed A R 3 4\ncpu1: exit B")
    for _ in range(10):
        session.machine.step(0)
    session.finish()
    first = as_json(session)
    starts = [t.start for t in session.machine.tasks if t.name == "exit B"]
    session.goto(starts[0] + 6)
    session.machine.step(1)
    session.finish()
    assert as_json(session) != first
    (branch,) = session.machine.branches
    session.machine.switch_branch(branch)
    session.goto(session.position + len(session.machine.future_cpus))
    assert as_json(session) == first
