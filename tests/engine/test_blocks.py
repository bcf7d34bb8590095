"""Blocks of two to four CPUs that do several actions each: order, refusals, history."""

from __future__ import annotations

import random

import pytest

from sandbox.errors import UsageError
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines
from tests.engine.support import act, begin, broken, explain, run, snapshot

SETUP = "mmap A R 16K nohuge\nwrite A R 0 4\nmmap C R 16K nohuge\nwrite C R 0 4"

FOUR = """\
cpu0: fork A B
cpu0: write B R 0 2
cpu0: exit B
cpu1: pin A R 1 2 p w
cpu1: unpin p
cpu1: pin A R 2 3 p w
cpu2: mmap C S 16K
cpu2: write C S 0 4
cpu2: mmap D T 16K
cpu2: read D T 0 2
cpu3: write A R 3 4
cpu3: dontneed A R 0 1
"""


def random_run(session: Session, seed: int) -> list[int]:
    """Step whatever can go on, drawn at random, until nothing runs; the order."""
    chance, order = random.Random(seed), []
    while session.running:
        cpu = chance.choice(session.machine.enabled())
        session.step_event(cpu)
        order.append(cpu)
    return order


def texts(session: Session, cpu: int) -> list[str]:
    """What a CPU did in the last block, as the notes say."""
    (step, *_) = reversed(session.steps)
    return [task.call.text for task in session.tasks_of(step) if task.cpu == cpu]


@pytest.mark.parametrize("kernel", ["6.6", "6.15", "7.2"])
def test_four_cpus_do_their_actions_one_after_the_other(kernel: str) -> None:
    (block,) = parse_lines(FOUR, "f")
    for seed in range(8):
        session = run(kernel, SETUP)
        session.begin(block)
        random_run(session, seed)
        for cpu in range(4):
            mine = [line.partition(": ")[2] for line in FOUR.splitlines() if f"cpu{cpu}" in line]
            assert texts(session, cpu) == mine
        assert sorted(session.ledger.processes()) == [*"ACD"]
        bases = list(session.book.places.values())
        assert len(set(bases)) == len(bases) == 3
        assert session.book.ids == ["p"]
        assert not broken(session), explain(session)


def test_a_cpu_takes_its_next_action_at_once() -> None:
    session = run("7.2", SETUP)
    begin(session, "cpu0: write A R 0 1\ncpu0: read A R 0 1\ncpu1: read A R 3 4")
    first = session.machine.running[0]
    session.machine.run(0)
    second = session.machine.running[0]
    assert second is not None
    assert first is not None
    assert (second.name, second.start) == ("read A R 0 1", first.end)
    assert session.result_of(len(session.steps)) is None
    session.finish()
    assert session.result_of(len(session.steps)) is not None


def test_doing_a_block_is_beginning_and_finishing_it() -> None:
    one, other = run("7.2", SETUP), run("7.2", SETUP)
    act(one, FOUR + "schedule cpu2 20, cpu0 50, cpu3 all, cpu1 all, cpu0 5, cpu2 all")
    begin(other, FOUR)
    for cpu in one.machine.cpus[other.position :]:
        if other.running:
            other.step_event(cpu)
    assert snapshot(one) == snapshot(other)


@pytest.mark.parametrize("seed", range(6))
def test_undo_and_redo_are_exact_with_several_actions_per_cpu(seed: int) -> None:
    chance = random.Random(seed)
    session = run("7.2", SETUP)
    start = session.position
    begin(session, FOUR)
    seen = {session.position: snapshot(session)}
    while session.running:
        session.machine.step(chance.choice(session.machine.enabled()))
        seen[session.position] = snapshot(session)
    end = session.position
    for _ in range(60):
        session.goto(chance.randint(start + 1, end))
        assert snapshot(session) == seen[session.position]
    session.goto(end)
    assert snapshot(session) == seen[end]


@pytest.mark.parametrize("seed", range(6))
def test_branches_of_a_block_keep_what_each_cpu_came_to(seed: int) -> None:
    chance = random.Random(seed)
    session = run("7.2", SETUP)
    start = session.position
    begin(session, FOUR)
    random_run(session, seed)
    ends = [snapshot(session)]
    for again in range(4):
        session.goto(chance.randint(start + 1, session.position - 1))
        random_run(session, 100 * seed + again)
        ends.append(snapshot(session))
        assert [len(texts(session, cpu)) for cpu in range(4)] == [3, 3, 4, 2]
    machine = session.machine
    for _ in range(2 * len(machine.branches)):
        branch = chance.choice(machine.branches)
        machine.switch_branch(branch)
        while machine.can_redo():
            session.step_event()
        assert snapshot(session) in ends


def test_what_cannot_be_meant_when_its_cpu_comes_to_it_is_refused() -> None:
    session = run("7.2", SETUP)
    block = "cpu0: munmap A R 0 4\ncpu0: fold A R 0 4\ncpu0: read C R 0 1\ncpu1: write C R 0 1"
    before = snapshot(session)
    with pytest.raises(UsageError, match=r"not fully mapped|kernel|block") as raised:
        act(session, block)
    assert raised.value.where is not None
    assert raised.value.where.line == 2
    assert snapshot(session) == before
    assert not session.machine.can_redo()
    act(session, "fork A B")


def test_a_block_refused_in_the_past_leaves_the_future() -> None:
    session = run("7.2", SETUP + "\nfork A B\nexit B")
    end, state = session.position, session.state()
    session.goto(session.starts[-2])
    before = snapshot(session)
    with pytest.raises(UsageError, match="without pte:99"):
        act(session, "cpu0: read A R 0 1\ncpu1: read C R 0 1\nschedule cpu0 until pte:99")
    assert snapshot(session) == before
    assert not session.machine.branches
    session.goto(end)
    assert session.state() == state


def test_a_refusal_in_the_middle_leaves_a_block_that_can_be_gone_on_with() -> None:
    session = run("7.2", SETUP)
    begin(session, "cpu0: munmap A R 0 4\ncpu0: fold A R 0 4\ncpu0: read C R 0 1")
    with pytest.raises(UsageError, match="not fully mapped"):
        session.finish()
    middle = snapshot(session)
    session.finish()
    assert texts(session, 0) == ["munmap A R 0 4", "fold A R 0 4", "read C R 0 1"]
    result = session.result_of(len(session.steps))
    assert result is not None
    assert result.ret == -22
    assert "not fully mapped" in (result.out or "")
    end, done = session.position, snapshot(session)
    session.goto(end - 4)
    session.goto(end)
    assert snapshot(session) == done != middle


def test_a_block_waits_for_what_another_cpu_holds() -> None:
    session = run("7.2", SETUP)
    act(session, "cpu0: munmap A R 0 1\ncpu0: munmap A R 1 2\ncpu1: munmap A R 2 3\n"
        "cpu1: munmap A R 3 4\nschedule cpu0 20, cpu1 all, cpu0 all, cpu1 all")  # fmt: skip
    assert session.state()["procs"]["A"]["vmas"] == []


def test_machines_have_four_cpus_and_state_says_nothing_of_them() -> None:
    two, four = run("7.2", SETUP, cpus=2), run("7.2", SETUP)
    assert len(four.cpus) == 4
    assert two.state() == four.state()
    assert list(two.machine.events) == list(four.machine.events)
