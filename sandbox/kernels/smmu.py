"""A device that shares a process's page tables (SMMU, ATS) and cannot set bits in entries.

Piotr Jaroszynski, 3 Mar 2026, <20260303063751.2531716-1-pjaroszynski@nvidia.com>; 97c5550b7631.
CPUs set the access flag and dirty state by themselves.  The device, whose accesses are the verb
`device`, looks at one descriptor and takes a fault (iommu_sva_handle_mm, handle_mm_fault) when that
one does not allow the access.  It gives up after `MAX_FAULTS` faults for one access, which a real
one does not.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_AF, PTE_RDONLY, PTE_VALID
from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Gen, Mm, load, note, page_of_pfn, user_store
from sandbox.mm.flags import EFAULT
from sandbox.syscalls import Result, runs

MAX_FAULTS = 4


class Smmu(Kernel):
    """CPUs with hardware update of access flag and dirty state, and a device without."""

    hw_afdbm = True

    def sys_device(self, mm: Mm, start: int, end: int, write: bool, step: int) -> Gen[Result]:
        """The device accesses each page of [start, end) in order."""
        seen = []
        for addr in range(start, end):
            ret, value = yield from self.device_access(mm, addr, write, step)
            if ret < 0:
                return Result(ret)
            seen.append(value)
        return Result(0, None if write else " ".join(f"{v}x{n}" for v, n in runs(seen)))

    def device_allows(self, pte: int, write: bool) -> bool:
        """The device goes by the descriptor as it is: valid, young, not read-only for a write."""
        needs = PTE_VALID | PTE_AF
        return pte & (needs | (PTE_RDONLY if write else 0)) == needs

    def device_access(self, mm: Mm, addr: int, write: bool, step: int) -> Gen[tuple[int, int]]:
        """One access: (0 or an errno, the content version); -EFAULT when faults do not help."""
        faults = 0
        while faults < MAX_FAULTS:
            word, pte, pfn = yield from self.hw_walk(mm, addr)
            if self.device_allows(pte, write):
                page = page_of_pfn(pfn)
                if not write:
                    return 0, (yield load(page.data))
                if (yield user_store(page.data, step, mm, word, pte)):
                    return 0, step
                continue
            ret = yield from self.do_page_fault(mm, addr, write)
            if ret < 0:
                return ret, 0
            faults += 1
        yield note("warn", "the fault was handled and comes back", addr)
        return -EFAULT, 0


class Linux615Smmu(Smmu, Linux615):
    """Linux 6.15 and a device: the fault handler looks at the gathered entry."""

    id = "6.15-smmu"
    title = "Linux 6.15 and a device"
    summary = "As 6.15; CPUs set young and dirty in hardware, the `device` cannot."


class Linux72Smmu(Smmu, Linux72):
    """Linux 7.2 and a device: the fault handler looks at every descriptor."""

    id = "7.2-smmu"
    title = "Linux 7.2 and a device"
    summary = "As 7.2; CPUs set young and dirty in hardware, the `device` cannot."
