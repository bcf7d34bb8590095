"""A mistake in where something is, or in what it has, is caught by its rule, at its event."""

from __future__ import annotations

import pytest

from sandbox.rules import RULES
from tests.engine.support import (
    SMALL,
    Case,
    broken,
    event_of,
    explain,
    first_violation,
    run,
)
from tests.rules import wrong_places as wrong

OUT = f"swap on\n{SMALL}\npageout A R 0 4"
FILE = "memfd F 16K\nmmap A R 16K fd=F nomadv"
WRITTEN = "file F 16K /x/f\nmmap A R 16K fd=F nomadv"
APART = "mmap A R 16K nohuge\nwrite A R 0 1\nwrite A R 1 2\nswap on\npageout A R 0 4"
CASES = (
    Case("I-55", wrong.LeavesEntries, f"{SMALL}\nmunmap A R 0 4", "", "note"),
    Case("I-55", wrong.LeavesEntries, f"{SMALL}\nmunmap A R 1 2", "", "note"),
    Case("I-55", wrong.LeavesTheLast, f"{SMALL}\nexit A", "exit_mm", "bits"),
    Case("I-55", wrong.MapsBeside, "mmap A R 16K nohuge\nwrite A R 3 4", "", "note"),
    Case("I-56", wrong.LeavesTheLast, f"{SMALL}\ndontneed A R 0 4", "run", "note"),
    Case("I-56", wrong.KeepsZeroEntries, "mmap A R 16K nohuge\ntouch A R 0 4 r\ndontneed A R 0 4",
         "run", "note"),
    Case("I-57", wrong.LosesSlots, "mmap A R 16K shared\ntouch A R 0 1 w", "", "note"),
    Case("I-57", wrong.LeavesTheFileFirst, "mmap A R 16K shared\ntouch A R 0 4 w\nremove A R 0 1",
         "filemap_remove_folio", "store"),
    Case("I-58", wrong.NumbersFromZero, SMALL, "", "note"),
    Case("I-58", wrong.NotInTheTree, f"{SMALL}\nfork A B", "", "note"),
    Case("I-58", wrong.NumbersWithTheFile, f"{FILE}\nwrite A R 1 2", "", "note"),
    Case("I-59", wrong.ForgetsSwapEntries, f"{OUT}\nfork A B", "", "note"),
    Case("I-60", wrong.CopiesNothing, f"{SMALL}\nfork A B\nwrite A R 0 1",
         "without", "unlock"),
    Case("I-60", wrong.MigratesNothing, f"{SMALL}\nsoftoffline A R 0 1",
         "without", "unlock"),
    Case("I-60", wrong.NotZeroed, SMALL, "do_anonymous_page", "unlock"),
    Case("I-60", wrong.CopiesTheNext, f"{WRITTEN}\nwrite A R 1 2", "finish_cow_fault", "unlock"),
    Case("I-61", wrong.WritesTheFile, f"{FILE}\nwrite A R 1 2", "user_access", "user_store"),
    Case("I-62", wrong.SwapsPinned, f"swap on\n{SMALL}\npin A R 0 1 p w\npageout A R 0 4",
         "unmap_pte_range", "unlock"),
    Case("I-63", wrong.NeverWrites, f"{APART}\nread A R 1 2", "swapin_map", "unlock"),
    Case("I-63", wrong.ReadsTheFirst, f"{APART}\nread A R 1 2", "swapin_map", "unlock"),
    Case("I-63", wrong.WritesOneSlot, APART, "_swap_writepage", "store"),
)  # fmt: skip
COVERED = {case.rule for case in CASES}
IDS = [f"{case.rule}-{case.kernel.__name__}-{i}" for i, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_mistake_is_found_at_its_event(case: Case) -> None:
    session = run(case.kernel, case.lines)
    assert event_of(session, first_violation(session, case.rule)) == (case.function, case.op)
    assert case.rule in broken(session)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_without_the_mistake_nothing_is_found(case: Case) -> None:
    session = run(case.kernel.__bases__[0], case.lines)
    assert not broken(session), explain(session)


def test_the_rules_of_places_and_contents_are_all_broken_by_somebody() -> None:
    assert {case.rule for case in CASES} == {rule for rule in RULES if rule >= "I-55"}
