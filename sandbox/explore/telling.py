"""What a search found, told by the machine: each finding is played, and nothing else is said.

The search itself walks learned tables.  What is said of a finding is what the machine does when its
schedule is played on it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from sandbox.errors import KernelBug, SandboxError
from sandbox.explore.block import BUG
from sandbox.explore.landmarks import landmarks, playable
from sandbox.explore.shadow import Broken
from sandbox.explore.walker import Walker
from sandbox.machine.fields import FIELDS
from sandbox.rules import Violation
from sandbox.run.model import Model
from sandbox.scenario.language import CpuBlock
from sandbox.scenario.schedule import Turn

__all__ = ["Ending", "Exploration", "Finding", "Start", "Teller", "schedule_text"]

MOST_ENDINGS = 500
"""Final states of the search that are played on the machine, each to its end."""
DEADLOCK = "deadlock"
MOST_TURNS = 100
MOST_EVENTS = 100_000
"""That a CPU may do before another one has its turn: one that goes round waits for what it does."""
LOCK_KINDS = frozenset(
    number
    for number, own in enumerate(FIELDS)
    if own.name.endswith(("_lock", "ptl", "rwsem")) and "seq" not in own.name
)
"""Fields whose value says which CPU holds them (`sandbox.machine.operations`)."""


@dataclass(frozen=True)
class Finding:
    """Something that breaks, by the shortest schedule that does it."""

    rule: str
    """A rule's id; what a line of the kernel's own checks begins with; BUG; deadlock."""
    subject: str
    text: str
    schedule: tuple[int, ...]
    """The CPUs whose events lead there, in order; the last one breaks it."""
    event: int
    """Number of the event that breaks it, counted from the beginning of the scenario."""
    function: str
    persists: bool
    """Whether it is still broken when everything has run to its end."""
    locks: tuple[str, ...]
    """What the CPU holds at that event: who takes none of these can see it."""
    states: int
    """In how many places of the search it was met; 0: at rest, after the last event."""
    turns: tuple[Turn, ...] = ()
    """The schedule with landmarks, and numbers of events where a switch has no other name."""

    @property
    def real(self) -> bool:
        """Whether a real kernel can be made to do it (`mmtui race`)."""
        return playable(self.turns)


@dataclass(frozen=True)
class Ending:
    """A state in which everything may end, by one schedule that does it."""

    schedule: tuple[int, ...]
    reached: int
    """How many final states of the search come to this when addresses are names."""
    broken: tuple[str, ...]
    """Rules that do not hold in it."""


@dataclass
class Exploration:
    """What came of a search."""

    kernel: str
    walker: str
    """Which one ran, with why no other one did."""
    complete: bool = True
    stopped: str = ""
    """Which bound it came to."""
    findings: list[Finding] = field(default_factory=list)
    windows: dict[tuple[str, str], int] = field(default_factory=dict)
    """(Rule, known window of upstream's own): in how many places it is broken there."""
    endings: list[Ending] = field(default_factory=list)
    endings_left: int = 0
    """Final states that were not looked at."""
    states: int = 0
    transitions: int = 0
    depth: int = 0
    learned: int = 0
    bytes_used: int = 0
    seconds: float = 0.0


class Start(NamedTuple):
    """A block that has begun, and what led there."""

    model: Model
    block: CpuBlock
    position: int


class Teller:
    """Plays on the machine what a walker found, and tells it."""

    def __init__(self, start: Start, walker: Walker, out: Exploration) -> None:
        self._start, self._walker, self._out = start, walker, out

    def breaks(self) -> None:
        """Each rule that broke, by the shortest schedule; known windows apart."""
        first: dict[str, tuple[int, tuple[int, ...], Broken]] = {}
        times: dict[str, int] = {}
        cpus = self._walker.tables.engine.cpus
        for hit in self._walker.hits():
            schedule = (*self._walker.schedule(hit.state), cpus[hit.cpu])
            for own in self._walker.tables.verdicts[hit.verdict]:
                if own.window is not None:
                    window = own.rule, own.window
                    self._out.windows[window] = self._out.windows.get(window, 0) + hit.times
                    continue
                times[own.rule] = times.get(own.rule, 0) + hit.times
                known = first.get(own.rule)
                if known is None or len(schedule) < known[0]:
                    first[own.rule] = len(schedule), schedule, own
        for rule, (_, schedule, own) in first.items():
            self._out.findings.append(self._told(rule, schedule, own, times[rule]))

    def _told(self, rule: str, schedule: tuple[int, ...], own: Broken, times: int) -> Finding:
        """What the machine says of it."""
        model = self._start.model.clone()
        for cpu in schedule[:-1]:
            model.apply(cpu)
        at = self._start.position + len(schedule) - 1
        try:
            broken = model.apply(schedule[-1])
        except KernelBug as error:
            return Finding(BUG, "", str(error), schedule, at, "", True, (), times)
        locks = held_locks(model, schedule[-1])
        for violation in broken:
            if violation.rule == rule and violation.known_window is None:
                key = violation.rule, violation.subject
                persists = self._persists(model, key)
                return Finding(
                    rule, violation.subject, violation.text, schedule, at,
                    violation.function, persists, locks, times,
                )  # fmt: skip
        for told in model.rules.complaints:
            if told.name == rule:
                return Finding(
                    rule, told.subject, told.text, schedule, at, told.function, True, locks, times
                )
        raise SandboxError(
            f"{rule} was found to break after {schedule_text(schedule)}, and does not when that "
            "is played: this is a defect of the explorer"
        )

    def _persists(self, model: Model, key: tuple[str, str]) -> bool:
        """Whether a rule is still broken for a subject when all has run to its end."""
        try:
            run_on(model)
        except KernelBug:
            return True
        return key in model.rules.broken

    def deadlocks(self) -> None:
        """The first state in which CPUs wait for each other."""
        walker = self._walker
        if walker.deadlock is None:
            return
        schedule = tuple(walker.schedule(walker.deadlock))
        try:
            model = played(self._start.model, schedule)
        except KernelBug:
            return  # a finding of its own: its CPU does not go on, and others wait for it
        waits = (
            f"cpu{cpu} {model.machine.blocked(cpu)}"
            for cpu, task in enumerate(model.machine.running)
            if task is not None
        )
        at = self._start.position + len(schedule)
        told = Finding(
            DEADLOCK, "", "; ".join(waits), schedule, at, "", True, (), walker.deadlocks
        )  # fmt: skip
        self._out.findings.append(told)

    def name_switches(self) -> None:
        """Write the schedules of findings with landmarks."""
        start = self._start.model
        self._out.findings = [
            replace(own, turns=landmarks(start, own.schedule)) for own in self._out.findings
        ]

    def ends(self) -> None:
        """The states in which everything may end, and the rules of a machine at rest."""
        finals = self._walker.finals
        self._out.endings_left = max(0, len(finals) - MOST_ENDINGS)
        found: dict[Hashable, Ending] = {}
        for state in finals[:MOST_ENDINGS]:
            schedule = tuple(self._walker.schedule(state))
            try:
                model = played(self._start.model, schedule)
            except KernelBug:
                continue  # a finding of its own
            name = model.canonical()
            known = found.get(name)
            broken = tuple(sorted({own.rule for own in _broken_now(model)}))
            if known is None:
                found[name] = Ending(schedule, 1, broken)
                self._at_rest(model, schedule)
            else:
                found[name] = Ending(known.schedule, known.reached + 1, known.broken)
        self._out.endings = sorted(found.values(), key=lambda own: (-own.reached, own.schedule))

    def _at_rest(self, model: Model, schedule: tuple[int, ...]) -> None:
        """Rules that are only looked at when nothing runs."""
        known = {finding.rule for finding in self._out.findings}
        for own in _broken_now(model):
            if own.rule not in known:
                known.add(own.rule)
                at = self._start.position + len(schedule) - 1
                finding = Finding(
                    own.rule, own.subject, own.text, schedule, at, own.function, True, (), 0
                )
                self._out.findings.append(finding)


def _broken_now(model: Model) -> Iterator[Violation]:
    return (own for own in model.rules.broken.values() if own.known_window is None)


def held_locks(model: Model, cpu: int) -> tuple[str, ...]:
    """Names of the locks that a CPU holds, sorted; bits that lock a page are none of them."""
    memory = model.machine.memory
    held = set()
    for addr, kind in enumerate(memory.kinds):
        value = memory.cells[addr] if kind in LOCK_KINDS else 0
        if value == -cpu - 1 or (value > 0 and value & 1 << cpu):
            held.add(FIELDS[kind].name)
    return tuple(sorted(held))


def played(start: Model, schedule: Sequence[int]) -> Model:
    """The state that a schedule leads to on the machine itself."""
    model = start.clone()
    for cpu in schedule:
        model.apply(cpu)
    return model


def run_on(model: Model) -> None:
    """Let every CPU run to its end, the first one first, as far as it does not wait."""
    for _ in range(MOST_TURNS):
        for cpu in model.enabled()[:1]:
            for _ in range(MOST_EVENTS):
                if cpu not in model.enabled():
                    break
                model.apply(cpu)


def schedule_text(schedule: Sequence[int]) -> str:
    """A schedule as it is written below a block: ``cpu0 12, cpu1 3``."""
    turns = ((cpu, len(list(events))) for cpu, events in groupby(schedule))
    return ", ".join(f"cpu{cpu} {events}" for cpu, events in turns)
