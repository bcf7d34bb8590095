"""Advice about a folio that a PMD maps."""

from __future__ import annotations

import pytest

from sandbox.mm.flags import EINVAL, PG_dirty, PG_swapbacked
from sandbox.run.session import Session
from sandbox.syscalls import Result
from tests.engine.support import act, broken, explain, run

KERNELS = ["6.6", "6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3"]
HUGE = "swap on\nmthp 2M madvise\nmmap A H 2M\nwrite A H 0 1"


def state(session: Session) -> tuple[list[int], int]:
    """The orders of the live folios, and the flags of the first."""
    folios = sorted(session.ledger.live_folios())
    return [folio.order for folio in folios], session.machine.peek(folios[0].flags)


@pytest.mark.parametrize("kernel", KERNELS)
def test_free_of_the_whole_folio_keeps_it_whole(kernel: str) -> None:
    session = run(kernel, f"{HUGE}\nfree A H 0 512")
    orders, flags = state(session)
    assert orders == [9]
    assert not flags & (PG_swapbacked | PG_dirty)
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_free_of_a_part_splits_the_folio(kernel: str) -> None:
    session = run(kernel, f"{HUGE}\nfree A H 0 8")
    assert set(state(session)[0]) == {0}
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("verb", ["free", "cold", "pageout"])
def test_a_shared_folio_is_left_alone(kernel: str, verb: str) -> None:
    before = run(kernel, f"{HUGE}\nfork A B")
    after = run(kernel, f"{HUGE}\nfork A B\n{verb} A H 0 512")
    assert state(after) == state(before)
    assert not broken(after), explain(after)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_lazyfree_folio_goes_without_a_slot(kernel: str) -> None:
    session = run(kernel, f"{HUGE}\nfree A H 0 512\npageout A H 0 512")
    assert not session.ledger.live_folios()
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pageout_brings_the_contents_back(kernel: str) -> None:
    session = run(kernel, f"{HUGE}\nwrite A H 5 6\npageout A H 0 512\nread A H 5 6")
    result = session.result_of(7)
    assert result is not None
    assert result.out == "5x1"
    assert not broken(session), explain(session)


FULL = """\
mthp 2M madvise
mmap Z F 62M
write Z F 0 15872
pageout Z F 0 15872
mmap Z G 2016K nohuge
write Z G 0 504
pageout Z G 0 504
"""
"""Leaves seven slots of the device: all clusters are full but the first, which has a header."""


WITHOUT = [(kernel, "2M", "") for kernel in KERNELS] + [
    (kernel, "64K", "") for kernel in KERNELS[1:]
]
ALMOST = [("7.2", "2M", "swap on\n"), ("6.12", "64K", "swap on\n")]


@pytest.mark.parametrize(("kernel", "size", "room"), WITHOUT + ALMOST)
def test_pageout_without_room_for_the_whole_splits(kernel: str, size: str, room: str) -> None:
    pages = 16 if size == "64K" else 512
    fill = FULL if room else ""
    lines = f"{room}{fill}mthp {size} madvise\nmmap A R {size}\nwrite A R 0 {pages}"
    session = run(kernel, f"{lines}\npageout A R 0 {pages}\nread A R 0 1")
    assert not broken(session), explain(session)
    orders, _flags = state(session)
    assert set(orders) == {0}
    assert len(orders) == (pages if not room else pages - 7 + 1)


def test_cold_takes_shared_mappings_and_free_does_not() -> None:
    made = "mmap A S 16K shared\ntouch A S 0 4 w"
    assert run("7.2", f"{made}\ncold A S 0 4").result_of(3) == Result(0)
    assert run("7.2", f"{made}\nfree A S 0 4").result_of(3) == Result(-EINVAL)


def test_free_of_a_private_file_mapping_is_refused() -> None:
    made = "file G 64K /data/x\nmmap A S 64K fd=G\ntouch A S 0 16 w"
    assert run("7.2", f"{made}\nfree A S 0 16").result_of(4) == Result(-EINVAL)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pageout_of_shared_memory_brings_the_contents_back(kernel: str) -> None:
    lines = "swap on\nmmap A S 16K shared\nwrite A S 0 4\nfork A B\npageout A S 0 4"
    session = run(kernel, lines)
    assert [row for proc in session.state()["procs"].values() for row in proc["ptes"]] == []
    act(session, "read B S 0 4")
    result = session.result_of(6)
    assert result is not None
    assert result.out == "3x4"
    assert not broken(session), explain(session)
