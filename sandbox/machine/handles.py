"""Handles: addresses that know the names of their fields, never a value.

`struct page` is 16 words and 16-aligned, so ``pfn = address >> 4``; the low four bits of a
`Folio` carry its order, as a tagged pointer.  A property is the address of a word.
"""

from __future__ import annotations

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
        """Unique id while the mm lives (6.15 and later)."""
        return self + 1

    @property
    def write_protect_seq(self) -> int:
        """Odd while fork copies a COW mapping of this mm."""
        return self + 2

    @property
    def mmap_lock(self) -> int:
        """Reader-writer lock over the layout of the address space."""
        return self + 3

    def rss_stat(self, member: int) -> int:
        """Word of one counter: MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES."""
        return self + 4 + member

    @property
    def locked_vm(self) -> int:
        """Pages in VM_LOCKED mappings."""
        return self + 8

    @property
    def pinned_vm(self) -> int:
        """Pages accounted as pinned."""
        return self + 9

    @property
    def mm_mt(self) -> int:
        """The first VMA in address order; the others follow by `vm_next`.

        What the kernel keeps in a maple tree (mm_types.h).
        """
        return self + 10

    @property
    def page_table_lock(self) -> int:
        """Protects the top level of the page tables."""
        return self + 11

    @property
    def mm_users(self) -> int:
        """How many threads use the mm."""
        return self + 12

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
        """First virtual page."""
        return self + 0

    @property
    def vm_end(self) -> int:
        """Virtual page after the last."""
        return self + 1

    @property
    def vm_flags(self) -> int:
        """VM_ flags."""
        return self + 2

    @property
    def anon_vma(self) -> int:
        """anon_vma of fresh pages, 0 before the first anonymous page."""
        return self + 3

    @property
    def vm_pgoff(self) -> int:
        """Page offset of vm_start in what is mapped."""
        return self + 4

    @property
    def vm_file(self) -> int:
        """address_space of the mapped file, 0 for anonymous memory."""
        return self + 5

    @property
    def vm_lock(self) -> int:
        """Reader-writer lock of this VMA alone."""
        return self + 6

    @property
    def vm_mm(self) -> int:
        """The mm this VMA belongs to."""
        return self + 7

    @property
    def anon_vma_chain(self) -> int:
        """The newest `Avc` by which this VMA hangs on an anon_vma; others follow by `same_vma`."""
        return self + 8

    @property
    def vm_anon_pgoff(self) -> int:
        """Index of vm_start among the VMA's anonymous pages (its own since 7.3)."""
        return self + 9

    @property
    def vm_next(self) -> int:
        """The next VMA in address order, 0 after the last."""
        return self + 10

    @property
    def shared_next(self) -> int:
        """The next VMA that maps the same file (`shared.rb`)."""
        return self + 11

    @property
    def shared_prev(self) -> int:
        """The one before it."""
        return self + 12


class Avc(int):
    """Address of an `anon_vma_chain`: the link between a VMA and an anon_vma."""

    __slots__ = ()

    @property
    def vma(self) -> int:
        """The VMA."""
        return self + 0

    @property
    def anon_vma(self) -> int:
        """The anon_vma that the VMA hangs on."""
        return self + 1

    @property
    def same_vma(self) -> int:
        """The next link of the same VMA: the one made before it."""
        return self + 2

    @property
    def rb_next(self) -> int:
        """The next link in the anon_vma's tree."""
        return self + 3

    @property
    def rb_prev(self) -> int:
        """The one before it."""
        return self + 4


class AnonVma(int):
    """Address of an `anon_vma`."""

    __slots__ = ()

    @property
    def rwsem(self) -> int:
        """Lock over the tree."""
        return self + 0

    @property
    def rb_root(self) -> int:
        """The first `Avc` to a VMA whose pages may belong to this anon_vma; see `Avc.rb_next`.

        The kernel's is an interval tree; a walk of ours visits the links in the order in which
        they were made.
        """
        return self + 1

    @property
    def rb_last(self) -> int:
        """The last of them."""
        return self + 2


class Mapping(int):
    """Address of an `address_space` (page cache of a file or of shared memory)."""

    __slots__ = ()

    @property
    def i_mmap_rwsem(self) -> int:
        """Lock over the mappings of the file."""
        return self + 0

    @property
    def i_pages(self) -> int:
        """Address of the array of page-cache slots."""
        return self + 1

    @property
    def nrpages(self) -> int:
        """Pages in the cache."""
        return self + 2

    @property
    def xa_lock(self) -> int:
        """Lock over the slots."""
        return self + 3

    @property
    def i_mmap(self) -> int:
        """The first VMA that maps the file; the others follow by `shared_next`."""
        return self + 4

    @property
    def i_mmap_last(self) -> int:
        """The last of them."""
        return self + 8

    @property
    def host(self) -> int:
        """What is behind it: HOST_SHMEM, HOST_TMPFS or HOST_XFS."""
        return self + 5

    @property
    def i_size(self) -> int:
        """Size of the file in pages (`i_size_read` of its inode)."""
        return self + 6

    @property
    def i_sb_list(self) -> int:
        """The file that was made before it, 0 for the first."""
        return self + 7


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


MAX_CPUS = 4


class PerCpu:
    """Addresses of the per-CPU words."""

    BASE = 32
    SIZE = 544
    """Words from one CPU's to the next."""

    @staticmethod
    def cpu_of(addr: int) -> int:
        """The CPU that a per-CPU word belongs to."""
        return (addr - PerCpu.BASE) // PerCpu.SIZE

    @staticmethod
    def lru_add_nr(cpu: int) -> int:
        """How many folios are in the CPU's batch on their way to the LRU."""
        return PerCpu.BASE + PerCpu.SIZE * cpu

    @staticmethod
    def lru_add_folio(cpu: int, i: int) -> int:
        """Folio *i* of the batch."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + 512 + i

    @staticmethod
    def gather_nr(cpu: int) -> int:
        """How many items the CPU's mmu_gather holds."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + 1

    @staticmethod
    def gather_page(cpu: int, i: int) -> int:
        """Item *i* of the gather: ``page << 11 | nr << 1 | delayed rmap``."""
        return PerCpu.BASE + PerCpu.SIZE * cpu + 2 + i
