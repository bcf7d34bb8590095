"""A mistake in entries, swap, freezing or flushing is caught by its rule, at its event."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from sandbox.errors import UsageError
from sandbox.machine.journal import Column
from sandbox.memory import BITS
from sandbox.rules import RULES
from sandbox.run.session import Session
from sandbox.scenario.language import Scenario, parse_scenarios
from tests.conftest import WHOLE
from tests.engine.support import (
    BUSY_LIFE,
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
from tests.rules import wrong_kernels as wrong

SCENARIOS = Path(__file__).parent.parent / "scenarios"
KERNELS = ("6.6", "6.9", "6.12", "7.2", "7.2-nopm")
HUGE = "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w"
SWAP = f"swap on\n{SMALL}"
OUT = f"{SWAP}\npageout A R 0 4"


CASES = (
    Case("I-28", wrong.UnlocksBeforeRestore, f"{HUGE}\nsplit A R 0 1",
         "remove_migration_ptes", "bits"),
    Case("I-28", wrong.MigratesUnlocked, f"{HUGE}\nsplit A R 0 1", "split_huge_pmd", "unlock"),
    Case("I-29", wrong.AllMigrateExclusive, f"{SMALL}\nfork A B\nsoftoffline A R 0 1",
         "migrate_pte_range", "unlock"),
    Case("I-30", wrong.MergesWritable, f"{SMALL}\nfork A B\nexit B\nwrite A R 0 1",
         "wp_page_reuse", "unlock"),
    Case("I-31", wrong.KeepsSwapExclusive, f"{OUT}\nfork A B", "copy_pte_range", "unlock"),
    Case("I-32", wrong.ForgetsSwapCount, f"{OUT}\nfork A B", "", "note"),
    Case("I-33", wrong.KeepsExclusiveInSwap, OUT, "unmap_pte_range", "unlock"),
    Case("I-33", wrong.FlagBeforeSlots, OUT, "_delete_from_swap_cache", "bits"),
    Case("I-33", wrong.CachesUnmarked, OUT, "swap_cache_add", "store"),
    Case("I-34", wrong.UnfreezesWithoutFreezing, f"{HUGE}\nsplit A R 0 1",
         "split_frozen", "store"),
    Case("I-35", wrong.FreezesAnything, f"{SWAP}\nget A R 0 1 g -\npageout A R 0 4",
         "_remove_mapping", "cas"),
    Case("I-37", wrong.WritableUffd, f"{SMALL}\nmprotect A R 0 4 r\nmprotect A R 0 4 rw",
         "change_pte_range", "unlock"),
    Case("I-41", wrong.PutsBeforeFlush, f"{LARGE}\ndontneed A R 0 16",
         "free_pages_prepare", "bits"),
    Case("I-41", wrong.ForgetsRange, f"{SMALL}\nfork A B\nwrite A R 0 1\nexit B",
         "free_pages_prepare", "bits"),
    Case("I-41", wrong.PmdNotFlushed, f"{HUGE}\nexit A", "free_pages_prepare", "bits"),
    Case("I-42", wrong.NeverDelaysRmap, "mmap A R 16K shared\ntouch A R 0 4 w\nmunmap A R 0 4",
         "page_remove_rmap", "add"),
    Case("I-46", wrong.ReusesTwiceMapped, f"{FORK_64K}\nwrite A R 0 1",
         "_wp_can_reuse_large_anon_folio", "note"),
    Case("I-49", wrong.DiscardsHeld, f"{SWAP}\nfree A R 0 4\nget A R 0 1 g -\npageout A R 0 4",
         "discard_lazyfree", "note"),
    Case("I-49", wrong.SwapsLazyfree, OUT, "swap_cache_add", "bits"),
    Case("I-52", wrong.EntriesFirst, SMALL, "folio_add_new_anon_rmap", "store"),
    Case("I-52", wrong.RemovesBeforeAdding, f"{HUGE}\ndontneed A R 3 4",
         "folio_sub_large_mapcount", "add"),
    Case("I-53", wrong.SwapsInExclusive, f"{OUT}\nfork A B\nread A R 0 1",
         "swapin_map", "unlock"),
    Case("I-54", wrong.WritesUnlocked, f"{SMALL}\nmprotect A R 0 4 r",
         "change_pte_range", "store"),
    Case("I-54", wrong.CountsUnlocked, f"{SMALL}\nfork A B\nwrite A R 0 1",
         "page_remove_rmap", "add"),
)  # fmt: skip
COVERED = {case.rule for case in CASES} | {"I-50"}
"""The rules whose breaking is tested here; those of the accounting are in tests/engine."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.kernel.__name__}")
def test_a_mistake_is_found_at_its_event(case: Case) -> None:
    session = run(case.kernel, case.lines)
    assert event_of(session, first_violation(session, case.rule)) == (case.function, case.op)
    assert case.rule in broken(session)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.kernel.__name__}")
def test_without_the_mistake_nothing_is_found(case: Case) -> None:
    session = run(case.kernel.__bases__[0], case.lines)
    assert not broken(session), explain(session)


def test_the_rules_are_of_the_catalogue() -> None:
    assert RULES.keys() >= COVERED


