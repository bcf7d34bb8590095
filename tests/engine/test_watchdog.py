"""A kernel function that comes to no event is ended, and named; what takes long is not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest

from sandbox.errors import Cancelled, KernelBug, NoEventError, NotPureError
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.machine import watchdog
from sandbox.machine.confined import Forbidden, confined
from sandbox.memory import Folio, Gen, Mm, Page, Vma, load
from sandbox.run.long_move import LongMove
from sandbox.run.session import Session
from tests.engine.support import FORK_64K, act, back_action, begin, snapshot


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Look often, and note what would end the process."""
    stuck: list[str] = []
    monkeypatch.setattr(watchdog, "PATIENCE", 0.2)
    monkeypatch.setattr(watchdog, "HURRIED", 0.05)
    monkeypatch.setattr(watchdog, "GRACE", 0.2)
    monkeypatch.setattr(watchdog, "LOOK", 0.01)
    monkeypatch.setattr(watchdog, "on_stuck", stuck.append)
    return stuck


def session_with(function: Callable[..., Any]) -> Session:
    kernel = type("Mine", (Linux69,), {"id": "mine", "folio_try_dup_anon_rmap_ptes": function})
    session = Session(kernel)
    *before, _fork = FORK_64K.splitlines()
    act(session, "\n".join(before))
    return session


def spins(self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma) -> Gen[bool]:
    yield load(folio.flags)
    while True:
        pass


def in_the_library(
    self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma
) -> Gen[bool]:
    fmean(iter(int, 1))
    yield load(folio.flags)
    return True


def when_thrown_away(
    self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma
) -> Gen[bool]:
    try:
        yield load(folio.flags)
        yield load(folio.flags)
    finally:
        while True:
            pass


@pytest.mark.parametrize("function", [spins, in_the_library])
def test_a_loop_without_an_event_is_ended_and_named(
    function: Callable[..., Any], impatient: list[str]
) -> None:
    session = session_with(function)
    there = snapshot(session)
    says = rf"fork A B: no event for 0.2 s at {function.__name__} \(test_watchdog.py:\d+\)"
    with pytest.raises(NoEventError, match=says) as caught:
        act(session, "fork A B")
    assert caught.value.function == function.__name__
    assert caught.value.file == __file__
    session.goto(there["position"])
    assert snapshot(session) == there
    act(session, "write A R 0 4")
    assert not impatient


def test_one_that_hangs_when_it_is_made_again_is_ended_too() -> None:
    calls: list[int] = []

    def second_time(
        self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma
    ) -> Gen[bool]:
        calls.append(1)
        while len(calls) > 1:
            pass
        for _ in range(4):
            yield load(folio.flags)
        return True

    session = session_with(second_time)
    start = session.position
    begin(session, "fork A B")
    while not calls:
        session.step_event()
    session.step_event()
    session.step_event()
    session.machine.undo()
    with pytest.raises(KernelBug, match="no event for"):
        session.step_event()
    assert session.stack() == [] or session.stack()[0].function == "second_time"
    back_action(session)
    assert session.position == start


def test_one_that_hangs_when_it_is_thrown_away_does_not_keep_anybody_from_going_back() -> None:
    session = session_with(when_thrown_away)
    start = session.position
    begin(session, "fork A B")
    while session.stack()[-1].function != "when_thrown_away" if session.stack() else True:
        session.step_event()
    session.goto(start)
    assert session.position == start


def test_one_that_cannot_be_ended_calls_for_the_end_of_the_process(impatient: list[str]) -> None:
    let_go = threading.Event()

    def waits(self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma) -> Gen[bool]:
        let_go.wait()
        yield load(folio.flags)
        return True

    def stuck(text: str) -> None:
        impatient.append(text)
        let_go.set()

    watchdog.on_stuck = stuck  # taken back by the fixture
    session = session_with(waits)
    with pytest.raises(NoEventError):
        act(session, "fork A B")
    (text,) = impatient
    assert "waits (test_watchdog.py:" in text
    assert "cannot be ended" in text


def test_a_person_who_asks_does_not_have_to_be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 1e9)
    session = session_with(spins)
    move = LongMove(session)
    began = threading.Event()
    real = watchdog.Watch.__enter__

    def enter(watch: watchdog.Watch) -> None:
        real(watch)
        began.set()

    monkeypatch.setattr(watchdog.Watch, "__enter__", enter)

    def ask() -> None:
        began.wait()
        while not session.machine.watchdog.hurried:
            move.stop()

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Cancelled, match="stopped: fork A B: no event"), move:
        act(session, "fork A B")
    asking.join()


def test_work_that_takes_long_is_left_alone(impatient: list[str]) -> None:
    kernel = type("Mine", (Linux69,), {"id": "mine"})
    session = Session(kernel)
    act(session, "mthp 64K madvise\nmmap A R 1M\ntouch A R 0 256 w")
    begin(session, "fork A B")
    while len(session.machine.events) < 3500:
        session.step_event()
    for _ in range(30):
        session.machine.undo()
        session.stack()
    session.finish()
    assert not impatient


def test_a_time_in_which_nobody_looked_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_with(spins)
    watch = session.machine.watchdog
    dog = watchdog._dog()
    struck: list[object] = []
    monkeypatch.setattr(watchdog, "_raise_in", lambda *args: struck.append(args))
    monkeypatch.setattr(watchdog, "PATIENCE", 1e6)
    with watch:
        for _ in range(3):
            dog._look(watch, 2 * watchdog.LOOK)
        assert watch.idle < 1
    assert not struck


def test_what_ends_a_process_is_refused_in_a_kernel_function() -> None:
    import os

    with confined(), pytest.raises(Forbidden, match=r"may not call _exit\(\)"):
        os._exit(0)
    with confined(), pytest.raises(Forbidden, match="start"):
        threading.Thread(target=print).start()
    with confined():
        done = []

        def elsewhere() -> None:
            os.kill(os.getpid(), 0)
            done.append(1)

        start = threading.Thread.start
        other = threading.Thread(target=elsewhere)
        start.__wrapped__(other)  # type: ignore[attr-defined]
        other.join()
    assert done


def test_being_impure_is_not_taken_for_being_slow() -> None:
    calls: list[int] = []

    def impure(self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma) -> Gen[bool]:
        calls.append(1)
        yield load(folio.flags + len(calls))
        yield load(folio.flags)
        return True

    session = session_with(impure)
    begin(session, "fork A B")
    while not calls:
        session.step_event()
    session.step_event()
    session.machine.undo()
    with pytest.raises(NotPureError, match=r"impure \(test_watchdog.py:\d+\)"):
        session.step_event()


def test_an_exception_that_was_taken_back_leaves_no_thread_waiting() -> None:
    mine = threading.get_ident()
    watchdog._raise_in(mine, None)
    watchdog._settle(mine)
    done: list[int] = []

    def work() -> int:
        return 6

    def profiled() -> None:
        sys.setprofile(lambda *_: None)
        try:
            done.append(work())
        finally:
            sys.setprofile(None)

    other = threading.Thread(target=profiled, daemon=True)
    other.start()
    other.join(20)
    assert done == [6]
