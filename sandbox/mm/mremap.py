"""mremap(2): VMAs, and how their page tables move (mm/mremap.c; mm/vma.c for `copy_vma`).

Before 6.17 one VMA moves at a time; since then all that a range covers (`remap_move`).  A whole
page table is moved by its PMD entry where source and target allow it, a huge page likewise.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_MARKER,
    PTE_UFFD_WP,
    pte_clear_uffd_wp,
    pte_present,
)
from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    AnonVma,
    Gen,
    Mapping,
    Mm,
    Vma,
    alloc,
    load,
    lock,
    store,
    tlb_flush,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    EINVAL,
    VM_ACCOUNT,
    VM_LOCKED,
    VM_MERGEABLE,
    VM_UFFD_WP,
    VM_UFFD_WP_ASYNC,
)
from sandbox.mm.pgalloc import PTL_OFFSET, pmd_is_leaf, pmd_table
from sandbox.mm.vma import VmaMerge


class VmaRemap(NamedTuple):
    """What is to be moved (struct vma_remap_struct); addresses and sizes in pages."""

    mm: Mm
    addr: int
    size: int
    new_addr: int
    dontunmap: bool = False


class PagetableMove(NamedTuple):
    """Page tables on their way (struct pagetable_move_control)."""

    mm: Mm
    old: Vma
    new: Vma
    old_addr: int
    new_addr: int
    size: int
    need_rmap_locks: bool = False
    for_stack: bool = False
    """A stack moves down within its own VMA (exec)."""


class MremapMixin(KernelPart):
    """Moving a mapping; counters never change."""

    mremap_moves_many = False
    """6.17 and later (d23cb648e365): one call moves all VMAs of a range."""

    def do_mremap(self, mm: Mm, start: int, end: int, new_start: int, dontunmap: bool) -> Gen[int]:
        """Move [start, end) to *new_start*; with *dontunmap* the old VMA stays, empty."""
        vrm = VmaRemap(mm, start, end - start, new_start, dontunmap)
        if self.mremap_moves_many and self.vrm_overlaps(vrm):  # check_mremap_params()
            return -EINVAL
        yield lock(mm.mmap_lock)
        if self.mremap_moves_many:
            ret = yield from self.remap_move(vrm)
        else:
            ret = yield from self.remap_one(vrm)
        yield unlock(mm.mmap_lock)
        return ret

    def vrm_overlaps(self, vrm: VmaRemap) -> bool:
        """Would source and target share pages?"""
        return abs(vrm.addr - vrm.new_addr) < vrm.size

    def remap_one(self, vrm: VmaRemap) -> Gen[int]:
        """The call before 6.17: what lies in the target goes before the source is looked at."""
        if (yield from self.find_vma(vrm.mm, vrm.addr)) is None:
            return -EFAULT
        if self.vrm_overlaps(vrm):
            return -EINVAL
        yield from self.do_vmi_munmap(vrm.mm, vrm.new_addr, vrm.new_addr + vrm.size)
        vma = yield from self.find_vma(vrm.mm, vrm.addr)
        if vma is None or vrm.addr + vrm.size > (yield load(vma.vm_end)):
            return -EFAULT  # vma_to_resize()
        return (yield from self.move_vma(vrm, vma))

    def remap_move(self, vrm: VmaRemap) -> Gen[int]:
        """Move every VMA of the range in turn; gaps between them stay, also in the target.

        One in front is -EFAULT, and so is a userfaultfd VMA beside another one.
        """
        end, target, last_end, seen = vrm.addr + vrm.size, vrm.new_addr, 0, False
        at = vrm.addr
        while at < end:
            vmas = yield from self.vmas_in(vrm.mm, at, end)
            if not vmas:
                break
            vma = vmas[0]
            vm_start, vm_end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
            if not seen and vrm.addr < vm_start:
                return -EFAULT
            if (yield load(vma.vm_flags)) & VM_UFFD_WP and (seen or vm_end < end):
                return -EFAULT  # vma_multi_allowed()
            addr, stop = max(vm_start, vrm.addr), min(vm_end, end)
            target += vm_start - last_end if seen else 0
            one = vrm._replace(addr=addr, size=stop - addr, new_addr=target)
            ret = yield from self.mremap_to(one)
            if ret:
                return ret
            at, target, last_end, seen = stop, target + stop - addr, vm_end, True
        return 0 if seen else -EFAULT

    def mremap_to(self, vrm: VmaRemap) -> Gen[int]:
        """Unmap the target, then move the source, which the unmapping may have split."""
        yield from self.do_vmi_munmap(vrm.mm, vrm.new_addr, vrm.new_addr + vrm.size)
        vma = yield from self.find_vma(vrm.mm, vrm.addr)
        if vma is None:
            return -EFAULT
        return (yield from self.move_vma(vrm, vma))

    def move_vma(self, vrm: VmaRemap, vma: Vma) -> Gen[int]:
        """Make the new VMA, move the entries, unmap the old range."""
        vm_flags = yield load(vma.vm_flags)
        if vm_flags & VM_MERGEABLE and (yield load(vma.anon_vma)):  # ksm_madvise()
            yield from self.break_ksm(vrm.mm, vma, vrm.addr, vrm.addr + vrm.size)
        vma = yield from self.prep_move_vma(vrm, vma)
        yield from self.vma_start_write(vma)
        new, vma, need_rmap_locks = yield from self.copy_vma(vrm, vma)
        yield from self.move_page_tables(
            PagetableMove(vrm.mm, vma, new, vrm.addr, vrm.new_addr, vrm.size, need_rmap_locks)
        )
        # without UFFD_FEATURE_EVENT_REMAP the new place is not registered (userfaultfd_reset_ctx)
        yield store(new.vm_flags, (yield load(new.vm_flags)) & ~(VM_UFFD_WP | VM_UFFD_WP_ASYNC))
        if vm_flags & VM_LOCKED:
            yield store(vrm.mm.locked_vm, (yield load(vrm.mm.locked_vm)) + vrm.size)
        if vrm.dontunmap:
            yield from self.dontunmap_complete(vrm, vma)
        else:
            yield from self.unmap_source_vma(vrm, vma)
        return 0

    def prep_move_vma(self, vrm: VmaRemap, vma: Vma) -> Gen[Vma]:
        """A locked VMA that stays behind is split first: only what moved is unlocked there."""
        if not vrm.dontunmap or not (yield load(vma.vm_flags)) & VM_LOCKED:
            return vma
        if (yield load(vma.vm_start)) < vrm.addr:
            vma = yield from self.split_vma(vrm.mm, vma, vrm.addr)
        if (yield load(vma.vm_end)) > vrm.addr + vrm.size:
            yield from self.split_vma(vrm.mm, vma, vrm.addr + vrm.size)
        return vma

    def copy_vma(self, vrm: VmaRemap, vma: Vma) -> Gen[tuple[Vma, Vma, bool]]:
        """A VMA at the new place, or a neighbour there that grows; anon indices stay right.

        One without anonymous pages is numbered by its address.  Returns the new VMA, the old one
        (which may have grown over the new place), and whether rmap locks are needed to move.
        """
        vm_start, anon_vma = (yield load(vma.vm_start)), (yield load(vma.anon_vma))
        moved = vrm.addr - vm_start
        pgoff = (yield load(vma.vm_pgoff)) + moved
        anon_pgoff = (yield load(vma.vm_anon_pgoff)) + moved
        file, apart = (yield load(vma.vm_file)), Vma(0)
        if not anon_vma:
            anon_pgoff = vrm.new_addr
            if not file:
                pgoff = vrm.new_addr
                apart = vma if vrm.dontunmap else apart
        vm_flags, end = (yield load(vma.vm_flags)), vrm.new_addr + vrm.size
        vmg = VmaMerge(
            vrm.new_addr,
            end,
            vm_flags,
            file,
            pgoff,
            anon_vma,
            anon_pgoff=anon_pgoff,
            copied_from=vma,
            apart=apart,
        )
        new: Vma = yield from self.vma_merge_new_range(vrm.mm, vmg)
        if new:
            if (yield load(new.vm_start)) <= vm_start < (yield load(new.vm_end)):
                vma = new
            return new, vma, (yield load(new.vm_pgoff)) <= (yield load(vma.vm_pgoff))
        new = Vma((yield alloc(Struct.VMA)))
        for word, value in (
            (new.vm_mm, vrm.mm),
            (new.vm_start, vrm.new_addr),
            (new.vm_end, end),
            (new.vm_pgoff, pgoff),
            (new.vm_anon_pgoff, anon_pgoff),
            (new.vm_flags, vm_flags),
            (new.vm_file, file),
            (new.anon_vma, anon_vma),
        ):
            yield store(word, value)
        yield from self.anon_vma_clone(new, vma)
        yield from self.vma_link(vrm.mm, new)
        return new, vma, False

    def dontunmap_complete(self, vrm: VmaRemap, vma: Vma) -> Gen[None]:
        """What stays behind is not locked; one that moved whole is as if never faulted."""
        yield store(vma.vm_flags, (yield load(vma.vm_flags)) & ~VM_LOCKED)
        start = yield load(vma.vm_start)
        if start != vrm.addr or (yield load(vma.vm_end)) != start + vrm.size:
            return
        yield from self.unlink_anon_vmas(vma)
        yield store(vma.anon_vma, 0)
        yield store(vma.vm_anon_pgoff, start)
        if not (yield load(vma.vm_file)):
            yield store(vma.vm_pgoff, start)

    def unmap_source_vma(self, vrm: VmaRemap, vma: Vma) -> Gen[None]:
        """Unmap what was moved; its accounting went along, that of what is left stays."""
        mm, end = vrm.mm, vrm.addr + vrm.size
        vm_flags = yield load(vma.vm_flags)
        parts = [
            border
            for border, left in (
                (vrm.addr - 1, (yield load(vma.vm_start)) < vrm.addr),
                (end, (yield load(vma.vm_end)) > end),
            )
            if left
        ]
        if vm_flags & VM_ACCOUNT:
            yield store(vma.vm_flags, vm_flags & ~VM_ACCOUNT)
        yield from self.do_vmi_munmap(mm, vrm.addr, end)
        for border in parts if vm_flags & VM_ACCOUNT else ():
            part = yield from self.find_vma(mm, border)
            if part is not None:
                yield store(part.vm_flags, (yield load(part.vm_flags)) | VM_ACCOUNT)

    # -- page tables -----------------------------------------------------------------------

    def take_rmap_locks(self, vma: Vma) -> Gen[None]:
        """Keep rmap walks away: they see all entries at the old place or all at the new one."""
        mapping, anon_vma = Mapping((yield load(vma.vm_file))), AnonVma((yield load(vma.anon_vma)))
        if mapping:
            yield lock(mapping.i_mmap_rwsem)
        if anon_vma:
            yield lock(anon_vma.rwsem)

    def drop_rmap_locks(self, vma: Vma) -> Gen[None]:
        """Let rmap walks go on."""
        mapping, anon_vma = Mapping((yield load(vma.vm_file))), AnonVma((yield load(vma.anon_vma)))
        if anon_vma:
            yield unlock(anon_vma.rwsem)
        if mapping:
            yield unlock(mapping.i_mmap_rwsem)

    def move_page_tables(self, pmc: PagetableMove) -> Gen[None]:
        """Move entries in pieces that lie in one old and one new table, whole tables as such."""
        end = pmc.old_addr + pmc.size
        if (yield from self.can_realign_addr(pmc)):
            inside = pmc.old_addr & (HPAGE_PMD_NR - 1)
            pmc = pmc._replace(old_addr=pmc.old_addr - inside, new_addr=pmc.new_addr - inside)
        while pmc.old_addr < end:
            extent = min(
                end - pmc.old_addr,
                HPAGE_PMD_NR - (pmc.old_addr & (HPAGE_PMD_NR - 1)),
                HPAGE_PMD_NR - (pmc.new_addr & (HPAGE_PMD_NR - 1)),
            )
            old_pmd = yield from self.pmd_offset(pmc.mm, pmc.old_addr)
            pmdval = (yield load(old_pmd)) if old_pmd else 0
            if pmdval:
                new_pmd = yield from self.pmd_alloc(pmc.mm, pmc.new_addr)
                yield from self.move_pmd(pmc, old_pmd, new_pmd, pmdval, extent)
            pmc = pmc._replace(old_addr=pmc.old_addr + extent, new_addr=pmc.new_addr + extent)

    def move_pmd(
        self, pmc: PagetableMove, old_pmd: int, new_pmd: int, pmdval: int, extent: int
    ) -> Gen[None]:
        """What one PMD entry maps: as a whole if all of it moves to a free place, or by entries."""
        if pmd_is_leaf(pmdval):
            if extent == HPAGE_PMD_NR and (
                yield from self.move_pgt_entry(pmc, old_pmd, new_pmd, True)
            ):
                return
            yield from self.split_huge_pmd(pmc.old, old_pmd, pmc.old_addr)
        elif extent == HPAGE_PMD_NR and (
            yield from self.move_pgt_entry(pmc, old_pmd, new_pmd, False)
        ):
            return
        if not (yield load(old_pmd)):
            return
        yield from self.pte_alloc(pmc.mm, new_pmd, pmc.new_addr)
        yield from self.move_ptes(pmc, old_pmd, new_pmd, extent)

    def can_realign_addr(self, pmc: PagetableMove) -> Gen[bool]:
        """May the move start at the table's first entry, because nothing lies before the VMAs?

        Only if source and target lie alike in their tables and the range gets to the table's end.
        """
        inside = pmc.old_addr & (HPAGE_PMD_NR - 1)
        if not inside or inside != pmc.new_addr & (HPAGE_PMD_NR - 1):
            return False
        if pmc.size < HPAGE_PMD_NR - inside:
            return False
        for vma, addr in ((pmc.old, pmc.old_addr), (pmc.new, pmc.new_addr)):
            if not (yield from self.can_align_down(pmc, vma, addr)):
                return False
        return True

    def can_align_down(self, pmc: PagetableMove, vma: Vma, addr: int) -> Gen[bool]:
        """Does the VMA start here, with nothing between it and the start of the table?"""
        masked, vm_start = addr & -HPAGE_PMD_NR, (yield load(vma.vm_start))
        if pmc.for_stack:
            if masked >= vm_start:
                return True
        elif vm_start != addr:
            return False
        return not (yield from self.vmas_in(pmc.mm, masked, vm_start))

    def move_pgt_entry(
        self, pmc: PagetableMove, old_pmd: int, new_pmd: int, huge: bool
    ) -> Gen[bool]:
        """Move one PMD entry; a table always under the rmap locks."""
        locks = pmc.need_rmap_locks or not huge
        if locks:
            yield from self.take_rmap_locks(pmc.old)
        if huge:
            moved = yield from self.move_huge_pmd(pmc, old_pmd, new_pmd)
        else:
            moved = yield from self.move_normal_pmd(pmc, old_pmd, new_pmd)
        if locks:
            yield from self.drop_rmap_locks(pmc.old)
        return moved

    def move_normal_pmd(self, pmc: PagetableMove, old_pmd: int, new_pmd: int) -> Gen[bool]:
        """Hang a page table at its new place, with its entries as they are.

        Not where the new PMD entry is taken, nor with userfaultfd, whose marks must be cleared.
        """
        for vma in (pmc.old, pmc.new):
            if (yield load(vma.vm_flags)) & VM_UFFD_WP:
                return False
        if (yield load(new_pmd)):
            return False
        old_ptl = self.pmd_lockptr(old_pmd, pmc.old_addr)
        new_ptl = self.pmd_lockptr(new_pmd, pmc.new_addr)
        yield lock(old_ptl)
        if new_ptl != old_ptl:
            yield lock(new_ptl)
        pmdval = yield load(old_pmd)
        moved = bool(pmdval) and not pmd_is_leaf(pmdval)  # else collapsed meanwhile
        if moved:
            yield store(old_pmd, 0)
            yield store(pmd_table(pmdval) + PTL_OFFSET + 2, pmc.new_addr)
            yield store(new_pmd, pmdval)
            yield tlb_flush(pmc.mm, pmc.old_addr, pmc.old_addr + HPAGE_PMD_NR)
        if new_ptl != old_ptl:
            yield unlock(new_ptl)
        yield unlock(old_ptl)
        return moved

    def move_ptes(self, pmc: PagetableMove, old_pmd: int, new_pmd: int, extent: int) -> Gen[None]:
        """Move entries of one table to another under both locks (old, then new)."""
        mm, old_addr, new_addr = pmc.mm, pmc.old_addr, pmc.new_addr
        if pmc.need_rmap_locks:
            yield from self.take_rmap_locks(pmc.old)
        old_pte, old_ptl = yield from self.pte_offset_map_lock(mm, old_pmd, old_addr)
        if old_ptl:
            new_pte = self.pte_offset_map((yield load(new_pmd)), new_addr)
            new_ptl = self.pte_lockptr(new_pte, new_addr)
            if new_ptl != old_ptl:
                yield lock(new_ptl)
            if (yield from self.move_ptes_locked(pmc, old_pte, new_pte, extent)):
                yield tlb_flush(mm, old_addr, old_addr + extent)
            if new_ptl != old_ptl:
                yield unlock(new_ptl)
            yield unlock(old_ptl)
        if pmc.need_rmap_locks:
            yield from self.drop_rmap_locks(pmc.old)

    def move_ptes_locked(
        self, pmc: PagetableMove, old_pte: int, new_pte: int, extent: int
    ) -> Gen[bool]:
        """The loop of `move_ptes`; True if a present entry was among those that moved."""
        mm, old_addr, new_addr = pmc.mm, pmc.old_addr, pmc.new_addr
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
        return force_flush

    def mremap_folio_pte_batch(self, ptep: int, pte: int, max_nr: int) -> Gen[int]:
        """How many entries to move at once (one before 6.17)."""
        return 1
        yield  # pragma: no cover - makes this a generator
