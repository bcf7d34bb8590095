"""Races of a real kernel against the model, and orders that the source does not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmtui.__main__ import main
from mmtui.exit_codes import ExitCode
from sandbox.conform.logs import logged, read_events
from sandbox.conform.races import conform_race
from sandbox.conform.recordings import read_race
from sandbox.conform.states import conform_paths
from sandbox.conform.stores import compare_stores
from sandbox.conform.switches import Watcher, kernel_switches
from sandbox.conform.text import markdown_report, text_report
from sandbox.conform.unordered import RULES, first_difference
from sandbox.errors import SandboxError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import parse_lines

SCENE = ["mmap A R 4K", "write A R 0 1"]
CALLS = ["cpu0: fork A B", "cpu1: pin A R 0 1 1 w"]
SCHEDULES = ("cpu0 all, cpu1 all", "cpu1 all, cpu0 all")


def raced() -> dict[str, Any]:
    """What a kernel that does as the model does would have recorded."""
    outcomes, before = [], {}
    for schedule in SCHEDULES:
        run = ScenarioRun("7.2", rig=True)
        lines = "\n".join([*SCENE, *CALLS, f"schedule {schedule}"])
        *scene, block = parse_lines(lines, "x")
        for step in scene:
            before = run.do(step)
        outcomes.append({"outcome": len(outcomes) + 1, "schedules": [schedule],
                         "dead": [], "state": run.do(block)})  # fmt: skip
    races = [
        {"schedule": schedule, "outcome": number} for number, schedule in enumerate(SCHEDULES, 1)
    ]
    return {
        "scenario": "x", "kernel": "7.2.12", "source": [*SCENE, *CALLS], "step": 3,
        "before": before, "outcomes": outcomes, "races": races,
    }  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(race: dict[str, Any]) -> Path:
        file = tmp_path / "7.2-race" / "x.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(race))
        return file

    return write


def test_the_model_has_the_outcomes_of_both_orders(
    recording: Callable[[dict[str, Any]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    race = raced()
    assert race["outcomes"][0]["state"] != race["outcomes"][1]["state"]
    file = recording(race)
    assert read_race(str(file)) == race
    report = conform_paths([file])
    (one,) = report.races["7.2"]
    assert (one.outcomes, one.found, one.same, one.races, one.only_model) == (2, 2, 2, 2, 0)
    assert report.ok
    assert any("2 of 2 outcomes of 1 blocks" in line for line in markdown_report(report))
    assert main(["conform", str(file.parent.parent)]) == ExitCode.OK
    assert "2 of 2 races end the same" in capsys.readouterr().out


def test_an_outcome_that_the_model_does_not_have_is_a_mismatch(
    recording: Callable[[dict[str, Any]], Path],
) -> None:
    race = raced()
    race["outcomes"][1]["state"]["folios"]["F1"]["refcount"] += 7
    report = conform_paths([recording(race)])
    (one,) = report.races["7.2"]
    assert (one.found, one.same, one.only_model) == (1, 1, 1)
    assert not report.ok
    assert one.mismatch is not None
    assert one.mismatch.startswith('"cpu1 all, cpu0 all" and 0 more: f1.refcount: ')
    assert any(one.mismatch in line for line in text_report(report))


def test_an_outcome_may_come_under_another_schedule() -> None:
    race = raced()
    race["races"] = [{**one, "outcome": 3 - one["outcome"]} for one in race["races"]]
    report = conform_race(race, "7.2", "x")
    assert (report.found, report.same, report.mismatch) == (2, 0, None)


def test_landmarks_that_the_model_does_not_come_to_are_counted() -> None:
    race = raced()
    race["races"].append({"schedule": "cpu1 until store:99", "outcome": 1})
    report = conform_race(race, "7.2", "x")
    assert (report.races, report.unreached, report.mismatch) == (3, 1, None)


# -- switches --------------------------------------------------------------------------------

WAITS = {"sleeps": "idle", "spins": "lock"}
STOPPED = "cpu0 until store:4, cpu1 all, cpu0 all"


def stopped(schedule: str = STOPPED) -> dict[str, Any]:
    """A race with the switches that the model has, as the rig writes them."""
    race = raced()
    *scene, block = parse_lines("\n".join([*SCENE, *CALLS, f"schedule {schedule}"]), "x")
    run = ScenarioRun("7.2", rig=True)
    for step in scene:
        before = run.do(step)
    watcher, switches, states = Watcher(run.session, before), [], []

    def seen(cpu: int, why: str) -> None:
        watcher(cpu, why)
        states.append(run.session.state())

    state = run.do(block, seen)
    stores = [0, 0]
    for switch, words in zip(watcher.switches, states, strict=True):
        stores[switch.cpu] += 4
        ptes = {
            name: [[run[0], run[1] + i, f"{run[4]}.{run[5] + i}", run[6]]
                   for run in process["ptes"] for i in range(run[2])]
            for name, process in words["procs"].items()
        }  # fmt: skip
        why = WAITS.get(switch.on, switch.why)
        switches.append({"cpu": switch.cpu, "why": why, "stores": stores[switch.cpu],
                         "ptes": ptes, "folios": words["folios"]})  # fmt: skip
    outcomes = [{"outcome": 1, "schedules": [schedule], "dead": [], "state": state}]
    races = [{"schedule": schedule, "outcome": 1, "switches": switches, "stores": []}]
    return race | {"outcomes": outcomes, "races": races}


def test_words_at_switches_and_waits_are_those_of_the_model(
    recording: Callable[[dict[str, Any]], Path],
) -> None:
    race = stopped()
    said = [(switch["cpu"], switch["why"]) for switch in race["races"][0]["switches"]]
    assert said == [(0, "after"), (1, "idle"), (0, "end"), (1, "end")]
    report = conform_paths([recording(race)])
    (one,) = report.races["7.2"]
    assert (one.switches, one.met, one.words, one.waits, one.waited) == (4, 4, 4, 1, 1)
    assert one.switch is None
    assert any("4 of 4 switches are the model's as well" in line for line in text_report(report))


def test_another_word_at_a_switch_is_told() -> None:
    race = stopped()
    race["races"][0]["switches"][0]["folios"]["F1"]["refcount"] += 7
    report = conform_race(race, "7.2", "x")
    assert (report.met, report.words, report.mismatch) == (4, 3, None)
    assert report.switch is not None
    assert "switch 1 (cpu0 after): f1.refcount: 9 not 2" in report.switch


def test_an_entry_that_one_side_alone_has_is_told() -> None:
    race = stopped()
    race["races"][0]["switches"][-1]["ptes"]["B"].clear()
    report = conform_race(race, "7.2", "x")
    assert report.words == 3
    assert report.switch is not None
    assert "switch 4 (cpu1 end): B.R[0]: none not" in report.switch


@pytest.mark.parametrize(
    ("why", "waited", "words"),
    [("lock", 0, "cpu1 spins, sleeps on the model"), ("spin", 1, None)],
)
def test_how_a_cpu_waits_is_compared(why: str, waited: int, words: str | None) -> None:
    race = stopped()
    race["races"][0]["switches"][1]["why"] = why
    report = conform_race(race, "7.2", "x")
    assert (report.met, report.waits, report.waited) == (4, 1, waited)
    assert (report.switch is None) == (words is None)
    assert words is None or words in str(report.switch)


def test_what_follows_a_wait_of_one_side_is_not_compared() -> None:
    race = stopped()
    del race["races"][0]["switches"][1]
    report = conform_race(race, "7.2", "x")
    assert (report.switches, report.met, report.words) == (3, 1, 1)
    assert report.switch is not None
    assert report.switch.endswith("switch 2: cpu0 comes to its end, sleeps on the model")


def test_a_frame_that_is_used_anew_has_no_name_of_before() -> None:
    race = stopped()["races"][0]
    store = {"cpu": 0, "n": 5, "what": "_refcount", "folio": "F1", "page": 0, "new": 0, "at": ["f"]}
    before = stopped()["before"]
    first = [switch.words for switch in kernel_switches(race | {"stores": [store]}, before)]
    assert "f1.refcount" in first[0]
    assert "n1.refcount" in first[-1]
    assert "f1.refcount" not in first[-1]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("step", 2, "step 2 is no block"),
        ("step", 9, "step 9 is no block"),
        ("races", [{"schedule": "cpu0 until", "outcome": 1}], "landmark is missing"),
    ],
)
def test_what_is_no_race_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(SandboxError, match=words):
        conform_race(raced() | {key: value}, "7.2", "x")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("step", "3", r"step is \"3\""),
        ("races", [{"schedule": "cpu0 all"}], r"races\[0\]\.outcome is missing"),
        ("before", {}, r"before\.step is missing"),
        ("outcomes", [{"schedules": [], "state": {}}], r"outcomes\[0\]\.schedules"),
        (
            "races",
            [{"schedule": "", "outcome": 1, "switches": [{"cpu": 2}]}],
            r"races\[0\]\.switches\[0\]",
        ),
    ],
)
def test_a_malformed_recording_is_refused_with_its_path(
    recording: Callable[[dict[str, Any]], Path], key: str, value: object, words: str
) -> None:
    with pytest.raises(SandboxError, match=words):
        read_race(str(recording(raced() | {key: value})))


# -- stores that come in no order ------------------------------------------------------------

NEW = ("folio_add_new_anon_rmap", "do_anonymous_page")


def counter(what: str, old: int, new: int, at: tuple[str, ...] = NEW) -> dict[str, Any]:
    return {"what": what, "folio": "F1", "page": 1, "old": old, "new": new, "at": list(at)}


FRESH = [
    counter("_nr_pages_mapped", 0, 4),
    counter("_mm_id[0]", 0, 9),
    counter("_large_mapcount", -1, 3),
]


def test_plain_stores_to_a_new_folio_come_in_any_order() -> None:
    log, turned = read_events(FRESH), logged(FRESH[::-1])
    assert compare_stores("x", "write A R 0 1", log, turned).mismatch is None
    less = compare_stores("x", "write A R 0 1", log, [*turned[:2], turned[0]])
    assert less.mismatch is not None, "each must be there once"
    apart = [FRESH[2], counter("_mapcount", -1, 0), FRESH[1], FRESH[0]]
    assert compare_stores("x", "x", log, logged(apart)).mismatch is not None


def test_the_same_words_of_another_function_keep_their_order() -> None:
    first = counter("_mapcount", -1, 0)
    events = [{**event, "at": ["folio_remove_rmap_ptes"]} for event in FRESH]
    found = compare_stores("x", "x", read_events([first, *events]), logged([first, *events[::-1]]))
    assert found.mismatch is not None
    assert found.mismatch.startswith("store 2 of 4")


def test_each_rule_says_why() -> None:
    for rule in RULES:
        assert len(rule.reason) > 60
        assert rule.words
    assert first_difference([("a", 1)], [("a", 1)], [None]) is None


# -- what a log spells otherwise -------------------------------------------------------------


def entry(old: list[str] | None, new: list[str] | None) -> dict[str, Any]:
    return {"what": "pte", "proc": "A", "at_page": ["R", 0], "old": old, "new": new, "at": ["f"]}


@pytest.mark.parametrize(
    ("logs", "compared"),
    [
        (["F1.0", "wdy!"], "F1.0 wdy"),
        (["swap.77", "e!"], "swap e"),
        (["swap.3", "!"], "swap"),
        (["F1.2", "em!"], "F1.2 m"),
        (["zero.0", "oy"], "zero.0 oy"),
    ],
)
def test_entries_that_are_not_valid_are_marked_in_a_log_alone(
    logs: list[str], compared: str
) -> None:
    assert logged([entry(None, logs)]) == [("pte", 0, "none", compared)]


def test_tails_count_references_of_their_own() -> None:
    event = {**counter("_refcount", 0, 1, ("__split_folio_to_order",)), "page": 3}
    assert logged([event]) == [("_refcount", "F1", 3, 0, 1)]


def test_what_a_split_stores_into_the_words_below_is_left_out() -> None:
    inside = ("__folio_freeze_and_split_unmapped", "__folio_split")
    assert logged([counter("_pincount", 0, -65536, inside)]) == []
    assert logged([counter("_mm_id[0]", -1, 77, inside)]) == []
    assert len(logged([counter("_pincount", 0, 1, ("try_grab_folio", "__folio_split"))])) == 1


def test_the_type_of_a_page_that_is_free_is_no_mapcount() -> None:
    assert logged([counter("_mapcount", -1, -268435456)]) == []
    assert logged([counter("_mapcount", -268435456, -1)]) == []
    assert len(logged([counter("_mapcount", -1, 0)])) == 1


@pytest.mark.parametrize("what", ["exit A", "kill A"])
def test_a_process_that_exits_is_accounted_for(what: str) -> None:
    from sandbox.conform.stores import Before, engine_stores
    from sandbox.run.session import Session

    session = Session("7.2")
    *scene, last = parse_lines(f"mmap A R 2p\nwrite A R 0 2\n{what}", "x")
    for step in scene:
        session.do(step)
    before = Before.of(session)
    session.do(last)
    assert ("rss", "anon", -2) in engine_stores(session, before)


def test_folios_have_the_names_of_before_a_split() -> None:
    from sandbox.conform.stores import Before, engine_stores
    from sandbox.run.session import Session

    session = Session("7.2")
    *scene, last = parse_lines("mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4\nsplit A R 0 4", "x")
    for step in scene:
        session.do(step)
    before = Before.of(session)
    session.do(last)
    stores = engine_stores(session, before)
    entries = [value for store in stores if store[0] == "pte" for value in store[2:]]
    assert {value.split(".")[0] for value in entries if value != "none"} == {"F1"}
    assert {store[2] for store in stores if store[0] == "_refcount"} == {0, 1, 2, 3}
