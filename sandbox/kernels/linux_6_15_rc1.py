"""Linux 6.15-rc1: the assertion of "refcount >= mapcount" was the wrong way round.

Kairui Song, <20250425074325.61833-1-ryncsn@gmail.com>, 25 Apr 2025; fixed by 4b7c0857f87a.
"""

from __future__ import annotations

from sandbox.kernels.linux_6_15 import Linux615
from sandbox.memory import Folio, Gen, load, note


class Linux615Rc1(Linux615):
    """Linux 6.15-rc1: warns when there are fewer mappings than references."""

    id = "6.15-rc1"
    title = "Linux 6.15-rc1"
    summary = "As 6.15, but reuse warns when mapcount < refcount, which is legal."

    def assert_mapcount_refcount(self, folio: Folio) -> Gen[None]:
        """VM_WARN on mapcount < refcount; the rule is the other way round."""
        mapcount = (yield load(folio._large_mapcount)) + 1
        if mapcount < (yield load(folio._refcount)):
            yield note("warn", "folio_large_mapcount < folio_ref_count", folio)
