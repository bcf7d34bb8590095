"""What was begun and never did an event is no part of any history, whatever is done then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtui.commands.acting import parse
from mmtui.model.bench import Bench
from mmtui.model.script import empty_source
from sandbox.errors import SandboxError
from sandbox.run.session import Session
from tests.engine.support import as_json
from tests.engine.test_hypothesis import examples

LINES = ("mmap A R 64K", "mmap A S 16K", "touch A R 0 4 w", "munmap A R 2 3", "fork A B", "exit B",
         "cpu0 touch A R 4 6 w | cpu1 drain")  # fmt: skip
MOVES = st.one_of(
    st.tuples(st.just("act"), st.sampled_from(LINES)),
    st.tuples(st.just("begin"), st.sampled_from(LINES)),
    st.tuples(st.just("back action"), st.just("")),
    st.tuples(st.just("back"), st.integers(1, 40)),
    st.tuples(st.just("step"), st.integers(1, 40)),
    st.tuples(st.just("branch"), st.integers(0, 5)),
    st.tuples(st.just("goto"), st.integers(0, 400)),
    st.tuples(st.just("end"), st.just("")),
    st.tuples(st.just("kernel"), st.sampled_from(["6.9", "7.2"])),
)


def do(bench: Bench, move: str, value: object) -> Bench:
    """One move by its name; what is refused changes nothing."""
    try:
        if move in ("act", "begin"):
            bench.act(parse(str(value)), paused=move == "begin")
        elif move == "back action":
            bench.back_action()
        elif move == "back":
            bench.back_event(int(str(value)))
        elif move == "step":
            bench.step_event(int(str(value)))
        elif move == "branch" and bench.session.machine.branches:
            branches = bench.session.machine.branches
            bench.switch_branch(branches[int(str(value)) % len(branches)].number)
        elif move == "goto":
            bench.goto(min(int(str(value)), bench.end))
        elif move == "end":
            bench.goto(bench.end)
        elif move == "kernel":
            return bench.replay_on(str(value))
    except SandboxError:
        pass
    return bench


def check_no_ghost(bench: Bench) -> None:
    """Every task that is past did events, and every one that is kept for later will."""
    machine = bench.session.machine
    for task in machine.tasks:
        assert task.end is not None or machine.running[task.cpu] is task, task.name
        assert task.running or task.answers, task.name
    for branch in machine.branches:
        for task in branch.tasks:
            assert task.start < branch.position + len(branch.cpus), task.name
    assert len(machine.future_tasks) == len({id(task) for task in machine.future_tasks})


@given(st.lists(MOVES, min_size=4, max_size=24))
@examples(60)
def test_no_sequence_of_moves_brings_back_what_never_ran(moves: list[tuple[str, object]]) -> None:
    bench = Bench(empty_source(), "7.2")
    do(bench, "act", LINES[0])
    for move, value in moves:
        bench = do(bench, move, value)
        check_no_ghost(bench)
    bench.goto(bench.end)
    check_no_ghost(bench)
    if not bench.session.running and not any(
        len(bench.as_done(step).text.split("|")) > 1 for step in bench.session.steps
    ):
        again = Session("7.2" if bench.kernel == "7.2" else bench.kernel)
        for step in bench.session.steps:
            again.do(bench.as_done(step))
        assert as_json(again) == as_json(bench.session)


@pytest.mark.parametrize("back", ["back action", "back"])
def test_the_ghost_that_was_seen_is_gone(back: str) -> None:
    bench = Bench(empty_source(), "7.2")
    for move, value in (
        ("act", "mmap A R 64K"), ("act", "mmap A S 64K"), ("back action", ""),
        ("begin", "mmap A T 64K"), (back, 1), ("act", "mmap A U 64K"), ("branch", 0), ("end", ""),
    ):  # fmt: skip
        bench = do(bench, move, value)
    assert "mmap A T 64K" not in [step.action.text for step in bench.session.steps]
    for branch in bench.session.machine.branches:
        assert "mmap A T 64K" not in [task.name for task in branch.tasks]


def test_a_branch_is_gone_to_from_a_begun_action() -> None:
    bench = Bench(empty_source(), "7.2")
    for move, value in (
        ("act", "mmap A R 64K"), ("act", "mmap A S 64K"), ("back action", ""),
        ("act", "mmap A U 64K"), ("back action", ""), ("begin", "mmap A T 64K"), ("branch", 0),
    ):  # fmt: skip
        bench = do(bench, move, value)
    assert not bench.session.running
    bench.goto(bench.end)
    assert [step.action.text for step in bench.session.steps][1:] in (
        ["mmap A S 64K"], ["mmap A U 64K"],
    )  # fmt: skip
    check_no_ghost(bench)
