"""Many pairs under many schedules, counted, with what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from sandbox.kernels.base import Kernel
from tests.pairs.cases import Pair, all_pairs
from tests.pairs.judge import Facts, facts, judge
from tests.pairs.play import Outcome, Refused, begun, drawn, in_turn, play

UPSTREAM = ("6.6", "6.8", "6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
"""Kernels that break no rule, whatever two CPUs do."""


@dataclass
class Campaign:
    """What was played on one kernel, and what came of it."""

    kernel: str | type[Kernel]
    pairs: int = 0
    refused: int = 0
    """Pairs that cannot be meant on this kernel."""
    schedules: int = 0
    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many schedules ended in one of the two orders, a mixture, or an allowed race."""
    findings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One line of figures."""
        kinds = ", ".join(f"{name} {count}" for name, count in self.kinds.most_common())
        return (
            f"{self.kernel}: {self.pairs} pairs, {self.refused} refused, {self.schedules}"
            f" schedules, {self.events} events, {len(self.findings)} findings ({kinds})"
        )

    def play(self, pairs: Iterable[Pair], schedules: int, seed: int = 0) -> None:
        """Play both orders and so many schedules of each pair."""
        for pair in pairs:
            try:
                begun(self.kernel, pair)
            except Refused:
                self.refused += 1
                continue
            self.pairs += 1
            self._play_pair(pair, schedules, seed)

    def _play_pair(self, pair: Pair, schedules: int, seed: int) -> None:
        known, lengths = self._orders(pair)
        for number in range(schedules):
            self._play_one(pair, drawn(f"{seed} {number} {pair}", lengths), known)

    def sweep(self, pair: Pair, cpu: int) -> None:
        """Play every schedule that stops *cpu* once and lets the other end, until one is found."""
        known, lengths = self._orders(pair)
        for count in range(1, lengths[cpu]):
            if not self.findings:
                self._play_one(pair, chain(((cpu, count),), in_turn(1 - cpu)), known)

    def _orders(self, pair: Pair) -> tuple[list[Facts], tuple[int, int]]:
        """What the two orders end in, and how many events each action may take."""
        orders = [play(self.kernel, pair, in_turn(cpu)) for cpu in (0, 1)]
        known = [facts(order.state) for order in orders if self._good(pair, order)]
        return known, (orders[0].events, orders[1].events)

    def _play_one(self, pair: Pair, turns: Iterable[tuple[int, int]], known: list[Facts]) -> None:
        outcome = play(self.kernel, pair, turns)
        if not self._good(pair, outcome) or len(known) < 2:
            return
        verdict = judge(pair, outcome, known)
        self.kinds[verdict.kind] += 1
        if verdict.kind == "unknown":
            self._found(pair, outcome, verdict.what)

    def _good(self, pair: Pair, outcome: Outcome) -> bool:
        """Count a schedule; False when it raised or broke a rule, which is written down."""
        self.schedules += 1
        self.events += outcome.events
        if outcome.error or outcome.broken:
            self._found(pair, outcome, outcome.error or "breaks " + ", ".join(outcome.broken))
            return False
        return True

    def _found(self, pair: Pair, outcome: Outcome, what: str) -> None:
        self.findings.append(
            f"{self.kernel}: {what}\n{pair.setup.text}\n{pair.block}\nschedule {outcome.text}"
        )


def sample(kernel: str, step: int) -> list[Pair]:
    """Every so many pairs, beginning elsewhere for each kernel; of those with leaves few."""
    at = UPSTREAM.index(kernel)
    small = [p for p in all_pairs() if not p.setup.name.startswith("huge")]
    large = [p for p in all_pairs() if p.setup.name.startswith("huge")]
    return small[at % step :: step] + large[at % (8 * step) :: 8 * step]
