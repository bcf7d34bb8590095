"""Every rule is broken by a kernel with a mistake, at the event that makes it, and by no other."""

from __future__ import annotations

import pytest

from sandbox.kernels.base import Kernel
from sandbox.kernels.ryan_v2 import RyanV2
from sandbox.rules import RULES, Rule
from sandbox.run.session import Session
from tests.engine import wrong_kernels as wrong
from tests.engine.support import (
    FORK_64K,
    LARGE,
    SMALL,
    Case,
    act,
    begin,
    broken,
    event_of,
    explain,
    first_violation,
    run,
)
from tests.rules import test_new_rules, test_places

CASES = (
    Case("I-01", wrong.PutsTwice, f"{SMALL}\nexit A", "free_pages_prepare", "add"),
    Case("I-01", wrong.RefsFree, f"{SMALL}\nexit A", "free_pages_prepare", "add"),
    Case("I-02", wrong.RefsTails, f"{LARGE}\nget A R 5 6 g -", "try_grab_folio_fast", "add"),
    Case("I-03", wrong.ForgetsRmap, f"{LARGE}\nexit A", "free_pages_prepare", "bits"),
    Case("I-04", wrong.RemovesRmapTwice, f"{LARGE}\nexit A", "folio_remove_rmap_ptes", "add"),
    Case("I-05", RyanV2, FORK_64K, "folio_try_dup_anon_rmap_pte", "add"),
    Case("I-06", wrong.MapsCacheFirst,
         "mmap A R 16K shared\ntouch A R 0 1 w\nfork A B\nwrite B R 0 1",
         "add_one_mapcount", "add"),
    Case("I-07", wrong.LeaksUnpin, f"{LARGE}\npin A R 5 6 p w\nunpin p", "", "note"),
    Case("I-08", wrong.ForgetsChild, FORK_64K, "", "note"),
    Case("I-09", wrong.UnpinsLast, f"{LARGE}\npin A R 5 6 p w\nunpin p", "folio_put", "add"),
    Case("I-10", wrong.UnpinsTooMuch, f"{SMALL}\npin A R 0 1 p w\npin A R 0 1 q w\nunpin q",
         "folio_put", "add"),
    Case("I-11", wrong.UnmapsTheNext, f"{FORK_64K}\ndontneed B R 2 3", "zap_pte_range", "unlock"),
    Case("I-12", wrong.ForgetsRmap, f"{FORK_64K}\ndontneed B R 2 3", "zap_pte_range", "unlock"),
    Case("I-13", wrong.TotalFirst, FORK_64K, "folio_add_large_mapcount", "add"),
    Case("I-14", wrong.ForgetsPagesMapped, LARGE, "do_anonymous_page", "unlock"),
    Case("I-15", wrong.StrictBarry, LARGE, "map_anon_folio", "store"),
    Case("I-16", wrong.GathersTooMuch, f"{LARGE}\nexit A", "_tlb_remove_folio_pages", "store"),
    Case("I-17", wrong.CountsZeroPage, f"{SMALL}\nmmap A Z 4K\nwrite A Z 0 1\nmmap A Y 8K\n"
         "read A Y 0 1\nwrite A Y 1 2\nfork A B", "folio_dup_file_rmap_ptes", "add"),
    Case("I-18", wrong.WritesUnasked, f"{SMALL}\nfork A B\nmprotect A R 0 4 r\nmprotect A R 0 4 rw",
         "change_pte_range", "unlock"),
    Case("I-19", wrong.ReusesAlways, f"{SMALL}\nfork A B\nwrite A R 0 1",
         "wp_page_reuse", "unlock"),
    Case("I-20", wrong.ReusesAlways, f"{SMALL}\nfork A B\nwrite A R 0 1",
         "wp_page_reuse", "unlock"),
    Case("I-21", wrong.ReusesAlways, f"{SMALL}\nfork A B\nwrite A R 0 1",
         "user_access", "user_store"),
    Case("I-22", wrong.SharesPinned, f"{SMALL}\npin A R 1 2 p w\nfork A B",
         "folio_try_dup_anon_rmap_pte", "bits"),
    Case("I-23", wrong.SharesPinned, f"{SMALL}\npin A R 1 2 p w\nfork A B\nwrite A R 1 2",
         "wp_page_copy", "unlock"),
    Case("I-24", wrong.SharesPinned, f"{SMALL}\npin A R 1 2 p w\nfork A B",
         "copy_pte_range", "unlock"),
    Case("I-25", wrong.NoSequence, f"{SMALL}\nfork A B", "folio_try_dup_anon_rmap_pte", "add"),
    Case("I-27", wrong.ForgetsHasPinned, f"{SMALL}\npin A R 1 2 p w", "sys_pin", "note"),
    Case("I-36", wrong.ForgetsRss, f"{SMALL}\nfork A B", "", "note"),
    Case("I-38", wrong.NeverUnfolds, f"{FORK_64K}\nwrite B R 5 6", "set_ptes", "store"),
    Case("I-39", wrong.AlwaysCont, "mthp 32K madvise\nmmap A R 32K\nwrite A R 0 1",
         "write_ptes", "store"),
    Case("I-43", wrong.NeverShared, FORK_64K, "copy_pte_range", "unlock"),
    Case("I-44", wrong.ForgetsSlot, f"{FORK_64K}\ndontneed B R 2 3", "zap_pte_range", "unlock"),
    Case("I-45", wrong.StaysShared, f"{LARGE}\nexit A", "zap_pte_range", "unlock"),
    Case("I-47", wrong.ReusesLarge, f"{FORK_64K}\nget A R 3 4 g -\nexit B\nwrite A R 0 1",
         "_wp_can_reuse_large_anon_folio", "note"),
    Case("I-48", wrong.QueuesSmall, "mmap A R 8K\nwrite A R 0 1\ndontneed A R 0 1",
         "deferred_split_folio", "store"),
    Case("I-51", wrong.MovesByCopy, f"{SMALL}\nmremap A R 0 4 S 0", "move_ptes", "unlock"),
)  # fmt: skip
COVERED = test_new_rules.COVERED | test_places.COVERED
ELSEWHERE = {"I-26"}
"""Broken by a race, below."""


