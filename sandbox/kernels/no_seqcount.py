"""GUP-fast without a look at write_protect_seq, as before 5.11.

The fix: Jason Gunthorpe, "mm/gup: prevent gup_fast from racing with COW during fork"
(57efa1fe5957).  Everything else is 7.2.
"""

from __future__ import annotations

from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Gen, Mm, Page
from sandbox.mm.gup import Pages


class NoSeqcount(Linux72):
    """7.2 whose fast pins do not notice a fork."""

    id = "no-seqcount"
    title = "Linux 7.2 without write_protect_seq in GUP-fast"
    summary = "A fast pin that raced with fork is kept."

    def lockless_pages_from_mm(self, mm: Mm, start: int, end: int, flags: int) -> Gen[Pages]:
        """The walk alone: what it grabbed is kept."""
        pages: list[Page] = []
        while start + len(pages) < end:
            taken = yield from self.gup_fast_pmd_range(mm, start + len(pages), end, flags)
            if not taken:
                break
            pages += taken
        return tuple(pages)
