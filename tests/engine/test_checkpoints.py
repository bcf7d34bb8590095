"""A long function that is made again with the help of its returned calls is where it was."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.machine import checkpoints
from sandbox.machine import history as history_module
from sandbox.machine.memory import Gen, Mm, note
from sandbox.run.session import Session
from tests.engine.support import ALL, act, as_json, begin, run


class Own(Linux72):
    """A person's own: a list that is handed down and filled, and a note for each access."""

    def user_access(self, mm: Mm, addr: int, write: bool, step: int) -> Gen[tuple[int, int]]:
        """Access, and say how often the innermost function has been reached."""
        seen: list[int] = []
        for _ in range(2):
            yield from self.own_count(seen, addr)
        yield note("own", len(seen))
        return (yield from super().user_access(mm, addr, write, step))

    def own_count(self, seen: list[int], addr: int) -> Gen[None]:
        """What it does to the list is no part of its result."""
        for _ in range(5):
            yield note("own", addr)
        seen.append(addr)


class Forgets(Linux72):
    """Keeps in a variable of the module what it should ask words for."""

    def own_note(self, addr: int) -> Gen[None]:
        """Do as many events as calls there were."""
        SEEN.append(addr)
        for _ in range(8):
            yield note("own", len(SEEN))

    def user_access(self, mm: Mm, addr: int, write: bool, step: int) -> Gen[tuple[int, int]]:
        """Access after a note that is another one each time."""
        yield from self.own_note(addr)
        return (yield from super().user_access(mm, addr, write, step))


SEEN: list[int] = []
ACTIONS = (
    "mthp 64K madvise\nmmap A R 512K\ntouch A R 0 128 w",
    "fork A B",
    "write B R 0 64",
    "dontneed B R 60 128",
    "exit B",
)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look often, write down short calls, and take few events for many."""
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "BURST", 32)
        patched.setattr(checkpoints, "LOOK_FROM", 64)
        patched.setattr(checkpoints, "SHORT", 4)
        patched.setattr(checkpoints, "LONG", 256)
        patched.setattr(checkpoints, "ENOUGH", 1024)
        patched.setattr(checkpoints, "BLOCK", 16)
        yield


def frozen(session: Session) -> list[tuple[Any, ...]]:
    """The stack of every CPU as a value."""
    return [
        (task.pending, f.function, f.filename, f.line, plain_text(f.locals))
        for task in session.running
        for f in session.stack(task.cpu)
    ]


def plain_text(names: dict[str, Any]) -> str:
    return re.sub(r" at 0x\w+", "", repr(sorted(names.items())))


def whole(session: Session) -> list[tuple[Any, ...]]:
    """The same with every function done again from its first answer."""
    machine, kept = session.machine, [(task, task.calls) for task in session.running]
    for task, _ in kept:
        machine.drop(task)
        task.calls = None
    found = frozen(session)
    for task, calls in kept:
        machine.drop(task)
        task.calls = calls
    return found


def agree(session: Session) -> int:
    """Both ways come to the same; how many calls were known."""
    for task in session.running:
        session.machine.drop(task)
    known = sum(len(task.calls or ()) for task in session.running)
    assert frozen(session) == whole(session)
    return known


def played(kernel: str | type[Kernel]) -> Session:
    return run(kernel, "\n".join(ACTIONS))


@pytest.mark.parametrize("kernel", [*ALL, Own], ids=str)
def test_the_stack_is_that_of_the_whole_function(kernel: str | type[Kernel]) -> None:
    session = played(kernel)
    end, text = session.position, as_json(session)
    known = 0
    for position in range(end - 1, 0, -max(end // 25, 1)):
        session.goto(position)
        known += agree(session)
    assert known > 100
    session.goto(end)
    assert as_json(session) == text


moves = st.lists(
    st.tuples(st.sampled_from(("goto", "back", "step", "other")), st.integers(0, 1 << 20)),
    min_size=4,
    max_size=8,
)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kernel=st.sampled_from(["6.6", "7.2", "ryan-v2", Own]), moves=moves)
def test_other_futures_forget_what_was_not_done_in_them(
    kernel: str | type[Kernel], moves: list[tuple[str, int]]
) -> None:
    session = run(kernel, ACTIONS[0])
    start = session.position
    begin(session, "cpu0: fork A B\ncpu1: write A R 0 128")
    for cpu in (0, 1) * 400:
        if cpu in session.machine.enabled():
            session.step_event(cpu)
    for move, number in moves:
        _move(session, start, move, number)
        agree(session)
    session.goto(start)
    assert session.position == start


def _move(session: Session, start: int, move: str, number: int) -> None:
    here = session.position
    if move == "goto":
        session.goto(start + number % (here - start + 1))
    elif move == "back":
        session.goto(max(start, here - number % 50))
    else:  # the CPUs in another order: a new future
        cpus = (0, 1) if move == "step" else (1, 1, 0)
        for turn in range(number % 400):
            enabled = session.machine.enabled()
            if enabled:
                session.step_event(enabled[cpus[turn % len(cpus)] % len(enabled)])


def test_calls_that_return_at_once_are_not_done_again() -> None:
    session = played("7.2")
    task = next(task for task in session.machine.tasks if task.name == "fork A B")
    session.goto(task.start + len(task.answers) - 1)
    session.machine.drop(task)
    short = _calls(session)
    session.machine.drop(task)
    task.calls = None
    assert short * 2 < _calls(session)


def _calls(session: Session) -> int:
    """How many functions are entered, or gone on with, to show the stack."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        session.stack()
    finally:
        sys.setprofile(None)
    return count


def test_what_is_not_pure_is_still_found_and_named() -> None:
    SEEN.clear()
    session = Session(Forgets)
    act(session, ACTIONS[0])
    session.goto(session.position - 200)
    (frame,) = session.stack()
    assert frame.function in ("own_note", "user_access")


def test_an_object_that_can_be_changed_is_no_plain_value() -> None:
    class Number(int):
        """May be given attributes."""

    class Bare(int):
        __slots__ = ()

    good = (1, "x", None, True, (2, (3,)), Mm(16), Bare(1))
    assert all(checkpoints.plain(value) for value in (*good, good))
    deep: tuple[Any, ...] = ()
    for _ in range(9):
        deep = (deep,)
    bad: tuple[object, ...] = ([], {}, Number(1), object(), (1, []), deep, agree)
    assert not any(checkpoints.plain(value) for value in bad)
