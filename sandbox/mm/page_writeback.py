"""Writing dirty page-cache folios, so that they are clean (mm/page-writeback.c, fs/iomap; 6.12).

The device is a fast one: a write is over when the call returns.  What was written is kept as
values of the file's second array.
"""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    pte_dirty,
    pte_mkclean,
    pte_present,
    pte_write,
    pte_wrprotect,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Mapping,
    Mm,
    Vma,
    bits,
    load,
    lock_bit,
    store,
    unlock,
)
from sandbox.mm.flags import HOST_XFS, VM_SHARED, PG_dirty, PG_locked, PG_writeback
from sandbox.mm.swap import PAGEVEC_SIZE
from sandbox.mm.xarray import xa_of_disk
from sandbox.syscalls import Result


class PageWritebackMixin(KernelPart):
    """fsync and what it does to entries."""

    def sys_fsync(self, mapping: Mapping, nr_pages: int) -> Gen[Result]:
        """Write a file's dirty folios back; shared memory has nowhere to go (noop_fsync)."""
        if (yield load(mapping.host)) == HOST_XFS:
            yield from self.filemap_write_and_wait_range(mapping, 0, nr_pages)
        return Result()

    def filemap_write_and_wait_range(self, mapping: Mapping, index: int, end: int) -> Gen[None]:
        """Write what is dirty of the file pages [index, end), whole folios of it.

        A batch of them that is given back drains the LRU batches first (`__folio_batch_release`).
        """
        at, drained = index, False
        while at < end:
            folios, at = yield from self.filemap_get_folios_tag(mapping, at, end, PG_dirty)
            for folio, _ in folios:
                yield lock_bit(folio.flags, PG_locked)
                yield from self.iomap_writepage(mapping, folio)
            drained = yield from self.folio_batch_release(folios, drained)
        yield from self._filemap_fdatawait_range(mapping, index, end)

    def _filemap_fdatawait_range(self, mapping: Mapping, index: int, end: int) -> Gen[None]:
        """Wait for what is being written; the device is done with it meanwhile."""
        drained = False
        while index < end:
            folios, index = yield from self.filemap_get_folios_tag(
                mapping, index, end, PG_writeback
            )
            for folio, _ in folios:
                if (yield load(folio.flags)) & PG_writeback:  # another CPU may wait, too
                    yield from self.folio_end_writeback(folio)
            drained = yield from self.folio_batch_release(folios, drained)

    def filemap_get_folios_tag(
        self, mapping: Mapping, index: int, end: int, tag: int
    ) -> Gen[tuple[tuple[tuple[Folio, int], ...], int]]:
        """A batch of folios with a tag, each with a reference, and where to go on (mm/filemap.c).

        The tag that a slot has is read off the folio here: PG_dirty or PG_writeback.
        """
        batch: tuple[tuple[Folio, int], ...] = ()
        slots = yield load(mapping.i_pages)
        while index < end and len(batch) < PAGEVEC_SIZE:
            entry = yield load(slots + index)
            if entry <= 0:
                index += 1
                continue
            folio = Folio(entry)
            next_ = (yield load(folio.index)) + folio.nr_pages
            if not (yield load(folio.flags)) & tag:
                index = max(index + 1, next_)
            elif (yield from self.folio_try_get(folio)):
                if (yield load(slots + index)) == entry:
                    batch, index = (*batch, (folio, 1)), max(index + 1, next_)
                else:
                    yield from self.folio_put(folio)
        return batch, index

    def iomap_writepage(self, mapping: Mapping, folio: Folio) -> Gen[None]:
        """Clean a locked folio, begin to write it and unlock it (`iomap_writeback_folio`)."""
        ours = (yield load(folio.mapping)) == mapping
        if not ours or not (yield from self.folio_clear_dirty_for_io(folio)):
            yield bits(folio.flags, 0, PG_locked)
            return
        yield from self.ifs_alloc(folio)
        yield bits(folio.flags, PG_writeback)
        yield bits(folio.flags, 0, PG_locked)
        disk = (yield load(mapping.i_disk)) + (yield load(folio.index))
        for i in range(folio.nr_pages):
            yield store(disk + i, xa_of_disk((yield load(folio.page(i).data))))

    def folio_clear_dirty_for_io(self, folio: Folio) -> Gen[bool]:
        """Make the entries clean and read-only first, then the folio; was it dirty?"""
        if (yield from self.folio_mkclean(folio)):
            yield from self.folio_mark_dirty(folio)
        return bool((yield bits(folio.flags, 0, PG_dirty)) & PG_dirty)

    def folio_mkclean(self, folio: Folio) -> Gen[bool]:
        """Write-protect and clean a locked folio's entries in shared mappings (mm/rmap.c)."""
        word = yield from self.rmap_lock(folio, READ)
        cleaned = False
        for vma in (yield from self.folio_vmas(folio)):
            if not (yield load(vma.vm_flags)) & VM_SHARED:  # invalid_mkclean_vma()
                continue
            addr, end, index = yield from self.vma_address(folio, vma)
            while addr < end:
                next_ = min((addr | 511) + 1, end)
                if (yield from self.page_vma_mkclean_one(folio, vma, addr, next_, index)):
                    cleaned = True
                index += next_ - addr
                addr = next_
        yield unlock(word)
        return cleaned

    def page_vma_mkclean_one(
        self, folio: Folio, vma: Vma, addr: int, end: int, index: int
    ) -> Gen[bool]:
        """The entries of one table; True when one was changed."""
        mm = Mm((yield load(vma.vm_mm)))
        pmd = yield from self.pmd_offset(mm, addr)
        ptep, ptl = (yield from self.pte_offset_map_lock(mm, pmd, addr)) if pmd else (0, 0)
        if not ptl:
            return False
        cleaned = False
        for i in range(end - addr):
            entry = yield from self.ptep_get(ptep + i)
            if not pte_present(entry) or entry >> PFN_SHIFT != folio.page(index + i).pfn:
                continue
            if pte_dirty(entry) or pte_write(entry):
                entry = yield from self.ptep_clear_flush(mm, addr + i, ptep + i)
                entry = pte_mkclean(pte_wrprotect(entry))
                yield from self.set_pte_at(mm, addr + i, ptep + i, entry)
                cleaned = True
        yield unlock(ptl)
        return cleaned
