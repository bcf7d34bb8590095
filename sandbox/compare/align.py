"""Two sequences beside each other: what is on both sides, and what is on one alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["Pair", "align"]

_WINDOW = 512
"""How far is looked for the place where both go on alike."""
_SURE = 3
"""So many in a row are no coincidence; fewer are one only where nothing longer is near."""


class Pair(NamedTuple):
    """An item of both sequences, or of one alone, by index from 0."""

    left: int | None
    right: int | None


def align(left: Sequence[Hashable], right: Sequence[Hashable]) -> Iterator[Pair]:
    """Yield every item of both in order, those that are alike as pairs.

    Linear in their lengths: after a difference both go on at the nearest place, in sum of what is
    left out, from which on they are alike again.
    """
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            yield Pair(i, j)
            i, j = i + 1, j + 1
            continue
        to_i, to_j = _next(left, right, i, j)
        yield from (Pair(at, None) for at in range(i, to_i))
        yield from (Pair(None, at) for at in range(j, to_j))
        i, j = to_i, to_j
    yield from (Pair(at, None) for at in range(i, len(left)))
    yield from (Pair(None, at) for at in range(j, len(right)))


def _next(left: Sequence[Hashable], right: Sequence[Hashable], i: int, j: int) -> tuple[int, int]:
    """Where both are alike again; the ends of what is looked at if nowhere in it."""
    there: dict[Hashable, list[int]] = {}
    for at in range(j, min(len(right), j + _WINDOW)):
        there.setdefault(right[at], []).append(at)
    best: tuple[int, int, int, int] | None = None
    for at in range(i, min(len(left), i + _WINDOW)):
        if best is not None and best[0] == 0 and at - i > best[1]:
            break
        for other in there.get(left[at], ()):
            short = _SURE - min(_alike(left, right, at, other), _SURE)
            rank = (short, at - i + other - j, at, other)
            if best is None or rank < best:
                best = rank
    if best is None:
        return min(len(left), i + _WINDOW), min(len(right), j + _WINDOW)
    return best[2], best[3]


def _alike(left: Sequence[Hashable], right: Sequence[Hashable], i: int, j: int) -> int:
    """How many in a row are alike from there, at most `_SURE`; the ends are alike as well."""
    for count in range(_SURE):
        if i + count >= len(left) or j + count >= len(right):
            return _SURE if i + count >= len(left) and j + count >= len(right) else count
        if left[i + count] != right[j + count]:
            return count
    return _SURE
