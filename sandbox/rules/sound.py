"""Whether a folio at rest is as all rules of `section` want it: the answer to most looks at one.

A yes is found with a few comparisons of whole columns of words, without a text.  A no only says
that the rules themselves have to look: it is also the answer where a yes would be hard to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.machine.memory import ADDR_MASK
from sandbox.machine.offsets import (
    ENTIRE_MAPCOUNT,
    LARGE_MAPCOUNT,
    MAPCOUNT,
    MM_ID,
    MM_ID_1,
    MM_ID_MAPCOUNTS,
    MM_IDS,
    NR_PAGES_MAPPED,
)
from sandbox.mm.flags import (
    ENTIRELY_MAPPED,
    FOLIO_PAGES_MAPPED,
    MM_ID_MASK,
    MM_ID_SHARED,
    PG_anon,
    PG_anon_exclusive,
    PG_ksm,
)

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel
    from sandbox.truth.ledger import Ledger


class SoundFolios:
    """Looks at words and the ledger alone."""

    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Any]
    pinned: dict[int, int]
    migrations: dict[int, int]
    swapped: dict[int, int]

    def start_sound(self) -> None:
        """Note which words the kernel keeps."""
        kernel = self.kernel
        self._words = kernel.has_page_mapcount, kernel.has_large_mapcount, kernel.has_mm_id

    def sound(self, packed: int) -> bool:
        """Do I-11 … I-14, I-18 … I-20, I-24, I-30, I-43 … I-45, I-51 and I-53 hold of a folio?"""
        ledger, head, order = self.ledger, packed & ADDR_MASK, packed & 15
        end = head + (16 << order)
        have = ledger.page_leaves.get
        leaves = ledger.leaves.get(head, 0)
        # Entries of each page, one less, as `_mapcount` has it.
        counts = [have(page, 0) - 1 for page in range(head, end, 16)]
        whole = leaves - sum(counts) - len(counts)  # PMD leaves
        if order and not self._totals_agree(head, end, counts, leaves):
            return False
        if not order and (whole or self.cells[head + MAPCOUNT] != counts[0]):
            return False
        if not self.cells[head] & PG_anon:
            return True
        if max(ledger.owners[head].values(), default=0) > len(counts):
            return False
        return self._owned_once(head, end, counts, whole)

    def _totals_agree(self, head: int, end: int, counts: list[int], leaves: int) -> bool:
        """I-11 … I-14 and I-43 … I-45 for a large folio."""
        cells = self.cells
        by_page, large, mm_id = self._words
        entire = cells[head + ENTIRE_MAPCOUNT] + 1
        if entire != leaves - sum(counts) - len(counts):
            return False
        if by_page:
            if cells[head + MAPCOUNT : end : 16] != counts:
                return False
            if self.ledger.mapcounts[head] + entire != leaves:
                return False
            raw = cells[head + NR_PAGES_MAPPED]
            pages = len(counts) - counts.count(-1)
            if raw & FOLIO_PAGES_MAPPED != pages or bool(raw & ENTIRELY_MAPPED) != (entire > 0):
                return False
        if (large or not by_page) and cells[head + LARGE_MAPCOUNT] + 1 != leaves:
            return False
        return not mm_id or self._slots_agree(head)

    def _slots_agree(self, head: int) -> bool:
        """I-43 … I-45."""
        cells, owners = self.cells, self.ledger.owners[head]
        large, shared = cells[head + LARGE_MAPCOUNT] + 1, cells[head + MM_ID_1] & MM_ID_SHARED
        if (not shared and large and len(owners) > 1) or (shared and large <= 0):
            return False
        ids = {cells[mm + MM_ID]: n for mm, n in owners.items()}
        for slot in (0, 1):
            count = cells[head + MM_ID_MAPCOUNTS + slot] + 1
            mm_id = cells[head + MM_IDS + slot] & MM_ID_MASK
            if count > ids.get(mm_id, 0) or bool(mm_id) != (count > 0):
                return False
        return True

    def _owned_once(self, head: int, end: int, counts: list[int], whole: int) -> bool:
        """I-18 … I-20, I-24, I-30 and I-53 for an anonymous folio."""
        flags, written = self.cells[head:end:16], self.ledger.writable.get
        pages = range(head, end, 16)
        if max(flags) < PG_anon_exclusive and not self.pinned:
            return not any(map(written, pages))  # most folios that are shared
        elsewhere = self.migrations or self.swapped or self.cells[head] & PG_ksm
        for page, flag, count in zip(pages, flags, counts, strict=True):
            if flag & PG_anon_exclusive:
                if count + whole > 0 or elsewhere:
                    return False
            elif written(page, 0):
                return False
            if count > 0 and page in self.pinned:
                return False
        return True
