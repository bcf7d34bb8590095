"""6.7-rc1 with Ryan Roberts' small-sized THP series: what the thread's proposals were written on.

Not a kernel of the registry: the base of `ryan-v2`, `ryan-v3`, `david-batch` and `barry-entire`.
"""

from __future__ import annotations

from sandbox.arch.arm64.contpte import ContptePgtable
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.memory import Gen, Mm, xchg
from sandbox.mm.mthp import MthpMixin


class SmallThp67(MthpMixin, ContptePgtable, Linux66):
    """6.7-rc1 accounting (per-page rmap), mTHP and the contpte layer of the series."""

    id = "6.7-small-thp"
    title = "6.7-rc1 + small-sized THP + contpte"
    has_contpte = True

    def ptep_get_and_clear_full(self, mm: Mm, addr: int, pte: int, full: bool) -> Gen[int]:
        """v2 14/14: when the whole mm goes, entries of a block are cleared without unfolding it."""
        if full:
            return (yield xchg(pte, 0))
        return (yield from self.ptep_get_and_clear(mm, addr, pte))
