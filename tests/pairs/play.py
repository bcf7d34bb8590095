"""Playing a pair: one schedule after another, and what each ends in."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from sandbox.errors import SandboxError, UsageError
from sandbox.kernels.base import Kernel
from sandbox.run.session import Session
from sandbox.scenario.language import CpuBlock, parse_lines
from tests.pairs.cases import Pair

MAX_EVENTS = 80_000
"""Events of one schedule; more is an action that does not end."""


class Outcome(NamedTuple):
    """How one schedule ended."""

    schedule: tuple[tuple[int, int], ...]
    """Runs of events: (CPU, how many)."""
    events: int
    state: dict[str, Any]
    """The state format, and under ``ret`` what the two actions answered."""
    broken: tuple[str, ...]
    """Rules broken outside of known windows, at any event."""
    error: str | None = None

    @property
    def text(self) -> str:
        """The schedule as a scenario writes it."""
        return " ".join(f"{cpu}x{n}" for cpu, n in self.schedule)


class Refused(Exception):
    """The block is refused on this kernel."""


def begun(kernel: str | type[Kernel], pair: Pair) -> Session:
    """A session after the setup with the block on its CPUs; `Refused` when it cannot be meant."""
    session = Session(kernel)
    try:
        for step in parse_lines(pair.setup.text, pair.setup.name):
            session.do(step)
        (block,) = parse_lines(pair.block, str(pair))
        assert isinstance(block, CpuBlock)
        session.begin(block)
    except UsageError as error:
        raise Refused(str(error)) from error
    return session


def play(kernel: str | type[Kernel], pair: Pair, turns: Iterable[tuple[int, int]]) -> Outcome:
    """Give the CPUs their turns, then let both end; a CPU that waits gives its turn away."""
    session = begun(kernel, pair)
    machine, start = session.machine, session.position
    done: list[tuple[int, int]] = []
    error = None
    try:
        for cpu, count in chain(turns, fairly()):
            n = 0
            while n < count and machine.running[cpu] is not None and machine.blocked(cpu) is None:
                machine.step(cpu)
                n += 1
            if n:
                done.append((cpu, n))
            elif session.running and not machine.enabled():
                machine.step(session.running[0].cpu)  # says who waits for whom
            if not session.running:
                break
            if session.position - start > MAX_EVENTS:
                error = f"more than {MAX_EVENTS} events"
                break
        if not error:
            session.finish()
    except (SandboxError, AssertionError, ArithmeticError, LookupError) as exception:
        error = f"{type(exception).__name__}: {exception}"
    broken = sorted({v.rule for v in session.rules.violations if v.known_window is None})
    state = {} if error else session.state()
    if not error:
        (step,) = session.steps[-1:]
        state["ret"] = [list(task.result) for task in session.tasks_of(step)]
    return Outcome(tuple(done), session.position - start, state, tuple(broken), error)


def fairly() -> Iterator[tuple[int, int]]:
    """Short turns without an end: a CPU that goes round lets the other one go on."""
    while True:
        yield from ((0, 50), (1, 50))


def in_turn(first: int) -> Iterator[tuple[int, int]]:
    """One CPU to its end, then the other."""
    yield first, MAX_EVENTS
    yield 1 - first, MAX_EVENTS


def drawn(seed: str, lengths: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """A schedule by a seed: one to three switches anywhere, or many short turns.

    *lengths* are the events of each action when it runs alone.
    """
    dice = random.Random(seed)
    cpu = dice.randrange(2)
    if dice.random() < 0.6:
        for _ in range(dice.randrange(1, 4)):
            yield cpu, dice.randrange(1, max(2, lengths[cpu]))
            cpu = 1 - cpu
        return
    burst = dice.choice((2, 5, 20, 60))
    while True:
        yield cpu, dice.randrange(1, burst)
        cpu = 1 - cpu
