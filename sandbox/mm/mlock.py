"""mlock and munlock (mm/mlock.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import pte_pfn, pte_present
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Fbatch,
    Folio,
    Gen,
    Mm,
    PerCpu,
    Vma,
    add,
    bits,
    load,
    lock,
    store,
    unlock,
)
from sandbox.mm.flags import (
    MLOCK_COUNT_MASK,
    MLOCK_COUNT_SHIFT,
    VM_LOCKED,
    PG_active,
    PG_lru,
    PG_mlocked,
    PG_unevictable,
)
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.mm.swap import PAGEVEC_SIZE

LRU_FOLIO, NEW_FOLIO = 1, 2
"""What is to be done with a folio of the batch; 0 is to munlock it."""


class MlockMixin(KernelPart):
    """VM_LOCKED and the mlocked flag of the folios under it."""

    def do_mlock(self, mm: Mm, start: int, end: int, on: bool) -> Gen[int]:
        """mlock(2) / munlock(2): VMA flags, then the folios, then populate.

        As far as the first hole (`apply_vma_lock_flags`), and then nothing is faulted in.
        """
        yield lock(mm.mmap_lock)
        ret, _ = yield from self.walk_until_hole(mm, start, end, self.mlock_fixup, on)
        yield unlock(mm.mmap_lock)
        if on and not ret:
            ret = self._mlock_posix_error_return((yield from self.mm_populate(mm, start, end)))
        return ret

    def mlock_fixup(self, vma: Vma, start: int, end: int, on: bool) -> Gen[tuple[int, bool]]:
        """Change VM_LOCKED of one VMA's part."""
        mm, vm_flags = Mm((yield load(vma.vm_mm))), (yield load(vma.vm_flags))
        if bool(vm_flags & VM_LOCKED) == on:
            return 0, on
        newflags = vm_flags | VM_LOCKED if on else vm_flags & ~VM_LOCKED
        vma = yield from self.vma_modify_flags(mm, vma, start, end, newflags)
        yield store(mm.locked_vm, (yield load(mm.locked_vm)) + (end - start if on else start - end))
        yield from self.mlock_vma_pages_range(mm, vma, start, end, newflags)
        return 0, on

    def mlock_vma_pages_range(
        self, mm: Mm, vma: Vma, start: int, end: int, newflags: int
    ) -> Gen[None]:
        """Set the flags, and walk the entries of [start, end)."""
        on = bool(newflags & VM_LOCKED)
        yield from self.vma_start_write(vma)
        yield store(vma.vm_flags, newflags)
        yield from self.lru_add_drain()
        addr = start
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            pmd = yield from self.pmd_offset(mm, addr)
            pmdval = (yield load(pmd)) if pmd else 0
            if pmdval and pmd_is_leaf(pmdval):
                yield from self.mlock_pmd(mm, vma, pmd, addr, on)
            elif pmdval:
                yield from self.mlock_pte_range(mm, vma, pmd, addr, next_, on)
            addr = next_
        yield from self.lru_add_drain()

    def mlock_pte_range(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, end: int, on: bool
    ) -> Gen[None]:
        """Mlock or munlock the folios behind the entries; large ones only when whole in range."""
        pte, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        start = addr
        while addr < end:
            at = pte + addr - start
            ptent = yield from self.ptep_get(at)
            step = 1
            page = (yield from self.vm_normal_page(ptent)) if pte_present(ptent) else None
            if page is not None:
                folio = yield from self.page_folio(page)
                step = yield from self.folio_mlock_step(folio, at, ptent, end - addr)
                first = addr - folio.index_of(page)
                if (yield from self.allow_mlock_munlock(folio, vma, first, start, end, step)):
                    if on:
                        yield from self.mlock_folio(folio)
                    else:
                        yield from self.munlock_folio(folio)
            addr += step
        yield unlock(ptl)

    def folio_mlock_step(self, folio: Folio, ptep: int, pte: int, left: int) -> Gen[int]:
        """How many of the entries that follow map pages of the folio."""
        yield load(folio.flags)
        step = 1
        while folio.large and step < left:
            pte = yield from self.ptep_get(ptep + step)
            if not pte_present(pte) or not 0 <= pte_pfn(pte) - folio.pfn < folio.nr_pages:
                break
            step += 1
        return step

    def allow_mlock_munlock(
        self, folio: Folio, vma: Vma, first: int, start: int, end: int, step: int
    ) -> Gen[bool]:
        """Large folios are mlocked only when the entries of [start, end) map them whole."""
        if not (yield load(vma.vm_flags)) & VM_LOCKED or not folio.large:
            return True
        return start <= first and first + folio.nr_pages <= end and step == folio.nr_pages

    # -- the batch -----------------------------------------------------------------------

    def mlock_folio(self, folio: Folio) -> Gen[None]:
        """Set PG_mlocked, and queue the folio for the unevictable list."""
        yield bits(folio.flags, PG_mlocked)
        yield from self.mlock_batch_add(folio, LRU_FOLIO)

    def mlock_new_folio(self, folio: Folio) -> Gen[None]:
        """Set PG_mlocked of a folio that is on no list yet, and queue it."""
        yield bits(folio.flags, PG_mlocked)
        yield from self.mlock_batch_add(folio, NEW_FOLIO)

    def munlock_folio(self, folio: Folio) -> Gen[None]:
        """Queue the folio to be rescued from the unevictable list; PG_mlocked goes then."""
        yield from self.mlock_batch_add(folio, 0)

    def mlock_batch_add(self, folio: Folio, kind: int) -> Gen[None]:
        """Batch a folio with a reference; work the batch off when full or the folio is large."""
        yield add(folio._refcount, 1)
        nr = yield load(PerCpu.fbatch_nr(self.cpu, Fbatch.MLOCK))
        yield store(PerCpu.fbatch_folio(self.cpu, Fbatch.MLOCK, nr), folio)
        yield store(PerCpu.mlock_kind(self.cpu, nr), kind)
        yield store(PerCpu.fbatch_nr(self.cpu, Fbatch.MLOCK), nr + 1)
        if folio.large or nr + 1 >= PAGEVEC_SIZE:
            yield from self.mlock_folio_batch()

    def mlock_drain_local(self) -> Gen[None]:
        """Work off this CPU's batch if there is anything in it."""
        if (yield load(PerCpu.fbatch_nr(self.cpu, Fbatch.MLOCK))):
            yield from self.mlock_folio_batch()

    def mlock_folio_batch(self) -> Gen[None]:
        """Move the folios of the batch between lists, and drop the batch's references."""
        batch: tuple[tuple[Folio, int], ...] = ()
        for i in range((yield load(PerCpu.fbatch_nr(self.cpu, Fbatch.MLOCK)))):
            folio = Folio((yield load(PerCpu.fbatch_folio(self.cpu, Fbatch.MLOCK, i))))
            batch = (*batch, (folio, 1))
            kind = yield load(PerCpu.mlock_kind(self.cpu, i))
            if kind == LRU_FOLIO:
                yield from self._mlock_folio(folio)
            elif kind == NEW_FOLIO:
                yield from self._mlock_new_folio(folio)
            else:
                yield from self._munlock_folio(folio)
        yield from self.folios_put(batch)
        yield store(PerCpu.fbatch_nr(self.cpu, Fbatch.MLOCK), 0)

    def _mlock_folio(self, folio: Folio) -> Gen[None]:
        """To the unevictable list or counted there, unless it is off its list or munlocked."""
        if not (yield bits(folio.flags, 0, PG_lru)) & PG_lru:
            return
        flags = yield load(folio.flags)
        if not flags & PG_mlocked:
            if flags & PG_unevictable:
                yield bits(folio.flags, 0, PG_unevictable)
        elif flags & PG_unevictable:
            yield from self.set_mlock_count(folio, self.mlock_count(flags) + 1)
        else:
            if flags & PG_active:
                yield bits(folio.flags, 0, PG_active)
            yield bits(folio.flags, PG_unevictable)
            yield from self.set_mlock_count(folio, 1)
        yield bits(folio.flags, PG_lru)

    def _mlock_new_folio(self, folio: Folio) -> Gen[None]:
        """On the unevictable list, unless munlocked meanwhile."""
        if (yield load(folio.flags)) & PG_mlocked:
            yield bits(folio.flags, PG_unevictable)
            yield from self.set_mlock_count(folio, 1)
        yield bits(folio.flags, PG_lru)

    def _munlock_folio(self, folio: Folio) -> Gen[None]:
        """One lock less; with the last one no longer mlocked, and back to an evictable list."""
        isolated = bool((yield bits(folio.flags, 0, PG_lru)) & PG_lru)
        flags = yield load(folio.flags)
        if isolated and flags & PG_unevictable and self.mlock_count(flags):
            left = self.mlock_count(flags) - 1
            yield from self.set_mlock_count(folio, left)
            if left:
                yield bits(folio.flags, PG_lru)
                return
        yield bits(folio.flags, 0, PG_mlocked)
        if isolated:
            if (yield load(folio.flags)) & PG_unevictable:
                yield bits(folio.flags, 0, PG_unevictable)
            yield bits(folio.flags, PG_lru)

    def mlock_count(self, flags: int) -> int:
        """How many locks of a folio on the unevictable list are known."""
        return (flags & MLOCK_COUNT_MASK) >> MLOCK_COUNT_SHIFT

    def set_mlock_count(self, folio: Folio, count: int) -> Gen[None]:
        """Count the locks of a folio that was taken off the LRU for it, under the LRU's lock."""
        word = count << MLOCK_COUNT_SHIFT
        yield bits(folio.flags, word, MLOCK_COUNT_MASK & ~word)

    file_rmap_mlocks_whole = False
    """6.18 and later: a large file folio is mlocked with the mapping that maps all of it."""

    def mlock_vma_folio(self, folio: Folio, nr: int, vma: Vma) -> Gen[None]:
        """Mlock a folio of which *nr* pages were mapped in a locked VMA (mm/rmap.c).

        New anonymous folios apart: they are mlocked with their LRU batch.  Large ones are left to
        the walk of mlock where they are not known to be mapped whole.
        """
        if not (yield load(vma.vm_flags)) & VM_LOCKED:
            return
        if not folio.large or (self.file_rmap_mlocks_whole and nr == folio.nr_pages):
            yield from self.mlock_folio(folio)

    def munlock_vma_folio(self, folio: Folio, vma: Vma) -> Gen[None]:
        """Rmap removal in a locked VMA munlocks the folio (mm/internal.h)."""
        if (yield load(vma.vm_flags)) & VM_LOCKED:
            yield from self.munlock_folio(folio)
