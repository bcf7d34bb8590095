"""What a process can ask for: the verbs of the scenario language as kernel entry points.

Every entry returns a `Result`; a negative `ret` is the errno a process would see.  `addr`,
`start` and `end` are virtual page numbers.  User accesses go through `user_access`, which does
what the MMU does: walk, check, and fault.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PTE_AF,
    PTE_RDONLY,
    PTE_VALID,
    PTE_WRITE,
    pte_pfn,
)
from sandbox.machine.offsets import LAST_ENTRY
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Gen,
    Globals,
    Mm,
    bits,
    cas,
    load,
    lock,
    note,
    page_of_pfn,
    store,
    unlock,
    user_store,
)
from sandbox.mm.flags import (
    EBADF,
    EFAULT,
    EINVAL,
    EIO,
    ENOENT,
    EOWNERDEAD,
    FOLL_FORCE,
    FOLL_GET,
    FOLL_LONGTERM,
    FOLL_PIN,
    FOLL_TOUCH,
    FOLL_WRITE,
    MMF_DEAD,
    VM_HUGEPAGE,
    VM_NOHUGEPAGE,
    VM_SHARED,
)
from sandbox.mm.gup import Pages
from sandbox.mm.pgalloc import pmd_is_leaf


class Result(NamedTuple):
    """How an action ended: 0 or a negative errno, and what it printed."""

    ret: int = 0
    out: str | None = None


NO_FILE = -1
"""For `MapRequest.mapping`: a descriptor that is not open."""


class MapRequest(NamedTuple):
    """What mmap is asked for; `base`, `start` and `size` in pages."""

    region: str
    base: int
    start: int
    size: int
    vm_flags: int
    mapping: int = 0
    pgoff: int = 0


class Ring(NamedTuple):
    """A ring as a process names it: what is known of it when the call begins."""

    number: int
    owner: Mm
    """Who made it: its pinned_vm is charged (`ctx->mm_account`)."""
    is_new: bool = False
    registered: Pages = ()
    """The page that was pinned for each entry of its buffer; none while it has no buffer."""
    by_folio: bool = False
    """Whether an entry stands for a folio: then it keeps the head page."""


def uring_id(ring: int) -> str:
    """The id under which the buffer of a ring is held."""
    return f"uring {ring}"


def runs(values: list[int]) -> Iterator[tuple[int, int]]:
    """Run lengths of a list of values."""
    i = 0
    while i < len(values):
        n = 1
        while i + n < len(values) and values[i + n] == values[i]:
            n += 1
        yield values[i], n
        i += n


class SyscallsMixin(KernelPart):
    """Entry points for the scenario language's verbs."""

    supported_orders = 1 << 9
    """Bit per order of anonymous folio the release can be asked for (`mthp`)."""

    # -- user accesses -----------------------------------------------------------------

    def hw_walk(self, mm: Mm, addr: int) -> Gen[tuple[int, int, int]]:
        """The MMU's walk: (leaf word, its value, frame of *addr*); a value of 0 faults."""
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval:
            return 0, 0, 0
        if pmd_is_leaf(pmdval):
            return pmd, pmdval, pte_pfn(pmdval) + (addr & 511)
        ptep = self.pte_offset_map(pmdval, addr)
        pte = yield load(ptep)
        return ptep, pte, pte_pfn(pte)

    def hw_allows(self, word: int, pte: int, write: bool) -> Gen[int]:
        """The entry if the MMU lets the access through, 0 if it faults, -1 to walk again.

        Hardware AF/DBM updates the entry if it is still the one walked.
        """
        if not pte & PTE_VALID:
            return 0
        if not self.hw_afdbm:
            return pte if pte & PTE_AF and not (write and pte & PTE_RDONLY) else 0
        if write and pte & (PTE_RDONLY | PTE_WRITE) == PTE_RDONLY:
            return 0
        new = (pte | PTE_AF) & ~(PTE_RDONLY if write else 0)
        return new if new == pte or (yield cas(word, pte, new)) else -1

    def user_access(self, mm: Mm, addr: int, write: bool, step: int) -> Gen[tuple[int, int]]:
        """One load or store by the process: (0 or -EFAULT, the content version seen)."""
        while True:
            word, pte, pfn = yield from self.hw_walk(mm, addr)
            allowed = yield from self.hw_allows(word, pte, write)
            if allowed < 0:
                continue
            if allowed:
                page = page_of_pfn(pfn)
                if not write:
                    return 0, (yield load(page.data))
                if (yield user_store(page.data, step, mm, word, allowed)):
                    return 0, step
                continue
            ret = yield from self.do_page_fault(mm, addr, write)
            if ret < 0:
                return ret, 0

    def sys_access(
        self,
        mm: Mm,
        start: int,
        end: int,
        write: bool,
        step: int,
        report: bool,
        ring: Ring | None = None,
    ) -> Gen[Result]:
        """Access each page of [start, end) in order; the process dies at the first that it may not.

        *ring* is an io_uring that only this process has open.
        """
        seen: list[tuple[int, int]] = []
        while start < end:
            stop = min((start | LAST_ENTRY) + 1, end)
            dies, found = yield from self.access_pages(mm, start, stop, write, step)
            if dies >= 0:
                return (yield from self.force_sig_fault(mm, dies, ring))
            if seen and found[0][0] == seen[-1][0]:
                value, n = found[0]
                seen[-1], found = (value, seen[-1][1] + n), found[1:]
            seen += found
            start = stop
        return Result(0, " ".join(f"{v}x{n}" for v, n in seen) if report else None)

    def access_pages(
        self, mm: Mm, start: int, end: int, write: bool, step: int
    ) -> Gen[tuple[int, tuple[tuple[int, int], ...]]]:
        """Access pages of one page table: (-1 or where it may not, run lengths of what it saw)."""
        seen = []
        for addr in range(start, end):
            ret, value = yield from self.user_access(mm, addr, write, step)
            if ret < 0:
                return addr, ()
            seen.append(value)
        return -1, tuple(runs(seen))

    def force_sig_fault(self, mm: Mm, addr: int, ring: Ring | None) -> Gen[Result]:
        """SIGSEGV or SIGBUS for an access to *addr*: no process here has a handler, so it ends.

        Unless another thread of it was faster.
        """
        yield note("killed", mm, addr)
        if not (yield load(mm.flags)) & MMF_DEAD:
            yield from self.sys_exit(mm, ring)
        return Result(-EOWNERDEAD)

    # -- settings ----------------------------------------------------------------------

    def sys_mthp(self, order: int, on: bool) -> Gen[Result]:
        """Allow or forbid anonymous folios of an order (the per-size sysfs files)."""
        if not self.supported_orders >> order & 1:
            yield load(Globals.anon_orders)
            return Result(-ENOENT)
        if on:
            yield bits(Globals.anon_orders, 1 << order)
        else:
            yield bits(Globals.anon_orders, 0, 1 << order)
        return Result()

    def sys_shmem(self, order: int, on: bool) -> Gen[Result]:
        """Allow or forbid shmem folios of an order."""
        yield bits(Globals.shmem_orders, on << order, (not on) << order)
        return Result()

    def sys_swap(self, on: bool) -> Gen[Result]:
        """Swap device on or off."""
        return Result((yield from (self.sys_swapon() if on else self.sys_swapoff())))

    def sys_open(self, name: str, nr_pages: int, host: int, chunk: int) -> Gen[Result]:
        """Make a file that mappings can name."""
        return Result((yield from self.open_file(name, nr_pages, host, chunk)))

    def sys_autodrain(self, on: bool) -> Gen[Result]:
        """Drain LRU batches before each recorded state, or not."""
        yield store(Globals.autodrain, int(on))
        return Result()

    def sys_reuse(self, on: bool) -> Gen[Result]:
        """Allocate frames that are freed from here on again, or do not."""
        yield store(Globals.reuse, int(on))
        return Result()

    def sys_drain(self) -> Gen[Result]:
        """Drain this CPU's LRU batch."""
        yield from self.lru_add_drain()
        return Result()

    def sys_settle(self, nr: int) -> Gen[Result]:
        """A process of the recording rig has started: *nr* pages of its own wait for the LRU.

        What waited before was drained while it populated itself.
        """
        yield from self.lru_add_drain()
        for _ in range(nr):
            yield from self.folio_add_lru((yield from self.vma_alloc_folio(0)))
        return Result()

    def sys_nop(self) -> Gen[Result]:
        """An action that concerns the recording rig only."""
        yield note("nop")
        return Result()

    def sys_refused(self, why: str) -> Gen[Result]:
        """An action that could not be meant when its CPU came to it: nothing but its note."""
        yield note("refused", why)
        return Result(-EINVAL, f"refused: {why}")

    # -- processes and mappings ----------------------------------------------------------

    def sys_proc(self, name: str) -> Gen[Result]:
        """Start a process."""
        yield from self.mm_alloc(name)
        return Result()

    def sys_in_new_process(
        self, name: str, function: str, args: tuple[Hashable, ...]
    ) -> Gen[Result]:
        """Start a process, and do a call of which it is the first argument."""
        mm = yield from self.mm_alloc(name)
        result: Result = yield from getattr(self, function)(mm, *args[1:])
        return result

    def sys_fork(self, mm: Mm, name: str) -> Gen[Result]:
        """fork(2)."""
        yield from self.dup_mm(mm, name)
        return Result()

    def sys_exit(self, mm: Mm, ring: Ring | None = None) -> Gen[Result]:
        """exit_group(2), or a kill; *ring* is an io_uring that only this process has open.

        What it has pinned goes with it: on a real kernel some time later (io_ring_exit_work).
        """
        yield from self.exit_mm(mm)
        if ring is not None and ring.registered:  # files are closed after memory (do_exit)
            yield from self.io_release_ubuf(ring)
        return Result()

    def sys_mmap(self, mm: Mm | str, request: MapRequest) -> Gen[Result]:
        """mmap(2), then the advice about huge pages; a name for *mm* starts that process first."""
        if not isinstance(mm, Mm):
            mm = Mm((yield from self.mm_alloc(mm)))
        if request.mapping == NO_FILE:
            yield note("nop")
            return Result(-EBADF)
        mapping, start, end = request.mapping, request.start, request.start + request.size
        if request.vm_flags & VM_SHARED and not mapping:
            mapping = yield from self.shmem_file_setup(request.size)
        yield note("region", mm, request.region, request.base, end - request.base)
        pgoff = request.pgoff if mapping else start
        advice = request.vm_flags & (VM_HUGEPAGE | VM_NOHUGEPAGE)
        vm_flags = request.vm_flags & ~advice
        ret: int = yield from self.mmap_region(mm, start, end, vm_flags, mapping, pgoff)
        if not ret and advice & VM_HUGEPAGE:
            ret = yield from self.madvise_hugepage(mm, start, end)
        elif not ret and advice:
            ret = yield from self.madvise_nohugepage(mm, start, end)
        return Result(ret)

    def sys_munmap(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """munmap(2)."""
        return Result((yield from self.vm_munmap(mm, start, end)))

    def sys_madvise(self, mm: Mm, start: int, end: int, advice: str) -> Gen[Result]:
        """madvise(2) by the name of the advice."""
        if advice in ("populate_read", "populate_write"):
            return Result(
                (yield from self.madvise_populate(mm, start, end, advice == "populate_write"))
            )
        return Result((yield from getattr(self, f"madvise_{advice}")(mm, start, end)))

    def sys_mprotect(self, mm: Mm, start: int, end: int, prot: int) -> Gen[Result]:
        """mprotect(2)."""
        return Result((yield from self.do_mprotect_pkey(mm, start, end, prot)))

    def sys_mlock(self, mm: Mm, start: int, end: int, on: bool) -> Gen[Result]:
        """mlock(2) and munlock(2)."""
        return Result((yield from self.do_mlock(mm, start, end, on)))

    def sys_mremap(
        self, mm: Mm, start: int, end: int, region: str, base: int, new_start: int, dontunmap: bool
    ) -> Gen[Result]:
        """mremap(2) with MREMAP_FIXED | MREMAP_MAYMOVE."""
        yield note("region", mm, region, base, new_start + end - start - base)
        return Result((yield from self.do_mremap(mm, start, end, new_start, dontunmap)))

    # -- pins --------------------------------------------------------------------------

    def sys_pin(
        self, mm: Mm, start: int, end: int, id_: str, kind: str, flags: str, repeat: bool
    ) -> Gen[Result]:
        """pin_user_pages_fast / get_user_pages_fast, kept under an id."""
        foll = FOLL_PIN if kind == "pin" else FOLL_GET
        foll |= (FOLL_WRITE if "w" in flags else 0) | (FOLL_LONGTERM if "l" in flags else 0)
        foll |= FOLL_FORCE if "f" in flags else 0
        pages: Pages
        if repeat:
            pages = ()
            while len(pages) < end - start:
                one = yield from self.gup_fast_fallback(mm, start, 1, foll)
                if not one:
                    break
                pages += one
        else:
            pages = yield from self.gup_fast_fallback(mm, start, end - start, foll)
        if not pages:
            return Result(-EFAULT)
        yield note("hold", id_, "repeat" if repeat else kind, pages, mm)
        return Result(0, f'{{"held":{len(pages)}}}')

    def sys_unpin(self, id_: str, kind: str, pages: Pages) -> Gen[Result]:
        """Release the *pages* that are held under an id; -ENOENT if nothing is."""
        if not pages:
            yield note("nop")
            return Result(-ENOENT)
        yield note("hold_gone", id_, kind, pages)
        yield from self.unpin_user_pages(pages, FOLL_PIN if kind == "pin" else FOLL_GET)
        return Result(0, f'{{"released":{len(pages)}}}')

    # -- splitting and poking -------------------------------------------------------------

    proc_mem_force = True
    """FOLL_FORCE through /proc/PID/mem (Debian's 6.13 and later build it out)."""

    def sys_split(self, mm: Mm, start: int, end: int, order: int) -> Gen[Result]:
        """Write a range to split_huge_pages in debugfs."""
        yield from self.split_huge_pages_pid(mm, start, end, order)
        return Result()

    def sys_poke(self, mm: Mm, start: int, end: int, step: int) -> Gen[Result]:
        """Write through /proc/PID/mem: FOLL_FORCE, then the page (access_remote_vm)."""
        foll = FOLL_GET | FOLL_WRITE | FOLL_TOUCH | (FOLL_FORCE if self.proc_mem_force else 0)
        ret = 0
        yield lock(mm.mmap_lock, READ)
        for addr in range(start, end):
            pages = yield from self._get_user_pages(mm, addr, 1, foll)
            if not pages:
                ret = -EIO
                break
            folio = yield from self.page_folio(pages[0])
            yield (*store(pages[0].data, step), mm)
            yield from self.folio_mark_dirty(folio)
            yield from self.folio_put(folio)
        yield unlock(mm.mmap_lock)
        return Result(ret)

    # -- laboratory --------------------------------------------------------------------

    def sys_fold(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """Ask the contiguous layer to fold each block of [start, end)."""
        yield from self.lab_contpte(mm, start, end, True)
        return Result()

    def sys_unfold(self, mm: Mm, start: int, end: int) -> Gen[Result]:
        """Ask the contiguous layer to unfold each block that touches [start, end)."""
        yield from self.lab_contpte(mm, start, end, False)
        return Result()
