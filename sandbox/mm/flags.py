"""Flag bits by their kernel names: page flags, VM_, MMF_, FOLL_, FAULT_FLAG_, counters.

Source: include/linux/{page-flags,mm,mm_types,sched/coredump}.h; the bit numbers are ours.
"""

from __future__ import annotations

from sandbox.fields import FREE_FRAME

PG_locked = 1 << 0
PG_referenced = 1 << 1
PG_uptodate = 1 << 2
PG_dirty = 1 << 3
PG_lru = 1 << 4
PG_active = 1 << 5
PG_workingset = 1 << 6
PG_reserved = 1 << 7
PG_private = 1 << 8
PG_swapcache = 1 << 9
PG_swapbacked = 1 << 10
PG_unevictable = 1 << 11
PG_mlocked = 1 << 12
PG_anon = 1 << 13
"""Stands for the PAGE_MAPPING_ANON tag of folio->mapping."""
PG_partially_mapped = 1 << 14
PG_large_rmappable = 1 << 15
PG_ksm = 1 << 16
PG_buddy = FREE_FRAME
"""Free: the page type the allocator gives pages it owns."""
PG_anon_exclusive = 1 << 18
PG_hwpoison = 1 << 19
PG_writeback = 1 << 20
PG_readahead = PG_reclaim = 1 << 21

MLOCK_COUNT_SHIFT = 48
MLOCK_COUNT_MASK = 0xFF << MLOCK_COUNT_SHIFT
"""folio->mlock_count, which the kernel keeps in the list words of a folio that is unevictable."""

HOST_SHMEM, HOST_TMPFS, HOST_XFS = 1, 2, 3
"""What is behind a page cache: the kernel tells by the inode's operations."""

VM_READ = 1
VM_WRITE = 2
VM_EXEC = 4
VM_SHARED = 8
VM_DONTCOPY = 16
VM_LOCKED = 32
VM_HUGEPAGE = 64
VM_NOHUGEPAGE = 128
VM_WIPEONFORK = 256
VM_UFFD_WP = 512
VM_MAYWRITE = 1024
VM_MAYSHARE = 2048
VM_ACCOUNT = 4096
VM_GROWSDOWN = 8192
VM_STACK_INCOMPLETE_SETUP = 16384
"""A stack that exec is still moving (VM_RAND_READ | VM_SEQ_READ, which nobody else combines)."""
VM_UFFD_WP_ASYNC = 32768
"""Stands for UFFD_FEATURE_WP_ASYNC of the VMA's userfaultfd context."""
VM_MERGEABLE = 65536

MMF_HAS_PINNED = 1
MMF_DEAD = 2

MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES = range(4)

FOLL_WRITE = 1
FOLL_GET = 2
FOLL_PIN = 4
FOLL_LONGTERM = 8
FOLL_FORCE = 16
FOLL_TOUCH = 32

FAULT_FLAG_WRITE = 1
FAULT_FLAG_UNSHARE = 2
FAULT_FLAG_VMA_LOCK = 4
VM_FAULT_RETRY = 0x400
"""From a fault handler: what it needs cannot be had under the VMA's lock; again, differently."""

GUP_PIN_COUNTING_BIAS = 1024
ENTIRELY_MAPPED = 0x800000
FOLIO_PAGES_MAPPED = ENTIRELY_MAPPED - 1

MM_ID_LOCK = 1 << 31
"""Top bit of `_mm_id[0]`: the bit spinlock of the folio's mapcounts."""
MM_ID_SHARED = 1 << 31
"""Top bit of `_mm_id[1]`: the folio may be mapped by several mms."""
MM_ID_MASK = MM_ID_LOCK - 1

EPERM, ENOENT, EIO, ENOMEM, EFAULT, EBUSY, EINVAL, EAGAIN, EOPNOTSUPP = (
    1,
    2,
    5,
    12,
    14,
    16,
    22,
    11,
    95,
)
EEXIST, ENXIO, EACCES, EOWNERDEAD, ENOTRECOVERABLE, EBADF = 17, 6, 13, 130, 131, 9


def is_cow_mapping(vm_flags: int) -> bool:
    """Private and possibly writable (`is_cow_mapping`, include/linux/mm.h)."""
    return vm_flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE
