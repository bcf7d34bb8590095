"""Linux 6.10-rc2: bytes for entries in contpte_clear_young_dirty_ptes().

Barry Song, 24 May 2024, <20240524005444.135417-1-21cnbao@gmail.com>; fixed by 6434e69814b1, which
MADV_FREE of the same release (89e86854fb0a) needed at once.  The rest is our 6.12.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTRS_PER_PTE, pte_valid_cont
from sandbox.kernels.linux_6_12 import Linux612
from sandbox.memory import Gen, Mm, load, note

PAGE_SIZE = 4096


class Linux610Rc2(Linux612):
    """MADV_FREE on a folded block runs past it."""

    id = "6.10-rc2"
    title = "Linux 6.10-rc2"
    summary = "As 6.12, but clearing young and dirty of a folded block takes its bytes for entries."

    def clear_young_dirty_ptes(
        self, mm: Mm, addr: int, ptep: int, nr: int, young: bool, dirty: bool
    ) -> Gen[None]:
        """Widened to whole blocks; *end* starts as an address plus a number of entries."""
        size = self.CONT_PTES * PAGE_SIZE
        start = addr * PAGE_SIZE
        end = start + nr  # should be nr * PAGE_SIZE
        if pte_valid_cont((yield load(ptep + nr - 1))):
            end = -(-end // size) * size
        if pte_valid_cont((yield load(ptep))):
            start &= -size
            ptep &= -self.CONT_PTES
        yield from self.clear_to_end_of_table(ptep, end - start, young, dirty)

    def clear_to_end_of_table(self, ptep: int, nr: int, young: bool, dirty: bool) -> Gen[None]:
        """Clear *nr* entries as far as the table goes; what lies behind it is not modelled."""
        room = PTRS_PER_PTE - (ptep & (PTRS_PER_PTE - 1))
        yield from self._clear_young_dirty_ptes(ptep, min(nr, room), young, dirty)
        if nr > room:
            yield note("warn", "entries past the end of the page table", nr - room)
