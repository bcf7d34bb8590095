"""The rss vector that a walk over one table keeps on its stack, as a value."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["NO_RSS", "Rss", "count_rss"]

Rss: TypeAlias = "tuple[int, int, int, int]"
"""Pages by counter (`MM_FILEPAGES` and so on), `int rss[NR_MM_COUNTERS]` (mm/memory.c)."""
NO_RSS: Rss = (0, 0, 0, 0)


def count_rss(rss: Rss, member: int, nr: int) -> Rss:
    """The vector with *nr* pages more of a counter."""
    counts = list(rss)
    counts[member] += nr
    return counts[0], counts[1], counts[2], counts[3]
