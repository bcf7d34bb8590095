"""Finding, walking, changing and merging VMAs (mm/vma.c; mm/mmap.c until 6.11).

What a range covers is decided here once: advice does every mapped part and says -ENOMEM at the
end, mprotect and mlock go on until the first hole.  A VMA whose flags change merges with its
neighbours first (`vma_merge_existing_range`), and is split only where that cannot be
(`vma_modify`); a new mapping, or a moved one, grows a neighbour
(`vma_merge_new_range`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sandbox.machine.part import KernelPart
from sandbox.memory import Avc, Gen, Mm, Vma, load, store
from sandbox.mm.flags import ENOMEM

T = TypeVar("T")

Visit = Callable[[Vma, int, int, T], Gen[tuple[int, T]]]
"""What is done with one VMA's part of a range: (0 or a negative errno, what was found so far)."""


class VmaMerge(NamedTuple):
    """A range that may join its neighbours (struct vma_merge_struct, mm/vma.h)."""

    start: int
    end: int
    flags: int
    file: int
    pgoff: int
    anon_vma: int = 0
    middle: Vma = Vma(0)
    """The VMA that has the range now; 0 for a new mapping."""
    anon_pgoff: int = 0
    """How the anonymous pages of the range are numbered since 7.3."""
    copied_from: Vma = Vma(0)
    """The VMA whose pages are to move to the range (`vma_merge_copied_range`)."""
    apart: Vma = Vma(0)
    """A neighbour that must stay one of its own: what mremap leaves where it was."""


