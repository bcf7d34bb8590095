"""Measuring fairly on a machine that others use: alternate, take medians, compare ratios."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

__all__ = ["alternate", "percentile", "seconds"]


def seconds(call: Callable[[], object]) -> float:
    """Time one call; garbage is collected first, so that none pays for the one before it."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(calls: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """Make each measurement *runs* times, one of each in turn, and return the medians.

    A first round warms caches and is thrown away; the order is turned round in every round, so
    that none always comes after the same other.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        names = list(calls) if turn % 2 else list(calls)[::-1]
        for name in names:
            value = calls[name]()
            if turn:
                found[name].append(value)
    return {name: median(values) for name, values in found.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which *percent* of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
