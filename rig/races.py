"""Races on a kernel: schedules played, and what came of each.

A race is written with the stores of both CPUs in one total order, the watched words at every
switch, who waited for whom, and the state at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rig.compile import plugin
from rig.console import RawScenario
from rig.errors import UnplayableError
from rig.guest import translate
from rig.naming import Naming
from rig.plan import Plan
from rig.playing import Player
from rig.racelog import WAITS, RaceLog, read_races
from rig.racewords import RaceWords
from rig.states import Names, Span
from rig.symbols import read_layout, read_symbols
from sandbox.conform.outcomes import Outcome, outcome
from sandbox.scenario.language import Action, CpuBlock, Scenario
from sandbox.scenario.schedule import Turn, format_schedule

__all__ = ["Play", "Played", "Racer", "block_of", "recorded"]

BATCH = 300
"""Races of one boot."""
SEQ = "write_protect_seq"
ENDS = frozenset({"exit", "kill"})


class Play(NamedTuple):
    """A block of a scenario under one schedule."""

    scenario: Scenario
    step: int
    """Which step the block is, from 0."""
    turns: tuple[Turn, ...]

    @property
    def schedule(self) -> str:
        """The schedule as a scenario has it."""
        return format_schedule(self.turns).removeprefix("schedule").strip()


class Played(NamedTuple):
    """What came of a race."""

    play: Play
    before: dict[str, Any]
    """The state before the block."""
    after: dict[str, Any]
    race: dict[str, Any]
    """As a recording has it, without the end state."""
    outcome: Outcome
    dead: tuple[str, ...]
    """Folios of the state before that died in it: a new one may have the name of its frame."""
    stores: tuple[int, int]
    """Of each CPU, as `store` counts them."""
    sequences: tuple[int, int]
    """Stores of each CPU to `write_protect_seq`."""


def block_of(scenario: Scenario) -> tuple[int, CpuBlock]:
    """The one block of a scenario, and which step it is.

    Raises:
        UnplayableError: it has none, or several.
    """
    blocks = [(at, step) for at, step in enumerate(scenario.steps) if isinstance(step, CpuBlock)]
    if len(blocks) != 1:
        where = blocks[1][1].where if blocks else scenario.where
        message = f"scenario {scenario.name!r} has {len(blocks)} blocks of CPUs"
        raise UnplayableError(message, where, "one block of cpu0 and cpu1 to race")
    return blocks[0]


@dataclass(slots=True)
class Racer(Player[Play, Played]):
    """Plays races on one kernel, as many as it can in each boot."""

    @property
    def batch(self) -> int:
        """How many are played in a boot."""
        return BATCH

    def race(self, plays: Sequence[Play]) -> Iterator[Played]:
        """Play races; one that the guest hangs in is left out, and the rest goes on.

        Raises:
            UnplayableError: a schedule cannot be given to this kernel, with its place.
            RigError: the guest does not come up.
        """
        return self.play(plays)

    def lost(self, item: Play, why: str) -> None:
        """Note a scenario and schedule that came to no end."""
        self.failed[f"{item.scenario.name}, {item.schedule or 'cpu0 all'}"] = why

    def play_batch(self, batch: Sequence[Play]) -> tuple[int, list[Played]]:
        """One boot; how many races it came through, and what came of them."""
        kernel = self.guest.kernel
        symbols, layout = read_symbols(kernel), read_layout(kernel)
        plan = Plan(symbols, layout)
        guests = []
        for play in batch:
            block = play.scenario.steps[play.step]
            number = plan.race(play.turns, block.where, ends=_works_aside(block))
            alone = play.scenario._replace(name=f"race-{number}")
            guests.append(translate(alone, races={play.step: number}))
        booted, found = self.boot(
            "".join(guest.text for guest in guests),
            (plugin(self.guest.work, "two"), {"plan": plan.text()}),
        )
        logs = read_races(booted.log.decode("ascii", "replace"), symbols.function)
        words = RaceWords(layout, plan.word_names)
        played, done = [], 0
        for number, (play, guest) in enumerate(zip(batch, guests, strict=True), 1):
            raw = found.scenarios.get(guest.scenario.name)
            if raw is None or not raw.complete:
                break
            done += 1
            names = Names(guest.regions, guest.holds)
            one = _played(play, raw, logs.get(number), names, words)
            if one is None:
                self.lost(play, "the guest did not come to the block")
            else:
                played.append(one)
        return done, played


def _played(
    play: Play, raw: RawScenario, log: RaceLog | None, names: Names, words: RaceWords
) -> Played | None:
    """What came of one race; None if there was none."""
    if log is None or len(raw.steps) <= play.step or raw.steps[play.step].folios is None:
        return None
    before: dict[str, Any] = {"procs": {}, "folios": {}}
    for step in raw.steps[: play.step]:
        action = play.scenario.steps[step.number - 1].text
        before = {"step": step.number, "action": action, "ret": step.ret, **names.state(step)}
    spans, known = names.spans, dict(names.processes)
    step = raw.steps[play.step]
    after: dict[str, Any] = {"step": step.number, "action": play.scenario.steps[play.step].text}
    after |= {"ret": step.ret, "rets": _returned(step.out, play), **names.state(step)}
    fresh = [name for pid, name in names.processes.items() if pid not in known]
    naming = Naming(names, spans, names.spans)
    stores = [words.store(store, log, naming, names, fresh) for store in log.stores]
    switches = [words.switch(stop, log, naming, names, fresh) for stop in log.stops]
    race = {
        "schedule": play.schedule,
        "how": log.how,
        "stores": stores,
        "switches": switches,
        "waits": [words.wait(stop) for stop in log.stops if stop.why in WAITS],
    }
    dead = tuple(sorted(_names_of(words.frames(log.died), spans)))
    sequences = [sum(s["what"] == SEQ and s["cpu"] == cpu for s in stores) for cpu in (0, 1)]
    counts = (sequences[0], sequences[1])
    found = outcome(after, before, dead)
    return Played(play, before, after, race, found, dead, log.total, counts)


def _works_aside(block: Action | CpuBlock) -> bool:
    """Whether a CPU is long at what is not watched: the end of a process, a child's beginning."""
    if not isinstance(block, CpuBlock):
        return False
    firsts = [action for cpu in block.cpus for action in block.of_cpu(cpu)[:-1]]
    ends = any(action.verb in ENDS for action in block.actions)
    return ends or any(action.verb == "fork" for action in firsts)


