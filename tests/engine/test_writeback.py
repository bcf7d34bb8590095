"""A folio that is being written to swap, and munmap's lock: what others meet in the meantime.

That real kernels come to the same is in `landmarks.json`.
"""

from __future__ import annotations

import pytest

from sandbox.machine.memory import BITS, Folio
from sandbox.mm.flags import PG_buddy, PG_lru, PG_swapcache, PG_writeback
from sandbox.run.scheduling import play
from sandbox.run.session import Session
from sandbox.scenario.language import CpuBlock, parse_lines
from tests.engine.support import act, begin, broken, explain, run

SWAP = "swap on\nmmap A R 4p nohuge\nwrite A R 0 1"
KERNELS = ("6.6", "6.8", "6.12", "7.2", "7.3")


def at(kernel: str, setup: str, block: str, schedule: str) -> Session:
    """A session in the middle of a block, where the turns of a schedule end."""
    session = run(kernel, setup)
    begin(session, block)
    (step,) = parse_lines(f"{block}\nschedule {schedule}", "<test>")
    assert isinstance(step, CpuBlock)
    play(session, step.schedule)
    return session


def paged_out(session: Session) -> Folio:
    """The folio that the last block's first isolation took off the LRU."""
    events = session.machine.events[session.starts[-1] :]
    return next(Folio(e[1]) for e in events if e[0] == BITS and e[3] == PG_lru)


def written(session: Session) -> int:
    """How many writebacks have begun."""
    return sum(e[0] == BITS and e[2] == PG_writeback for e in session.machine.events)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("other", ["write A R 0 1", "pin A R 0 1 p w", "pin A R 0 1 p -"])
def test_who_needs_a_page_for_itself_copies_it_while_it_is_written(kernel: str, other: str) -> None:
    block = f"cpu0: pageout A R 0 1\ncpu1: {other}"
    session = at(kernel, SWAP, block, "cpu0 until folio_end_writeback:1, cpu1 all")
    folio = paged_out(session)
    assert session.machine.peek(folio.flags) & PG_writeback
    assert session.machine.running[1] is None
    session.finish()
    assert not broken(session), explain(session)
    (copy,) = session.ledger.live_folios()
    assert copy != folio
    assert session.machine.peek(folio.flags) & PG_buddy  # nobody else had it: reclaim went on


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_reader_keeps_the_folio_that_is_written(kernel: str) -> None:
    block = "cpu0: pageout A R 0 1\ncpu1: read A R 0 1"
    session = at(kernel, SWAP, block, "cpu0 until folio_end_writeback:1, cpu1 all")
    session.finish()
    (folio,) = session.state()["folios"].values()
    assert "swapcache" in folio["flags"]
    assert folio["exclusive"] == [[0, 1]]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("other", ["dontneed A R 0 1", "munmap A R 0 1", "free A R 0 1"])
def test_what_is_written_stays_in_the_swap_cache(kernel: str, other: str) -> None:
    block = f"cpu0: pageout A R 0 1\ncpu1: {other}"
    session = at(kernel, SWAP, block, "cpu0 until folio_end_writeback:1, cpu1 all")
    flags = session.machine.peek(paged_out(session).flags)
    assert flags & PG_writeback
    assert flags & PG_swapcache
    session.finish()
    assert not broken(session), explain(session)
    assert session.machine.peek(paged_out(session).flags) & PG_buddy


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_no_entry_needs_any_more_is_not_written(kernel: str) -> None:
    block = "cpu0: pageout A R 0 1\ncpu1: dontneed A R 0 1"
    session = at(kernel, SWAP, block, "cpu0 until pageout:1, cpu1 all")
    session.finish()
    assert written(session) == 0
    assert not session.state()["folios"]
    assert not broken(session), explain(session)


@pytest.mark.parametrize(("kernel", "times"), [("6.6", 1), ("6.8", 1), ("6.12", 0), ("7.2", 0)])
def test_zeroes_are_not_written_since_6_12(kernel: str, times: int) -> None:
    session = run(kernel, "swap on\nmmap A R 4p nohuge\npopulate_write A R 0 1\npageout A R 0 1")
    assert written(session) == times
    act(session, "read A R 0 1")
    (folio,) = session.state()["folios"].values()
    assert folio["data"] == [[0, 1]]


@pytest.mark.parametrize("kernel", ["6.6", "6.12"])
@pytest.mark.parametrize(("action", "cached"), [("read A R 0 1", True), ("mlock A R 0 1", False)])
def test_a_locked_vma_takes_its_pages_out_of_the_swap_cache(
    kernel: str, action: str, cached: bool
) -> None:
    session = run(kernel, f"{SWAP}\npageout A R 0 1\nfork A B\nread B R 0 1\nexit B\n{action}")
    (folio,) = session.state()["folios"].values()
    assert ("swapcache" in folio["flags"]) == cached
    assert ("dirty" in folio["flags"]) != cached


# -- munmap --------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("other", ["write A R 2 4", "read A R 2 4", "pin A R 2 3 p w"])
def test_faults_beside_what_munmap_zaps_go_on(kernel: str, other: str) -> None:
    setup, block = "mmap A R 4p nohuge\nwrite A R 0 1", f"cpu0: munmap A R 0 2\ncpu1: {other}"
    session = at(kernel, setup, block, "cpu0 until zap_pte_range:1, cpu1 all")
    assert session.machine.running[0] is not None
    assert session.machine.running[1] is None
    session.finish()
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("other", ["mmap A S 2p", "fork A B", "mprotect A R 2 4 r"])
def test_who_writes_the_address_space_waits_for_munmap(kernel: str, other: str) -> None:
    setup, block = "mmap A R 4p nohuge\nwrite A R 0 1", f"cpu0: munmap A R 0 2\ncpu1: {other}"
    session = at(kernel, setup, block, "cpu0 until zap_pte_range:1, cpu1 all")
    assert session.machine.blocked(1) is not None
    session.finish()
    assert not broken(session), explain(session)
    (mm, *_) = session.book.processes.values()
    assert session.machine.peek(mm.mmap_lock) == 0