def test_the_statistic_of_mapped_pages_is_a_known_drift() -> None:
    session = run(wrong.MiscountsAnon, LARGE)
    (found,) = (v for v in session.rules.violations if v.rule == "I-50")
    assert (found.subject, found.known_window, found.deficit) == ("NR_ANON_MAPPED", "RC-11", 1)
    assert not broken(session), explain(session)
    assert not run("6.9", LARGE).rules.violations


def scenarios(kernel: str) -> list[Scenario]:
    """Scenarios of the tests: all with MMTUI_ALL, else a third, another one for each kernel."""
    files = sorted(SCENARIOS.glob("*.scn"))
    every = [s for file in files for s in parse_scenarios(file.read_text("utf-8"), file.name)]
    return [s for s in every if WHOLE or crc32(f"{kernel} {s.name}".encode()) % 3 == 0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_upstream_breaks_no_rule(kernel: str) -> None:
    found = {}
    for scenario in scenarios(kernel):
        session = Session(kernel)
        with contextlib.suppress(UsageError):  # what a kernel has not, it refuses
            for step in scenario.steps:
                session.do(step)
        if broken(session):
            found[scenario.name] = explain(session)
    assert not found


def test_only_the_freezer_touches_a_frozen_folio() -> None:
    session = run(wrong.TouchesFrozen, SWAP)
    begin(session, "cpu0: pageout A R 0 4\ncpu1: cold A R 0 1")
    machine = session.machine
    while machine.running[1].pending[0] != BITS:  # type: ignore[union-attr,index]  # it is running
        machine.step(1)
    while not session.rules.checks.frozen:
        machine.step(0)
    assert not broken(session)
    machine.step(1)
    found = next(v for v in session.rules.violations if v.rule == "I-34")
    assert "CPU 1 changes a folio that CPU 0 has frozen" in found.text
    assert found.event == session.position - 1


def tables(session: Session) -> dict[str, Any]:
    """What the rules on entries, freezing and statistics remember, empty tables left out."""
    checks = session.rules.checks
    stale = {mm: dict(items) for mm, items in checks.tlb.stale.items() if items}
    return {
        "stale": stale,
        "pages": dict(checks.tlb.pages),
        "dirty": dict(checks.tlb.dirty),
        "migrations": dict(checks.migrations),
        "alone": dict(checks.migrating_alone),
        "swapped": dict(checks.swapped),
        "swapped alone": dict(checks.swapped_alone),
        "frozen": dict(checks.frozen),
        "anon": (bytes(checks.anon_mapped).rstrip(b"\0"), checks.anon_mapped_total),
        "log": len(session.machine.derived.entries),
    }


LIVES = (
    BUSY_LIFE,
    f"{HUGE}\nfork A B\nsplit A R 0 1\nexit B",
    f"{OUT}\nfork A B\nread A R 0 2\nwrite B R 1 3\nexit A\nsoftoffline B R 1 2",
    f"{SWAP}\nfree A R 0 4\npageout A R 0 4\nexit A",
)


@pytest.mark.parametrize("lines", LIVES)
@pytest.mark.parametrize("kernel", ["6.6", "7.2"])
def test_what_the_rules_remember_follows_undo(kernel: str, lines: str) -> None:
    session = Session(kernel)
    seen = {}
    act(session, lines)
    end = session.position
    for position in range(end, -1, -1):
        session.goto(position)
        if position % 7 == 0 or end - position < 20:
            seen[position] = tables(session)
    assert not any(value for key, value in tables(session).items() if key not in ("log", "anon"))
    assert tables(session)["log"] == 0
    for position in sorted(seen):
        session.goto(position)
        if position < end:  # quiet checks are made when a function returns, after its last event
            assert tables(session) == seen[position], position


@pytest.mark.parametrize("lines", LIVES)
def test_a_packed_log_follows_undo_too(lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.machine.derived.KEEP", 16)
    monkeypatch.setattr("sandbox.machine.derived.CHUNK", 8)
    session = run("7.2", lines)
    end, position = tables(session), session.position
    assert isinstance(session.machine.derived.entries, Column) == (end["log"] >= 24)
    session.goto(0)
    assert not session.machine.derived.entries
    assert not session.rules.checks.tlb.pages
    session.goto(position)
    assert tables(session) == end


def test_no_translation_is_left_over() -> None:
    session = run("7.2", BUSY_LIFE)
    assert not session.rules.checks.tlb.pages


def test_what_may_reach_a_freed_frame_is_not_held_against_its_next_folio() -> None:
    """The folio that has the frame now is flushed, freed and allocated again without a word."""
    session = run(wrong.ForgetsRange, f"reuse on\n{SMALL}\nfork A B\nwrite A R 0 1\nexit B")
    assert first_violation(session, "I-41").subject == "F1"
    broken, former = len(session.rules.violations), len(session.ledger.former)
    assert session.rules.checks.tlb.pages
    names = ("stale", "stale pages", "stale dirty pages", "names", "names before", "free frames")
    tables = {name: deepcopy(session.machine.derived.tables[name]) for name in names}
    position = session.position
    act(session, "mmap A S 32K nohuge\ntouch A S 0 8 w")
    assert len(session.ledger.former) > former
    assert not session.rules.checks.tlb.pages
    session.goto(position)
    assert {name: session.machine.derived.tables[name] for name in names} == tables
    session.goto(position + len(session.machine.future_cpus))
    act(session, "dontneed A S 0 8")
    assert not [v for v in session.rules.violations[broken:] if v.rule == "I-41"]
