"""Words, handles and events: the only way a modelled kernel touches memory.

Memory is one flat list of words.  A *handle* (`Folio`, `Page`, `Mm`, `Vma`) is an
address that knows the names of its fields, never a value.  A kernel function yields
an *event*, a small tuple ``(op, address, operand, ...)``, and is answered with what
the operation returns.  Every operation changes at most one word, so one old value per
event is the whole journal.

Addresses: `struct page` is 16 words and 16-aligned, so ``pfn = address >> 4``; the low
four bits of a `Folio` carry its order, as a tagged pointer.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from sandbox.fields import DEFERRED_LIST, FIELDS, STRUCTS, Field, Struct

T = TypeVar("T")
Event = tuple[Any, ...]
"""``(op, address, operands...)``; see the constructors below."""
Gen = Generator[Event, Any, T]
"""A running kernel function: yields events, is sent their answers, returns a `T`."""

# Operations. Those from STORE on may change the word at their address.
LOAD, NOTE, TLB_FLUSH, MB = range(4)
STORE, ADD, TRY_ADD, CAS, BITS, XCHG, LOCK, TRYLOCK, UNLOCK, LOCK_BIT, COPY, APPEND, ALLOC = range(
    4, 17
)
FIRST_MUTATING = STORE
OP_NAMES = (
    "load", "note", "tlb_flush", "mb", "store", "add", "try_add", "cas", "bits", "xchg",
    "lock", "trylock", "unlock", "lock_bit", "copy", "append", "alloc",
)  # fmt: skip

PAGE_WORDS = 16
TABLE_ALIGN = 512
"""Page tables are 512-aligned: an entry's table is its address with the low bits cleared."""
ADDR_MASK = ~15


def load(addr: int) -> Event:
    """Read one word; the answer is its value."""
    return (LOAD, addr)


def store(addr: int, value: Any) -> Event:
    """Write one word; no answer."""
    return (STORE, addr, value)


def add(addr: int, delta: int) -> Event:
    """Atomically add *delta*; the answer is the new value."""
    return (ADD, addr, delta)


def try_add(addr: int, delta: int) -> Event:
    """Add *delta* unless the word is zero; the answer says whether it was done."""
    return (TRY_ADD, addr, delta)


def cas(addr: int, old: Any, new: Any) -> Event:
    """Compare and exchange; the answer says whether the word was *old* and is now *new*."""
    return (CAS, addr, old, new)


def bits(addr: int, set_: int = 0, clear: int = 0) -> Event:
    """Set and clear bits in one atomic step; the answer is the old value."""
    return (BITS, addr, set_, clear)


def xchg(addr: int, value: Any) -> Event:
    """Exchange the word for *value*; the answer is the old value."""
    return (XCHG, addr, value)


READ, WRITE = 0, 1


def lock(addr: int, mode: int = WRITE) -> Event:
    """Take a lock word, blocking while another CPU holds it (READ may be shared)."""
    return (LOCK, addr, mode)


def trylock(addr: int, mode: int = WRITE) -> Event:
    """Take a lock word if it is free; the answer says whether it was."""
    return (TRYLOCK, addr, mode)


def unlock(addr: int) -> Event:
    """Release a lock word held by the executing CPU."""
    return (UNLOCK, addr)


def lock_bit(addr: int, bit: int) -> Event:
    """Set a lock bit in a word, blocking while it is set; the answer is the old word."""
    return (LOCK_BIT, addr, bit)


def copy_page(dst: Page, src: Page) -> Event:
    """Copy the content version of one page to another as one step."""
    return (COPY, dst.data, src.data)


def append(addr: int, item: Any) -> Event:
    """Append *item* to a queue word (a tuple); the answer is its new length."""
    return (APPEND, addr, item)


def alloc(struct: Struct, order: int = 0) -> Event:
    """Allocate a structure (pages of *order* for `page`); the answer is its address."""
    return (ALLOC, 0, struct, order)


def tlb_flush(mm: int, start: int, end: int) -> Event:
    """Flush the TLB of *mm* for the virtual pages [start, end)."""
    return (TLB_FLUSH, 0, mm, start, end)


