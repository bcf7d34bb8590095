"""Handles of what maps pages: a process, its VMAs, anon_vmas, and the cache of a file.

As those in `handles` they are addresses that know the names of their fields, never a value.
"""

from __future__ import annotations


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

    @property
    def mmlist(self) -> int:
        """The next mm that may have swap entries (kernel/fork.c, mm/swapfile.c)."""
        return self + 13

    @property
    def mmlist_prev(self) -> int:
        """The mm before it on that list (1 stands for init_mm); 0 while it is not on it."""
        return self + 14

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

    @property
    def swap_readahead_info(self) -> int:
        """Page of the last fault on swap, window and hits (mm/swap_state.c: SWAP_RA_VAL)."""
        return self + 13


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
    def i_disk(self) -> int:
        """An array like `i_pages` of what is written of the file, as values; 0: in memory alone."""
        return self + 9

    @property
    def f_count(self) -> int:
        """Descriptors that keep the file; VMAs are counted by being on `i_mmap`."""
        return self + 10

    @property
    def f_ra_start(self) -> int:
        """First page of the last window of readahead (`file->f_ra`: a file is opened once)."""
        return self + 11

    @property
    def f_ra_size(self) -> int:
        """Pages of that window."""
        return self + 12

    @property
    def f_ra_async_size(self) -> int:
        """Pages of it that are left when the next window is to be read."""
        return self + 13

    @property
    def f_ra_order(self) -> int:
        """Order of its folios (6.16 and later)."""
        return self + 14

    @property
    def i_sb_list(self) -> int:
        """The file that was made before it, 0 for the first."""
        return self + 7
