"""A real kernel for the loop: scenarios played in one boot, whatever becomes of some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from rig.boot import Guest
from rig.errors import RigError, UnplayableError
from rig.guest import GuestScenario, translate
from rig.playing import Player
from rig.races import Play, Played, Racer, block_of, recorded
from rig.record import Recorder
from sandbox.fuzz.asking import Answer, Answers, judge_answer
from sandbox.fuzz.judge import Verdict
from sandbox.fuzz.races import drawn_schedules, judge_races
from sandbox.printable import short
from sandbox.scenario.language import Scenario
from sandbox.scenario.schedule import Turn

TRIES = 3
"""Of a boot that comes to nothing."""
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

__all__ = ["RacedKernel", "RealKernel"]


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
        failed, complaints = self._record(todo, answers)
        lost = [guest for guest in todo if guest.scenario.name in failed]
        if lost:  # once more: on a busy machine a guest may only have been slow
            failed, more = self._record(lost, answers)
            complaints += more
        answers |= {name: Answer(None, why=why) for name, why in failed.items()}
        return Answers(answers, complaints)

    def _record(
        self, todo: Sequence[GuestScenario], answers: dict[str, Answer]
    ) -> tuple[dict[str, str], list[str]]:
        """Put what is recorded into the answers; what was lost, and what the kernel complained."""
        recorder, recordings = _again(
            lambda: Recorder(self.guest, patience=self.limit, stores=self.stores), todo
        )
        for recording in recordings:
            name = recording.states["scenario"]
            answers[name] = Answer(recording.states, recording.stores)
        return recorder.failed, [_timeless(line) for line in recorder.complaints]

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Hold its states, and its stores if there are any, against a modelled kernel."""
        return judge_answer(answer, scenario, kernel)


class RacedKernel(NamedTuple):
    """A kernel that is set up and ready, to race two CPUs of."""

    guest: Guest
    limit: float
    """Seconds for each race; one that takes longer is left out, and the rest goes on."""
    schedules: int
    """Of each pair."""

    @property
    def title(self) -> str:
        """Its name and exact version."""
        kernel = self.guest.kernel
        return f"races on {kernel.name} ({kernel.release})"

    @property
    def dear(self) -> bool:
        """Whether asking takes long."""
        return True

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        """Play each block in both orders, and then under schedules drawn for what it takes.

        Raises:
            RigError: the guest does not come up.
        """
        answers: dict[str, Answer] = {}
        blocks: dict[str, tuple[Scenario, int]] = {}
        for each in scenarios:
            try:
                index, _ = block_of(each)
                translate(each, races={index: 1})
                blocks[each.name] = (each, index)
            except UnplayableError as error:
                answers[each.name] = Answer(None, why=f"the rig: {error.message}")
        played: dict[str, list[Played]] = {name: [] for name in blocks}
        orders = ((Turn(0), Turn(1)), (Turn(1), Turn(0)))
        first, complaints = self._raced(
            [Play(*blocks[name], turns) for name in blocks for turns in orders]
        )
        for one in first:
            played[one.play.scenario.name].append(one)
        more, later = self._raced(
            [
                Play(*blocks[name], turns)
                for name, both in played.items() if len(both) == len(orders)
                for turns in self._drawn(both) if turns not in orders
            ]
        )  # fmt: skip
        for one in more:
            played[one.play.scenario.name].append(one)
        for name, races in played.items():
            answers[name] = self._answer(blocks[name][0], races)
        return Answers(answers, [*complaints, *later])

    def _raced(self, plays: Sequence[Play]) -> tuple[list[Played], list[str]]:
        racer, played = _again(lambda: Racer(self.guest, patience=self.limit), plays)
        return played, [_timeless(line) for line in racer.complaints]

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Look for its outcomes on a modelled kernel."""
        return judge_races(answer, scenario, kernel)

    def _drawn(self, both: Sequence[Played]) -> list[tuple[Turn, ...]]:
        stores = [one.stores[one.play.turns[0].cpu] for one in both]
        lengths = [stores[0], stores[1]] if both[0].play.turns[0].cpu == 0 else stores[::-1]
        return drawn_schedules(lengths, self.schedules, "\n".join(both[0].play.scenario.source))

    def _answer(self, scenario: Scenario, races: Sequence[Played]) -> Answer:
        ended = [one for one in races if one.race["how"] == "ok"]
        if not ended:
            return Answer(None, why="no race came to its end")
        kernel, cpu = self.guest.kernel.release, self.guest.cpu
        recording = recorded(scenario, kernel, cpu, ended)
        return Answer(recording, schedules=tuple(one.play.turns for one in ended))


def _again(
    player: Callable[[], Player[Item, Outcome]], items: Sequence[Item]
) -> tuple[Player[Item, Outcome], list[Outcome]]:
    """Play, by a fresh player; if a guest does not come up (a busy machine), once or twice more."""
    for left in range(TRIES, 0, -1):
        playing = player()
        try:
            return playing, list(playing.play(items))
        except RigError:
            if left == 1:
                raise
    raise AssertionError("there is a last try")


def _timeless(line: str) -> str:
    """A line of a kernel's log without its time."""
    _, bracket, rest = line.partition("] ")
    return short(rest if bracket else line, 200).strip()
