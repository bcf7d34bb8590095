"""Races: what a pair of actions comes to under some schedules, and whether the model can."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.conform.outcomes import Outcome, differences, outcome
from sandbox.conform.switches import (
    Compared,
    Switch,
    Watcher,
    compare_switches,
    kernel_switches,
)
from sandbox.errors import Cancelled, SandboxError, UsageError
from sandbox.fuzz.asking import Answer, Answers
from sandbox.fuzz.judge import Verdict
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Action, CpuBlock, Scenario
from sandbox.scenario.schedule import Landmark, Turn, format_schedule

__all__ = ["ModelRaces", "Search", "drawn_schedules", "judge_races", "schedule_text"]

MOST_PLAYS, MOST_EVENTS = 200, 1_500_000
"""Bounds of looking for an outcome on the model; a pair that needs more is counted as too long."""
SHOWN = 6
SERIAL = frozenset({"cpu0 all, cpu1 all", "cpu1 all, cpu0 all"})
"""Schedules whose outcomes need no second CPU."""
_ENTRY = re.compile(r"[A-Z0-9_]+\.[A-Z0-9_]+\[\d+\]")

Schedule = tuple[Turn, ...]


def schedule_text(turns: Schedule) -> str:
    """A schedule as recordings have it."""
    return format_schedule(turns).removeprefix("schedule").strip()


def drawn_schedules(stores: Sequence[int], count: int, seed: str) -> list[Schedule]:
    """Schedules for calls that change so many watched words alone: both orders, and others.

    Half of the others have one switch, half of them two to four.
    """
    draw = random.Random(seed)
    found: dict[Schedule, None] = dict.fromkeys(((Turn(0), Turn(1)), (Turn(1), Turn(0))))
    for turn in range(8 * count):
        if len(found) >= count:
            break
        switches = 1 if turn % 2 else draw.randint(2, 4)
        found[_drawn(draw, stores, switches)] = None
    return list(found)


def _drawn(draw: random.Random, stores: Sequence[int], switches: int) -> Schedule:
    cpu, done, turns = draw.randrange(2), [0, 0], list[Turn]()
    for _ in range(switches):
        left = stores[cpu] - done[cpu]
        if left > 0:  # a landmark behind its last store has no end
            number = draw.randint(1, min(left, draw.choice((2, 4, 8, left))))
            before = draw.random() < 0.4
            turns.append(Turn(cpu, None, Landmark("store", number, before)))
            done[cpu] += number - before
        cpu = 1 - cpu
    return (*turns, Turn(cpu), Turn(1 - cpu))


class Scene(NamedTuple):
    """A scenario with one block."""

    before: tuple[Action, ...]
    block: CpuBlock


def _scene(scenario: Scenario) -> Scene | None:
    *before, block = scenario.steps
    if not isinstance(block, CpuBlock) or block.cpus != (0, 1):
        return None
    actions = tuple(step for step in before if isinstance(step, Action))
    return Scene(actions, block) if len(actions) == len(before) else None


class Search:
    """The model's outcomes of one block, found as they are asked for."""

    def __init__(self, scene: Scene, kernel: str) -> None:
        self._scene, self._kernel = scene, kernel
        self.plays = self.events = 0
        self.found: list[Outcome] = []
        self.compared: dict[Schedule, Compared] = {}
        """What came of the switches, where there are any to hold the model's against."""

    def play(self, turns: Schedule, theirs: Sequence[Switch] = ()) -> Outcome | None:
        """The outcome of one schedule; None if it has a landmark that is not reached.

        The switches are held against *theirs*.
        """
        run = ScenarioRun(self._kernel, rig=True)
        state: Mapping[str, Any] = {"procs": {}, "folios": {}}
        for step in self._scene.before:
            state = run.do(step)
        self.plays += 1
        watcher = Watcher(run.session, state) if theirs else None
        try:
            got = outcome(run.do(self._scene.block._replace(schedule=turns), watcher), state)
        except UsageError:
            return None
        finally:
            self.events += run.session.position
        if watcher is not None:
            self.compared[turns] = compare_switches(theirs, watcher.switches)
        if got not in self.found:
            self.found.append(got)
        return got

    @property
    def is_over(self) -> bool:
        """Whether it has taken too long."""
        return self.plays >= MOST_PLAYS or self.events >= MOST_EVENTS

    def singles(self) -> Iterator[Outcome]:
        """The outcomes of all single switches, as far as the bounds go."""
        for cpu in (0, 1):
            for before in (False, True):
                number = 1
                while not self.is_over:
                    mark = Landmark("store", number, before)
                    got = self.play((Turn(cpu, None, mark), Turn(1 - cpu), Turn(cpu)))
                    if got is None:
                        break
                    yield got
                    number += 1


