"""Conditions on how a block may end: expectations that hold always, or at least sometimes.

A scenario of which something should hold `sometimes` cannot be empty: an interleaving shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sandbox.explore.landmarks import turns
from sandbox.explore.telling import Ending
from sandbox.kernels.base import Kernel
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.expect import Expectation, evaluate, parse_expectations
from sandbox.scenario.language import CpuBlock, Scenario

__all__ = ["Condition", "Held", "conditions", "hold"]


class Condition(NamedTuple):
    """One expectation, and whether every ending must meet it or one is enough."""

    always: bool
    expectation: Expectation

    @property
    def text(self) -> str:
        """As it was asked for."""
        return f"{'always' if self.always else 'sometimes'} {self.expectation.text}"


class Held(NamedTuple):
    """What became of a condition."""

    condition: Condition
    ok: bool
    ending: Ending | None
    """One that does not meet what should always hold, or that meets what should sometimes."""
    got: str
    """What was found there."""


def conditions(always: Sequence[str], sometimes: Sequence[str]) -> list[Condition]:
    """Read conditions, as they stand on a command line.

    Raises:
        ExpectationError: one is no expectation.
    """
    return [
        Condition(every, expectation)
        for every, lines in ((True, always), (False, sometimes))
        for line in lines
        for expectation in parse_expectations(line, "always" if every else "sometimes")
    ]


def hold(
    asked: Sequence[Condition],
    scenario: Scenario,
    at: int,
    kernel: str | type[Kernel],
    endings: Sequence[Ending],
) -> Iterator[Held]:
    """Hold conditions against the endings of the block at index *at*, each played once more."""
    found: dict[int, Held] = {}
    for ending in endings if asked else ():
        run = ScenarioRun(kernel)
        for step in scenario.steps[:at]:
            run.do(step)
        block = scenario.steps[at]
        assert isinstance(block, CpuBlock)
        state = run.do(block._replace(schedule=turns(ending.schedule)))
        for number, condition in enumerate(asked):
            result = evaluate(condition.expectation, state, run)
            if number not in found and result.ok is not condition.always:
                found[number] = Held(condition, not condition.always, ending, str(result.got))
    for number, condition in enumerate(asked):
        yield found.get(number, Held(condition, condition.always, None, ""))
