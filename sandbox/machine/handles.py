"""Handles: addresses that know the names of their fields, never a value.

`struct page` is 16 words and 16-aligned, so ``pfn = address >> 4``; the low four bits of a
`Folio` carry its order, as a tagged pointer.  A property is the address of a word.
"""

from __future__ import annotations

from enum import IntEnum

from sandbox.machine.fields import STRUCTS, Struct, offset

PAGE_WORDS = 16
TABLE_ALIGN = 512
"""Page tables are 512-aligned: an entry's table is its address with the low bits cleared."""
ADDR_MASK = ~15
PFN_TO_ADDR = 4
"""A frame's `struct page` is at its number, shifted left by so many bits."""


class Page(int):
    """Address of a `struct page`; tails of a large folio have one too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Page({int(self) >> 4:#x})"

    @property
    def flags(self) -> int:
        """Page flags; PG_anon_exclusive is per page, most others live on the head."""
        return self + 0

    @property
    def _refcount(self) -> int:
        """References of the page or folio; 0 while it is free."""
        return self + 1

    @property
    def _mapcount(self) -> int:
        """Page-table entries that map the page, raw (-1 based)."""
        return self + 2

    @property
    def data(self) -> int:
        """Content version: the number of the step that last wrote the page, 0 = zeroes."""
        return self + 5

    @property
    def compound_head(self) -> int:
        """The word that leads from a page to its folio (holds a `Folio`)."""
        return self + 6

    @property
    def pfn(self) -> int:
        """Page frame number."""
        return self >> PFN_TO_ADDR


class Folio(int):
    """Address of a folio's head page with the folio's order in the low four bits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Folio({int(self) >> 4:#x}, order={self & 15})"

    @property
    def order(self) -> int:
        """log2 of the number of pages (fixed for the life of the folio)."""
        return self & 15

    @property
    def nr_pages(self) -> int:
        """Number of base pages."""
        return 1 << (self & 15)

    @property
    def large(self) -> bool:
        """True for a folio of more than one page (`folio_test_large`)."""
        return bool(self & 15)

    @property
    def pfn(self) -> int:
        """Frame number of the head page."""
        return self >> PFN_TO_ADDR

    def page(self, index: int) -> Page:
        """Handle of page *index* of the folio."""
        return Page((self & ADDR_MASK) + PAGE_WORDS * index)

    def index_of(self, page: int) -> int:
        """Index of *page* (a `Page`) within the folio."""
        return (page - (self & ADDR_MASK)) >> 4

    def _at(self, offset: int) -> int:
        return (self & ADDR_MASK) + offset

    @property
    def flags(self) -> int:
        """PG_ flags of the folio (those of its head page)."""
        return self & ADDR_MASK

    @property
    def _refcount(self) -> int:
        """References of the page or folio; 0 while it is free."""
        return (self & ADDR_MASK) + 1

    @property
    def _mapcount(self) -> int:
        """Page-table entries that map the page, raw (-1 based)."""
        return (self & ADDR_MASK) + 2

    @property
    def mapping(self) -> int:
        """anon_vma or address_space this folio belongs to (word holds its address)."""
        return (self & ADDR_MASK) + 3

    @property
    def index(self) -> int:
        """Linear page index of the first page within `mapping`."""
        return (self & ADDR_MASK) + 4

    @property
    def private(self) -> int:
        """Swap entry + 1 of a swap-cache folio, else 0."""
        return (self & ADDR_MASK) + 7

    @property
    def _large_mapcount(self) -> int:
        """All mappings of a large folio, raw (-1 based; 6.10 and later)."""
        return (self & ADDR_MASK) + 8

    @property
    def _entire_mapcount(self) -> int:
        """Leaf entries that map the whole folio, raw (-1 based)."""
        return (self & ADDR_MASK) + 9

    @property
    def _nr_pages_mapped(self) -> int:
        """Pages with a mapping of their own, plus ENTIRELY_MAPPED."""
        return (self & ADDR_MASK) + 10

    @property
    def _pincount(self) -> int:
        """FOLL_PIN references of a large folio."""
        return (self & ADDR_MASK) + 11

    def _mm_id(self, slot: int) -> int:
        return (self & ADDR_MASK) + 12 + slot

    def _mm_id_mapcount(self, slot: int) -> int:
        return (self & ADDR_MASK) + 14 + slot

    @property
    def _deferred_list(self) -> int:
        """1 while queued for deferred split (lives in the first tail page)."""
        return (self & ADDR_MASK) + PAGE_WORDS + 8


def page_of_pfn(pfn: int) -> Page:
    """Handle of the `struct page` of a frame (`pfn_to_page`)."""
    return Page(pfn << PFN_TO_ADDR)


class Globals:
    """Addresses of the machine-wide words (one `GLOBALS` structure at a fixed place)."""

    BASE = 16
    anon_orders = BASE + 0
    """Bit per order: anonymous folios of that order are enabled (madvise)."""
    shmem_orders = BASE + 1
    step = BASE + 2
    s_inodes = BASE + 3
    """The newest `Mapping` of a named file; the others follow by `i_sb_list`."""
    s_inode_list_lock = BASE + 4
    mm_ida = BASE + 5
    nr_anon_mapped = BASE + 6
    nr_file_mapped = BASE + 7
    swap_on = BASE + 8
    zero_page = BASE + 9
    split_queue_lock = BASE + 10
    swap_device = BASE + 11
    autodrain = BASE + 12
    huge_zero = BASE + 13
    reuse = BASE + 14
    """Whether a frame that was freed is allocated again (`sandbox.machine.reuse`)."""
    mmlist = BASE + 15
    """The first `Mm` that may have swap entries; the others follow by `mmlist`."""


MAX_CPUS = 4


class Fbatch(IntEnum):
    """A CPU's batches of folios, in the order in which `lru_add_drain` moves them (mm/swap.c)."""

    LRU_ADD = 0
    LRU_MOVE_TAIL = 1
    LRU_DEACTIVATE_FILE = 2
    LRU_DEACTIVATE = 3
    LRU_LAZYFREE = 4
    MLOCK = 5
    """`mlock_fbatch` (mm/mlock.c)."""


_FBATCHES = (
    "lru_add",
    "lru_move_tail",
    "lru_deactivate_file",
    "lru_deactivate",
    "lru_lazyfree",
    "mlock_fbatch",
)
_FBATCH_NR = tuple(offset(Struct.CPU, f"{name}.nr") for name in _FBATCHES)
_FBATCH_FOLIOS = tuple(offset(Struct.CPU, f"{name}.folios") for name in _FBATCHES)
_MLOCK_KINDS = offset(Struct.CPU, "mlock_fbatch.kinds")


class PerCpu:
    """Addresses of the per-CPU words."""

    BASE = 32
    SIZE = len(STRUCTS[Struct.CPU].initial)
    """Words from one CPU's to the next."""

    @staticmethod
    def cpu_of(addr: int) -> int:
        """The CPU that a per-CPU word belongs to."""
        return (addr - PerCpu.BASE) // PerCpu.SIZE

    @staticmethod
    def fbatch_nr(cpu: int, batch: Fbatch) -> int:
        """How many folios are in one of the CPU's batches."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + _FBATCH_NR[batch]

    @staticmethod
    def fbatch_nrs(cpu: int) -> tuple[int, ...]:
        """The counts of all of the CPU's batches."""
        return _FBATCH_NRS[cpu]

    @staticmethod
    def fbatch_folio(cpu: int, batch: Fbatch, i: int) -> int:
        """Folio *i* of the batch."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + _FBATCH_FOLIOS[batch] + i

    @staticmethod
    def mlock_kind(cpu: int, i: int) -> int:
        """What is to be done with folio *i* of `mlock_fbatch` (low bits of its pointer)."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + _MLOCK_KINDS + i

    @staticmethod
    def gather_nr(cpu: int) -> int:
        """How many items the CPU's mmu_gather holds."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + 1

    @staticmethod
    def gather_page(cpu: int, i: int) -> int:
        """Item *i* of the gather: ``page << 11 | nr << 1 | delayed rmap``."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + 2 + i


_FBATCH_NRS = tuple(
    tuple(PerCpu.fbatch_nr(cpu, batch) for batch in Fbatch) for cpu in range(MAX_CPUS)
)
