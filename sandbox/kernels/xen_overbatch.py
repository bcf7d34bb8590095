"""XEN PV: the entry after the folio's last one can be "none", and none equals none.

Petr Vanek, <20250502215019.822-2-arkamar@atlas.cz>, 2 May 2025.  Advancing a present entry past
the folio may give a frame that was ballooned out; a XEN PV guest makes an empty entry of it.  A
batch that is not limited by the folio then takes the next empty entry for a page of it.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pte_advance_pfn, pte_dirty, pte_pfn, pte_write, pte_young
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.memory import Folio, Gen
from sandbox.mm.mthp import Batch


class XenOverbatch(Linux615):
    """6.15-rc on XEN PV, with every frame behind a folio ballooned out."""

    id = "xen-overbatch"
    title = "Linux 6.15-rc on XEN PV"
    summary = "A batch may take the empty entry behind a folio for one of its pages."

    def pte_next(self, folio: Folio, pte: int, nr: int) -> int:
        """pte_advance_pfn() of the guest: none for a frame it does not have."""
        nxt = pte_advance_pfn(pte, nr)
        return nxt if pte_pfn(nxt) < folio.pfn + folio.nr_pages else 0

    def folio_pte_batch(
        self,
        folio: Folio,
        ptep: int,
        pte: int,
        max_nr: int,
        *,
        dirty: bool = False,
        write: bool = False,
    ) -> Gen[Batch]:
        """The folio's end is looked at in the entry found, and an empty one has frame 0."""
        any_w, any_y, any_d = pte_write(pte), pte_young(pte), pte_dirty(pte)
        expected, nr = self._pte_batch_clear_ignored(pte, dirty, write), 1
        expected = self.pte_next(folio, expected, 1)
        while nr < max_nr:
            entry = yield from self.ptep_get(ptep + nr)
            found = self._pte_batch_clear_ignored(entry, dirty, write) if entry else 0
            if found != expected or pte_pfn(found) >= folio.pfn + folio.nr_pages:
                break
            any_w, any_y, any_d = (
                any_w or pte_write(entry),
                any_y or pte_young(entry),
                any_d or pte_dirty(entry),
            )
            nr += 1
            if not found:  # what follows "none" is no frame of ours
                break
            expected = self.pte_next(folio, expected, 1)
        return Batch(nr, any_w, any_y, any_d)
