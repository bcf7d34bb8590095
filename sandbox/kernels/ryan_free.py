"""The thread's fork patches under the MADV_FREE of 6.10, which keeps a large folio whole.

Not a posted series: contpte v2 (<20231115163018.1303287-2-ryan.roberts@arm.com>) and v3
(<20231204105440.61448-2-ryan.roberts@arm.com>) had they been merged before Lance Yang's
lazyfreeing (<20240416033457.32154-4-ioworker0@gmail.com>).  Before it, MADV_FREE splits every
large folio, and a batch with a clean first and a dirty later page is hard to come by.
"""

from __future__ import annotations

from sandbox.kernels.ryan_v2 import RyanV2
from sandbox.kernels.ryan_v3 import RyanV3
from sandbox.memory import Folio, Gen
from sandbox.mm.mthp import MthpMixin


class LazyfreeWholeMixin(MthpMixin):
    """mm/madvise.c of 6.10: batches."""

    def madvise_folio_batch(self, folio: Folio, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """`madvise_folio_pte_batch`: a folio that is covered whole is kept whole."""
        return (yield from self.folio_pte_batch(folio, ptep, pte, max_nr)).nr


class RyanV2Free(LazyfreeWholeMixin, RyanV2):
    """contpte v2 with the lazyfreeing of 6.10."""

    id = "ryan-v2-free"
    title = "contpte v2 + lazyfreeing of 6.10"
    summary = "As ryan-v2; MADV_FREE keeps a large folio that it covers whole."


class RyanV3Free(LazyfreeWholeMixin, RyanV3):
    """contpte v3 with the lazyfreeing of 6.10."""

    id = "ryan-v3-free"
    title = "contpte v3 + lazyfreeing of 6.10"
    summary = "As ryan-v3; MADV_FREE keeps a large folio that it covers whole."
