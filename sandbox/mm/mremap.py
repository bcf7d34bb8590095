"""mremap(2) (mm/mremap.c, 6.6: one entry at a time)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_MARKER, PTE_UFFD_WP, pte_clear_uffd_wp, pte_present
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mm, Vma, alloc, load, lock, store, tlb_flush, unlock
from sandbox.mm.flags import EFAULT, VM_LOCKED, VM_UFFD_WP, VM_UFFD_WP_ASYNC
from sandbox.mm.pgalloc import pmd_is_leaf


class MremapMixin(KernelPart):
    """Moving a mapping; counters never change."""

    def do_mremap(self, mm: Mm, start: int, end: int, new_start: int, dontunmap: bool) -> Gen[int]:
        """Move [start, end) to *new_start*; with *dontunmap* the old VMA stays, empty."""
        yield lock(mm.mmap_lock)
        size = end - start
        yield from self.do_vmi_munmap(mm, new_start, new_start + size)
        vmas = yield from self.vmas_in(mm, start, end)
        if not vmas or (yield load(vmas[0].vm_start)) > start or (yield load(vmas[0].vm_end)) < end:
            yield unlock(mm.mmap_lock)
            return -EFAULT
        ret = yield from self.move_vma(mm, vmas[0], start, size, new_start, dontunmap)
        yield unlock(mm.mmap_lock)
        return ret

    def move_vma(
        self, mm: Mm, vma: Vma, start: int, size: int, new_start: int, dontunmap: bool
    ) -> Gen[int]:
        """Make the new VMA, move the entries, unmap the old range."""
        yield from self.vma_start_write(vma)
        new = yield from self.copy_vma(mm, vma, start, size, new_start)
        yield from self.move_page_tables(mm, vma, new, start, new_start, size)
        if dontunmap:
            yield store(vma.vm_flags, (yield load(vma.vm_flags)) & ~VM_LOCKED)
            if start == (yield load(vma.vm_start)) and start + size == (yield load(vma.vm_end)):
                yield from self.unlink_anon_vmas(vma)
                yield store(vma.anon_vma, 0)
            return 0
        return (yield from self.do_vmi_munmap(mm, start, start + size))

    def copy_vma(self, mm: Mm, vma: Vma, start: int, size: int, new_start: int) -> Gen[Vma]:
        """A VMA at the new place; its pgoff moves along so that anon indices stay right."""
        moved = start - (yield load(vma.vm_start))
        pgoff = (yield load(vma.vm_pgoff)) + moved
        anon_pgoff = (yield load(vma.vm_anon_pgoff)) + moved
        anon_vma = yield load(vma.anon_vma)
        if not anon_vma and not (yield load(vma.vm_file)):
            pgoff = anon_pgoff = new_start
        new = Vma((yield alloc(Struct.VMA)))
        for word, value in (
            (new.vm_mm, mm),
            (new.vm_start, new_start),
            (new.vm_end, new_start + size),
            (new.vm_pgoff, pgoff),
            (new.vm_anon_pgoff, anon_pgoff),
            # without UFFD_FEATURE_EVENT_REMAP the new place is not registered
            (new.vm_flags, (yield load(vma.vm_flags)) & ~(VM_UFFD_WP | VM_UFFD_WP_ASYNC)),
            (new.vm_file, (yield load(vma.vm_file))),
            (new.anon_vma, anon_vma),
        ):
            yield store(word, value)
        yield from self.anon_vma_clone(new, vma)
        yield from self.vma_link(mm, new)
        return new

    def move_page_tables(
        self, mm: Mm, vma: Vma, new: Vma, old_addr: int, new_addr: int, size: int
    ) -> Gen[None]:
        """Move entries in pieces that lie in one old and one new table."""
        end = old_addr + size
        while old_addr < end:
            extent = min(end - old_addr, 512 - (old_addr & 511), 512 - (new_addr & 511))
            old_pmd = yield from self.pmd_offset(mm, old_addr)
            pmdval = (yield load(old_pmd)) if old_pmd else 0
            if pmdval:
                new_pmd = yield from self.pmd_alloc(mm, new_addr)
                if pmd_is_leaf(pmdval):
                    pmdval = yield from self.move_huge_pmd(
                        mm, vma, old_pmd, new_pmd, old_addr, new_addr, extent
                    )
                if pmdval:
                    yield from self.pte_alloc(mm, new_pmd, new_addr)
                    yield from self.move_ptes(mm, old_pmd, new_pmd, old_addr, new_addr, extent)
            old_addr, new_addr = old_addr + extent, new_addr + extent

    def move_ptes(
        self, mm: Mm, old_pmd: int, new_pmd: int, old_addr: int, new_addr: int, extent: int
    ) -> Gen[None]:
        """Move entries of one table to another under both locks (old, then new)."""
        old_pte, old_ptl = yield from self.pte_offset_map_lock(mm, old_pmd, old_addr)
        if not old_ptl:
            return
        new_pte = self.pte_offset_map((yield load(new_pmd)), new_addr)
        new_ptl = self.pte_lockptr(new_pte, new_addr)
        if new_ptl != old_ptl:
            yield lock(new_ptl)
        i, force_flush = 0, False
        while i < extent:
            pte = yield from self.ptep_get(old_pte + i)
            nr = 1
            if pte:
                if pte_present(pte):
                    nr = yield from self.mremap_folio_pte_batch(old_pte + i, pte, extent - i)
                    force_flush = True
                pte = yield from self.get_and_clear_full_ptes(
                    mm, old_addr + i, old_pte + i, nr, False
                )
                if pte & PTE_UFFD_WP and pte & PTE_MARKER:  # vma_has_uffd_without_event_remap()
                    yield from self.pte_clear(mm, new_addr + i, new_pte + i)
                else:
                    pte = pte_clear_uffd_wp(pte)
                    yield from self.set_ptes(mm, new_addr + i, new_pte + i, pte, nr)
            i += nr
        if force_flush:
            yield tlb_flush(mm, old_addr, old_addr + extent)
        if new_ptl != old_ptl:
            yield unlock(new_ptl)
        yield unlock(old_ptl)

    def mremap_folio_pte_batch(self, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """How many entries to move at once (one before 6.17)."""
        return 1
        yield  # pragma: no cover - makes this a generator
