"""Long moves: a packed history is the same history, and a move can be followed and stopped."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sandbox.errors import Cancelled
from sandbox.machine import history as history_module
from sandbox.machine.journal import Column, pack
from sandbox.memory import Folio
from sandbox.run.long_move import LongMove
from sandbox.run.session import Session
from tests.engine.support import BUSY_LIFE, act, action_bounds, as_json, begin, run, snapshot


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look between events often, and pack in small chunks."""
    monkeypatch.setattr(history_module, "BURST", 16)
    monkeypatch.setattr(history_module, "CHUNK", 64)
    monkeypatch.setattr(history_module, "KEEP", 256)


def packed(session: Session) -> int:
    """Bytes of the packed part of a session's journal."""
    events = session.machine.events
    return events.packed_bytes if isinstance(events, Column) else 0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("kernel", ["6.6", "7.2", "7.2-nopm", "ryan-v2"])
def test_a_packed_history_goes_back_and_forth_exactly(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = run(kernel, BUSY_LIFE)
    assert packed(session)
    end, text = snapshot(session), as_json(session)
    session.goto(0)
    assert not packed(session)
    session.goto(end["position"])
    assert snapshot(session) == end
    assert as_json(session) == text
    monkeypatch.setattr(history_module, "KEEP", 1 << 20)
    plain = run(kernel, BUSY_LIFE)
    assert isinstance(plain.machine.events, list)
    assert as_json(plain) == text


@pytest.mark.usefixtures("short")
def test_a_function_is_rebuilt_from_packed_answers() -> None:
    session = run("7.2", "mmap A R 512K\ntouch A R 0 128 w")
    begin(session, "fork A B")
    while session.position < 8000 and session.running:
        session.step_event()
    assert session.running
    assert session.position == 8000
    end = session.position
    there: dict[int, Any] = {}
    for position in range(end - 700, end - 600):
        session.goto(position)
        there[position] = [(f.function, f.line) for f in session.stack()]
    session.goto(end)
    for position in reversed(there):
        session.goto(position)
        assert [(f.function, f.line) for f in session.stack()] == there[position]


@pytest.mark.usefixtures("short")
def test_acting_in_a_packed_past_leaves_a_branch() -> None:
    session = run("7.2", BUSY_LIFE)
    end, text = session.position, as_json(session)
    session.goto(action_bounds(session)[4])
    act(session, "exit A")
    session.machine.switch_branch(session.machine.branches[-1])
    session.goto(end)
    assert as_json(session) == text


def test_a_column_is_a_list() -> None:
    plain: list[Any] = [(n, Folio(n << 4), "x" * n) for n in range(100)]
    column = pack(list(plain), 10, 8)
    assert isinstance(column, Column)
    assert column.plain < 18
    assert len(column) == 100
    assert list(column) == plain
    assert [column[i] for i in range(-100, 100)] == [plain[i] for i in range(-100, 100)]
    assert all(type(item[1]) is Folio for item in column)
    for start, stop in ((0, 100), (3, 5), (7, 95), (90, 200), (50, 40), (-5, None)):
        assert list(column[start:stop]) == plain[start:stop]
        assert len(column[start:stop]) == len(plain[start:stop])
    for wrong in (100, -101):
        with pytest.raises(IndexError):
            column[wrong]
    column.append("last")
    assert [column.pop() for _ in range(101)] == ["last", *reversed(plain)]
    with pytest.raises(IndexError):
        column.pop()


def test_what_cannot_be_pickled_is_kept() -> None:
    items: list[Any] = [threading.Lock() for _ in range(20)]
    column = pack(list(items), 2, 4)
    assert isinstance(column, Column)
    assert column.packed_bytes == 0
    assert list(column) == items


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("move", ["do", "finish", "step_event", "goto", "back"])
def test_a_move_stops_between_two_events_and_can_go_on(move: str) -> None:
    lines = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w"
    whole = run("7.2", lines + "\nfork A B")
    end, text = whole.position, as_json(whole)
    session = run("7.2", lines)
    start = session.position
    if move in ("goto", "back"):
        act(session, "fork A B")
        if move == "goto":
            session.goto(start)
    elif move != "do":
        begin(session, "fork A B")
    with LongMove(session) as watching:
        watching.stop()
        with pytest.raises(Cancelled, match="stopped at event"):
            _move(session, move, start)
    assert start < session.position < end
    session.goto(end) if move in ("goto", "back") else session.finish()
    assert as_json(session) == text


def _move(session: Session, move: str, start: int) -> None:
    if move == "do":
        act(session, "fork A B")
    elif move == "finish":
        session.finish()
    elif move == "step_event":
        while session.running:
            session.step_event()
    else:
        session.goto(start if move == "back" else start + len(session.machine.future_cpus))


@pytest.mark.usefixtures("short")
def test_progress_names_events_entries_and_rate() -> None:
    seen: list[str] = []
    ticks = iter(range(1_000_000))
    session = run("7.2", "mmap A R 64K\ntouch A R 0 16 w")
    with LongMove(session, seen.append, lambda: float(next(ticks))):
        act(session, "fork A B\nexit B\ndontneed A R 0 16")
    fork = [line for line in seen if line.startswith("fork A B: ")]
    assert any("of 16 PTEs" in line for line in fork)
    assert all("events/s" in line for line in fork[1:])
    assert any(line.startswith("exit B: ") and "of 16 PTEs" in line for line in seen)
    assert any(line.startswith("dontneed A R 0 16: ") for line in seen)
    assert session.machine.interrupt is None


def test_an_action_begun_before_the_drain_of_the_last_one_drains_first() -> None:
    lines = "mmap A R 64K\ntouch A R 0 16 w"
    session, straight = run("6.6", lines), run("6.6", lines + "\nfork A B")
    drain = next(t for t in session.machine.tasks if t.name == "lru_add_drain_all")
    session.goto(drain.start)
    assert drain not in session.machine.tasks
    act(session, "fork A B")
    assert as_json(session) == as_json(straight)
