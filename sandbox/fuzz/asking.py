"""The other side: what answers with recordings of scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sandbox.errors import Cancelled, SandboxError
from sandbox.fuzz.judge import REFUSED, Reason, Verdict, judge, refused_at
from sandbox.fuzz.orders import judge_stores
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Scenario
from sandbox.scenario.schedule import Turn

__all__ = ["Answer", "Answers", "Asked", "ModelKernel", "Question", "ask_and_judge", "judge_answer"]


class Answer(NamedTuple):
    """What the other side did to a scenario."""

    recording: Mapping[str, Any] | None
    """The states, as `KERNEL/NAME.json`; None if it came to no end."""
    stores: Mapping[str, Any] | None = None
    """The stores, as `KERNEL-micro/NAME.json`, if they were asked for."""
    why: str = ""
    """It came to no end."""
    schedules: tuple[tuple[Turn, ...], ...] = ()
    """Of races, what was played."""


class Answers(NamedTuple):
    """The answers to some questions, by the scenarios' names."""

    by_name: Mapping[str, Answer]
    complaints: Sequence[str] = ()
    """What the kernel's log has that should not be there."""


class Asked(Protocol):
    """Whatever plays scenarios and says what came of them."""

    @property
    def title(self) -> str:
        """What it is, for the report."""

    @property
    def dear(self) -> bool:
        """Whether asking takes much longer than a play of the model."""

    def ask(self, scenarios: Sequence[Scenario], /) -> Answers:
        """Play scenarios, whose names differ."""

    def judge(self, answer: Answer, scenario: Scenario, kernel: str, /) -> Verdict:
        """Hold an answer against a modelled kernel."""


class ModelKernel(NamedTuple):
    """A modelled kernel in the place of a real one."""

    kernel: str

    @property
    def title(self) -> str:
        """What it is."""
        return f"the model of {self.kernel.rpartition(':')[2]}"

    @property
    def dear(self) -> bool:
        """Whether asking takes long."""
        return False

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        """Play scenarios; a recording ends where the model refuses to go on, and says why."""
        return Answers({each.name: self._answer(each) for each in scenarios})

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Hold its states against another kernel's."""
        return judge_answer(answer, scenario, kernel)

    def _answer(self, scenario: Scenario) -> Answer:
        run = ScenarioRun(self.kernel, rig=True)
        states = []
        try:
            for step in scenario.steps:
                states.append(run.do(step))
        except Cancelled:
            raise
        except SandboxError as error:
            refused = error.message
        else:
            refused = ""
        head = {"scenario": scenario.name, "about": scenario.about, "kernel": self.kernel}
        states_and_end = {"steps": states, "refused": refused}
        return Answer({**head, "source": scenario.source, **states_and_end})


class Question(NamedTuple):
    """A scenario to play on both sides."""

    scenario: Scenario
    reason: Reason | None = None
    """The difference that is looked for: what cannot show it is not played."""


def judge_answer(answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
    """Hold the states of an answer, and then its stores, against a modelled kernel."""
    assert answer.recording is not None
    verdict = judge(answer.recording, scenario, kernel)
    if answer.stores is None or not (verdict.kind == "same" or verdict.field == "out"):
        return verdict
    order = judge_stores(answer.stores, scenario, kernel)
    return verdict if order.kind == "same" else order


def ask_and_judge(
    asked: Asked, kernel: str, questions: Sequence[Question]
) -> tuple[list[tuple[Verdict, Answer | None]], Sequence[str]]:
    """Play scenarios on both sides; the verdicts in their order, and the kernel's complaints."""
    known = {
        each.scenario.name: verdict
        for each in questions
        if each.reason is not None
        and (asked.dear or each.reason.field.startswith(REFUSED))
        and (verdict := _foreseen(each.scenario, each.reason, kernel)) is not None
    }
    played = [each.scenario for each in questions if each.scenario.name not in known]
    answers = asked.ask(played) if played else Answers({})
    found: list[tuple[Verdict, Answer | None]] = []
    for scenario, _reason in questions:
        answer = answers.by_name.get(scenario.name)
        if scenario.name in known:
            found.append((known[scenario.name], None))
        elif answer is None or answer.recording is None:
            why = answer.why if answer else "it was not played"
            found.append((Verdict("lost", why=why), answer))
        else:
            found.append((asked.judge(answer, scenario, kernel), answer))
    return found, answers.complaints


def _foreseen(scenario: Scenario, reason: Reason, kernel: str) -> Verdict | None:
    """What the model alone says of a candidate: whether it refuses an action; None if it does not.

    A refusal is the difference that is looked for, or hides it.
    """
    found = refused_at(scenario, kernel)
    looked_for = reason.field.startswith(REFUSED)
    if found is None:
        return Verdict("same") if looked_for else None
    if not looked_for:
        return Verdict("lost", why="the model refuses it")
    at, field = found
    action = scenario.steps[at - 1].text
    return Verdict("differs", at, action.split()[0], field, action=action)