def _returned(said: str, play: Play) -> list[int]:
    """What each call returned, in the order of the block; the guest says it CPU by CPU."""
    block = play.scenario.steps[play.step]
    if not isinstance(block, CpuBlock):
        return []
    left = {
        cpu: [int(text) for text in part.split() if text.lstrip("-").isdigit()]
        for cpu, part in zip(block.cpus, said.split(";"), strict=False)
    }
    return [left[cpu].pop(0) for a in block.actions if left.get(cpu := a.cpu or 0)]


def _names_of(frames: Iterable[int], spans: Iterable[Span]) -> set[str]:
    """Names of the folios whose head is one of the frames."""
    gone = set(frames)
    return {span.name for span in spans if span.first in gone}


def recorded(
    scenario: Scenario, kernel: str, cpu: str, played: Sequence[Played]
) -> Mapping[str, Any]:
    """The races of one block as `KERNEL-race/NAME.json`."""
    index, block = block_of(scenario)
    outcomes: dict[str, dict[str, Any]] = {}
    races = []
    for one in played:
        key = str(one.outcome)
        found = outcomes.setdefault(
            key,
            {
                "outcome": len(outcomes) + 1,
                "schedules": [],
                "dead": list(one.dead),
                "state": one.after,
            },
        )
        found["schedules"].append(one.race["schedule"])
        races.append({**one.race, "outcome": found["outcome"]})
    source = [line for step in scenario.steps for line in step.source.split("\n")]
    return {
        "scenario": scenario.name,
        "about": scenario.about,
        "kernel": kernel,
        "cpu": cpu,
        "source": source,
        "step": index + 1,
        "calls": [action.text for action in block.actions],
        "before": played[0].before if played else {},
        "outcomes": list(outcomes.values()),
        "races": races,
    }
