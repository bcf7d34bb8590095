"""Registered buffers of io_uring: what an entry pins, who has the ring open, what is charged."""

from __future__ import annotations

import pytest

from sandbox.run.session import Session
from tests.engine.support import act, broken, explain, run

RECORDED = ("6.12", "7.2", "7.2-nopm", "7.3")
HELD = "mthp 64K madvise\nmmap A R 128K\nwrite A R 0 32\n"


def ret(session: Session) -> int:
    result = session.result_of(len(session.steps))
    assert result is not None
    return result.ret


def pins(session: Session) -> dict[str, int]:
    folios = session.state()["folios"]
    return {n: f["pincount"] for n, f in folios.items() if f.get("pincount")}


@pytest.mark.parametrize("kernel", RECORDED)
@pytest.mark.parametrize(("span", "expected"), [
    ("0 32", {"F1": 1, "F2": 1}),
    ("3 32", {"F1": 1, "F2": 1}),
    ("3 20", {"F1": 1, "F2": 1}),
    ("3 6", {"F1": 1}),
    ("3 4", {"F1": 1}),
])  # fmt: skip
def test_a_folio_is_pinned_once(kernel: str, span: str, expected: dict[str, int]) -> None:
    session = run(kernel, f"{HELD}uring A R {span}")
    assert pins(session) == expected
    act(session, "unuring A")
    assert not pins(session)
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_folios_of_different_sizes_are_pinned_page_by_page(kernel: str) -> None:
    session = run(kernel, "mthp 16K madvise\nmmap A R 4p nohuge\nmmap A R 4p at=4\n"
                  "write A R 0 8\nuring A R 2 8")  # fmt: skip
    assert list(pins(session).values()) == [4]
    act(session, "unuring A\nuring A R 4 8")
    assert list(pins(session).values()) == [1]


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_tail_page_is_kept_by_its_head(kernel: str) -> None:
    """The head page may be shared: what is unpinned later is the folio, and nobody warns."""
    session = run(kernel, "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\ndontfork A R 1 16\n"
                  "fork A B\nexit B\nuring A R 1 3\nunuring A")  # fmt: skip
    assert not pins(session)
    assert not broken(session), explain(session)
    assert not session.rules.complaints


def test_before_the_fix_the_head_page_is_looked_at_when_it_is_unpinned() -> None:
    session = run("6.15", "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\ndontfork A R 1 16\n"
                  "fork A B\nuring A R 1 3\ndontneed A R 0 1\nunuring A")  # fmt: skip
    notes = [event for event in session.machine.events if event[2:4] == (
        "warn", "sanity_check_pinned_pages")]  # fmt: skip
    assert len(notes) == 1


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_child_has_the_ring_open_too(kernel: str) -> None:
    session = run(kernel, f"{HELD}get A R 0 1 g -\nuring A R 0 16\nfork A B\nuring B R 0 4")
    assert ret(session) == -16, "the ring has a buffer already"
    act(session, "exit A")
    assert pins(session) == {"F1": 1}
    act(session, "exit B")
    assert not pins(session)
    assert not broken(session), explain(session)


@pytest.mark.parametrize(("kernel", "error"), [("6.12", -9), ("7.2", -22)])
def test_there_may_be_nothing_to_unregister(kernel: str, error: int) -> None:
    session = run(kernel, f"{HELD}unuring A")
    assert ret(session) == error
    act(session, "uring A R 0 4\nfork A B\nunuring B")
    assert ret(session) == 0, "the child gives back what its parent has registered"
    act(session, "unuring A")
    assert ret(session) == -6


@pytest.mark.parametrize(("kernel", "charged"), [("6.12", 32), ("7.2", 0)])
def test_pinned_vm_is_of_whole_folios_where_it_is_counted(kernel: str, charged: int) -> None:
    session = run(kernel, f"{HELD}uring A R 8 20")
    assert session.state()["procs"]["A"]["pinned_vm"] == charged
    act(session, "unuring A")
    assert session.state()["procs"]["A"]["pinned_vm"] == 0


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_state_has_no_folio_that_a_buffer_alone_holds(kernel: str) -> None:
    session = run(kernel, f"{HELD}uring A R 0 16\nmunmap A R 0 32")
    assert session.state()["folios"] == {}
    act(session, "unuring A\nexit A")
    assert not broken(session), explain(session)
