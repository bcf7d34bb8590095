"""Linux 6.8: multi-size THP on per-entry fork and zap; what the last mapping may reuse.

Source: mm/memory.c and mm/rmap.c of 6.8 (no contpte layer yet).  A write fault that holds the
only reference of a large folio still reuses it; 6.9 put an end to that
(<20240308085653.124180-1-21cnbao@gmail.com>).
"""

from __future__ import annotations

from sandbox.kernels.linux_6_6 import Linux66
from sandbox.memory import Folio, Gen, Globals, Vma, add, bits, store
from sandbox.mm.flags import ENTIRELY_MAPPED, PG_anon_exclusive, PG_swapbacked
from sandbox.mm.mthp import MthpMixin


class Linux68(MthpMixin, Linux66):
    """Linux 6.8 (arm64, 4K pages)."""

    id = "6.8"
    title = "Linux 6.8"
    summary = "mTHP with per-entry fork and zap; no contpte; the last reference reuses a folio."
    swapin_prepares = True

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """Mapping and index come before the counters (`__folio_set_anon`)."""
        yield bits(folio.flags, PG_swapbacked)
        yield from self._folio_set_anon(folio, vma, addr, exclusive)
        if not folio.large:
            yield store(folio._mapcount, 0)
            if exclusive:
                yield bits(folio.flags, PG_anon_exclusive)
        elif self.is_pmd_mapping(folio):
            yield store(folio._entire_mapcount, 0)
            yield store(folio._nr_pages_mapped, ENTIRELY_MAPPED)
            if exclusive:
                yield bits(folio.flags, PG_anon_exclusive)
        else:
            yield from self.new_anon_pages(folio, exclusive)
            yield store(folio._nr_pages_mapped, folio.nr_pages)
        yield add(Globals.nr_anon_mapped, folio.nr_pages)
