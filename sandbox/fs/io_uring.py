"""Registered buffers of io_uring: pages that a ring keeps pinned (io_uring/rsrc.c).

A ring is there as long as a process has its descriptor, and a forked child has it, too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mm, Page, load, note, store
from sandbox.mm.flags import (
    EBUSY,
    EFAULT,
    ENXIO,
    FOLL_LONGTERM,
    FOLL_PIN,
    FOLL_WRITE,
)
from sandbox.mm.gup import Pages
from sandbox.syscalls import Result, Ring, uring_id


class Coalesced(NamedTuple):
    """A buffer by entries: the pages of each, and whether an entry stands for a whole folio."""

    runs: tuple[Pages, ...]
    by_folio: bool


class IoUringMixin(KernelPart):
    """What a registered buffer keeps, and what is given back."""

    uring_many_folios = False
    """6.12 and later: a buffer over several folios of one size is one entry a folio."""
    uring_unpins_folio = False
    """6.16 and the stable trees of the time (5afb4bf9fc62): what an entry pins is its folio."""
    uring_accounts = True
    """Whether pinned_vm counts the buffers of root as well; 7.2 leaves them out."""
    uring_without = 9
    """Errno of a call on no ring: -EBADF; -EINVAL since -1 means calls on none (6.15)."""

    def sys_uring(self, mm: Mm, start: int, end: int, ring: Ring) -> Gen[Result]:
        """io_uring_register(BUFFERS): a long-term writable pin for each entry of the buffer."""
        if ring.is_new:
            yield note("ring", mm, ring.number)
        if ring.registered:
            return Result(-EBUSY)
        foll = FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE
        pages: Pages = yield from self.gup_fast_fallback(mm, start, end - start, foll)
        if len(pages) < end - start:  # io_pin_pages()
            yield from self.unpin_user_pages(pages)
            return Result(-EFAULT)
        coalesced = yield from self.io_check_coalesce_buffer(pages)
        kept = yield from self.io_coalesce_buffer(pages)
        yield from self.io_account_mem(ring.owner, kept, 1)
        if coalesced.by_folio:
            yield note("ring_folios", ring.number)
        pinned = tuple(run[0] for run in coalesced.runs)
        yield note("hold", uring_id(ring.number), "uring", pinned, mm)
        return Result()

    def io_check_coalesce_buffer(self, pages: Pages) -> Gen[Coalesced]:
        """Does each entry stand for a folio: consecutive pages, and of several all the same size?

        Before 6.12 all pages must be of one folio (`io_sqe_buffer_register`).
        """
        each = Coalesced(tuple((page,) for page in pages), False)
        first = yield from self.page_folio(pages[0])
        runs: list[list[Page]] = [[pages[0]]]
        for before, page in pairwise(pages):
            folio = yield from self.page_folio(page)
            here = yield from self.page_folio(before)
            if folio == here and page == folio.page(here.index_of(before) + 1):
                runs[-1].append(page)
            elif (
                self.uring_many_folios
                and here.index_of(before) == first.nr_pages - 1
                and folio.order == first.order
                and folio.index_of(page) == 0
            ):
                runs.append([page])
            else:
                return each
        return Coalesced(tuple(map(tuple, runs)), first.large and len(pages) > 1)

    def io_coalesce_buffer(self, pages: Pages) -> Gen[Pages]:
        """One pin for each entry; a folio's is that of its head page, whichever was pinned.

        Before 6.12 that of the first page.
        """
        coalesced = yield from self.io_check_coalesce_buffer(pages)
        kept: list[Page] = []
        for run in coalesced.runs:
            folio = yield from self.page_folio(run[0])
            if len(run) > 1:
                yield from self.gup_put_folio(folio, len(run) - 1, FOLL_PIN)
            heads = self.uring_many_folios and coalesced.by_folio
            kept.append(folio.page(0) if heads else run[0])
        return tuple(kept)

    def io_account_mem(self, owner: Mm, kept: Pages, sign: int) -> Gen[None]:
        """Charge the ring's owner: a page for a page, a large folio as a whole and once."""
        if not self.uring_accounts:
            return
        seen, nr = set(), 0
        for page in kept:
            folio = yield from self.page_folio(page)
            if folio not in seen:
                nr += folio.nr_pages
                seen.add(folio)
        yield store(owner.pinned_vm, (yield load(owner.pinned_vm)) + sign * nr)

    def io_release_ubuf(self, ring: Ring) -> Gen[None]:
        """Unpin what the ring has registered."""
        yield note("hold_gone", uring_id(ring.number), "uring", ring.registered)
        for page in ring.registered:
            folio = yield from self.page_folio(page)
            if self.uring_unpins_folio:
                yield from self.gup_put_folio(folio, 1, FOLL_PIN)
            else:
                heads = self.uring_many_folios and ring.by_folio
                yield from self.unpin_user_pages((folio.page(0) if heads else page,))
        yield from self.io_account_mem(ring.owner, ring.registered, -1)

    def sys_unuring(self, mm: Mm, ring: Ring | None) -> Gen[Result]:
        """Unregister the buffer of a process's ring, whoever registered it, and close the ring."""
        if ring is None:
            yield note("nop")
            return Result(-self.uring_without)
        if ring.registered:
            yield from self.io_release_ubuf(ring)
        yield note("ring_gone", mm)
        return Result(0 if ring.registered else -ENXIO)