class VmaMixin(KernelPart):
    """What is done to VMAs as such."""

    merge_with_unfaulted = False
    """6.16 and later: a VMA with pages merges with one that has none."""

    merge_by_anon_pgoff = False
    """7.3 and later: the numbers of anonymous pages must follow each other as well."""

    # -- finding and walking ---------------------------------------------------------------

    def vma_find(self, mm: Mm, start: int, end: int) -> Gen[Vma]:
        """The first VMA that overlaps [start, end), 0 if none does."""
        vma = Vma((yield load(mm.mm_mt)))
        while vma and (yield load(vma.vm_end)) <= start:
            vma = Vma((yield load(vma.vm_next)))
        if vma and (yield load(vma.vm_start)) >= end:
            return Vma(0)
        return vma

    def vma_prev(self, mm: Mm, vma: Vma) -> Gen[Vma]:
        """The VMA before *vma*, 0 for the first."""
        prev = Vma(0)
        found = Vma((yield load(mm.mm_mt)))
        while found and found != vma:
            prev, found = found, Vma((yield load(found.vm_next)))
        return prev

    def madvise_walk_vmas(
        self, mm: Mm, start: int, end: int, visit: Visit[T], found: T
    ) -> Gen[tuple[int, T]]:
        """Visit each mapped part of [start, end) until one fails; -ENOMEM at the end for holes.

        A visit may change the VMAs, or give up mmap_lock meanwhile (mm/madvise.c).
        """
        unmapped_error = 0
        while start < end:
            vma = yield from self.vma_find(mm, start, end)
            if not vma:
                return -ENOMEM, found
            if start < (lo := (yield load(vma.vm_start))):
                unmapped_error, start = -ENOMEM, lo
            stop = min((yield load(vma.vm_end)), end)
            error, found = yield from visit(vma, start, stop, found)
            if error:
                return error, found
            start = stop
        return unmapped_error, found

    def walk_until_hole(
        self, mm: Mm, start: int, end: int, visit: Visit[T], found: T
    ) -> Gen[tuple[int, T]]:
        """Visit the VMAs of [start, end) as far as they follow each other; -ENOMEM at a hole.

        One in front changes nothing (do_mprotect_pkey, apply_vma_lock_flags).
        """
        while start < end:
            vma = yield from self.vma_find(mm, start, end)
            if not vma or (yield load(vma.vm_start)) > start:
                return -ENOMEM, found
            stop = min((yield load(vma.vm_end)), end)
            error, found = yield from visit(vma, start, stop, found)
            if error:
                return error, found
            start = stop
        return 0, found

    # -- changing ----------------------------------------------------------------------------

    def vma_modify_flags(self, mm: Mm, vma: Vma, start: int, end: int, flags: int) -> Gen[Vma]:
        """The VMA that is to have *flags* on [start, end): a neighbour that grew, or split off.

        The caller sets the flags (`vma_modify`).
        """
        yield from self.vma_start_write(vma)
        moved = start - (yield load(vma.vm_start))
        pgoff, anon_pgoff = (yield load(vma.vm_pgoff)), (yield load(vma.vm_anon_pgoff))
        file, anon_vma = (yield load(vma.vm_file)), (yield load(vma.anon_vma))
        vmg = VmaMerge(start, end, flags, file, pgoff + moved, anon_vma, vma, anon_pgoff + moved)
        merged: Vma = yield from self.vma_merge_existing_range(mm, vmg)
        if merged:
            return merged
        if (yield load(vma.vm_start)) < start:
            vma = yield from self.split_vma(mm, vma, start)
        if (yield load(vma.vm_end)) > end:
            yield from self.split_vma(mm, vma, end)
        return vma

    # -- merging -----------------------------------------------------------------------------

    def is_mergeable_vma(self, vma: Vma, vmg: VmaMerge) -> Gen[bool]:
        """Do the flags and the file agree?"""
        return (yield load(vma.vm_flags)) == vmg.flags and (yield load(vma.vm_file)) == vmg.file

    def is_mergeable_anon_vma(self, vma: Vma, vmg: VmaMerge) -> Gen[bool]:
        """May the range share the neighbour's anon_vma? Not where a fork left several."""
        theirs = yield load(vma.anon_vma)
        if theirs and vmg.anon_vma:
            return bool(theirs == vmg.anon_vma)
        if theirs:
            return (yield from self.anon_vma_singular(vma))
        if not vmg.anon_vma:
            return True
        if not self.merge_with_unfaulted:  # the neighbour's own list of one is asked for
            return False
        source = vmg.middle or vmg.copied_from
        return not source or (yield from self.anon_vma_singular(source))

    def anon_vma_singular(self, vma: Vma) -> Gen[bool]:
        """Is the VMA on one anon_vma alone (list_is_singular of anon_vma_chain)?"""
        avc = Avc((yield load(vma.anon_vma_chain)))
        return bool(avc) and not (yield load(avc.same_vma))

    def vma_pgoff_follows(self, vma: Vma, vmg: VmaMerge) -> Gen[bool]:
        """Are the pages of a neighbour and of the range numbered as one mapping's would be?"""
        moved = vmg.start - (yield load(vma.vm_start))
        if (yield load(vma.vm_pgoff)) + moved != vmg.pgoff:
            return False
        if not self.merge_by_anon_pgoff:
            return True
        return (yield load(vma.vm_anon_pgoff)) + moved == vmg.anon_pgoff

    def can_vma_merge_after(self, prev: Vma, vmg: VmaMerge) -> Gen[bool]:
        """May the range join the VMA before it?"""
        if not prev or prev == vmg.apart or (yield load(prev.vm_end)) != vmg.start:
            return False
        if not (yield from self.is_mergeable_vma(prev, vmg)):
            return False
        if not (yield from self.vma_pgoff_follows(prev, vmg)):
            return False
        return (yield from self.is_mergeable_anon_vma(prev, vmg))

    def can_vma_merge_before(self, next_: Vma, vmg: VmaMerge, prev: Vma) -> Gen[bool]:
        """May the range join the VMA after it? *prev* is the one that it joins already, or 0."""
        if not next_ or next_ == vmg.apart or (yield load(next_.vm_start)) != vmg.end:
            return False
        if not (yield from self.is_mergeable_vma(next_, vmg)):
            return False
        if not (yield from self.vma_pgoff_follows(next_, vmg)):
            return False
        if not (yield from self.is_mergeable_anon_vma(next_, vmg)):
            return False
        if not prev:
            return True
        mine, theirs = (yield load(prev.anon_vma)), (yield load(next_.anon_vma))
        return not mine or not theirs or mine == theirs

    def vma_merge_existing_range(self, mm: Mm, vmg: VmaMerge) -> Gen[Vma]:
        """Let the range, a VMA or an end of one, join its neighbours; the result, or 0."""
        middle = vmg.middle
        prev = next_ = Vma(0)
        if (yield load(middle.vm_start)) == vmg.start:
            prev = yield from self.vma_prev(mm, middle)
            if not (yield from self.can_vma_merge_after(prev, vmg)):
                prev = Vma(0)
        if (yield load(middle.vm_end)) == vmg.end:
            next_ = Vma((yield load(middle.vm_next)))
            if not (yield from self.can_vma_merge_before(next_, vmg, prev)):
                next_ = Vma(0)
        if prev and next_:
            yield from self.dup_anon_vma(prev, next_ if (yield load(next_.anon_vma)) else middle)
            end = yield load(next_.vm_end)
            yield from self.commit_merge(prev, (yield load(prev.vm_start)), end)
            yield from self.vma_gone(mm, middle)
            yield from self.vma_gone(mm, next_)
        elif prev:
            yield from self.dup_anon_vma(prev, middle)
            yield from self.vma_take_middle(mm, prev, vmg, (yield load(prev.vm_start)), vmg.end)
        elif next_:
            yield from self.dup_anon_vma(next_, middle)
            yield from self.vma_take_middle(mm, next_, vmg, vmg.start, (yield load(next_.vm_end)))
        return prev or next_

    def vma_take_middle(
        self, mm: Mm, target: Vma, vmg: VmaMerge, start: int, end: int
    ) -> Gen[None]:
        """Give a neighbour [start, end): the range of the middle VMA, which ends if it is all."""
        middle = vmg.middle
        first, last = (yield load(middle.vm_start)), (yield load(middle.vm_end))
        if (first, last) == (vmg.start, vmg.end):
            yield from self.commit_merge(target, start, end)
            yield from self.vma_gone(mm, middle)
        elif first == vmg.start:
            yield from self.vma_adjust_trans_huge(mm, middle, vmg.end)
            yield from self.commit_merge(target, start, end, (middle, vmg.end, last))
        else:
            yield from self.vma_adjust_trans_huge(mm, middle, vmg.start)
            yield from self.commit_merge(target, start, end, (middle, first, vmg.start))

    def vma_merge_new_range(self, mm: Mm, vmg: VmaMerge) -> Gen[Vma]:
        """Let a neighbour grow over a new mapping; the neighbour, or 0 (vma_expand)."""
        next_ = yield from self.vma_find(mm, vmg.start, 1 << 62)
        if next_:
            prev = yield from self.vma_prev(mm, next_)
        else:
            vmas = yield from self.all_vmas(mm)
            prev = vmas[-1] if vmas else Vma(0)
        if not (yield from self.can_vma_merge_after(prev, vmg)):
            prev = Vma(0)
        if not (yield from self.can_vma_merge_before(next_, vmg, prev)):
            next_ = Vma(0)
        if prev and next_:
            yield from self.dup_anon_vma(prev, next_)
        target = prev or next_
        if target and vmg.copied_from:
            yield from self.dup_anon_vma(target, vmg.copied_from)
        if prev and next_:
            yield from self.commit_merge(
                prev, (yield load(prev.vm_start)), (yield load(next_.vm_end))
            )
            yield from self.vma_gone(mm, next_)
        elif prev:
            yield from self.commit_merge(prev, (yield load(prev.vm_start)), vmg.end)
        elif next_:
            yield from self.commit_merge(next_, vmg.start, (yield load(next_.vm_end)))
        return target

    def dup_anon_vma(self, dst: Vma, src: Vma) -> Gen[None]:
        """Let a VMA without anonymous pages have the anon_vmas of one whose pages it takes."""
        if (yield load(src.anon_vma)) and not (yield load(dst.anon_vma)):
            yield store(dst.anon_vma, (yield load(src.anon_vma)))
            yield from self.anon_vma_clone(dst, src)

    def commit_merge(
        self, target: Vma, start: int, end: int, middle: tuple[Vma, int, int] | None = None
    ) -> Gen[None]:
        """Give a VMA new bounds, and the one that gives to it, while no rmap walk can look."""
        yield from self.vma_start_write(target)
        yield from self.vma_prepare(target)
        if middle is not None:
            yield from self.vma_set_range(*middle)
        yield from self.vma_set_range(target, start, end)
        yield from self.vma_complete(target)

    def vma_set_range(self, vma: Vma, start: int, end: int) -> Gen[None]:
        """New bounds; the pages keep their indices."""
        moved = start - (yield load(vma.vm_start))
        if moved:
            yield store(vma.vm_start, start)
            yield store(vma.vm_pgoff, (yield load(vma.vm_pgoff)) + moved)
            yield store(vma.vm_anon_pgoff, (yield load(vma.vm_anon_pgoff)) + moved)
        yield store(vma.vm_end, end)

    def vma_gone(self, mm: Mm, vma: Vma) -> Gen[None]:
        """A VMA whose range another one has now: out of the tree, off its anon_vmas."""
        yield from self.vma_start_write(vma)
        yield from self.vma_remove(mm, vma)
        yield from self.unlink_anon_vmas(vma)
