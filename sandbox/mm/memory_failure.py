"""Retiring frames that may go bad: MADV_SOFT_OFFLINE (mm/memory-failure.c, mm/madvise.c; 6.12)."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Globals, Mm, Page, bits, load, lock_bit
from sandbox.mm.flags import (
    EBUSY,
    EFAULT,
    EIO,
    ENOTRECOVERABLE,
    FOLL_GET,
    PG_anon,
    PG_hwpoison,
    PG_locked,
    PG_lru,
    PG_swapcache,
)

RETRIES = 3
"""How often a page is looked at again behind a drain of batches (GET_PAGE_MAX_RETRY_NUM)."""


class MemoryFailureMixin(KernelPart):
    """Contents move elsewhere while the page is in use."""

    knows_kernel_pages = False
    """7.3: pages that are the kernel's own have an errno of their own."""

    def madvise_softoffline(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """Take one page of each folio out of use (`madvise_inject_error`).

        The next folio is looked for as many pages on as this one had, wherever it began.
        """
        while start < end:
            pages = yield from self.gup_fast_fallback(mm, start, 1, FOLL_GET)
            if not pages:
                return -EFAULT
            folio = yield from self.page_folio(pages[0])
            start += folio.nr_pages
            ret = yield from self.soft_offline_page(pages[0])
            if ret:
                return ret
        return 0

    def soft_offline_page(self, page: Page) -> Gen[int]:
        """Move a page's contents elsewhere and retire its frame; its reference is the caller's."""
        ret = yield from self.get_any_page(page)
        if ret:
            return ret
        return (yield from self.soft_offline_in_use_page(page))

    def get_any_page(self, page: Page) -> Gen[int]:
        """Is a referenced page one of those that can be moved: on the LRU, perhaps after a drain?

        If not, its reference is given back.
        """
        folio = yield from self.page_folio(page)
        if self.knows_kernel_pages and page == (yield load(Globals.zero_page)):
            yield from self.folio_put(folio)
            return -ENOTRECOVERABLE
        held = True
        for attempt in range(RETRIES + 1):
            handlable = (yield load(folio.flags)) & PG_lru  # HWPoisonHandlable()
            if handlable and (held or (yield from self.folio_try_get(folio))):
                return 0
            if held:
                yield from self.folio_put(folio)
                held = False
            if attempt < RETRIES:  # shake_page()
                yield from self.lru_add_drain()
        return -EIO

    def soft_offline_in_use_page(self, page: Page) -> Gen[int]:
        """Split, isolate, migrate, and mark the frame as bad."""
        folio = yield from self.page_folio(page)
        if folio.large:
            yield lock_bit(folio.flags, PG_locked)  # try_to_split_thp_page()
            ret = yield from self.split_folio(folio, at=page)
            folio = yield from self.page_folio(page)
            yield bits(folio.flags, 0, PG_locked)
            if ret:
                yield from self.folio_put(folio)
                return -EBUSY
        if (yield from self.soft_offline_evict(folio)):
            yield from self.page_handle_poison(page, folio)
            return 0
        isolated = yield from self.folio_isolate_lru(folio)
        yield from self.folio_put(folio)
        if not isolated:
            return -EBUSY
        if not (yield from self.migrate_folio_once(folio)):
            yield from self.folio_putback_lru(folio)
            return -EBUSY
        yield from self.page_handle_poison(page, folio)
        return 0

    def soft_offline_evict(self, folio: Folio) -> Gen[bool]:
        """A clean page of a file that nobody maps need not be moved."""
        yield lock_bit(folio.flags, PG_locked)
        flags, evicted = (yield load(folio.flags)), False
        if flags & PG_lru and not flags & (PG_swapcache | PG_anon) and (yield load(folio.mapping)):
            evicted = yield from self.mapping_evict_folio(folio)
        yield bits(folio.flags, 0, PG_locked)
        return evicted

    def page_handle_poison(self, page: Page, folio: Folio) -> Gen[None]:
        """The frame is never given out again."""
        yield from self.folio_put(folio)
        yield bits(page.flags, PG_hwpoison)
