"""Schedules for the plugin `two`, its log, and outcomes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.console import read_transcript
from rig.errors import UnplayableError
from rig.naming import Naming
from rig.plan import PTE, SEQUENCE, Phase, Plan
from rig.racelog import read_races
from rig.races import Play, Played, _returned, _works_aside, block_of, recorded
from rig.racewords import RaceWords
from rig.states import Names
from rig.sweep import MOST, both_orders, randoms, singles
from sandbox.conform.outcomes import differences, outcome
from sandbox.errors import Where
from sandbox.scenario.language import CpuBlock, parse_lines
from sandbox.scenario.schedule import Turn, format_schedule
from tests.rig.samples import (
    FIELDS,
    FOLIO,
    FRAME,
    LAYOUT,
    REGION,
    TABLE,
    folio,
    one,
    process,
    said,
    symbols,
)

HERE = Where("x.scn", 3, 1)
CALLS = "cpu0: write A R 0 1\ncpu1: fork A B\n"


def turns(schedule: str) -> tuple[Turn, ...]:
    block = parse_lines(f"{CALLS}schedule {schedule}", "x.scn")[-1]
    assert isinstance(block, CpuBlock)
    return block.schedule


def plan() -> Plan:
    return Plan(symbols(), LAYOUT)


def test_turns_become_phases() -> None:
    made = plan()
    schedule = "cpu1 until store:2, cpu0 until before-store:14, cpu0 until _refcount:1, "
    schedule += "cpu1 until before-pte:3, cpu0 until write_protect_seq:2, cpu1 all, "
    schedule += "cpu0 until try_grab_folio_fast:1"
    assert made.race(turns(schedule), HERE) == 1
    assert made.race((), HERE) == 2
    refcount = next(n for n, name in made.word_names.items() if name == "_refcount")
    *_, first, second = made.text().splitlines()
    assert second == "R 2 "
    phases = first.removeprefix("R 1 ").split(" ; ")
    hooks = [line.split()[3] for line in made.text().splitlines() if line.startswith("H ")]
    assert phases == [
        "1 s 0 2",
        "0 b 0 14",
        f"0 w {refcount} 1",
        f"1 v {PTE} 3",
        f"0 w {SEQUENCE} 2",
        "1 a 0 0",
        f"0 f {hooks.index('try_grab_folio_fast')} 1",
    ]
    assert str(Phase(0, "a")) == "0 a 0 0"


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("cpu0 12", "other events"),
        ("cpu0 until no_such_function:1", "no entry of no_such_function"),
        ("cpu0 until helper:1", "no entry of helper"),
        ("cpu0 until _mm_id[0]:1", "this kernel has no _mm_id"),
    ],
)
def test_what_a_kernel_cannot_be_given_is_refused_with_its_place(schedule: str, words: str) -> None:
    with pytest.raises(UnplayableError) as refused:
        plan().race(turns(schedule), HERE)
    assert words in str(refused.value)
    assert str(refused.value).startswith("x.scn:3:10: ")


def test_a_process_that_ends_is_given_longer() -> None:
    made = plan()
    made.race((), HERE)
    assert "L 400000 60000000" in made.text()
    made.race((), HERE, ends=True)
    assert "L 4000000 60000000" in made.text()


def test_what_calls_return_is_in_the_order_of_the_block() -> None:
    text = "mmap A R 4p\ncpu1: write A R 0 1\ncpu0: fork A B\ncpu1: munmap A R 1 2\n"
    scenario = one(text)
    assert _returned("7; 0 -12", Play(scenario, 1, ())) == [0, 7, -12]
    assert _returned("", Play(scenario, 1, ())) == []


@pytest.mark.parametrize(
    ("block", "aside"),
    [
        ("cpu0: fork A B", False),
        ("cpu0: exit A", True),
        ("cpu0: fork A B\ncpu0: cold A R 0 1", True),
    ],
)
def test_a_cpu_that_is_long_at_what_is_not_watched_is_known(block: str, aside: bool) -> None:
    (action, step) = one(f"mmap A R 4p\n{block}\ncpu1: pin C R 0 1 1 w\n").steps
    assert _works_aside(step) == aside
    assert not _works_aside(action)


def test_modules_have_no_names_for_they_lie_elsewhere_in_every_boot() -> None:
    known = symbols()
    assert known.function(0xFFFF800000007010) == "try_grab_folio_fast"
    assert known.function(0xFFFF7FFFF0000000) == "module"
    assert known.function(0xFFFF800010000000) == "module"
    assert known.function(0x4006E8) == "0x4006e8"


def test_words_of_the_second_page_are_told_apart() -> None:
    rows = [line.split() for line in plan().text().splitlines() if line.startswith("W ")]
    found = {(row[5], row[2], row[3]) for row in rows}
    assert ("_large_mapcount", "1", "16") in found
    assert ("_refcount", "-1", "52") in found
    assert {page for name, page, _ in found if name == "flags"} == {"-1", "1"}
    assert not [row for row in rows if row[5].startswith(("lru", "mapping", "deferred"))]


# -- sweeps ----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=2), st.integers(0, 99))
def test_every_schedule_is_one_that_a_scenario_may_have(counts: list[int], seed: int) -> None:
    for schedule in (*singles(counts, [1, 0]), *randoms(counts, 5, seed)):
        line = format_schedule(schedule).removeprefix("schedule ")
        assert turns(line) == schedule
        plan().race(schedule, HERE)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=2), st.integers(0, 99))
def test_random_schedules_stay_within_the_calls(counts: list[int], seed: int) -> None:
    for schedule in randoms(counts, 5, seed):
        done = [0, 0]
        for turn in schedule:
            if turn.until is not None:
                done[turn.cpu] += turn.until.number
                assert done[turn.cpu] <= counts[turn.cpu]
                done[turn.cpu] -= turn.until.before


def test_the_same_seed_draws_the_same() -> None:
    assert list(randoms([9, 9], 20, 4)) == list(randoms([9, 9], 20, 4))
    assert list(randoms([9, 9], 20, 4)) != list(randoms([9, 9], 20, 5))


def test_every_single_switch_is_there_once() -> None:
    found = list(singles([3, 2], [1, 0]))
    assert found[:2] == both_orders()
    assert len(found) == len(set(found)) == 2 + 2 * (3 + 1 + 2)
    assert len(list(singles([5000, 0], [0, 0]))) == 2 + 2 * MOST


# -- the log ---------------------------------------------------------------------------------

PC = 0xFFFF800000002000
LOG = f"""\
A
T {TABLE:x} {REGION:x} 77
R 4
S 0 1 30 1 {PC + 4:x} {FOLIO + FIELDS["_refcount"]:x} 1 2 {PC - 0x1000:x}
S 0 2 31 100 {PC + 8:x} {TABLE + 8:x} 0 e8000045000f43
S 0 2 32 101 {PC + 8:x} ffff000000001000 4 5
X 0 0 after 2 2 40 {PC + 8:x}
C {FRAME:x} 0 {1 << 17 | 8:x} 0 0 0 0 0 {2 << 32:x} 0
E {TABLE:x} 1 e8000045000f43
X 1 1 lock 0 0 9 {PC:x}
F 45010 1
Z 4 ok 2 0 41 9
R 5
S 1 1 30 1 {PC:x} {FOLIO + FIELDS["_refcount"]:x} 1 0
"""


def test_a_log_is_races() -> None:
    found = read_races(LOG, symbols().function)
    assert list(found) == [4, 5]
    race = found[4]
    assert (race.how, race.total, len(race.stores), len(race.stops)) == ("ok", (2, 0), 3, 2)
    assert race.stores[0].at == ["set_ptes", "vmf_insert"]
    assert found[5].how == "open", "the log ends in it"
    words = RaceWords(LAYOUT, {1: "_refcount"})
    assert words.frames(found[5].died) == {FRAME}
    assert words.frames(race.died) == set()


def test_what_is_watched_has_names() -> None:
    (step,) = (
        read_transcript(
            "@B x\n" + said(1, [folio()], A=process([["p", REGION, 1, "3", FRAME]], 1)) + "@E x\n"
        )
        .scenarios["x"]
        .steps
    )
    names = Names(["R"], {})
    names.state(step)
    naming = Naming(names, names.spans, names.spans)
    race = read_races(LOG, symbols().function)[4]
    words = RaceWords(LAYOUT, {1: "_refcount", PTE: "pte", SEQUENCE: "write_protect_seq"})
    count, entry, sequence = (words.store(s, race, naming, names, []) for s in race.stores)
    assert count == {"cpu": 0, "n": 1, "what": "_refcount", "folio": "F1", "page": 0,
                     "old": 1, "new": 2, "at": ["set_ptes", "vmf_insert"]}  # fmt: skip
    assert (entry["proc"], entry["at_page"], entry["new"]) == ("A", ["R", 1], ["F1.0", "wdy"])
    assert (sequence["old"], sequence["new"]) == (4, 5)
    switch = words.switch(race.stops[0], race, naming, names, [])
    assert switch["folios"] == {
        "F1": {"refcount": 2, "flags": ["anon_exclusive", "uptodate"], "mapcount": [[0, 1]],
               "exclusive": [[1, 1]]},
    }  # fmt: skip
    assert switch["ptes"] == {"A": [["R", 1, "F1.0", "wdy"]]}
    assert words.wait(race.stops[1])["on"] == "lock"


# -- outcomes --------------------------------------------------------------------------------


def state(target: str, refcount: int = 1, **fields: object) -> dict[str, object]:
    words = {"order": 0, "refcount": refcount, "mapping": "anon", "index": ["R", 0],
             "flags": ["lru", "referenced"], "mapcount": [[0, 1]]}  # fmt: skip
    tables = {"ptes": [["R", 0, 1, "present", target, 0, "wdy"]], "rss": {"anon": 1, "swap": 0},
              "has_pinned": 0}  # fmt: skip
    return {"ret": 0, "procs": {"A": tables}, "folios": {target: words}, **fields}


def test_outcomes_do_not_depend_on_names() -> None:
    before = state("F1")
    assert outcome(state("F1"), before) == outcome(state("F1"), before)
    assert outcome(state("F7"), before) == outcome(state("F8"), before), "a new one each"
    assert outcome(state("F7"), before) != outcome(state("F1"), before)
    assert outcome(state("F1"), before, {"F1"}) == outcome(state("F7"), before), "it died"
    less = differences(outcome(state("F1", 2), before), outcome(state("F1"), before))
    assert less == {"f1.refcount": ("2", "1")}


def test_holds_and_what_the_walk_counted_are_compared() -> None:
    before = state("F1")
    held = {"1": {"kind": "pin", "pages": ["F1.0"]}}
    assert outcome(state("F1", holds=held), before)["hold 1"] == "pin f1.0"
    odd = json.loads(json.dumps(before))
    odd["procs"]["A"] |= {"rss": {"anon": 2}, "mapped": {"anon": 1}}
    assert outcome(odd, before) == outcome(before, before)


def test_a_scenario_has_one_block_to_race() -> None:
    scenario = one(f"mmap A R 4p\n{CALLS}write A R 0 1")
    assert block_of(scenario)[0] == 1
    for text in ("mmap A R 4p", f"{CALLS}write A R 0 1\n{CALLS}"):
        with pytest.raises(UnplayableError, match="blocks of CPUs"):
            block_of(one(text))


def test_races_are_written_by_their_outcomes() -> None:
    scenario = one(f"mmap A R 4p\n{CALLS}")
    before, played = state("F1"), []
    for schedule, refcount in (("cpu0 all", 1), ("cpu1 all", 2), ("cpu0 until store:1", 1)):
        after = state("F1", refcount)
        play = Play(scenario, 1, turns(schedule))
        race = {"schedule": play.schedule, "how": "ok", "stores": [], "switches": [], "waits": []}
        found = outcome(after, before)
        played.append(Played(play, before, after, race, found, (), (1, 1), (0, 0)))
    written = recorded(scenario, "7.2.12", "cortex-a72", played)
    assert [each["schedules"] for each in written["outcomes"]] == [
        ["cpu0 all", "cpu0 until store:1"],
        ["cpu1 all"],
    ]
    assert [each["outcome"] for each in written["races"]] == [1, 2, 1]
    assert written["source"] == ["mmap A R 4p", *CALLS.strip().split("\n")]
    assert written["calls"] == ["write A R 0 1", "fork A B"]
