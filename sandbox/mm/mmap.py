"""VMAs: mapping, unmapping and splitting (mm/mmap.c, mm/vma.c; 6.6).

The maple tree is a list: the mm's VMAs in address order, linked by `vm_next`.  Bounds and
addresses are in pages.  Writers hold mmap_lock for writing and mark the VMAs they change
(`vma_start_write`).
"""

from __future__ import annotations

from sandbox.fields import Struct
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    AnonVma,
    Avc,
    Gen,
    Mapping,
    Mm,
    Vma,
    alloc,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import EEXIST, VM_EXEC, VM_LOCKED, VM_READ, VM_WRITE
from sandbox.mm.memory.zap import UNMAP, MmuGather
from sandbox.mm.pgalloc import PMD_NR, USER_PGTABLES_CEILING
from sandbox.mm.vma import VmaMerge

VMA_FIELDS = 10


class MmapMixin(KernelPart):
    """Address-space layout."""

    def vma_start_write(self, vma: Vma) -> Gen[None]:
        """Wait for faults under the VMA's lock to finish and keep new ones out.

        The kernel marks the VMA until mmap_lock is dropped; the mmap_lock our faults take
        first keeps new ones out here, so waiting is enough.
        """
        yield lock(vma.vm_lock)
        yield unlock(vma.vm_lock)

    def vmas_in(self, mm: Mm, start: int, end: int) -> Gen[list[Vma]]:
        """The VMAs that overlap [start, end), in order."""
        out = []
        vma = Vma((yield load(mm.mm_mt)))
        while vma and (yield load(vma.vm_start)) < end:
            if (yield load(vma.vm_end)) > start:
                out.append(vma)
            vma = Vma((yield load(vma.vm_next)))
        return out

    def all_vmas(self, mm: Mm) -> Gen[list[Vma]]:
        """All VMAs in order (`for_each_vma`)."""
        out = []
        vma = Vma((yield load(mm.mm_mt)))
        while vma:
            out.append(vma)
            vma = Vma((yield load(vma.vm_next)))
        return out

    def vma_link(self, mm: Mm, vma: Vma) -> Gen[None]:
        """Put a VMA into the tree and on its file's mappings."""
        yield from self.vma_iter_store(mm, vma)
        yield from self.vma_link_file(vma, True)

    def vma_iter_store(self, mm: Mm, vma: Vma) -> Gen[None]:
        """Put a VMA into the tree."""
        start = yield load(vma.vm_start)
        link = mm.mm_mt
        next_ = Vma((yield load(link)))
        while next_ and (yield load(next_.vm_start)) < start:
            link = next_.vm_next
            next_ = Vma((yield load(link)))
        yield store(vma.vm_next, next_)
        yield store(link, vma)

    def vma_prepare(self, vma: Vma) -> Gen[None]:
        """Keep rmap walks away while the VMA's bounds change (mm/vma.c)."""
        mapping = Mapping((yield load(vma.vm_file)))
        if mapping:
            yield lock(mapping.i_mmap_rwsem)
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        if anon_vma:
            yield lock(anon_vma.rwsem)

    def vma_complete(self, vma: Vma) -> Gen[None]:
        """The bounds have changed: let walks go on."""
        anon_vma = AnonVma((yield load(vma.anon_vma)))
        if anon_vma:
            yield unlock(anon_vma.rwsem)
        mapping = Mapping((yield load(vma.vm_file)))
        if mapping:
            yield unlock(mapping.i_mmap_rwsem)

    def vma_link_file(self, vma: Vma, link: bool) -> Gen[None]:
        """Put the VMA on, or take it off, the mappings of its file."""
        mapping = Mapping((yield load(vma.vm_file)))
        if not mapping:
            return
        yield lock(mapping.i_mmap_rwsem)
        if link:
            yield from self.vma_interval_tree_insert(vma, mapping)
        else:
            yield from self.vma_interval_tree_remove(vma, mapping)
        yield unlock(mapping.i_mmap_rwsem)

    def vma_interval_tree_insert(self, vma: Vma, mapping: Mapping) -> Gen[None]:
        """Put the VMA last on the mappings of its file, under the file's lock."""
        last = Vma((yield load(mapping.i_mmap_last)))
        yield store(vma.shared_prev, last)
        yield store(last.shared_next if last else mapping.i_mmap, vma)
        yield store(mapping.i_mmap_last, vma)

    def vma_interval_tree_remove(self, vma: Vma, mapping: Mapping) -> Gen[None]:
        """Take the VMA off the mappings of its file, under the file's lock."""
        next_, prev = Vma((yield load(vma.shared_next))), Vma((yield load(vma.shared_prev)))
        yield store(prev.shared_next if prev else mapping.i_mmap, next_)
        yield store(next_.shared_prev if next_ else mapping.i_mmap_last, prev)
        yield store(vma.shared_next, 0)
        yield store(vma.shared_prev, 0)

    def vma_remove(self, mm: Mm, vma: Vma) -> Gen[None]:
        """Take a VMA out of the tree and off its file's mappings."""
        yield from self.vma_iter_clear(mm, vma)
        yield from self.vma_link_file(vma, False)

    def vma_iter_clear(self, mm: Mm, vma: Vma) -> Gen[None]:
        """Take a VMA out of the tree."""
        link = mm.mm_mt
        while (found := Vma((yield load(link)))) != vma:
            if not found:
                return
            link = found.vm_next
        yield store(link, (yield load(vma.vm_next)))

    def mmap_region(
        self, mm: Mm, start: int, end: int, vm_flags: int, file: int, pgoff: int
    ) -> Gen[int]:
        """Map [start, end); private anonymous memory is numbered by its address.

        -EEXIST where something is mapped (MAP_FIXED_NOREPLACE).
        """
        yield lock(mm.mmap_lock)
        ret = 0
        if (yield from self.vma_find(mm, start, end)):
            ret = -EEXIST
        else:
            vmg = VmaMerge(start, end, vm_flags, file, pgoff, anon_pgoff=start)
            if not (yield from self.vma_merge_new_range(mm, vmg)):
                yield from self.mmap_new_vma(mm, vmg)
            if vm_flags & VM_LOCKED:
                yield store(mm.locked_vm, (yield load(mm.locked_vm)) + end - start)
        yield unlock(mm.mmap_lock)
        return ret

    def mmap_new_vma(self, mm: Mm, vmg: VmaMerge) -> Gen[None]:
        """A VMA of its own (`__mmap_new_vma`)."""
        vma = Vma((yield alloc(Struct.VMA)))
        yield store(vma.vm_mm, mm)
        yield store(vma.vm_start, vmg.start)
        yield store(vma.vm_end, vmg.end)
        yield store(vma.vm_flags, vmg.flags)
        yield store(vma.vm_pgoff, vmg.pgoff)
        yield store(vma.vm_anon_pgoff, vmg.start)
        if vmg.file:
            yield store(vma.vm_file, vmg.file)
        yield from self.vma_link(mm, vma)

    # -- anon_vma ----------------------------------------------------------------------

    def anon_vma_prepare(self, vma: Vma) -> Gen[None]:
        """Give the VMA an anon_vma before its first anonymous page (mm/rmap.c)."""
        if (yield load(vma.anon_vma)):
            return
        yield from self._anon_vma_prepare(vma)

    def _anon_vma_prepare(self, vma: Vma) -> Gen[None]:
        """The VMA's anon_vma: a neighbour's or a new one, unless another thread was faster.

        The caller holds mmap_lock; page_table_lock settles who is first.
        """
        mm = Mm((yield load(vma.vm_mm)))
        anon_vma = yield from self.find_mergeable_anon_vma(vma)
        if not anon_vma:
            anon_vma = AnonVma((yield alloc(Struct.ANON_VMA)))
        avc = Avc((yield alloc(Struct.AVC)))
        yield lock(anon_vma.rwsem)
        yield lock(mm.page_table_lock)
        if not (yield load(vma.anon_vma)):
            yield store(vma.anon_vma, anon_vma)
            yield from self.anon_vma_chain_assign(vma, avc, anon_vma)
        yield unlock(mm.page_table_lock)
        yield unlock(anon_vma.rwsem)

    def find_mergeable_anon_vma(self, vma: Vma) -> Gen[AnonVma]:
        """A neighbour's anon_vma, the next one's first; 0 if neither has one that may be shared."""
        mm = Mm((yield load(vma.vm_mm)))
        start, end = (yield load(vma.vm_start)), (yield load(vma.vm_end))
        around = yield from self.vmas_in(mm, start - 1, end + 1)
        for other in reversed(around):
            if other == vma:
                continue
            anon_vma = yield load(other.anon_vma)
            if not anon_vma or not (yield from self.anon_vma_compatible(vma, other)):
                continue
            if (yield from self.anon_vma_singular(other)):
                return AnonVma(anon_vma)
        return AnonVma(0)

    def anon_vma_compatible(self, vma: Vma, other: Vma) -> Gen[bool]:
        """Could the two be one VMA but for what mprotect changes?"""
        if (yield load(vma.vm_file)) != (yield load(other.vm_file)):
            return False
        differ = (yield load(vma.vm_flags)) ^ (yield load(other.vm_flags))
        if differ & ~(VM_READ | VM_WRITE | VM_EXEC):
            return False
        moved = (yield load(vma.vm_start)) - (yield load(other.vm_start))
        for mine, theirs in ((vma.vm_pgoff, other.vm_pgoff), (self.anon_pgoff_word(vma),
                             self.anon_pgoff_word(other))):  # fmt: skip
            if (yield load(theirs)) + moved != (yield load(mine)):
                return False
        return True

    def anon_vma_chain_link(self, vma: Vma, anon_vma: AnonVma) -> Gen[None]:
        """Hang the VMA on an anon_vma so that rmap walks find it."""
        avc = Avc((yield alloc(Struct.AVC)))
        yield lock(anon_vma.rwsem)
        yield from self.anon_vma_chain_assign(vma, avc, anon_vma)
        yield unlock(anon_vma.rwsem)

    def anon_vma_chain_assign(self, vma: Vma, avc: Avc, anon_vma: AnonVma) -> Gen[None]:
        """The link itself, under the anon_vma's lock."""
        yield store(avc.vma, vma)
        yield store(avc.anon_vma, anon_vma)
        yield store(avc.same_vma, (yield load(vma.anon_vma_chain)))
        yield store(vma.anon_vma_chain, avc)
        yield from self.anon_vma_interval_tree_insert(avc, anon_vma)

    def anon_vma_interval_tree_insert(self, avc: Avc, anon_vma: AnonVma) -> Gen[None]:
        """Put a link last in the anon_vma's tree, under its lock."""
        last = Avc((yield load(anon_vma.rb_last)))
        yield store(avc.rb_prev, last)
        yield store(last.rb_next if last else anon_vma.rb_root, avc)
        yield store(anon_vma.rb_last, avc)

    def anon_vma_interval_tree_remove(self, avc: Avc, anon_vma: AnonVma) -> Gen[None]:
        """Take a link out of the anon_vma's tree, under its lock."""
        next_, prev = Avc((yield load(avc.rb_next))), Avc((yield load(avc.rb_prev)))
        yield store(prev.rb_next if prev else anon_vma.rb_root, next_)
        yield store(next_.rb_prev if next_ else anon_vma.rb_last, prev)

    def chain_of(self, vma: Vma) -> Gen[list[Avc]]:
        """The links of a VMA, the newest first."""
        out = []
        avc = Avc((yield load(vma.anon_vma_chain)))
        while avc:
            out.append(avc)
            avc = Avc((yield load(avc.same_vma)))
        return out

    def anon_vma_clone(self, dst: Vma, src: Vma) -> Gen[None]:
        """Hang one VMA on all that another hangs on, oldest first (mm/rmap.c)."""
        for avc in reversed((yield from self.chain_of(src))):
            yield from self.anon_vma_chain_link(dst, AnonVma((yield load(avc.anon_vma))))

    def unlink_anon_vmas(self, vma: Vma) -> Gen[None]:
        """Take a dying VMA off its anon_vmas."""
        for avc in (yield from self.chain_of(vma)):
            anon_vma = AnonVma((yield load(avc.anon_vma)))
            yield lock(anon_vma.rwsem)
            yield from self.anon_vma_interval_tree_remove(avc, anon_vma)
            yield unlock(anon_vma.rwsem)
        yield store(vma.anon_vma_chain, 0)

    # -- split ---------------------------------------------------------------------------

    def split_vma(self, mm: Mm, vma: Vma, addr: int) -> Gen[Vma]:
        """Split at *addr*; the page tables stay as they are. Returns the upper half."""
        new = Vma((yield alloc(Struct.VMA)))
        start = yield load(vma.vm_start)
        for word in range(VMA_FIELDS):
            if vma + word not in (vma.vm_lock, vma.anon_vma_chain):
                yield store(new + word, (yield load(vma + word)))
        yield store(new.vm_start, addr)
        yield store(new.vm_pgoff, (yield load(vma.vm_pgoff)) + addr - start)
        yield store(new.vm_anon_pgoff, (yield load(vma.vm_anon_pgoff)) + addr - start)
        yield from self.anon_vma_clone(new, vma)
        yield from self.vma_prepare(vma)
        yield from self.vma_adjust_trans_huge(mm, vma, addr)
        yield store(vma.vm_end, addr)
        yield from self.vma_iter_store(mm, new)
        mapping = Mapping((yield load(new.vm_file)))
        if mapping:
            yield from self.vma_interval_tree_insert(new, mapping)
        yield from self.vma_complete(vma)
        return new

    def vma_range_isolate(self, mm: Mm, start: int, end: int) -> Gen[list[Vma]]:
        """Split so that whole VMAs make up [start, end); returns them."""
        for vma in (yield from self.vmas_in(mm, start, end)):
            yield from self.vma_start_write(vma)
            inner = vma
            if (yield load(vma.vm_start)) < start:
                inner = yield from self.split_vma(mm, vma, start)
            if (yield load(inner.vm_end)) > end:
                yield from self.split_vma(mm, inner, end)
        return (yield from self.vmas_in(mm, start, end))

    # -- munmap ------------------------------------------------------------------------

    def do_vmi_munmap(self, mm: Mm, start: int, end: int, give_up: bool = False) -> Gen[int]:
        """Unmap [start, end): split, take the VMAs out, zap, drop them. mmap_lock is held.

        With *give_up* it is given up at the end, and held for reading alone as soon as nobody can
        find the VMAs: faults on what is left go on meanwhile.
        """
        vmas = yield from self.vma_range_isolate(mm, start, end)
        prev, next_ = yield from self.around(mm, start, end)
        for vma in vmas:
            vm_flags = yield load(vma.vm_flags)
            if vm_flags & VM_LOCKED:
                size = (yield load(vma.vm_end)) - (yield load(vma.vm_start))
                yield store(mm.locked_vm, (yield load(mm.locked_vm)) - size)
            yield from self.vma_iter_clear(mm, vma)
        if give_up and vmas:
            yield from self.mmap_write_downgrade(mm)
        if vmas:
            yield from self.unmap_region(mm, vmas, prev, next_)
        if give_up:
            yield unlock(mm.mmap_lock)
        yield from self.fput_vmas(vmas)
        return 0

    def fput_vmas(self, vmas: list[Vma]) -> Gen[None]:
        """Let go of the files of VMAs that are no more (`remove_vma`); the last one ends a file."""
        for vma in vmas:
            mapping = Mapping((yield load(vma.vm_file)))
            if mapping:
                yield from self.fput(mapping)

    def unmap_region(self, mm: Mm, vmas: list[Vma], floor: int, ceiling: int) -> Gen[None]:
        """Zap what VMAs that nobody finds any more map, and free their page tables.

        No other VMA is between *floor* and *ceiling* (`vms_clear_ptes` since 6.12).
        """
        if self.unmap_drains:
            yield from self.lru_add_drain()
        start, end = (yield load(vmas[0].vm_start)), (yield load(vmas[-1].vm_end))
        tlb = yield from self.unmap_vmas(MmuGather(mm, details=UNMAP), vmas, start, end)
        tlb = yield from self.free_pgtables(tlb, vmas, floor, ceiling)
        yield from self.tlb_flush_mmu(tlb)

    def free_pgtables(
        self, tlb: MmuGather, vmas: list[Vma], floor: int, ceiling: int
    ) -> Gen[MmuGather]:
        """Hide the VMAs from rmap walks, then free the tables that only they used (mm/memory.c).

        VMAs that are near each other are done together.
        """
        at = 0
        while at < len(vmas):
            start, end = (yield load(vmas[at].vm_start)), (yield load(vmas[at].vm_end))
            near, at, limit = [vmas[at]], at + 1, ceiling
            while at < len(vmas):
                limit = yield load(vmas[at].vm_start)
                if limit > end + PMD_NR:
                    break
                end, limit = (yield load(vmas[at].vm_end)), ceiling
                near, at = [*near, vmas[at]], at + 1
            for vma in near:
                yield from self.unlink_anon_vmas(vma)
            for vma in near:
                yield from self.vma_link_file(vma, False)
            if (yield from self.free_pgd_range(tlb.mm, start, end, floor, limit)):
                tlb = self.tlb_remove_tlb_entries(tlb, start, end - start)
        return tlb

    def around(self, mm: Mm, start: int, end: int) -> Gen[tuple[int, int]]:
        """Where the VMA before [start, end) ends, and where the one behind it starts."""
        floor, ceiling = 0, USER_PGTABLES_CEILING
        for vma in (yield from self.all_vmas(mm)):
            if (vm_end := (yield load(vma.vm_end))) <= start:
                floor = vm_end
            elif (vm_start := (yield load(vma.vm_start))) >= end:
                return floor, vm_start
        return floor, ceiling

    def mmap_write_downgrade(self, mm: Mm) -> Gen[None]:
        """From writing to reading without letting go (include/linux/mmap_lock.h)."""
        yield store(mm.mmap_lock, 1 << self.cpu)

    def vm_munmap(self, mm: Mm, start: int, end: int) -> Gen[int]:
        """munmap(2)."""
        yield lock(mm.mmap_lock)
        return (yield from self.do_vmi_munmap(mm, start, end, True))

    def exit_mmap(self, mm: Mm) -> Gen[None]:
        """Give up a whole address space: zap everything with one full-mm gather (mm/mmap.c)."""
        yield lock(mm.mmap_lock, 0)
        vmas = yield from self.all_vmas(mm)
        if self.unmap_drains:
            yield from self.lru_add_drain()
        tlb = MmuGather(mm, fullmm=True, details=UNMAP)
        if vmas:
            end = yield load(vmas[-1].vm_end)
            tlb = yield from self.unmap_vmas(tlb, vmas, 0, end)
        yield unlock(mm.mmap_lock)
        yield lock(mm.mmap_lock)
        tlb = yield from self.free_pgtables(tlb, vmas, 0, USER_PGTABLES_CEILING)
        yield from self.tlb_flush_mmu(tlb)
        yield store(mm.mm_mt, 0)
        yield unlock(mm.mmap_lock)
        yield from self.fput_vmas(vmas)
