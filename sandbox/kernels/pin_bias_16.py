"""7.2 in which a pin of a small folio weighs 16 references instead of 1024.

For the laboratory: GUP_PIN_COUNTING_BIAS (include/linux/mm.h) small enough that a handful of
processes look like a pin.
"""

from __future__ import annotations

from typing import ClassVar

from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Folio, Gen, Globals, Page, add, load
from sandbox.mm.flags import FOLL_GET, FOLL_PIN

GUP_PIN_COUNTING_BIAS = 16


class PinBias16(Linux72):
    """GUP_PIN_COUNTING_BIAS = 16."""

    id = "pin-bias-16"
    title = "Linux 7.2, pins of 16 references"
    summary = "GUP_PIN_COUNTING_BIAS is 16, not 1024, so that few processes look like a pin."
    rules_off: ClassVar[dict[str, str]] = {
        "I-07": "the rule weighs a pin with 1024 references",
        "I-08": "the rule weighs a pin with 1024 references",
        "I-10": "a pin is 16 references here",
    }

    def folio_maybe_dma_pinned(self, folio: Folio) -> Gen[bool]:
        """16 references or more."""
        if folio.large:
            return (yield from super().folio_maybe_dma_pinned(folio))
        return (yield load(folio._refcount)) >= GUP_PIN_COUNTING_BIAS

    def try_grab_folio(self, folio: Folio, page: Page, refs: int, flags: int) -> Gen[bool]:
        """Slow path."""
        if folio.large or flags & FOLL_GET or not flags & FOLL_PIN:
            return (yield from super().try_grab_folio(folio, page, refs, flags))
        if page != (yield load(Globals.zero_page)):
            yield add(folio._refcount, refs * GUP_PIN_COUNTING_BIAS)
        return True

    def try_grab_folio_fast(self, page: Page, refs: int, flags: int) -> Gen[Folio | None]:
        """Fast path: one reference first, the rest of the bias later."""
        folio = yield from self.page_folio(page)
        if folio.large or not flags & FOLL_PIN:
            return (yield from super().try_grab_folio_fast(page, refs, flags))
        grabbed: Folio | None = yield from super().try_grab_folio_fast(
            page, refs, flags & ~FOLL_PIN
        )
        if grabbed is not None:
            yield add(grabbed._refcount, refs * (GUP_PIN_COUNTING_BIAS - 1))
        return grabbed

    def gup_put_folio(self, folio: Folio, refs: int, flags: int) -> Gen[None]:
        """Give the bias back."""
        if folio.large or not flags & FOLL_PIN:
            yield from super().gup_put_folio(folio, refs, flags)
            return
        yield from self.folio_put(folio, refs * GUP_PIN_COUNTING_BIAS)
