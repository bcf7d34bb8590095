"""Exploring a block of a scenario: what breaks in some interleaving, and what it may end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from sandbox.errors import SandboxError, UsageError
from sandbox.explore.block import Block
from sandbox.explore.compiled import library, why_not
from sandbox.explore.core import Core
from sandbox.explore.fallback import Fallback
from sandbox.explore.golden import BASE, Golden
from sandbox.explore.reduction import alone
from sandbox.explore.rehearsal import WALKS, rehearse
from sandbox.explore.tables import Tables
from sandbox.explore.telling import Exploration, Start, Teller
from sandbox.explore.walker import Stopped, Walker
from sandbox.run.model import Model
from sandbox.run.session import Session
from sandbox.scenario.language import CpuBlock, Scenario

__all__ = ["Bounds", "Progress", "begin", "block_of", "check_walker", "explore"]

CHUNK = 200_000
"""States between two looks at the clock."""
CHUNK_PLAIN = 4_000
"""The same for the walker in plain Python."""


class Bounds(NamedTuple):
    """Where a search stops although there is more."""

    states: int = 1 << 40
    seconds: float = float("inf")
    memory: int = 4 << 30
    """Bytes for states."""
    preemptions: int | None = None
    """Switches, in a schedule, from a CPU that could go on."""
    reduce: bool = False
    """Walk one order only of events that do not touch what the others may do."""
    first: bool = False
    """Stop when something broke."""


@dataclass
class Progress:
    """Where a search is."""

    states: int
    frontier: int
    depth: int
    broken: int
    seconds: float


def block_of(scenario: Scenario, step: int | None) -> int:
    """Index of the step to explore: that of a number, or the last block of several CPUs.

    Raises:
        UsageError: it is no such block, or there is none.
    """
    blocks = [
        at
        for at, own in enumerate(scenario.steps)
        if isinstance(own, CpuBlock) and len({action.cpu for action in own.actions}) > 1
    ]
    if step is not None and step - 1 not in blocks:
        known = ", ".join(str(at + 1) for at in blocks) or "none of its steps"
        raise UsageError(f"step {step} of {scenario.name} is no block of several CPUs", None, known)
    if not blocks:
        raise UsageError(
            f"{scenario.name} has no block of several CPUs",
            scenario.where,
            "lines such as cpu0: fork A B, cpu1: pin A R 0 1 p w",
        )
    return blocks[-1] if step is None else step - 1


def begin(scenario: Scenario, at: int, session: Session) -> Start:
    """Do the steps before the block at index *at*, and have its CPUs begin."""
    for before in scenario.steps[:at]:
        session.do(before)
    block = scenario.steps[at]
    assert isinstance(block, CpuBlock)
    session.begin(block._replace(schedule=()))
    return Start(Model.of(session), block, session.position)


def walker_for(tables: Tables, bounds: Bounds) -> Walker:
    """The compiled walker where there is one, and it can count; else the one in plain Python."""
    if library() is not None:
        return Core(tables, bounds.memory, bounds.preemptions)
    return Fallback(tables, bounds.memory, bounds.preemptions)


def told_walker(walker: Walker) -> str:
    """The name of a walker, and why it is not the compiled one."""
    return walker.name if not why_not() else f"{walker.name}: {why_not()}"


def check_walker() -> None:
    """See that the walker counts the states of the small model as everybody does.

    Raises:
        SandboxError: it does not: its results would be wrong.
    """
    walker = walker_for(Tables(Golden(BASE.model)), Bounds())
    walker.run(1 << 40)
    found = walker.states, walker.transitions, walker.depth
    walker.close()
    if found != (BASE.states, BASE.transitions, BASE.depth) or walker.hits():
        raise SandboxError(f"the walker ({walker.name}) counts {found}: it cannot be trusted")


def explore(
    start: Start, bounds: Bounds, watch: Callable[[Progress], None] | None = None
) -> Exploration:
    """Walk every interleaving from a state on, until nothing is left or a bound is reached.

    Whether the walker can be trusted `check_walker` says, before a person's own kernel is confined.

    Raises:
        UsageError: the bounds exclude each other.
    """
    if bounds.reduce and bounds.preemptions is not None:
        raise UsageError("a bound on preemptions needs every order of events", None, "one of both")
    began = monotonic()
    tables = Tables(Block(start.model), turns=bounds.preemptions is not None)
    rehearse(tables, WALKS * (tables.count - 1))
    walker, stopped = _walked(tables, bounds, began, watch)
    out = Exploration(start.model.kernel.id, told_walker(walker))
    out.stopped, out.complete = stopped, not stopped
    out.states, out.transitions, out.depth = walker.states, walker.transitions, walker.depth
    out.learned, out.bytes_used = tables.learned, walker.bytes_used
    teller = Teller(start, walker, out)
    teller.breaks()
    teller.deadlocks()
    teller.ends()
    teller.name_switches()
    out.findings.sort(key=lambda finding: (len(finding.schedule), finding.rule))
    walker.close()
    out.seconds = monotonic() - began
    return out


def _walked(
    tables: Tables, bounds: Bounds, began: float, watch: Callable[[Progress], None] | None
) -> tuple[Walker, str]:
    """A search that has come to its end or to a bound, and which one.

    What may go first follows from what is known of all events: a search that learned more of them
    is made again.
    """
    while True:
        learned = tables.learned
        walker = walker_for(tables, bounds)
        if bounds.reduce:
            walker.let_go_first(alone(tables))
        stopped = _walk(walker, bounds, began, watch)
        if stopped or not bounds.reduce or tables.learned == learned:
            return walker, stopped
        walker.close()


def _walk(
    walker: Walker, bounds: Bounds, began: float, watch: Callable[[Progress], None] | None
) -> str:
    """Walk to the end or to a bound; which one."""
    chunk = CHUNK if isinstance(walker, Core) else CHUNK_PLAIN
    while True:
        states = min(bounds.states, walker.states + chunk)
        stopped = walker.run(states, stop_at_broken=bounds.first)
        seconds = monotonic() - began
        if watch is not None:
            hits = len(walker.hits())
            watch(Progress(walker.states, walker.frontier, walker.depth, hits, seconds))
        if stopped is Stopped.DONE:
            bounded = bounds.preemptions is not None and not walker.all_seen
            return f"{bounds.preemptions} preemptions" if bounded else ""
        if bounds.first and _breaks(walker):
            return "the first break"
        if stopped is Stopped.NO_ROOM:
            return f"memory: {bounds.memory >> 20} MiB of states"
        if walker.states >= bounds.states:
            return f"{bounds.states} states"
        if seconds >= bounds.seconds:
            return f"{bounds.seconds:g} s"


def _breaks(walker: Walker) -> bool:
    """Whether something broke that no known window covers."""
    verdicts = walker.tables.verdicts
    return any(own.window is None for hit in walker.hits() for own in verdicts[hit.verdict])