def note(kind: str, *payload: Any) -> Event:
    """Mark a point for rules and readers: ``begin``, ``end``, ``window_open``, ..."""
    return (NOTE, 0, kind, *payload)


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
        return self + 1

    @property
    def _mapcount(self) -> int:
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
        return self >> 4


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
        return self >> 4

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
        return self & ADDR_MASK

    @property
    def _refcount(self) -> int:
        return (self & ADDR_MASK) + 1

    @property
    def _mapcount(self) -> int:
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
        return (self & ADDR_MASK) + 8

    @property
    def _entire_mapcount(self) -> int:
        return (self & ADDR_MASK) + 9

    @property
    def _nr_pages_mapped(self) -> int:
        return (self & ADDR_MASK) + 10

    @property
    def _pincount(self) -> int:
        return (self & ADDR_MASK) + 11

    def _mm_id(self, slot: int) -> int:
        return (self & ADDR_MASK) + 12 + slot

    def _mm_id_mapcount(self, slot: int) -> int:
        return (self & ADDR_MASK) + 14 + slot

    @property
    def _deferred_list(self) -> int:
        """1 while queued for deferred split (lives in the first tail page)."""
        return (self & ADDR_MASK) + PAGE_WORDS + 8


class Mm(int):
    """Address of an `mm_struct`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Mm({int(self):#x})"

    @property
    def flags(self) -> int:
        """MMF_ bits."""
        return self + 0

    @property
    def mm_id(self) -> int:
        return self + 1

    @property
    def write_protect_seq(self) -> int:
        return self + 2

    @property
    def mmap_lock(self) -> int:
        return self + 3

    def rss_stat(self, member: int) -> int:
        """Word of one counter: MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES."""
        return self + 4 + member

    @property
    def locked_vm(self) -> int:
        return self + 8

    @property
    def pinned_vm(self) -> int:
        return self + 9

    @property
    def mm_mt(self) -> int:
        """The VMAs in address order (word holds a tuple of `Vma` addresses)."""
        return self + 10

    @property
    def page_table_lock(self) -> int:
        return self + 11

    @property
    def regions(self) -> int:
        """The scenario's regions this mm has: tuple of (name, first page number, size in pages)."""
        return self + 12

    @property
    def mm_users(self) -> int:
        return self + 13

    def pud(self, addr: int) -> int:
        """Word of the PUD entry (1 GiB) that maps virtual page *addr*."""
        return self + 16 + (addr >> 18)


