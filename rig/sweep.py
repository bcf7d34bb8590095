"""Schedules of a pair of calls: every single switch, or random ones with two to five.

A switch stands after or right before a store that landmarks count, so each of them can be played
on the model as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from sandbox.scenario.schedule import Landmark, Turn

__all__ = ["both_orders", "randoms", "singles"]

MOST = 400
"""Stores of a call that are switched at; of a longer one the first, and some of the rest."""
_SEQ = "write_protect_seq"


def both_orders() -> list[tuple[Turn, ...]]:
    """One call after the other."""
    return [(Turn(0), Turn(1)), (Turn(1), Turn(0))]


def singles(stores: Sequence[int], sequences: Sequence[int]) -> Iterator[tuple[Turn, ...]]:
    """Every schedule with one switch, given how many stores each call has alone.

    `sequences` are the stores to `write_protect_seq`, which are switched at as well.
    """
    yield from both_orders()
    for cpu in (0, 1):
        rest = (Turn(1 - cpu), Turn(cpu))
        for number in _numbers(stores[cpu]):
            for before in (True, False):
                yield (Turn(cpu, None, Landmark("store", number, before)), *rest)
        for number in _numbers(sequences[cpu]):
            for before in (True, False):
                yield (Turn(cpu, None, Landmark(_SEQ, number, before)), *rest)


def _numbers(count: int) -> Sequence[int]:
    if count <= MOST:
        return range(1, count + 1)
    half = MOST // 2
    step = (count - half) / half
    return [*range(1, half + 1), *(round(half + step * (i + 1)) for i in range(half))]


def randoms(stores: Sequence[int], count: int, seed: int) -> Iterator[tuple[Turn, ...]]:
    """So many schedules with two to five switches; the same seed draws the same."""
    draw = random.Random(seed)
    for _ in range(count):
        cpu, done, turns = draw.randrange(2), [0, 0], []
        for _switch in range(draw.randint(2, 5)):
            left = max(1, stores[cpu] - done[cpu])
            number = draw.randint(1, min(left, draw.choice((2, 4, 8, left))))
            if done[cpu] + number > stores[cpu]:  # a landmark behind its last store has no end
                turns.append(Turn(cpu))
            else:
                before = draw.random() < 0.4
                turns.append(Turn(cpu, None, Landmark("store", number, before)))
                done[cpu] += number - before
            cpu = 1 - cpu
        yield tuple(turns)
