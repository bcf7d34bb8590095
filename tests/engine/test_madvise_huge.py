"""Advice about a folio that a PMD maps."""

from __future__ import annotations

import pytest

from sandbox.mm.flags import PG_dirty, PG_swapbacked
from sandbox.session import Session
from tests.engine.support import broken, explain, run

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
