"""UFFDIO_COPY: pages with the caller's bytes in empty places (mm/userfaultfd.c: mfill_atomic).

The verb asks for one page at a time.  Source: 6.12 and 7.2; mm/shmem.c for shared memory.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_MARKER, pfn_pte, pte_mkdirty, pte_mkuffd_wp, pte_mkwrite
from sandbox.machine.part import KernelPart
from sandbox.memory import READ, Folio, Gen, Mapping, Mm, Vma, add, bits, load, lock, store, unlock
from sandbox.mm.flags import (
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOMEM,
    HOST_XFS,
    MM_ANONPAGES,
    MM_SHMEMPAGES,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
    PG_locked,
    PG_uptodate,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result


class UffdCopyMixin(KernelPart):
    """mfill_atomic and what it calls."""

    mfill_by_ops = False
    """7.x: a file's folio is made and queued for the LRU by vm_uffd_ops, and unlocked under the
    entry's lock."""

    def sys_uffd_copy(self, mm: Mm, start: int, end: int, step: int, wp: bool) -> Gen[Result]:
        """Fill empty places with new pages that hold *step*; -EEXIST at the first that is full.

        -ENOENT where nobody watches, -EINVAL for a file that is not in memory.
        """
        for addr in range(start, end):
            vma = yield from self.uffd_lock_vma(mm, addr)
            if vma is None:
                return Result(-ENOENT)
            err = -ENOENT
            if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                err = yield from self.mfill_atomic(mm, vma, addr, step, wp)
            yield unlock(vma.vm_lock)
            if err:
                return Result(err)
        return Result()

    def uffd_lock_vma(self, mm: Mm, addr: int) -> Gen[Vma | None]:
        """The VMA of *addr*, locked for reading (`uffd_lock_vma`, 6.9)."""
        yield lock(mm.mmap_lock, READ)
        vma: Vma | None = yield from self.find_vma(mm, addr)
        if vma is not None:
            if not (yield load(vma.vm_flags)) & VM_SHARED:
                yield from self.anon_vma_prepare(vma)
            yield lock(vma.vm_lock, READ)
        yield unlock(mm.mmap_lock)
        return vma

    def mfill_atomic(self, mm: Mm, vma: Vma, addr: int, step: int, wp: bool) -> Gen[int]:
        """One page; 0 or a negative errno.  A private mapping of a file gets a page of its own."""
        mapping = Mapping((yield load(vma.vm_file)))
        if mapping and (yield load(mapping.host)) == HOST_XFS:
            return -EINVAL
        pmd = yield from self.pmd_alloc(mm, addr)
        yield from self.pte_alloc(mm, pmd, addr)
        if pmd_is_leaf((yield load(pmd))):
            return -EEXIST
        if (yield load(vma.vm_flags)) & VM_SHARED:
            return (yield from self.shmem_mfill_atomic_pte(vma, pmd, addr, step, wp))
        return (yield from self.mfill_atomic_pte_copy(vma, pmd, addr, step, wp))

    def mfill_atomic_pte_copy(self, vma: Vma, pmd: int, addr: int, step: int, wp: bool) -> Gen[int]:
        """A fresh page with the caller's bytes, then its entry; freed if the place is full."""
        folio = yield from self.vma_alloc_folio(0)
        yield store(folio.page(0).data, step)
        yield bits(folio.flags, PG_uptodate)
        err: int = yield from self.mfill_atomic_install_pte(vma, pmd, addr, folio, wp, False)
        if err:
            yield from self.folio_put(folio)
        return err

    def shmem_mfill_atomic_pte(
        self, vma: Vma, pmd: int, addr: int, step: int, wp: bool
    ) -> Gen[int]:
        """The same with the page in the file as well; -EEXIST also if the file has one there.

        Behind the file's end 7.x makes no folio.
        """
        mapping = Mapping((yield load(vma.vm_file)))
        index = yield from self.linear_page_index(vma, addr)
        beyond = index >= (yield load(mapping.i_size))
        if beyond and self.mfill_by_ops:
            return -ENOMEM
        folio = yield from self.vma_alloc_folio(0)
        yield store(folio.page(0).data, step)
        yield bits(folio.flags, PG_uptodate)
        err: int = -EFAULT if beyond else 0
        if not err:
            err = yield from self.shmem_add_to_page_cache(folio, mapping, index)
        if not err:
            if self.mfill_by_ops:
                yield from self.folio_add_lru(folio)
            err = yield from self.mfill_atomic_install_pte(vma, pmd, addr, folio, wp, True)
            if err:
                yield from self.filemap_remove_folio(mapping, folio)
            if err or not self.mfill_by_ops:
                yield bits(folio.flags, 0, PG_locked)
        if err:
            yield from self.folio_put(folio)
        return err

    def mfill_atomic_install_pte(
        self, vma: Vma, pmd: int, addr: int, folio: Folio, wp: bool, cached: bool
    ) -> Gen[int]:
        """rmap, LRU, rss, entry; the allocation's reference becomes the mapping's."""
        mm = Mm((yield load(vma.vm_mm)))
        entry = pte_mkdirty(pfn_pte(folio.pfn, (yield from self.vm_page_prot(vma))))
        if (yield load(vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(entry)
        if wp:
            entry = pte_mkuffd_wp(entry)
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return -EEXIST
        err = yield from self.mfill_refused(vma, addr, ptep)
        if err:
            yield unlock(ptl)
            return err
        if cached:
            if not self.mfill_by_ops:
                yield from self.folio_add_lru(folio)
            yield from self.folio_add_file_rmap_ptes(folio, folio.page(0), 1, vma)
        else:
            yield from self.folio_add_new_anon_rmap(folio, vma, addr)
            yield from self.folio_add_lru_vma(folio, vma)
        yield add(mm.rss_stat(MM_SHMEMPAGES if cached else MM_ANONPAGES), 1)
        yield from self.set_pte_at(mm, addr, ptep, entry)
        if cached and self.mfill_by_ops:
            yield bits(folio.flags, 0, PG_locked)
        yield unlock(ptl)
        return 0

    def mfill_refused(self, vma: Vma, addr: int, ptep: int) -> Gen[int]:
        """-EFAULT behind the file's end, -EEXIST where more is than a marker; under the lock."""
        mapping = Mapping((yield load(vma.vm_file)))
        if mapping:
            index = yield from self.linear_page_index(vma, addr)
            if index >= (yield load(mapping.i_size)):  # mfill_file_over_size()
                return -EFAULT
        old = yield from self.ptep_get(ptep)
        return -EEXIST if old and not old & PTE_MARKER else 0
