"""A real kernel for the loop: scenarios played in one boot, whatever becomes of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rig.boot import Guest
from rig.errors import UnplayableError
from rig.guest import GuestScenario, translate
from rig.record import Recorder
from sandbox.fuzz.asking import Answer, Answers, judge_answer
from sandbox.fuzz.judge import Verdict
from sandbox.printable import short
from sandbox.scenario.language import Scenario

__all__ = ["RealKernel"]


class RealKernel(NamedTuple):
    """A kernel that is set up and ready, as something to ask."""

    guest: Guest
    limit: float
    """Seconds for each scenario; one that takes longer is left out, and the rest goes on."""
    stores: bool = False

    @property
    def title(self) -> str:
        """Its name and exact version."""
        kernel = self.guest.kernel
        return f"{kernel.name} ({kernel.release})"

    @property
    def dear(self) -> bool:
        """Whether asking takes long."""
        return True

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        """Play scenarios in as few boots as it takes.

        Raises:
            RigError: the guest does not come up.
        """
        answers: dict[str, Answer] = {}
        todo: list[GuestScenario] = []
        for scenario in scenarios:
            try:
                todo.append(translate(scenario, stores=self.stores))
            except UnplayableError as error:
                answers[scenario.name] = Answer(None, why=f"the rig: {error.message}")
        recorder = Recorder(self.guest, patience=self.limit, stores=self.stores)
        for recording in recorder.record(todo):
            name = recording.states["scenario"]
            answers[name] = Answer(recording.states, recording.stores)
        for name, why in recorder.failed.items():
            answers[name] = Answer(None, why=why)
        return Answers(answers, [_timeless(line) for line in recorder.complaints])

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Hold its states, and its stores if there are any, against a modelled kernel."""
        return judge_answer(answer, scenario, kernel)


def _timeless(line: str) -> str:
    """A line of a kernel's log without its time."""
    _, bracket, rest = line.partition("] ")
    return short(rest if bracket else line, 200).strip()
