"""Expectations, held against the state that a real kernel was recorded in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ExpectationError, UsageError
from sandbox.scenario.expect import evaluate, evaluate_all, parse_expectations
from sandbox.truth.observed import RunFacts

FOLIO: dict[str, Any] = {
    "order": 4,
    "refcount": 32,
    "large_mapcount": 30,
    "entire_mapcount": -1,
    "nr_pages_mapped": 16,
    "pincount": 1,
    "mm_ids": [["A", 15], ["B", 14]],
    "maybe_shared": True,
    "deferred": False,
    "mapping": "anon",
    "flags": ["uptodate", "lru", "swapbacked"],
    "mapcount": [[1, 5], [0, 1], [1, 10]],
    "exclusive": [[0, 5], [1, 1], [0, 10]],
    "data": [[3, 16]],
}
SMALL: dict[str, Any] = {
    "order": 0,
    "refcount": 1,
    "mapping": "anon",
    "flags": ["uptodate", "lru", "swapbacked"],
    "mapcount": [[0, 1]],
    "exclusive": [[1, 1]],
    "data": [[3, 1]],
}


def proc(*ptes: list[Any]) -> dict[str, Any]:
    return {
        "vmas": [["R", 0, 16, "rw--", "hugepage", True]],
        "ptes": list(ptes),
        "rss": {"anon": sum(run[2] for run in ptes), "file": 0, "shmem": 0, "swap": 0},
        "has_pinned": 1,
        "pinned_vm": 0,
        "locked_vm": 0,
    }


STATE: dict[str, Any] = {  # the last state of the recording preset-pin-middle of 7.2
    "step": 9,
    "action": "fork A B",
    "ret": 0,
    "holds": {"1": {"kind": "pin", "pages": ["F1.5"]}},
    "procs": {
        "A": proc(
            ["R", 0, 5, "present", "F1", 0, "ody"],
            ["R", 5, 1, "present", "F1", 5, "wdy"],
            ["R", 6, 10, "present", "F1", 6, "ody"],
        ),
        "B": proc(
            ["R", 0, 5, "present", "F1", 0, "od"],
            ["R", 5, 1, "present", "F2", 0, "wdy"],
            ["R", 6, 10, "present", "F1", 6, "od"],
        ),
    },
    "folios": {"F1": FOLIO, "F2": SMALL},
}


@dataclass(frozen=True)
class Broken:
    micro_states: int
    consecutive: int
    worst: int


@dataclass(frozen=True)
class Violation:
    rule: str
    event: int
    action: int
    deficit: int | None = None
    known_window: bool = False
    run: int = 1


@dataclass
class Run:
    found: list[Violation] = field(default_factory=list)
    counted: Broken = Broken(0, 0, 0)

    def broken(self, rule: str) -> Broken:
        return self.counted

    def violations(self) -> list[Violation]:
        return self.found

    def watches(self, rule: str) -> bool:
        return rule.startswith("I-")


class Counting(Run):
    def count(self, what: str) -> int:
        return {"copy": 1}[what]

    def peak(self, folio: str, field: str) -> int:
        return {("F1", "refcount"): 33}[folio, field]


def result(
    line: str, state: dict[str, Any] = STATE, run: RunFacts | None = None
) -> tuple[bool, str]:
    (expectation,) = parse_expectations(line, "file")
    found = evaluate(expectation, state, run)
    assert found.text == line
    return found.ok, found.got


@pytest.mark.parametrize(
    "line",
    [
        "refcount = 32",
        "F1.refcount = 32",
        "F1._refcount >= 32",
        "refcount != 31",
        "refcount < 33",
        "page5.mapcount = 0",
        "F1.page5._mapcount = 0",
        "pages 0-4 mapcount = 1",
        "F1.pages 0-4,6-15 mapcount = 1",
        "mapcount >= 0",
        "entire_mapcount = -1",
        "entire = 0",
        "large_mapcount = 30",
        "large = 31",
        "nr_pages_mapped = 0x10",
        "pincount = 1",
        "order = 4",
        "mapping = anon",
        "exclusive = {5}",
        "exclusive != {}",
        "F2.exclusive = {0}",
        "page5.exclusive = true",
        "slots A:15 B:14",
        "F1.slots A:15 B:14",
        "F2.slots absent",
        "F2.nr_pages_mapped absent",
        "maybe_shared = true",
        "deferred = false",
        "swapbacked = true",
        "swapcache = false",
        "page2.data = 3",
        "A.rss.anon = 16",
        "A.has_pinned = true",
        "A.has_pinned = 1",
        "B.folios = 2",
        "folios = 2",
        "A.R 0-4 = F1 RO D Y",
        "A.R 0-15 = F1.0",
        "A.R 5 = F1.5 RW D Y",
        "A.R 5 = RW D Y",
        "A.R 16 = none",
        "A.R 16-99999999 = .",
        "A.S = none",
        "A.R 0-15 has D",
        "A.R lacks C",
        "A.R cont = 0",
        "A.R 4-7 present = 4",
        "A.R writable = 1",
        "B.R 5 folio != F1",
        "B.R 0-4 folio = F1",
        "B.R 5 folio.refcount = 1",
        "B.R 5 page.exclusive = true",
        "A.R 0-4 page.mapcount = 1",
        "freed F3",
        "exited C",
        "hold 1 = pin F1.5",
        "hold 2 = none",
        "ret = 0",
        "ret != -EAGAIN",
    ],
)
def test_what_holds(line: str) -> None:
    assert result(line)[0], result(line)[1]


@pytest.mark.parametrize(
    ("line", "got"),
    [
        ("refcount = 31", "32"),
        ("F2.refcount > 1", "1"),
        ("mapcount = 1", "1 x5, 0, 1 x10"),
        ("page16.mapcount = 0", "F1 has only 16 pages"),
        ("F9.refcount = 1", "there is no folio F9"),
        ("F2.large = 1", "absent"),
        ("F2.slots A:1", "absent: this kernel has no MM-id slots"),
        ("exclusive = {4-5}", "{5}"),
        ("slots A:15 -", "A:15 B:14"),
        ("slots A:15", "A:15 B:14"),
        ("deferred = 0", "false"),
        ("C.rss.anon = 1", "there is no process C"),
        ("A.R 0-5 = F1 RO D Y", "0-4: F1.0 RO D Y; 5: F1.5 RW D Y"),
        ("A.R 0-15 = F1.1", "0-4: F1.0 RO D Y; 5: F1.5 RW D Y; 6-15: F1.6 RO D Y"),
        ("A.R 15-16 = F1", "15: F1.15 RO D Y; 16: none"),
        ("A.R 16 has D", "16: none"),
        ("A.S = F1", "nothing is mapped"),
        ("A.R 16 folio != F1", "page 16 maps no folio, its entry is none"),
        ("B.R 0-15 folio = F1", "F1 x5, F2, F1 x10"),
        ("freed F1", "still there"),
        ("exited A", "still there"),
        ("hold 1 = get F1.5", "pin F1.5"),
        ("hold 1 = none", "pin F1.5"),
        ('out = "3x1"', "absent"),
        ('error "x"', "no error"),
        ("rules ok", "there is no run to ask, only a state"),
        ("I-05 broken 0", "there is no run to ask, only a state"),
        ("peak refcount = 1", "this run does not count events"),
    ],
)
def test_what_does_not_hold_says_what_was_found(line: str, got: str) -> None:
    assert result(line) == (False, got)


def test_a_field_that_the_kernel_lacks_is_absent() -> None:
    folio = {k: v for k, v in FOLIO.items() if k not in ("mapcount", "nr_pages_mapped", "mm_ids")}
    state = {**STATE, "folios": {"F1": folio}}
    assert result("mapcount absent", state)[0]
    assert result("slots absent", state)[0]
    assert result("mapcount = 1", state) == (False, "absent: this kernel has no mapcount there")
    assert result("nr_pages_mapped = 16", state) == (False, "absent")


def test_cont_blocks_share_their_young_and_dirty_bits() -> None:
    ptes = [["R", 0, 3, "present", "F1", 0, "oc"], ["R", 3, 13, "present", "F1", 3, "odyc"]]
    state = {**STATE, "procs": {"A": proc(*ptes)}}
    assert result("A.R 0-15 = F1 RO D Y C", state)[0]
    assert result("A.R cont = 16", state)[0]


def test_without_a_large_folio_the_default_is_the_first() -> None:
    assert result("refcount = 1", {**STATE, "folios": {"F1": SMALL}})[0]
    assert result("refcount = 1", {**STATE, "folios": {}}) == (False, "there is no folio F1")


def test_rule_counts() -> None:
    run = Run(counted=Broken(16, 16, 15))
    assert result("I-05 broken 16 worst 15", run=run)[0]
    assert result("I-05 broken >= 1", run=run)[0]
    assert not result("I-05 broken 16 consecutive 15", run=run)[0]
    assert result("I-05 broken 0", run=run) == (False, "broken 16 consecutive 16 worst 15")


def test_rule_counts_of_one_step() -> None:
    found = [Violation("I-05", 50, 7, 10)]
    found += [
        Violation("I-05", event, 8, deficit, run=length)
        for event, deficit, length in ((90, 1, 1), (91, 2, 2), (99, 4, 1))
    ]
    found += [Violation("I-18", 92, 8)]
    assert result("I-05 broken 3 consecutive 2 worst 4 in this step", run=Run(found))[0]
    assert result("I-06 broken 0 in this step", run=Run(found))[0]


def test_known_windows_are_no_violations() -> None:
    window = Violation("I-05", 1, 0, known_window=True)
    assert result("rules ok", run=Run([window]))[0]
    assert result("rules ok", run=Run([window, Violation("I-06", 1, 0)])) == (
        False,
        "violated: I-06",
    )


def test_counts_and_peaks() -> None:
    assert result("count copy = 1", run=Counting())[0]
    assert result("peak refcount = 33", run=Counting())[0]
    assert result("peak F1.refcount < 33", run=Counting()) == (False, "33")


def test_refused_actions() -> None:
    error = UsageError("page 20 is outside the region R")
    wanted = parse_expectations('error "outside the region"', "f")
    assert [r.ok for r in evaluate_all(wanted, STATE, None, error)] == [True]
    other = parse_expectations("refcount = 32", "f", first_line=5)
    assert [(r.ok, r.where.line) for r in evaluate_all(other, STATE, None, error)] == [
        (True, 5),
        (False, 5),
    ]
    assert [r.ok for r in evaluate_all(parse_expectations("error", "f"), STATE, None, error)] == [
        True
    ]


@pytest.mark.parametrize(
    ("line", "column", "part"),
    [
        ("refcout = 1", 1, "did you mean 'refcount'"),
        ("F1 = 2", 4, "'.' and a field"),
        ("refcount", 9, "a comparison"),
        ("refcount =", 11, "a number"),
        ("refcount == 1", 11, "unexpected '='"),
        ("refcount = 1 2", 14, "nothing more"),
        ("refcount < true", 12, "needs a number"),
        ("refcount = " + "9" * 5000, 12, "too large"),
        ("page2 mapcount = 1", 7, "'.' and a field"),
        ("page2.refcount = 1", 7, "one of mapcount"),
        ("pages 5-2 mapcount = 1", 9, "run backwards"),
        ("exclusive = {1", 15, "'}'"),
        ("slots", 6, "two slots"),
        ("slots A:1 B:2 C:3", 18, "two slots"),
        ("A.rs.anon = 1", 6, "did you mean 'rss.anon'"),
        ("A.R 0 = frob", 9, "a folio, flags"),
        ("A.R 0 has", 10, "flags"),
        ("A.R 0 != none", 7, "'= F1 RO D'"),
        ("ret = -EFOO", 8, "unknown error"),
        ("I-05 brokn 3", 6, "broken N"),
        ("hold", 5, "the id of a pin"),
        ("error foo", 7, "quotes"),
        ("  @", 3, "unexpected '@'"),
    ],
)
def test_a_wrong_line_says_where_and_what(line: str, column: int, part: str) -> None:
    with pytest.raises(ExpectationError) as raised:
        parse_expectations("\n" + line, "file", first_line=3)
    assert str(raised.value).startswith(f"file:4:{column}: ")
    assert part in str(raised.value)


_WORDS = """
    refcount F1 . A R 0-15 = != { } , - RO D Y C page2 pages mapcount slots A:15 I-05 broken
    in this step hold 1 pin "x" ret -EAGAIN rss anon has folio none 0x8000 # absent
"""
WORDS = st.sampled_from(_WORDS.split())


@given(st.text() | st.lists(WORDS).map(" ".join))
def test_arbitrary_text_raises_nothing_but_expectation_errors(text: str) -> None:
    try:
        expectations = parse_expectations(text, "text")
    except ExpectationError:
        return
    for expectation in expectations:
        evaluate(expectation, STATE, Run())
