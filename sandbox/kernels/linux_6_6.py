"""Linux 6.6: the base. Fork copies entry by entry, rmap works page by page."""

from __future__ import annotations

from sandbox.kernels.base import Kernel


class Linux66(Kernel):
    """Linux 6.6.17 (arm64, 4K pages)."""

    id = "6.6"
    title = "Linux 6.6"
    summary = (
        "Per-page mapcounts, per-entry fork; anonymous folios are order 0 or PMD-sized; no contpte."
    )
