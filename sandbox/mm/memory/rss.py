"""The rss vector that a walk over one table keeps on its stack, as a value."""

from __future__ import annotations

from typing import TypeAlias

from sandbox.mm.flags import MM_ANONPAGES, MM_FILEPAGES, MM_SWAPENTS

__all__ = ["NO_RSS", "Rss", "count_rss"]

Rss: TypeAlias = "tuple[int, int, int, int]"
"""Pages by counter (`MM_FILEPAGES` and so on), `int rss[NR_MM_COUNTERS]` (mm/memory.c)."""
NO_RSS: Rss = (0, 0, 0, 0)


def count_rss(rss: Rss, member: int, nr: int) -> Rss:
    """The vector with *nr* pages more of a counter."""
    files, anon, swap, shmem = rss
    if member == MM_ANONPAGES:
        return files, anon + nr, swap, shmem
    if member == MM_FILEPAGES:
        return files + nr, anon, swap, shmem
    if member == MM_SWAPENTS:
        return files, anon, swap + nr, shmem
    return files, anon, swap, shmem + nr