class Vma(int):
    """Address of a `vm_area_struct`; bounds are in pages."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Vma({int(self):#x})"

    @property
    def vm_start(self) -> int:
        return self + 0

    @property
    def vm_end(self) -> int:
        return self + 1

    @property
    def vm_flags(self) -> int:
        return self + 2

    @property
    def anon_vma(self) -> int:
        return self + 3

    @property
    def vm_pgoff(self) -> int:
        return self + 4

    @property
    def vm_file(self) -> int:
        """address_space of the mapped file, 0 for anonymous memory."""
        return self + 5

    @property
    def vm_lock(self) -> int:
        return self + 6

    @property
    def vm_mm(self) -> int:
        return self + 7

    @property
    def anon_vma_chain(self) -> int:
        """Tuple of the anon_vmas this VMA hangs on."""
        return self + 8


class AnonVma(int):
    """Address of an `anon_vma`."""

    __slots__ = ()

    @property
    def rwsem(self) -> int:
        return self + 0

    @property
    def rb_root(self) -> int:
        """Tuple of the VMAs whose pages may belong to this anon_vma."""
        return self + 1


class Mapping(int):
    """Address of an `address_space` (page cache of a file or of shared memory)."""

    __slots__ = ()

    @property
    def i_mmap_rwsem(self) -> int:
        return self + 0

    @property
    def i_pages(self) -> int:
        """Address of the array of page-cache slots."""
        return self + 1

    @property
    def nrpages(self) -> int:
        return self + 2

    @property
    def xa_lock(self) -> int:
        return self + 3

    @property
    def host(self) -> int:
        """What is behind it: ``shmem``, ``tmpfs``, ``xfs``."""
        return self + 4


def page_of_pfn(pfn: int) -> Page:
    """Handle of the `struct page` of a frame (`pfn_to_page`)."""
    return Page(pfn << 4)


class MemoryImage:
    """The words of a machine: values, and for each word which field it is.

    `cells` holds the values, `kinds` one field number (`sandbox.fields`) per word.
    Allocation only appends, so undoing one cuts the lists back.
    """

    __slots__ = ("cells", "kinds", "objects")

    def __init__(self) -> None:
        self.cells: list[Any] = [0] * PAGE_WORDS
        self.kinds = bytearray(PAGE_WORDS)
        self.objects: list[tuple[int, Struct, int]] = []

    def allocate(self, struct: Struct, order: int = 0) -> int:
        """Append a structure with its initial values and return its address."""
        layout = STRUCTS[struct]
        count = 1 << order
        align = 16
        if struct is Struct.PAGE:
            align = PAGE_WORDS << order
        elif struct in (Struct.PTE_TABLE, Struct.PMD_TABLE):
            align = TABLE_ALIGN
        cells, kinds = self.cells, self.kinds
        pad = -len(cells) % align
        if pad:
            cells.extend([0] * pad)
            kinds.extend(bytes(pad))
        base = len(cells)
        cells.extend(layout.initial * count)
        kinds.extend(layout.kinds * count)
        if struct is Struct.PAGE:
            folio = Folio(base | order)
            for i in range(base + 6, base + count * PAGE_WORDS, PAGE_WORDS):
                cells[i] = folio
            cells[base + 1] = 1
            if (
                order
            ):  # the first tail holds the deferred-split list node (mm_types.h, struct folio)
                cells[base + PAGE_WORDS + 8] = 0
                kinds[base + PAGE_WORDS + 8] = DEFERRED_LIST
        self.objects.append((base, struct, order))
        return base

    def release_last(self, length: int) -> None:
        """Undo the last allocation: cut memory back to *length* words."""
        del self.cells[length:]
        del self.kinds[length:]
        self.objects.pop()

    def object_at(self, addr: int) -> tuple[int, Struct, int]:
        """The allocation (base, struct, order) that holds *addr*."""
        lo, hi = 0, len(self.objects)
        while lo < hi:
            mid = (lo + hi) // 2
            if self.objects[mid][0] <= addr:
                lo = mid + 1
            else:
                hi = mid
        return self.objects[lo - 1]

    def field_at(self, addr: int) -> Field:
        """Which field the word at *addr* is."""
        return FIELDS[self.kinds[addr]]


class Globals:
    """Addresses of the machine-wide words (one `GLOBALS` structure at a fixed place)."""

    BASE = 16
    anon_orders = BASE + 0
    """Bit per order: anonymous folios of that order are enabled (madvise)."""
    shmem_orders = BASE + 1
    step = BASE + 2
    processes = BASE + 3
    """Tuple of (name, Mm address, alive)."""
    files = BASE + 4
    holds = BASE + 5
    """Tuple of (id, kind, pages) of pins and gets alive."""
    mm_ida = BASE + 6
    nr_anon_mapped = BASE + 7
    nr_file_mapped = BASE + 8
    swap_on = BASE + 9
    zero_page = BASE + 10
    split_queue_lock = BASE + 11
    regions = BASE + 12
    """Tuple of (name, first virtual page) of every region named so far."""
    output = BASE + 13
    autodrain = BASE + 14
    huge_zero = BASE + 15


MAX_CPUS = 4


class PerCpu:
    """Addresses of the per-CPU words."""

    BASE = 32

    @staticmethod
    def lru_add(cpu: int) -> int:
        """The CPU's batch of folios on their way to the LRU (tuple of `Folio`)."""
        return PerCpu.BASE + 512 * cpu

    @staticmethod
    def gather_nr(cpu: int) -> int:
        """How many items the CPU's mmu_gather holds."""
        return PerCpu.BASE + 512 * cpu + 1

    @staticmethod
    def gather_page(cpu: int, i: int) -> int:
        """Item *i* of the gather: ``page << 11 | nr << 1 | delayed rmap``."""
        return PerCpu.BASE + 512 * cpu + 2 + i
