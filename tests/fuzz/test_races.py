"""Pairs on two CPUs: drawn, played on two models, held against each other by their outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmtui.cli import dispatch
from rig.guest import translate
from sandbox.conform.races import conform_race
from sandbox.conform.recordings import read_race
from sandbox.fuzz.asking import Answer, Question, ask_and_judge
from sandbox.fuzz.families import family_of
from sandbox.fuzz.judge import Reason
from sandbox.fuzz.pairs import RACED, pair_name, pair_text
from sandbox.fuzz.races import ModelRaces, drawn_schedules, judge_races, schedule_text
from sandbox.scenario.language import CpuBlock, Scenario, parse_scenarios
from sandbox.scenario.schedule import Turn
from tests.rig.samples import one
from tests.test_conform_races import CALLS, SCENE, STOPPED, stopped

FORK_AND_PIN = "mmap A R 4K\nwrite A R 0 1\ncpu0: fork A B\ncpu1: pin A R 0 1 1 w"


def pair(seed: int, number: int) -> Scenario:
    (scenario,) = parse_scenarios(pair_text(seed, number, None), "drawn")
    return scenario


def test_pairs_are_scenarios_that_the_rig_can_race() -> None:
    verbs = set()
    for number in range(150):
        scenario = pair(2, number)
        assert scenario.name == pair_name(2, number)
        *before, block = scenario.steps
        assert isinstance(block, CpuBlock)
        assert block.cpus == (0, 1)
        assert len(translate(scenario, races={len(before): 1}).lines) == len(scenario.steps)
        verbs |= {action.verb for action in block.actions}
        assert pair_text(2, number, None) == pair_text(2, number, None)
    assert verbs == set(RACED)


def test_a_family_says_which_verbs_are_raced() -> None:
    text = pair_text(1, 0, family_of("fork=1,pin=1,mthp=9"))
    calls = [line.split()[1] for line in text.split("\n") if line.startswith("cpu")]
    assert set(calls) <= {"fork", "pin"}


def test_schedules_are_drawn_once_each_and_begin_with_both_orders() -> None:
    drawn = drawn_schedules([5, 3], 20, "x")
    assert drawn == drawn_schedules([5, 3], 20, "x")
    assert len(set(drawn)) == len(drawn) == 20
    assert drawn[:2] == [(Turn(0), Turn(1)), (Turn(1), Turn(0))]
    for turns in drawn[2:]:
        for cpu in (0, 1):
            marks = [turn.until for turn in turns if turn.cpu == cpu and turn.until]
            assert sum(mark.number - mark.before for mark in marks) <= (5, 3)[cpu]
    assert len(drawn_schedules([0, 0], 20, "x")) == 2


def test_a_model_has_its_own_outcomes() -> None:
    kernel = ModelRaces("7.2", 8)
    questions = [Question(pair(3, number)) for number in range(6)]
    kinds = {verdict.kind for verdict, _ in ask_and_judge(kernel, "7.2", questions)[0]}
    assert kinds == {"same"}


def test_an_outcome_that_the_model_lacks_is_found() -> None:
    scenario = one(FORK_AND_PIN)
    answer = ModelRaces("no-seqcount", 30).ask([scenario]).by_name["x"]
    verdict = judge_races(answer, scenario, "7.2")
    assert verdict.reason is not None
    assert verdict.reason.verb == "fork | pin"
    assert verdict.reason.field.startswith("raced: ")
    assert "under cpu" in verdict.cells[0]
    assert verdict.step == len(scenario.source)


def test_an_outcome_of_one_order_needs_no_race() -> None:
    scenario = one(FORK_AND_PIN)
    answer = ModelRaces("7.2", 4).ask([scenario]).by_name["x"]
    assert answer.recording is not None
    changed = json.loads(json.dumps(answer.recording))
    changed["outcomes"][0]["state"]["ret"] = -12
    verdict = judge_races(answer._replace(recording=changed), scenario, "7.2")
    assert verdict.reason == Reason("fork | pin", "one after the other: ret")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"folios": {"F1": {"refcount": 9, "flags": []}}}, "switch: folio flags"),
        ({"ptes": {}}, "switch: entry"),
        ({"why": "lock"}, "switch: a CPU waits"),
    ],
)
def test_words_at_a_switch_are_looked_at_last(change: dict[str, Any], field: str | None) -> None:
    race = stopped()
    race["races"][0]["switches"][1].update(change)
    scenario = one("\n".join([*SCENE, *CALLS]))
    turns = one("\n".join([*SCENE, *CALLS, f"schedule {STOPPED}"])).steps[-1]
    assert isinstance(turns, CpuBlock)
    verdict = judge_races(Answer(race, schedules=(turns.schedule,)), scenario, "7.2")
    assert (verdict.reason and verdict.reason.field) == field


def test_what_has_no_block_is_lost() -> None:
    scenario = one("mmap A R 4K\nwrite A R 0 1")
    assert ModelRaces("7.2", 4).ask([scenario]).by_name["x"].recording is None
    assert judge_races(Answer({}), scenario, "7.2").kind == "lost"


def test_a_race_is_made_small_and_written_as_conform_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fuzz", "-k", "7.2", "--against", "pin-bias-16", "--races", "--schedules", "4"]
    words += ["--family", "fork=1,pin=1", "--seed", "7", "--count", "3", "--shrink", "1", "--json"]
    assert dispatch([*words, "-o", str(tmp_path)]) == 1
    report = json.loads(capsys.readouterr().out)
    cases = [c for group in report["groups"] for c in group["cases"] if c["smallest"]]
    assert cases
    for case in cases:
        assert [line.split(": ")[0] for line in case["smallest"][-2:]] == ["cpu0", "cpu1"]
        file = tmp_path / "pin-bias-16-race" / f"{case['scenario']}.json"
        race = read_race(str(file))
        assert conform_race(race, "pin-bias-16", str(file)).mismatch is None
        assert conform_race(race, "7.2", str(file)).mismatch is not None


def test_schedules_are_written_as_scenarios_have_them() -> None:
    turns = drawn_schedules([3, 3], 5, "y")[-1]
    block = one(f"{FORK_AND_PIN}\nschedule {schedule_text(turns)}").steps[-1]
    assert isinstance(block, CpuBlock)
    assert block.schedule == turns


@pytest.mark.parametrize("more", [["--stores"], ["--reorder"], ["--schedules", "1"]])
def test_what_cannot_be_raced_is_refused(
    tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["fuzz", "-k", "7.2", "--races", *more, "-o", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