def judge_races(answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
    """Look for each outcome of an answer on the model, first under its own schedules."""
    assert answer.recording is not None
    recording = answer.recording
    scene = _scene(scenario)
    if scene is None:
        return Verdict("lost", why="no block of two CPUs at its end")
    lines = len(scenario.source)
    verbs = " | ".join(sorted(action.verb for action in scene.block.actions))
    search = Search(scene, kernel)
    before = recording.get("before") or {"procs": {}, "folios": {}}
    wanted = [
        (outcome(one["state"], before, one.get("dead", ())), one["schedules"])
        for one in recording["outcomes"]
    ]
    switches = [kernel_switches(race, before) for race in recording["races"]]
    try:
        missing = _missing(search, wanted, answer.schedules, switches)
    except Cancelled:
        raise
    except SandboxError as error:
        text = f"{type(error).__name__}: {error.message}"
        return Verdict("differs", lines, verbs, type(error).__name__, text, scene.block.text)
    if missing is None:
        return _elsewhere(search, verbs, lines, scene)
    if search.is_over and SERIAL.isdisjoint(missing[1]):
        return Verdict("long", lines, why="its outcomes take too long to find on the model")
    return _verdict(scene, verbs, lines, missing, search.found)


Wanted = tuple[Outcome, Sequence[str]]


def _missing(
    search: Search,
    wanted: Sequence[Wanted],
    schedules: Sequence[Schedule],
    switches: Sequence[Sequence[Switch]],
) -> Wanted | None:
    """The first outcome that the model does not have under the schedules, nor single switches."""
    for turns, theirs in zip(schedules, switches, strict=False):
        if not search.is_over:
            search.play(turns, theirs)
    left = [each for each in wanted if each[0] not in search.found]
    for each in left:
        if not SERIAL.isdisjoint(each[1]):  # without a race there is but one outcome
            return each
    singles = search.singles()
    while left and next(singles, None) is not None:
        left = [each for each in left if each[0] not in search.found]
    return left[0] if left else None


def _verdict(
    scene: Scene, verbs: str, lines: int, missing: Wanted, found: Sequence[Outcome]
) -> Verdict:
    want, schedules = missing
    near: Mapping[str, tuple[str | None, str | None]] = min(
        (differences(want, got) for got in found), key=len, default={}
    )
    fields = sorted({_kind_of(key) for key in near})
    cells = [f"under {schedules[0] or 'cpu0 all'} and {len(schedules) - 1} more"]
    cells += [f"{key}: {theirs}, not {ours}" for key, (theirs, ours) in near.items()][:SHOWN]
    field = fields[0] if fields else "the model comes to no end"
    how = "raced" if SERIAL.isdisjoint(schedules) else "one after the other"
    return Verdict("differs", lines, verbs, f"{how}: {field}", ", ".join(fields),
                   scene.block.text, tuple(cells))  # fmt: skip


def _elsewhere(search: Search, verbs: str, lines: int, scene: Scene) -> Verdict:
    """Whether all switches find the same words, and all CPUs wait for each other alike."""
    for turns, compared in search.compared.items():
        told = compared.words or compared.wait
        if told is None:
            continue
        _, _, said = told.partition(": ")
        key = said.partition(": ")[0]
        kind = _kind_of(key) if compared.words else "a CPU waits"
        cells = (f"under {schedule_text(turns) or 'cpu0 all'}: {told}",)
        return Verdict("differs", lines, verbs, f"switch: {kind}", kind, scene.block.text, cells)
    return Verdict("same")


def _kind_of(key: str) -> str:
    """What kind of value an outcome's key is of."""
    if _ENTRY.fullmatch(key):
        return "entry"
    if key == "ret" or key.startswith("hold"):
        return key.split(maxsplit=1)[0]
    thing, _, word = key.partition(".")
    return word if thing.isupper() else f"folio {word}"


class ModelRaces(NamedTuple):
    """A modelled kernel in the place of a real one, in races."""

    kernel: str
    schedules: int

    @property
    def title(self) -> str:
        """What it is."""
        return f"races on the model of {self.kernel.rpartition(':')[2]}"

    @property
    def dear(self) -> bool:
        """Whether asking takes long."""
        return False

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        """Play each block under drawn schedules."""
        return Answers({each.name: self._answer(each) for each in scenarios})

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Look for the outcomes on another modelled kernel."""
        return judge_races(answer, scenario, kernel)

    def _answer(self, scenario: Scenario) -> Answer:
        scene = _scene(scenario)
        if scene is None:
            return Answer(None, why="no block of two CPUs at its end")
        search = Search(scene, self.kernel)
        outcomes: list[dict[str, Any]] = []
        known: list[Outcome] = []
        played: list[Schedule] = []
        races: list[dict[str, Any]] = []
        before: Mapping[str, Any] = {}
        try:
            stores = [_length(search, cpu) for cpu in (0, 1)]
            for turns in drawn_schedules(stores, self.schedules, "\n".join(scenario.source)):
                found = self._state(scene, turns)
                if found is None:
                    continue
                before, state = found
                got = outcome(state, before)
                text = schedule_text(turns)
                played.append(turns)
                if got not in known:
                    known.append(got)
                    outcomes.append({"schedules": [], "dead": [], "state": state})
                number = known.index(got) + 1
                outcomes[number - 1]["schedules"].append(text)
                races.append({"schedule": text, "outcome": number})
        except Cancelled:
            raise
        except SandboxError as error:
            return Answer(None, why=error.message)
        head = {"scenario": scenario.name, "about": scenario.about, "kernel": self.kernel}
        block = {"source": scenario.source, "step": len(scenario.steps)}
        told = {"before": before, "outcomes": outcomes, "races": races}
        return Answer({**head, **block, **told}, schedules=tuple(played))

    def _state(self, scene: Scene, turns: Schedule) -> tuple[Mapping[str, Any], Any] | None:
        run = ScenarioRun(self.kernel, rig=True)
        state: Mapping[str, Any] = {"procs": {}, "folios": {}}
        for step in scene.before:
            state = run.do(step)
        try:
            return state, run.do(scene.block._replace(schedule=turns))
        except UsageError:
            return None


def _length(search: Search, cpu: int) -> int:
    """How many watched words a call changes, if it comes first; some of a long one."""
    number = 1
    while number < 64:
        mark = Landmark("store", number, False)
        if search.play((Turn(cpu, None, mark), Turn(1 - cpu), Turn(cpu))) is None:
            break
        number *= 2
    return number // 2
