"""What every modelled kernel is: the mixins of the tree, put together.

A release is a subclass that overrides what it changed; a proposal overrides what its diff
changes.  Methods are the kernel's functions under their own names (a leading double underscore
is written single, for Python would mangle it).
"""

from __future__ import annotations

from typing import ClassVar

from sandbox.arch.generic import PgtableMixin
from sandbox.fs.exec import ExecMixin
from sandbox.fs.io_uring import IoUringMixin
from sandbox.fs.iomap import IomapMixin
from sandbox.fs.task_mmu import TaskMmuMixin
from sandbox.kernel.fork import ForkMixin
from sandbox.mm.collapse_file import CollapseFileMixin
from sandbox.mm.filemap import FilemapMixin
from sandbox.mm.gup import GupMixin
from sandbox.mm.huge_fault import HugeFaultMixin
from sandbox.mm.huge_memory import HugeMemoryMixin
from sandbox.mm.huge_pmd_split import HugePmdSplitMixin
from sandbox.mm.huge_split import HugeSplitMixin
from sandbox.mm.huge_uffd_move import UffdMoveHugeMixin
from sandbox.mm.khugepaged import KhugepagedMixin
from sandbox.mm.ksm import KsmMixin
from sandbox.mm.lazyfree import LazyfreeMixin
from sandbox.mm.madvise import MadviseMixin
from sandbox.mm.madvise_huge import MadviseHugeMixin
from sandbox.mm.memory import MemoryMixin
from sandbox.mm.memory_failure import MemoryFailureMixin
from sandbox.mm.migrate import MigrateMixin
from sandbox.mm.mlock import MlockMixin
from sandbox.mm.mmap import MmapMixin
from sandbox.mm.mprotect import MprotectMixin
from sandbox.mm.mremap import MremapMixin
from sandbox.mm.page_io import PageIoMixin
from sandbox.mm.page_writeback import PageWritebackMixin
from sandbox.mm.pgalloc import PgallocMixin
from sandbox.mm.populate import PopulateMixin
from sandbox.mm.readahead import ReadaheadMixin
from sandbox.mm.rmap import RmapMixin
from sandbox.mm.rmap_unmap import RmapUnmapMixin
from sandbox.mm.rmap_walk import RmapWalkMixin
from sandbox.mm.shmem import ShmemMixin
from sandbox.mm.shmem_swap import ShmemSwapMixin
from sandbox.mm.swap import SwapMixin
from sandbox.mm.swap_cluster import SwapClusterMixin
from sandbox.mm.swap_state import SwapStateMixin
from sandbox.mm.swapfile import SwapfileMixin
from sandbox.mm.swapoff import SwapoffMixin
from sandbox.mm.truncate import TruncateMixin
from sandbox.mm.userfaultfd import UserfaultfdMixin
from sandbox.mm.userfaultfd_copy import UffdCopyMixin
from sandbox.mm.userfaultfd_move import UffdMoveMixin
from sandbox.mm.vma import VmaMixin
from sandbox.mm.vmscan import VmscanMixin
from sandbox.syscalls import SyscallsMixin


class Kernel(
    SyscallsMixin,
    ExecMixin,
    IoUringMixin,
    IomapMixin,
    TaskMmuMixin,
    PageWritebackMixin,
    ReadaheadMixin,
    TruncateMixin,
    KsmMixin,
    UserfaultfdMixin,
    UffdCopyMixin,
    UffdMoveMixin,
    UffdMoveHugeMixin,
    ForkMixin,
    HugeFaultMixin,
    HugeMemoryMixin,
    HugePmdSplitMixin,
    HugeSplitMixin,
    KhugepagedMixin,
    CollapseFileMixin,
    LazyfreeMixin,
    MadviseHugeMixin,
    MemoryFailureMixin,
    MigrateMixin,
    RmapUnmapMixin,
    RmapWalkMixin,
    SwapfileMixin,
    SwapClusterMixin,
    SwapoffMixin,
    SwapStateMixin,
    PageIoMixin,
    VmscanMixin,
    MemoryMixin,
    FilemapMixin,
    ShmemMixin,
    ShmemSwapMixin,
    GupMixin,
    PopulateMixin,
    MadviseMixin,
    MprotectMixin,
    MremapMixin,
    MlockMixin,
    MmapMixin,
    VmaMixin,
    RmapMixin,
    SwapMixin,
    PgallocMixin,
    PgtableMixin,
):
    """A modelled kernel as one CPU sees it; holds constants only, never state."""

    id: ClassVar[str] = ""
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    has_large_mapcount: ClassVar[bool] = False
    """`_large_mapcount` exists (6.10 and later)."""
    has_mm_id: ClassVar[bool] = False
    """MM owner tracking exists (6.15 and later)."""
    has_contpte: ClassVar[bool] = False
    """The arm64 contiguous-PTE layer is there."""

    rules_off: ClassVar[dict[str, str]] = {}
    """Rules that cannot be meant for this kernel, and why."""

    def __init__(self, cpu: int = 0) -> None:
        self.cpu = cpu

    def __setattr__(self, name: str, value: object) -> None:
        """A kernel object has its CPU and no state: nothing would go back over it."""
        if name != "cpu":
            raise AttributeError(
                f"{name} is set on a kernel object, which keeps no state: "
                "a word or a local variable can"
            )
        super().__setattr__(name, value)
