"""Batches of folios: when they are worked off, and what of them is freed together."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sandbox.machine.memory import BITS
from sandbox.memory import Fbatch, PerCpu
from sandbox.mm.flags import PG_buddy, PG_lru, PG_reclaim
from sandbox.run.session import Session
from tests.engine.support import act, broken, explain, run

KERNELS = ("6.6", "6.12", "7.2", "7.3")


def waiting(session: Session, which: Fbatch) -> int:
    """How many folios are in a batch of CPU 0."""
    return int(session.machine.peek(PerCpu.fbatch_nr(0, which)))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_batch_that_is_given_back_drains_once(kernel: str) -> None:
    """dropcache queues dirty pages; the first 31 are moved, what comes behind them waits."""
    session = run(kernel, "autodrain off\nfile F 40p /x/f 1p\ndropcache")
    assert waiting(session, Fbatch.LRU_DEACTIVATE_FILE) == 9
    act(session, "drain")
    assert waiting(session, Fbatch.LRU_DEACTIVATE_FILE) == 0
    marked = [e for e in session.machine.events if e[0] == BITS and e[2] & PG_reclaim]
    assert len(marked) == 40
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_was_written_to_be_reclaimed_goes_to_the_tail(kernel: str) -> None:
    session = run(kernel, "file F 4p /x/f 1p\ndropcache\nfsync F")
    events = session.machine.events[session.starts[-1] :]
    assert sum(e[0] == BITS and e[3] == PG_lru for e in events) == 4
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_reclaim_frees_in_batches(kernel: str) -> None:
    """Every folio of the list is unmapped before the first is free (31 of them at the most)."""
    session = run(kernel, "swap on\nmmap A R 40p nohuge\nwrite A R 0 40\npageout A R 0 40")
    events = session.machine.events[session.starts[-1] :]
    freed = [i for i, e in enumerate(events) if e[0] == BITS and e[2] == PG_buddy]
    gaps = [later - one for one, later in pairwise(freed)]
    assert len(freed) == 40
    assert sum(gap > 3 for gap in gaps) == (0 if kernel == "6.6" else 1)
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_header_of_a_swap_device_is_read_through_the_page_cache(kernel: str) -> None:
    session = run(kernel, "autodrain off\nswap on")
    assert waiting(session, Fbatch.LRU_ADD) == 1
    act(session, "swap off")
    assert waiting(session, Fbatch.LRU_ADD) == 0
    assert not broken(session), explain(session)


@pytest.mark.parametrize(("kernel", "listed"), [("6.12", True), ("7.2", False), ("7.3", False)])
def test_what_nobody_holds_any_more_skips_the_lru(kernel: str, listed: bool) -> None:
    """7.x frees a folio that only the batch of new folios holds without listing it."""
    session = run(
        kernel,
        "autodrain off\nmmap A R 1p nohuge\nwrite A R 0 1\nmmap A S 1p nohuge\nmremap A R 0 1 S 0",
    )
    act(session, "dontneed A S 0 1\ndrain")
    added = [e for e in session.machine.events if e[0] == BITS and e[2] == PG_lru]
    assert bool(added) is listed
    assert not broken(session), explain(session)
