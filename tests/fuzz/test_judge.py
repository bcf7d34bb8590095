"""What is told of a scenario that differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sandbox.fuzz.asking import Answer, Answers, ModelKernel, Question, ask_and_judge, judge_answer
from sandbox.fuzz.groups import Case, Summary, groups_of, report_text
from sandbox.fuzz.judge import Reason, Verdict, judge
from sandbox.scenario.language import Scenario
from tests.rig.samples import one

TEXT = "mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4\nread A R 0 1\nfork A B\npin B R 1 2 1 w"


def recorded(scenario: Scenario, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """What the model says itself, with a change."""
    answer = ModelKernel("7.2").ask([scenario]).by_name["x"].recording
    assert answer is not None
    recording = dict(answer)
    change(recording)
    return recording


def first(steps: list[dict[str, Any]], number: int) -> dict[str, Any]:
    folio: dict[str, Any] = steps[number - 1]["folios"]["F1"]
    return folio


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        (lambda steps: first(steps, 3).update(refcount=9), 3, ("write", "folio refcount")),
        (lambda steps: first(steps, 3).update(mapcount=[[7, 4]]), 3, ("write", "folio mapcount")),
        (lambda steps: steps[4].update(ret=-11), 5, ("fork", "ret")),
        (lambda steps: steps[3].update(out="1x1"), 4, ("read", "out")),
        (lambda steps: steps[2]["procs"]["A"]["rss"].update(anon=1), 3, ("write", "rss.anon")),
        (lambda steps: steps[2]["procs"]["A"].update(ptes=[]), 3, ("write", "entry")),
        (lambda steps: steps[1]["procs"]["A"]["vmas"][0].__setitem__(2, 9), 2, ("mmap", "vma to")),
        (lambda steps: steps[5]["holds"]["1"].update(kind="get"), 6, ("pin", "hold kind")),
        (lambda steps: steps[5]["folios"].pop("F2"), 6, ("pin", "folio that only the model has")),
    ],
)
def test_the_first_difference_has_a_verb_and_a_kind_of_field(
    change: Callable[[Any], object], step: int, reason: tuple[str, str]
) -> None:
    scenario = one(TEXT)
    verdict = judge(recorded(scenario, lambda it: change(it["steps"])), scenario, "7.2")
    assert (verdict.step, verdict.reason) == (step, Reason(*reason))
    assert verdict.action == scenario.steps[step - 1].text
    assert verdict.cells
    assert Verdict.of_json(verdict.to_json()) == verdict


def test_what_agrees_is_the_same() -> None:
    scenario = one(TEXT)
    assert judge(recorded(scenario, lambda _: None), scenario, "7.2") == Verdict("same")


def test_a_report_comes_behind_every_other_difference() -> None:
    scenario = one(TEXT)

    def change(recording: dict[str, Any]) -> None:
        recording["steps"][3]["out"] = "7x1"
        recording["steps"][5]["ret"] = -14

    assert judge(recorded(scenario, change), scenario, "7.2").reason == Reason("pin", "ret")


def test_a_field_that_a_release_does_not_have_is_no_difference() -> None:
    scenario = one(TEXT)
    (answer,) = ModelKernel("6.12").ask([scenario]).by_name.values()
    assert answer.recording is not None
    assert "mm_ids" not in first(answer.recording["steps"], 3)
    assert "mm_ids" in first(recorded(scenario, lambda _: None)["steps"], 3)
    assert judge(answer.recording, scenario, "7.2").reason != Reason("write", "folio mm_ids")


def test_refusals_are_told_apart_by_what_they_say() -> None:
    scenario = one("mmap A R 4p\nfork A B\nfork A B")
    kernel = Refuser()
    ((verdict, _),) = ask_and_judge(kernel, "7.2", [Question(scenario)])[0]
    assert verdict.reason == Reason("fork", "refused: there is a process # already")
    wanted = Reason("fork", "refused: there is a process # already")
    ((known, _),) = ask_and_judge(kernel, "7.2", [Question(scenario, wanted)])[0]
    assert known.reason == wanted
    ((hidden, _),) = ask_and_judge(kernel, "7.2", [Question(scenario, Reason("fork", "ret"))])[0]
    assert hidden.kind == "lost"
    assert kernel.asked == 1


class Refuser:
    """A kernel that does everything, and is slow."""

    title = "anything"
    dear = True

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        return judge_answer(answer, scenario, kernel)

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        self.asked += 1
        answers = {}
        for each in scenarios:
            start = ModelKernel("7.2").ask([each]).by_name[each.name].recording
            assert start is not None
            more = [start["steps"][-1]] * (len(each.steps) - len(start["steps"]))
            answers[each.name] = Answer({**start, "steps": [*start["steps"], *more]})
        return Answers(answers)


def test_groups_are_by_reason_and_tell_each_smallest_once() -> None:
    def case(name: str, verb: str, change: str, *small: str) -> Case:
        return Case(name, Verdict("differs", 1, verb, "entry", change, verb), small)

    cases = [case("a", "pin", "x"), case("b", "fork", "x", "fork A B"), case("c", "fork", "y"),
             case("d", "fork", "x", "fork A B")]  # fmt: skip
    groups = groups_of(cases)
    assert [(str(group.reason), len(group.cases)) for group in groups] == [
        ("fork: entry", 3), ("pin: entry", 1),
    ]  # fmt: skip
    assert groups[0].changes == [("x", 2), ("y", 1)]
    assert [each.name for each in groups[0].smallest] == ["b"]
    summary = Summary("t", 5, cases, {"e": "hung"}, 0, ["f"], {"WARNING": 2})
    text = "\n".join(report_text(summary))
    assert "5 agree, 4 differ in 2 ways" in text
    assert "not played: e: hung" in text
    assert "the kernel complained 2 times: WARNING" in text
