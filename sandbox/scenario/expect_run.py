"""What an expectation can check about the run: rules broken, events counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sandbox.scenario.expect_state import Comparison, Outcome
from sandbox.truth.observed import (
    BrokenCount,
    CountingRun,
    Missing,
    Observed,
    RunFacts,
)

__all__ = ["Peak", "RuleCount", "RulesHold", "Tally"]


class _Counted(NamedTuple):
    """How often a rule was broken; see `BrokenCount`."""

    micro_states: int
    consecutive: int
    worst: int


def _count_in_step(run: RunFacts, rule: str, step: int) -> BrokenCount:
    """Count the violations of one step: each is one state between two events."""
    mine = [v for v in run.violations() if v.rule == rule and v.action == step]
    longest = length = 0
    for violation in mine:
        # `run` counts the states in a row since the rule last held, over the whole run
        length = min(length + 1, violation.run)
        longest = max(longest, length)
    worst = max((violation.deficit or 0 for violation in mine), default=0)
    return _Counted(len(mine), longest, worst)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """`I-05 broken 16 consecutive 16 worst 16`: how often, over the whole run or this step."""

    rule: str
    broken: Comparison
    consecutive: Comparison | None = None
    worst: Comparison | None = None
    in_step: bool = False

    def check(self, seen: Observed) -> Outcome:
        """Compare the counts that the expectation names."""
        if seen.run is None:
            raise Missing("there is no run to ask, only a state")
        if not seen.run.watches(self.rule):
            raise Missing(f"no rule {self.rule} is watched; a rule of your own is named by --rule")
        count: BrokenCount = (
            _count_in_step(seen.run, self.rule, int(seen.state["step"]) - 1)
            if self.in_step
            else seen.run.broken(self.rule)
        )
        ok = (
            self.broken.holds(count.micro_states)
            and (self.consecutive is None or self.consecutive.holds(count.consecutive))
            and (self.worst is None or self.worst.holds(count.worst))
        )
        got = f"broken {count.micro_states} consecutive {count.consecutive} worst {count.worst}"
        return Outcome(ok, got)


@dataclass(frozen=True, slots=True)
class RulesHold:
    """`rules ok`: nothing is violated over the whole run, known windows apart."""

    def check(self, seen: Observed) -> Outcome:
        """Look for violations."""
        if seen.run is None:
            raise Missing("there is no run to ask, only a state")
        broken = sorted({v.rule for v in seen.run.violations() if not v.known_window})
        return Outcome(not broken, "violated: " + ", ".join(broken) if broken else "ok")


def _counting(seen: Observed) -> CountingRun:
    run: object = seen.run
    if not isinstance(run, CountingRun):
        raise Missing("this run does not count events")
    return run


@dataclass(frozen=True, slots=True)
class Tally:
    """`count copy = 16`: events of a kind in the last step."""

    what: str
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Count them."""
        total = _counting(seen).count(self.what)
        return Outcome(self.compare.holds(total), str(total))


@dataclass(frozen=True, slots=True)
class Peak:
    """`peak F1.refcount = 33`: the highest value of a counter in the last step."""

    folio: str | None
    field: str
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Compare the highest value."""
        value = _counting(seen).peak(self.folio or seen.folio(None)[0], self.field)
        return Outcome(self.compare.holds(value), str(value))
