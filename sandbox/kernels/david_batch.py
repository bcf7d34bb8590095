"""David Hildenbrand's suggestion in the thread, 16 Nov 2023.

<271f1e98-6217-4b40-bae0-0ac9fe5851cb@redhat.com>: references first, and a batch function for
the rmap that tests for pins once per folio, so that a batch is duplicated completely or not at
all.  Became the fork code of 6.9; here on the thread's base, with its per-page counters.
"""

from __future__ import annotations

from sandbox.kernels.small_thp import SmallThp67
from sandbox.mm.batch import BatchDupMixin, BatchZapMixin


class DavidBatch(BatchDupMixin, BatchZapMixin, SmallThp67):
    """All-or-nothing batches on 6.7-rc1 + small-sized THP."""

    id = "david-batch"
    title = "David's batch suggestion (16 Nov 2023)"
    summary = "References first; one pin test per folio; a batch is duplicated whole or not at all."
