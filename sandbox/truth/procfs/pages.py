"""Per page: what /proc/kpagecount and /proc/kpageflags would say (fs/proc/page.c), by release.

Pure functions on a session.  Three eras are told apart by what the kernel has: up to 6.9 there is
no `_large_mapcount`; since 6.15 there is MM owner tracking; with CONFIG_NO_PAGE_MAPCOUNT large
folios have no page mapcounts.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from sandbox.machine.memory import ADDR_MASK, Folio, Globals, Page
from sandbox.mm import flags as f

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["KPF", "average_mapcount", "kpagecount", "kpageflags", "maybe_mapped_shared"]


class KPF(IntEnum):
    """Bits of a kpageflags word (uapi/linux/kernel-page-flags.h); 32 and up are internal."""

    LOCKED = 0
    REFERENCED = 2
    UPTODATE = 3
    DIRTY = 4
    LRU = 5
    ACTIVE = 6
    WRITEBACK = 8
    BUDDY = 10
    MMAP = 11
    ANON = 12
    SWAPCACHE = 13
    SWAPBACKED = 14
    COMPOUND_HEAD = 15
    COMPOUND_TAIL = 16
    UNEVICTABLE = 18
    HWPOISON = 19
    KSM = 21
    THP = 22
    ZERO_PAGE = 24
    RESERVED = 32
    MLOCKED = 33
    OWNER_2 = 34
    """Called MAPPEDTODISK up to 6.9; on anonymous pages it is PG_anon_exclusive."""
    PRIVATE = 35


COPIED = (
    (KPF.LOCKED, f.PG_locked),
    (KPF.REFERENCED, f.PG_referenced),
    (KPF.UPTODATE, f.PG_uptodate),
    (KPF.DIRTY, f.PG_dirty),
    (KPF.LRU, f.PG_lru),
    (KPF.ACTIVE, f.PG_active),
    (KPF.WRITEBACK, f.PG_writeback),
    (KPF.BUDDY, f.PG_buddy),
    (KPF.SWAPBACKED, f.PG_swapbacked),
    (KPF.UNEVICTABLE, f.PG_unevictable),
    (KPF.RESERVED, f.PG_reserved),
    (KPF.MLOCKED, f.PG_mlocked),
    (KPF.OWNER_2, f.PG_anon_exclusive),
    (KPF.PRIVATE, f.PG_private),
)
"""Bits taken over from the flags word as they are (kpf_copy_bit)."""


def entire_mapcount(session: Session, folio: Folio) -> int:
    """Mappings of the whole folio by one leaf entry (logical)."""
    return int(session.ledger.cells[folio._entire_mapcount]) + 1 if folio.large else 0


def precise_mapcount(session: Session, page: Page) -> int:
    """Mappings of one page: its own and those of the whole folio."""
    cells = session.ledger.cells
    return int(cells[page._mapcount]) + 1 + entire_mapcount(session, session.ledger.folio(page))


def average_mapcount(session: Session, folio: Folio) -> int:
    """`folio_average_page_mapcount`: what a page of a large folio counts without page mapcounts.

    With L mappings of which E are entire: 0 if there are none, else E plus the rest spread over
    the pages, rounded to the nearest integer but at least 1.
    """
    cells = session.ledger.cells
    if not folio.large:
        return int(cells[folio._mapcount]) + 1
    total, entire = cells[folio._large_mapcount] + 1, entire_mapcount(session, folio)
    if total <= entire:
        return int(entire)
    rest: int = total - entire
    return max(1, (rest + folio.nr_pages // 2) >> folio.order) + entire


def kpagecount(session: Session, page: Page) -> int:
    """Word of /proc/kpagecount for a page: how often it is mapped, or the folio's average."""
    folio = session.ledger.folio(page)
    if session.ledger.cells[folio.flags] & f.PG_buddy:
        return 0
    if folio.large and not session.kernel.has_page_mapcount:
        return average_mapcount(session, folio)
    return precise_mapcount(session, page)


def folio_mapped(session: Session, folio: Folio) -> bool:
    """Is any page of the folio mapped, by the words this release reads?"""
    cells, kernel = session.ledger.cells, session.kernel
    if not folio.large:
        return bool(cells[folio._mapcount] >= 0)
    if kernel.has_large_mapcount:
        return bool(cells[folio._large_mapcount] >= 0)
    return bool(cells[folio._nr_pages_mapped] > 0 or cells[folio._entire_mapcount] >= 0)


def maybe_mapped_shared(session: Session, folio: Folio) -> bool:
    """`folio_maybe_mapped_shared` (6.15 and later): by the shared bit for a large folio."""
    cells = session.ledger.cells
    if not folio.large:
        return bool(cells[folio._mapcount] > 0)
    if cells[folio._large_mapcount] <= 0:
        return False
    return bool(cells[folio._mm_id(1)] & f.MM_ID_SHARED)


def kpageflags(session: Session, page: Page) -> int:
    """Word of /proc/kpageflags for a page (`stable_page_flags`).

    Up to 6.9 the flags are those of the page itself, so that every page shows whether it is
    exclusive; from 6.12 on a tail shows those of the head.  (Between the two: not verified.)
    """
    cells, folio = session.ledger.cells, session.ledger.folio(page)
    head_flags = cells[folio.flags]
    if head_flags & f.PG_buddy:
        return 1 << KPF.BUDDY
    flags = head_flags if session.kernel.has_large_mapcount else cells[page.flags]
    out = sum(1 << bit for bit, flag in COPIED if flags & flag)
    if flags & f.PG_swapcache and flags & f.PG_swapbacked:
        out |= 1 << KPF.SWAPCACHE
    if cells[page.flags] & f.PG_hwpoison:
        out |= 1 << KPF.HWPOISON
    if folio_mapped(session, folio):
        out |= 1 << KPF.MMAP
    if head_flags & f.PG_anon:
        out |= 1 << KPF.ANON
    if head_flags & f.PG_ksm:
        out |= 1 << KPF.KSM
    return out | compound_bits(session, folio, page)


def compound_bits(session: Session, folio: Folio, page: Page) -> int:
    """Head and tail, THP of any size, and the zero pages."""
    cells = session.ledger.cells
    if not folio.large:
        return int(page == cells[Globals.zero_page]) << KPF.ZERO_PAGE
    out = 1 << (KPF.COMPOUND_HEAD if page == folio & ADDR_MASK else KPF.COMPOUND_TAIL)
    flags = cells[folio.flags]
    if folio == cells[Globals.huge_zero]:
        return out | 1 << KPF.ZERO_PAGE | 1 << KPF.THP
    by_list = flags & (f.PG_lru | f.PG_anon)
    if flags & f.PG_large_rmappable if session.kernel.has_large_mapcount else by_list:
        out |= 1 << KPF.THP
    return out
