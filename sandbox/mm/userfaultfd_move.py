"""UFFDIO_MOVE: pages change their place without being copied (mm/userfaultfd.c: move_pages, 6.12).

Only what is exclusive can be moved: present pages, swap entries, the zero page, whole leaves.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MIGRATION,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    pfn_pte,
    pte_dirty,
    pte_mkdirty,
    pte_mkwrite,
    pte_pfn,
    pte_present,
)
from sandbox.machine.offsets import TABLE_HAS_CACHE
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    AnonVma,
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    bits,
    load,
    lock,
    lock_bit,
    page_of_pfn,
    store,
    tlb_flush,
    trylock,
    unlock,
)
from sandbox.mm.flags import (
    EAGAIN,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    VM_LOCKED,
    VM_READ,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
    PG_anon_exclusive,
    PG_locked,
    PG_swapcache,
)
from sandbox.mm.memory.fault import VmFault
from sandbox.mm.pgalloc import pmd_is_leaf
from sandbox.syscalls import Result

PAGE_SIZE = 4096


class Move(NamedTuple):
    """Where a move stands: what goes where, and how many pages are left."""

    mm: Mm
    src_vma: Vma
    dst_vma: Vma
    src: int
    dst: int
    left: int
    src_pmd: int = 0
    dst_pmd: int = 0
    src_pte: int = 0
    dst_pte: int = 0
    pte: int = 0
    """The entry that is moved, as it was when it was looked at."""


class UffdMoveMixin(KernelPart):
    """move_pages and what it calls."""

    uffd_move_flushes_once = False
    """7.x: pages in a row are moved together, and their range is flushed at the end."""
    uffd_move_tries_held = True
    """Until 7.2 a large folio that somebody holds is tried again without end."""
    uffd_move_locks_anon_vma = True
    """Not in 7.x: rmap walkers lock the folio there, so its lock alone keeps them out."""

    def sys_uffd_move(self, mm: Mm, start: int, end: int, dst: int) -> Gen[Result]:
        """Move the pages of [start, end) to *dst*; -EAGAIN if only some could be (6.8).

        What it prints is what the kernel writes back: bytes moved, or the errno.
        """
        vmas = yield from self.uffd_move_lock(mm, dst, start)
        if vmas is None:
            return Result(-ENOENT)
        dst_vma, src_vma = vmas
        move = Move(mm, src_vma, dst_vma, start, dst, end - start)
        err = yield from self.validate_move_areas(move)
        moved = 0
        if not err:
            moved, err = yield from self.move_pages(move)
        if src_vma != dst_vma:
            yield unlock(src_vma.vm_lock)
        yield unlock(dst_vma.vm_lock)
        ret = err if not moved else 0 if moved == end - start else -EAGAIN
        return Result(ret, str(moved * PAGE_SIZE if moved else err))

    def uffd_move_lock(self, mm: Mm, dst: int, src: int) -> Gen[tuple[Vma, Vma] | None]:
        """The VMAs of target and source, locked for reading.

        The second is only tried: whoever holds mmap_lock for writing may wait for the first.
        """
        dst_vma: Vma | None = yield from self.uffd_lock_vma(mm, dst)
        if dst_vma is None:
            return None
        if (yield load(dst_vma.vm_start)) <= src < (yield load(dst_vma.vm_end)):
            return dst_vma, dst_vma
        src_vma: Vma | None = yield from self.lock_vma_under_rcu(mm, src)
        if src_vma is not None:
            return dst_vma, src_vma
        yield unlock(dst_vma.vm_lock)
        yield lock(mm.mmap_lock, READ)
        dst_vma = yield from self.find_vma(mm, dst)
        src_vma = (yield from self.find_vma(mm, src)) if dst_vma is not None else None
        if dst_vma is not None and src_vma is not None:
            if not (yield load(dst_vma.vm_flags)) & VM_SHARED:
                yield from self.anon_vma_prepare(dst_vma)
            yield lock(dst_vma.vm_lock, READ)
            if src_vma != dst_vma:
                yield lock(src_vma.vm_lock, READ)
        yield unlock(mm.mmap_lock)
        return None if dst_vma is None or src_vma is None else (dst_vma, src_vma)

    def lock_vma_under_rcu(self, mm: Mm, addr: int) -> Gen[Vma | None]:
        """The VMA of *addr*, locked for reading if nobody changes it; mmap_lock is not taken."""
        vma: Vma | None = yield from self.find_vma(mm, addr)
        if vma is None or not (yield trylock(vma.vm_lock, READ)):
            return None
        if (yield load(vma.vm_start)) <= addr < (yield load(vma.vm_end)):
            return vma
        yield unlock(vma.vm_lock)  # it was shrunk before it was locked
        return None

    def validate_move_areas(self, move: Move) -> Gen[int]:
        """Ranges within one private, anonymous, writable VMA each, alike, the target registered."""
        vmas = (move.src_vma, move.dst_vma)
        src, dst = (yield load(vmas[0].vm_flags)), (yield load(vmas[1].vm_flags))
        if (src | dst) & VM_SHARED:
            return -EINVAL
        for vma, first in ((vmas[0], move.src), (vmas[1], move.dst)):
            if first + move.left > (yield load(vma.vm_end)) or (yield load(vma.vm_file)):
                return -EINVAL
        same = not (src ^ dst) & (VM_READ | VM_WRITE | VM_LOCKED)
        return 0 if same and src & VM_WRITE and dst & VM_UFFD_WP else -EINVAL

    def move_pages(self, move: Move) -> Gen[tuple[int, int]]:
        """(Pages moved, errno): leaves whole where they fit, else entry by entry."""
        moved = 0
        while move.left:
            src_pmd = yield from self.pmd_offset(move.mm, move.src)
            if not src_pmd:
                return moved, -ENOENT
            dst_pmd = yield from self.pmd_alloc(move.mm, move.dst)
            move = move._replace(src_pmd=src_pmd, dst_pmd=dst_pmd)
            if pmd_is_leaf((yield load(dst_pmd))):
                return moved, -EEXIST
            src_pmdval = yield load(src_pmd)
            if pmd_is_leaf(src_pmdval):
                done = yield from self.move_leaf(move)
            elif not src_pmdval:
                done = -ENOENT
            else:
                yield from self.pte_alloc(move.mm, dst_pmd, move.dst)
                done = yield from self.move_pages_ptes(move)
            if done == -EAGAIN:
                continue
            if done < 0:
                return moved, done
            moved += done
            src, dst, left = move.src + done, move.dst + done, move.left - done
            move = move._replace(src=src, dst=dst, left=left)
        return moved, 0

    def may_move(self, folio: Folio, page: Page) -> Gen[bool]:
        """Is a page exclusive, and nobody's pin on it?"""
        if (yield from self.folio_maybe_dma_pinned(folio)):
            return False
        return bool((yield load(page.flags)) & PG_anon_exclusive)

    def place_anon_folio(self, folio: Folio, vma: Vma, addr: int) -> Gen[None]:
        """Give a folio its place in another VMA: anon_vma and index."""
        yield from self.folio_move_anon_rmap(folio, vma)
        pgoff = yield load(self.anon_pgoff_word(vma))
        yield store(folio.index, addr - (yield load(vma.vm_start)) + pgoff)

    # -- entries -----------------------------------------------------------------------------

    def move_pages_ptes(self, move: Move) -> Gen[int]:
        """Pages moved from the first entry on, or an errno (`move_pages_pte` before 7.0)."""
        src_pmdval, dst_pmdval = (yield load(move.src_pmd)), (yield load(move.dst_pmd))
        if not src_pmdval or not dst_pmdval or pmd_is_leaf(src_pmdval) or pmd_is_leaf(dst_pmdval):
            return -EAGAIN
        src_pte = self.pte_offset_map(src_pmdval, move.src)
        dst_pte = self.pte_offset_map(dst_pmdval, move.dst)
        if (yield from self.entry_of(dst_pte, move.dst)):
            return -EEXIST
        pte = yield from self.entry_of(src_pte, move.src)
        if not pte:
            return -ENOENT
        move = move._replace(src_pte=src_pte, dst_pte=dst_pte, pte=pte)
        if not pte_present(pte):
            return (yield from self.move_nonpresent_pte(move))
        if pte & PTE_SPECIAL:
            return (yield from self.move_zeropage_pte(move))
        return (yield from self.move_anon_pte(move))

    def entry_of(self, ptep: int, addr: int) -> Gen[int]:
        """An entry, read under its lock."""
        ptl = self.pte_lockptr(ptep, addr)
        yield lock(ptl)
        pte: int = yield from self.ptep_get(ptep)
        yield unlock(ptl)
        return pte

    def double_pt_lock(self, move: Move) -> Gen[tuple[bool, tuple[int, ...]]]:
        """Lock both tables, by address: (are both entries as they were, the locks)."""
        ptls = {self.pte_lockptr(move.src_pte, move.src), self.pte_lockptr(move.dst_pte, move.dst)}
        for ptl in sorted(ptls):
            yield lock(ptl)
        stable = (yield from self.ptep_get(move.src_pte)) == move.pte
        stable = stable and not (yield from self.ptep_get(move.dst_pte))
        return stable, tuple(sorted(ptls))

    def double_pt_unlock(self, ptls: tuple[int, ...]) -> Gen[None]:
        """Unlock both tables."""
        for ptl in reversed(ptls):
            yield unlock(ptl)

    def move_zeropage_pte(self, move: Move) -> Gen[int]:
        """The zero page is mapped at the target instead."""
        stable, ptls = yield from self.double_pt_lock(move)
        if stable:
            zero = Page((yield load(Globals.zero_page)))
            prot = yield from self.vm_page_prot(move.dst_vma)
            yield from self.ptep_clear_flush(move.mm, move.src, move.src_pte)
            entry = pfn_pte(zero.pfn, prot) | PTE_SPECIAL
            yield from self.set_pte_at(move.mm, move.dst, move.dst_pte, entry)
        yield from self.double_pt_unlock(ptls)
        return 1 if stable else -EAGAIN

    def move_nonpresent_pte(self, move: Move) -> Gen[int]:
        """Exclusive swap entries are moved; a migration is waited for."""
        if move.pte & PTE_MIGRATION:
            vmf = VmFault(move.mm, move.src_vma, move.src, 0, move.src_pmd)
            yield from self.migration_entry_wait(vmf)
            return -EAGAIN
        if not move.pte & PTE_SWP:
            return -EFAULT
        if not move.pte & PTE_SWP_EXCLUSIVE:
            return -EBUSY
        folio = yield from self.swap_cache_get_folio(move.pte >> PFN_SHIFT)
        if folio is None:
            return (yield from self.move_swap_pte(move, None))
        if folio.large:
            yield from self.folio_put(folio)
            return -EBUSY
        yield lock_bit(folio.flags, PG_locked)
        done = yield from self.move_swap_pte(move, folio)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return done

    def move_swap_pte(self, move: Move, folio: Folio | None) -> Gen[int]:
        """Move the entry; the folio that caches its slot gets the new place, too."""
        slot = move.pte >> PFN_SHIFT
        if folio is not None:
            cached = (yield load(folio.flags)) & PG_swapcache
            if not cached or (yield load(folio.private)) != slot + 1:
                return -EAGAIN
        stable, ptls = yield from self.double_pt_lock(move)
        if stable and folio is None:
            word = TABLE_HAS_CACHE if not self.swapin_uses_cache else self.swap_taken_word()
            stable = not (yield load((yield from self.swap_word(word, slot))))
        if stable:
            if folio is not None:
                yield from self.place_anon_folio(folio, move.dst_vma, move.dst)
            pte = yield from self.ptep_get_and_clear(move.mm, move.src, move.src_pte)
            yield from self.set_pte_at(move.mm, move.dst, move.dst_pte, pte)
        yield from self.double_pt_unlock(ptls)
        return 1 if stable else -EAGAIN

    def move_anon_pte(self, move: Move) -> Gen[int]:
        """Reference and lock the folio, split it if it is large, and move its page."""
        ptl = self.pte_lockptr(move.src_pte, move.src)
        yield lock(ptl)  # the entry keeps the folio until we have a reference
        if (yield from self.ptep_get(move.src_pte)) != move.pte:
            yield unlock(ptl)
            return -EAGAIN
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(move.pte)))
        if not (yield load(folio.flags)) & PG_anon_exclusive:  # that of its first page
            yield unlock(ptl)
            return -EBUSY
        locked = not (yield bits(folio.flags, PG_locked)) & PG_locked
        if not locked and folio.large:
            yield unlock(ptl)
            yield lock_bit(folio.flags, PG_locked)  # the kernel tries again and again
            yield bits(folio.flags, 0, PG_locked)
            return -EAGAIN
        yield from self.folio_get(folio)
        yield unlock(ptl)
        if not locked:
            yield lock_bit(folio.flags, PG_locked)
        if folio.large:
            err = yield from self.madvise_split_referenced(folio)
            if err == -EAGAIN and not self.uffd_move_tries_held:
                return -EBUSY
            return err or -EAGAIN
        if self.uffd_move_flushes_once:
            return (yield from self.move_present_ptes(move, folio))
        rwsem = AnonVma((yield load(folio.mapping))).rwsem
        if self.uffd_move_locks_anon_vma:
            yield lock(rwsem)
        done = yield from self.move_present_pte(move, folio)
        if self.uffd_move_locks_anon_vma:
            yield unlock(rwsem)
        yield bits(folio.flags, 0, PG_locked)
        yield from self.folio_put(folio)
        return done

    def move_present_pte(self, move: Move, folio: Folio) -> Gen[int]:
        """Clear the source, look for pins again, give the page its new place, set the target."""
        stable, ptls = yield from self.double_pt_lock(move)
        done = -EAGAIN
        if stable:
            done = -EBUSY
            if not folio.large and (yield from self.may_move(folio, folio.page(0))):
                done = yield from self.move_locked_pte(move, folio)
        yield from self.double_pt_unlock(ptls)
        return done

    def move_present_ptes(self, move: Move, folio: Folio) -> Gen[int]:
        """The same for pages in a row of one table, with one flush for all (7.0)."""
        stable, ptls = yield from self.double_pt_lock(move)
        if not stable or folio.large or not (yield from self.may_move(folio, folio.page(0))):
            yield from self.double_pt_unlock(ptls)
            yield bits(folio.flags, 0, PG_locked)
            yield from self.folio_put(folio)
            return -EBUSY if stable else -EAGAIN
        yield from self.folio_put(folio)  # the entry's reference keeps it
        first, left = move.src, min(move.left, 512 - max(move.src & 511, move.dst & 511))
        err, held = 0, Folio(folio)
        while held:
            err = yield from self.move_locked_pte(move, held)
            yield bits(held.flags, 0, PG_locked)
            if err < 0:
                break
            move = self.move_to_next_page(move)
            left -= 1
            held = (yield from self.check_ptes_for_batched_move(move)) if left else Folio(0)
        if move.src > first:
            yield tlb_flush(move.mm, first, move.src)
        yield from self.double_pt_unlock(ptls)
        return move.src - first or err

    def move_to_next_page(self, move: Move) -> Move:
        """The move one page on."""
        return move._replace(
            src=move.src + 1,
            dst=move.dst + 1,
            src_pte=move.src_pte + 1,
            dst_pte=move.dst_pte + 1,
        )

    def check_ptes_for_batched_move(self, move: Move) -> Gen[Folio]:
        """The folio of the next entry, locked, if it can be moved with the one before; or 0."""
        if (yield from self.ptep_get(move.dst_pte)):
            return Folio(0)
        pte = yield from self.ptep_get(move.src_pte)
        if not pte_present(pte) or pte & PTE_SPECIAL:
            return Folio(0)
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(pte)))
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return Folio(0)
        if folio.large or not (yield load(folio.flags)) & PG_anon_exclusive:
            yield bits(folio.flags, 0, PG_locked)
            return Folio(0)
        return Folio(folio)

    def move_locked_pte(self, move: Move, folio: Folio) -> Gen[int]:
        """The part of move_present_pte() that changes something: 1, or -EBUSY for a late pin."""
        if self.uffd_move_flushes_once:
            pte = yield from self.ptep_get_and_clear(move.mm, move.src, move.src_pte)
        else:
            pte = yield from self.ptep_clear_flush(move.mm, move.src, move.src_pte)
        if (yield from self.folio_maybe_dma_pinned(folio)):  # pinned from under us
            yield from self.set_pte_at(move.mm, move.src, move.src_pte, pte)
            return -EBUSY
        yield from self.place_anon_folio(folio, move.dst_vma, move.dst)
        entry = pfn_pte(folio.pfn, (yield from self.vm_page_prot(move.dst_vma)))
        if pte_dirty(pte):
            entry = pte_mkdirty(entry)
        yield from self.set_pte_at(move.mm, move.dst, move.dst_pte, pte_mkwrite(entry))
        return 1
