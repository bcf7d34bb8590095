"""The loop: scenarios played on two sides, what differs made small, and written as tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.conform.states import MICRO
from sandbox.fuzz.asking import Answer, Asked, ModelKernel, Question
from sandbox.fuzz.crew import Crew
from sandbox.fuzz.families import Family
from sandbox.fuzz.generate import family_at, name_of, scenario_text
from sandbox.fuzz.groups import Case, Summary, report_json, report_text
from sandbox.fuzz.journal import Journal, opened, write_whole
from sandbox.fuzz.judge import Reason, Verdict
from sandbox.fuzz.pairs import pair_name, pair_text
from sandbox.fuzz.shrink import Shrink
from sandbox.scenario.language import Scenario, parse_scenarios

__all__ = ["Plan", "fuzz"]

PART, ROUND = 40, 120
WHOLE = "whole"
"""Where scenarios are written as they were drawn."""
TOLD_APART = 20
"""Scenarios whose text tells a version of the generator from another."""


class Plan(NamedTuple):
    """What is asked for."""

    asked: Asked
    folder_name: str
    """Where recordings go in the folder: the name of what is asked."""
    kernel: str
    """The modelled kernel."""
    seed: int
    total: int
    family: Family | None
    """None for all of them in turn."""
    races: int
    """Schedules of each pair that is raced; 0 for scenarios of one CPU."""
    stores: bool
    """Whether the order of stores is compared as well."""
    shrink: int | None
    """How many of each group are made small; None for all."""
    dumps: Callable[[Mapping[str, Any]], str]
    """How a recording is written."""

    def text(self, number: int) -> str:
        """The n-th scenario."""
        if self.races:
            return pair_text(self.seed, number, self.family)
        return scenario_text(self.seed, number, family_at(number, self.family))

    def name(self, number: int) -> str:
        """The name of the n-th scenario."""
        if self.races:
            return pair_name(self.seed, number)
        return name_of(self.seed, number, family_at(number, self.family))

    @property
    def part(self) -> int:
        """Scenarios of one question: what a kill takes back at most, for each process."""
        return PART // 2 if self.stores or self.races else PART

    @property
    def round(self) -> int:
        """Candidates of one question."""
        return ROUND // (4 if self.races else 2) if self.stores or self.races else ROUND

    @property
    def command(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        family = self.family._asdict() if self.family else "all"
        return {
            "asked": self.folder_name, "kernel": self.kernel, "seed": self.seed,
            "count": self.total, "stores": self.stores, "races": self.races, "family": family,
            "shrink": self.shrink, "drawn": self._drawn,
        }  # fmt: skip

    @property
    def _drawn(self) -> str:
        """Tells scenarios that another version of the generator drew."""
        text = "".join(map(self.text, range(min(self.total, TOLD_APART))))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def fuzz(plan: Plan, folder: Path, *, jobs: int, narrate: Callable[[str], None]) -> Summary:
    """Run a plan to its end in a folder, or go on with it there.

    Raises:
        UsageError: the folder is of another plan, or in use.
        SandboxError: it cannot be written, or the other side cannot be asked.
    """
    with opened(folder, plan.command) as journal, Crew(plan.asked, plan.kernel, jobs) as crew:
        run = _Run(plan, folder, journal, narrate)
        run.play(crew)
        run.report()
        run.make_small(crew)
        return run.report()


@dataclass(slots=True)
class _Run:
    """A plan on its way; everything that it knows is in the journal."""

    plan: Plan
    folder: Path
    journal: Journal
    narrate: Callable[[str], None]

    # -- playing -----------------------------------------------------------------------

    def play(self, crew: Crew) -> None:
        """Play what was not played yet."""
        known = self._verdicts()
        todo = [number for number in range(self.plan.total) if number not in known]
        numbers = {self._name(number): number for number in todo}
        size = self.plan.part
        parts = [
            [Question(self._scenario(number)) for number in todo[at : at + size]]
            for at in range(0, len(todo), size)
        ]
        for part in crew.ask(parts):
            self.journal.add(
                *(
                    {"played": numbers[question.scenario.name], **verdict.to_json()}
                    for question, (verdict, _) in zip(part.questions, part.verdicts, strict=True)
                ),
                *({"complaint": line} for line in part.complaints),
            )
            known = self._verdicts()
            kinds = Counter(verdict.kind for verdict in known.values())
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            self.narrate(f"{len(known)} of {self.plan.total}: {said}")

    def _verdicts(self) -> dict[int, Verdict]:
        found = {
            line["played"]: Verdict.of_json(line) for line in self.journal.lines if "played" in line
        }
        return dict(sorted(found.items()))

    def _name(self, number: int) -> str:
        return self.plan.name(number)

    def _scenario(self, number: int) -> Scenario:
        (scenario,) = parse_scenarios(self.plan.text(number), self._name(number))
        return scenario

    # -- making small ------------------------------------------------------------------

    def make_small(self, crew: Crew) -> None:
        """Make small what differs, a round of many shrinks at a time, and write what is left."""
        shrinks = self._shrinks()
        found = {line["found"] for line in self.journal.lines if "found" in line}
        while True:
            for number, (shrink, reason) in shrinks.items():
                while not shrink.done and not shrink.candidates():
                    shrink = shrink.take([])  # noqa: PLW2901
                shrinks[number] = (shrink, reason)
            active = {n: each for n, each in shrinks.items() if not each[0].done}
            ready = [n for n, (shrink, _) in shrinks.items() if shrink.done and n not in found]
            if ready:
                self._write_found(crew, {n: shrinks[n] for n in ready})
                found.update(ready)
            if not active:
                return
            shrinks.update(self._round(crew, active))
            self.narrate(f"making small: {len(found)} of {len(shrinks)} done, "
                         f"{len(active)} at work")  # fmt: skip

    def _shrinks(self) -> dict[int, tuple[Shrink, Reason]]:
        """Where each difference stands that is made small."""
        latest = {
            line["small"]: Shrink.of_json(line["shrink"])
            for line in self.journal.lines
            if "small" in line
        }
        started: Counter[Reason] = Counter()
        shrinks = {}
        for number, verdict in self._verdicts().items():
            reason = verdict.reason
            if reason is None:
                continue
            started[reason] += 1
            if self.plan.shrink is not None and started[reason] > self.plan.shrink:
                continue
            whole = Shrink(tuple(self._scenario(number).source[: verdict.step]))
            shrinks[number] = (latest.get(number, whole), reason)
        return shrinks

    def _round(
        self, crew: Crew, active: Mapping[int, tuple[Shrink, Reason]]
    ) -> dict[int, tuple[Shrink, Reason]]:
        """A round of as many shrinks as fill the questions; where they stand then."""
        chosen: dict[int, list[Question]] = {}
        most = self.plan.round
        for number, (shrink, reason) in active.items():
            if sum(map(len, chosen.values())) >= most * crew.jobs:
                break
            chosen[number] = [
                Question(_named(f"{self._name(number)}-c{at}", lines), reason)
                for at, lines in enumerate(shrink.candidates())
            ]
        questions = [each for some in chosen.values() for each in some]
        size = max(1, -(-len(questions) // crew.jobs))
        parts = [questions[at : at + size] for at in range(0, len(questions), size)]
        steps: dict[str, int | None] = {}
        for part in crew.ask(parts):
            for question, (verdict, _) in zip(part.questions, part.verdicts, strict=True):
                same = verdict.reason == question.reason
                steps[question.scenario.name] = verdict.step if same else None
        after = {}
        for number, asked in chosen.items():
            shrink, reason = active[number]
            shrink = shrink.take([steps[each.scenario.name] for each in asked])
            after[number] = (shrink, reason)
            self.journal.add({"small": number, "shrink": shrink.to_json()})
        return after

    def _write_found(self, crew: Crew, ready: Mapping[int, tuple[Shrink, Reason]]) -> None:
        """Record the smallest scenarios under their names, and write them as tests."""
        questions = {
            self._name(number): (number, Question(_named(self._name(number), shrink.lines)))
            for number, (shrink, _) in ready.items()
        }
        for part in crew.ask([[question for _, question in questions.values()]]):
            for question, (verdict, answer) in zip(part.questions, part.verdicts, strict=True):
                number, _ = questions[question.scenario.name]
                name, lines = question.scenario.name, question.scenario.source
                text = "\n".join([f"scenario {name}", *lines, "end", ""])
                write_whole(self.folder / "scenarios" / f"{name}.scn", text)
                if answer is not None:
                    self._write_answer(name, answer)
                self.journal.add({"found": number, "lines": lines, **verdict.to_json()})

    def _write_answer(self, name: str, answer: Answer) -> None:
        for folder, part in (("", answer.recording), (MICRO, answer.stores)):
            if part is not None:
                file = self.folder / f"{self.plan.folder_name}{folder}" / f"{name}.json"
                write_whole(file, self.plan.dumps(part))

    # -- telling -----------------------------------------------------------------------

    def report(self) -> Summary:
        """Write the report of all that is known; what it says."""
        verdicts = self._verdicts()
        small = {line["found"]: line for line in self.journal.lines if "found" in line}
        cases = []
        for number, verdict in verdicts.items():
            if verdict.kind in ("differs", "lost"):
                write_whole(self.folder / WHOLE / f"{self._name(number)}.scn",
                            self.plan.text(number))  # fmt: skip
            if verdict.reason is None:
                continue
            found = small.get(number)
            again = Verdict.of_json(found) if found else None
            if found is not None and again is not None and again.reason == verdict.reason:
                cases.append(Case(self._name(number), again, tuple(found["lines"])))
            else:
                cases.append(Case(self._name(number), verdict))
        of_kind: dict[str, list[int]] = {}
        for number, verdict in verdicts.items():
            of_kind.setdefault(verdict.kind, []).append(number)
        summary = Summary(
            title=f"{self.plan.asked.title} against {ModelKernel(self.plan.kernel).title}, "
            f"seed {self.plan.seed}, {self.plan.total} scenarios",
            same=len(of_kind.get("same", ())),
            refused=len(of_kind.get("refused", ())),
            cases=cases,
            lost={self._name(number): verdicts[number].why for number in of_kind.get("lost", ())},
            long=[self._name(number) for number in of_kind.get("long", ())],
            complaints=Counter(
                line["complaint"] for line in self.journal.lines if "complaint" in line
            ),
        )
        write_whole(self.folder / "report.txt", "\n".join([*report_text(summary), ""]))
        write_whole(self.folder / "report.json", report_json(summary))
        return summary


def _named(name: str, lines: Sequence[str]) -> Scenario:
    (scenario,) = parse_scenarios("\n".join([f"scenario {name}", *lines, "end", ""]), name)
    return scenario
