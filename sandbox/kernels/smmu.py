"""A device that shares a process's page tables (SMMU, ATS) and cannot set bits in entries.

Piotr Jaroszynski, 3 Mar 2026, <20260303063751.2531716-1-pjaroszynski@nvidia.com>; 97c5550b7631.
CPU 0 sets the access flag and dirty state by itself.  CPU 1 stands for the device: it looks at one
descriptor and takes a fault (iommu_sva_handle_mm, handle_mm_fault) when that one does not allow
the access.  It gives up after `MAX_FAULTS` faults for one access, which a real one does not.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_AF, PTE_RDONLY, PTE_VALID
from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Gen, Mm, note
from sandbox.mm.flags import EFAULT

DEVICE = 1
"""The CPU that is none."""
MAX_FAULTS = 4


class Smmu(Kernel):
    """CPU 1 is a device without hardware update of access flag and dirty state."""

    hw_afdbm = True

    def hw_allows(self, word: int, pte: int, write: bool) -> Gen[int]:
        """The device goes by the descriptor as it is: valid, young, not read-only for a write."""
        if self.cpu != DEVICE:
            return (yield from super().hw_allows(word, pte, write))
        needs = PTE_VALID | PTE_AF
        return pte if pte & (needs | (PTE_RDONLY if write else 0)) == needs else 0

    def user_access(self, mm: Mm, addr: int, write: bool, step: int) -> Gen[tuple[int, int]]:
        """One access; the device's ends with -EFAULT when faults do not help."""
        if self.cpu == DEVICE:
            for _ in range(MAX_FAULTS):
                word, pte, _pfn = yield from self.hw_walk(mm, addr)
                if (yield from self.hw_allows(word, pte, write)):
                    break
                yield from self.do_page_fault(mm, addr, write)
            else:
                yield note("warn", "the fault was handled and comes back", addr)
                return -EFAULT, 0
        return (yield from super().user_access(mm, addr, write, step))


class Linux615Smmu(Smmu, Linux615):
    """Linux 6.15 and a device: the fault handler looks at the gathered entry."""

    id = "6.15-smmu"
    title = "Linux 6.15, CPU 1 is a device"
    summary = "As 6.15; CPU 0 sets young and dirty in hardware, CPU 1 (a device) cannot."


class Linux72Smmu(Smmu, Linux72):
    """Linux 7.2 and a device: the fault handler looks at every descriptor."""

    id = "7.2-smmu"
    title = "Linux 7.2, CPU 1 is a device"
    summary = "As 7.2; CPU 0 sets young and dirty in hardware, CPU 1 (a device) cannot."
