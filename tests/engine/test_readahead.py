"""What a fault at a mark reads: where the next window begins, and how large its folios are."""

from __future__ import annotations

import pytest

from tests.engine.support import act, broken, explain, run

FILE = """\
file F 200p /x/f 200p
fsync F
dropcache
mmap A R 200p fd=F shared nohuge
"""


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2"])
@pytest.mark.parametrize("first", [0, 40])
def test_marks_are_met_without_a_broken_rule(kernel: str, first: int) -> None:
    session = run(kernel, FILE)
    for page in range(first, 200, 8):
        act(session, f"read A R {page} {page + 1}")
    assert not broken(session), explain(session)


def test_orders_grow_with_the_folio_that_was_marked() -> None:
    """6.12.117: folios of 4 pages around the fault, of 16 behind its mark, of 32 behind that."""
    session = run("6.12", FILE + "read A R 0 1\nread A R 24 25\nread A R 32 33\nread A R 64 65")
    orders = {folio.order for folio in session.ledger.live_folios()}
    assert orders == {2, 4, 5}
    assert not broken(session), explain(session)


def test_a_gap_is_looked_for_from_within_a_large_folio_too_far() -> None:
    """6.12.117: from page 91, in the folio of 88, the gap at 120 is taken for one at 123.

    That is more than a window away, so nothing is read at the mark.
    """
    session = run("6.12", FILE + "read A R 40 41\nread A R 48 49\nread A R 56 57\nread A R 90 91")
    act(session, "read A R 120 121")
    (last,) = session.ledger.live_folios()[-1:]
    assert last.order == 0
    assert not broken(session), explain(session)