def upstream_of(kernel: type[Kernel]) -> type[Kernel] | str:
    """The kernel without the mistake."""
    if kernel in (RyanV2, wrong.StrictBarry):
        return "6.9"
    return kernel.__bases__[0]


def first_of(session: Session, rule: str) -> tuple[str, str]:
    """(function, operation) of the event that broke a rule first, outside known windows."""
    found = first_violation(session, rule)
    assert found.known_window is None
    assert found.text
    return event_of(session, found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.kernel.__name__}")
def test_a_mistake_is_found_at_its_event(case: Case) -> None:
    session = run(case.kernel, case.lines)
    assert first_of(session, case.rule) == (case.function, case.op)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.kernel.__name__}")
def test_without_the_mistake_nothing_is_found(case: Case) -> None:
    session = run(upstream_of(case.kernel), case.lines)
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", [wrong.PinsDuringFork, wrong.PinsDuringFork.__bases__[0]])
def test_a_fast_pin_that_fork_overlaps(kernel: type[Kernel]) -> None:
    session = run(kernel, SMALL)
    begin(session, "cpu0: fork A B\ncpu1: pin A R 3 4 p w")
    mm = session.ledger.processes()["A"]
    while not session.machine.peek(mm.write_protect_seq) & 1:
        session.machine.step(0)
    while session.machine.running[1] and session.machine.blocked(1) is None:
        session.machine.step(1)
    session.finish()
    if kernel is wrong.PinsDuringFork:
        assert first_of(session, "I-26") == ("sys_pin", "note")
    else:
        assert not broken(session), explain(session)


def test_every_rule_has_a_kernel_that_breaks_it() -> None:
    assert {case.rule for case in CASES} | ELSEWHERE | COVERED >= RULES.keys()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_says_what_it_is(rule: Rule) -> None:
    for name in ("id", "statement", "formula", "source", "explanation"):
        assert getattr(rule, name)
    assert rule.statement.endswith(".")


def test_a_violation_says_what_is_wrong_where() -> None:
    session = run("ryan-v2", FORK_64K)
    first, *_, last = (v for v in session.rules.violations if v.rule == "I-05")
    assert (first.subject, first.text) == ("F1", "mapcount 17 > refcount 16")
    assert (first.deficit, last.deficit) == (1, 16)
    assert first.statement == RULES["I-05"].statement
    assert first.action == 3
    assert last.event < session.position
    assert session.machine.events[first.event][1] in first.words


def test_what_is_broken_now_is_mended_again() -> None:
    session = run("ryan-v2", FORK_64K)
    assert not session.rules.broken
    last = max(v.event for v in session.rules.violations)
    session.goto(last + 1)
    assert {rule for rule, _ in session.rules.broken} == {"I-05"}
    session.step_event()
    assert not session.rules.broken


def test_rules_off_are_not_looked_at() -> None:
    session = run("barry-entire", FORK_64K)
    assert not broken(session) & session.kernel.rules_off.keys()


@pytest.mark.parametrize("first", [0, 1])
def test_leaks_are_found_whichever_of_two_cpus_ends_last(first: int) -> None:
    session = run(wrong.LeaksUnpin, f"{LARGE}\npin A R 5 6 p w\nmmap C S 64K\ntouch C S 0 16 w")
    begin(session, "cpu0: unpin p\ncpu1: dontneed C S 0 16")
    while session.machine.running[first]:
        session.machine.step(first)
    session.finish()
    assert "I-07" in broken(session)


def test_a_known_window_is_told_apart() -> None:
    session = run("7.2", SMALL)
    session.rules.windows[session.ledger.live_folios()[0] & ~15] = ((0, "W1"),)
    session.rules.fails("I-05", session.ledger.live_folios()[0] & ~15, "F1", "by hand", ())
    assert session.rules.violations[-1].known_window == "W1"
    assert session.rules.counts("I-05") == (0, 0, 0)
    act(session, "exit A")
