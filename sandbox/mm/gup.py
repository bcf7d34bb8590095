"""get_user_pages and pin_user_pages: the fast and the slow path (mm/gup.c, 6.6)."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_SPECIAL,
    PTE_UFFD_WP,
    PTE_VALID,
    pte_dirty,
    pte_mkdirty,
    pte_mkyoung,
    pte_pfn,
    pte_present,
    pte_protnone,
    pte_write,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    READ,
    Folio,
    Gen,
    Globals,
    Mapping,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    lock,
    note,
    page_of_pfn,
    try_add,
    unlock,
)
from sandbox.mm.flags import (
    EFAULT,
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_WRITE,
    FOLL_FORCE,
    FOLL_GET,
    FOLL_LONGTERM,
    FOLL_PIN,
    FOLL_TOUCH,
    FOLL_WRITE,
    GUP_PIN_COUNTING_BIAS,
    HOST_XFS,
    MMF_HAS_PINNED,
    VM_READ,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_ksm,
    is_cow_mapping,
)
from sandbox.mm.pgalloc import pmd_is_leaf

WRITABLE_PIN = FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE
"""A pin for long by which a device may write."""

Pages = tuple[Page, ...]
"""Pages that are held, in the order of their addresses."""


class Followed(NamedTuple):
    """A page that an entry maps, and how many pages the entry maps from there on."""

    page: Page
    rest: int = 1


class GupMixin(KernelPart):
    """Taking references on the pages behind user addresses."""

    # -- references --------------------------------------------------------------------

    def try_grab_folio(self, folio: Folio, page: Page, refs: int, flags: int) -> Gen[bool]:
        """Slow path: the entry's own reference keeps the folio alive under the lock."""
        if flags & FOLL_GET:
            yield add(folio._refcount, refs)
        elif flags & FOLL_PIN:
            if page == (yield load(Globals.zero_page)):
                return True
            if folio.large:
                yield add(folio._refcount, refs)
                yield add(folio._pincount, refs)
            else:
                yield add(folio._refcount, refs * GUP_PIN_COUNTING_BIAS)
        return True

    def try_grab_folio_fast(self, page: Page, refs: int, flags: int) -> Gen[Folio | None]:
        """Fast path: speculative references, checked against the folio, then the pins."""
        while True:
            folio = yield from self.page_folio(page)
            if not (yield try_add(folio._refcount, refs)):
                return None
            if (yield from self.page_folio(page)) == folio:
                break
            yield from self.folio_put(folio, refs)
        if flags & FOLL_PIN:
            if folio.large:
                yield add(folio._pincount, refs)
            else:
                yield add(folio._refcount, refs * (GUP_PIN_COUNTING_BIAS - 1))
        return folio

    def gup_put_folio(self, folio: Folio, refs: int, flags: int) -> Gen[None]:
        """Give references back: the pin count first, then the references."""
        if flags & FOLL_PIN:
            if folio.large:
                yield add(folio._pincount, -refs)
            else:
                refs *= GUP_PIN_COUNTING_BIAS
        yield from self.folio_put(folio, refs)

    def unpin_user_pages(self, pages: Pages, flags: int = FOLL_PIN) -> Gen[None]:
        """Release pages, runs of one folio together (`unpin_user_pages`, `put_page`)."""
        i = 0
        while i < len(pages):
            folio = yield from self.page_folio(pages[i])
            n = 1
            if flags & FOLL_PIN:
                while i + n < len(pages) and (yield from self.page_folio(pages[i + n])) == folio:
                    n += 1
            yield from self.sanity_check_pinned_pages(folio, pages[i : i + n], flags)
            if flags & FOLL_GET or pages[i] != (yield load(Globals.zero_page)):
                yield from self.gup_put_folio(folio, n, flags)
            i += n

    def sanity_check_pinned_pages(self, folio: Folio, pages: Pages, flags: int) -> Gen[None]:
        """A pinned anon page must still be exclusive (VM_WARN, CONFIG_DEBUG_VM)."""
        if not flags & FOLL_PIN:
            return
        if (yield load(folio.flags)) & PG_anon:
            for page in pages:
                exclusive = (yield load(page.flags)) & PG_anon_exclusive
                if folio.large and not exclusive:
                    exclusive = (yield load(folio.page(0).flags)) & PG_anon_exclusive
                if not exclusive:
                    yield note("warn", "sanity_check_pinned_pages", page)

    # -- entry points ------------------------------------------------------------------

    def gup_fast_fallback(self, mm: Mm, start: int, nr: int, flags: int) -> Gen[Pages]:
        """pin_user_pages_fast() / get_user_pages_fast(): fast as far as it goes, then slow."""
        if flags & FOLL_PIN and not (yield load(mm.flags)) & MMF_HAS_PINNED:
            yield bits(mm.flags, MMF_HAS_PINNED)
        pages = yield from self.lockless_pages_from_mm(mm, start, start + nr, flags)
        if len(pages) < nr:
            rest = yield from self._get_user_pages_locked(
                mm, start + len(pages), nr - len(pages), flags | FOLL_TOUCH
            )
            pages += rest
        return pages

    # -- fast path ---------------------------------------------------------------------

    def lockless_pages_from_mm(self, mm: Mm, start: int, end: int, flags: int) -> Gen[Pages]:
        """Walk without locks; a fork meanwhile (write_protect_seq) makes all pins void."""
        seq = 0
        if flags & FOLL_PIN:
            seq = yield load(mm.write_protect_seq)
            if seq & 1:
                return ()
        pages: list[Page] = []
        addr = start
        while addr < end:
            taken = yield from self.gup_fast_pmd_range(mm, addr, end, flags)
            if not taken:
                break
            pages += taken
            addr += len(taken)
        if flags & FOLL_PIN and (yield load(mm.write_protect_seq)) != seq:
            yield from self.unpin_user_pages(tuple(pages), flags)
            return ()
        return tuple(pages)

    def gup_fast_pmd_range(self, mm: Mm, addr: int, end: int, flags: int) -> Gen[Pages]:
        """Lockless walk: the page of one entry, or all wanted pages of a leaf; empty to give up."""
        pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if not pmdval:
            return ()
        if pmd_is_leaf(pmdval):
            return (yield from self.gup_fast_pmd_leaf(pmd, pmdval, addr, end, flags))
        page = yield from self.gup_fast_pte_range(
            (self.pte_offset_map(pmdval, addr), pmd, pmdval), flags
        )
        return () if page is None else (page,)

    def gup_fast_pmd_leaf(
        self, pmd: int, pmdval: int, addr: int, end: int, flags: int
    ) -> Gen[Pages]:
        """All wanted pages of a PMD leaf with one grab."""
        if not pmdval & PTE_VALID or pmdval & PTE_SPECIAL:
            return ()
        if flags & FOLL_WRITE and not pte_write(pmdval):
            return ()
        first = addr & (HPAGE_PMD_NR - 1)
        refs = min(end - addr, HPAGE_PMD_NR - first)
        page = page_of_pfn(pte_pfn(pmdval) + first)
        folio = yield from self.try_grab_folio_fast(page, refs, flags)
        if folio is None:
            return ()
        back_off = (yield load(pmd)) != pmdval
        if not back_off:
            back_off = not (yield from self.gup_fast_folio_allowed(folio, flags))
        if not back_off and not pte_write(pmdval):
            back_off = yield from self.gup_must_unshare(None, flags, folio, folio.page(0))
        if back_off:
            yield from self.gup_put_folio(folio, refs, flags)
            return ()
        return tuple(page_of_pfn(page.pfn + i) for i in range(refs))

    def gup_fast_pte_range(self, at: tuple[int, int, int], flags: int) -> Gen[Page | None]:
        """One entry: grab, then make sure that nothing changed (`gup_pte_range` until 6.9)."""
        ptep, pmd, pmdval = at
        pte = yield from self.ptep_get_lockless(ptep)
        if not pte & PTE_VALID or pte_protnone(pte) or pte & PTE_SPECIAL:
            return None
        if flags & FOLL_WRITE and not pte_write(pte):
            return None
        page = page_of_pfn(pte_pfn(pte))
        folio = yield from self.try_grab_folio_fast(page, 1, flags)
        if folio is None:
            return None
        if (yield load(pmd)) != pmdval or (yield from self.ptep_get_lockless(ptep)) != pte:
            yield from self.gup_put_folio(folio, 1, flags)
            return None
        if not (yield from self.gup_fast_folio_allowed(folio, flags)):
            yield from self.gup_put_folio(folio, 1, flags)
            return None
        if not pte_write(pte) and (yield from self.gup_must_unshare(None, flags, folio, page)):
            yield from self.gup_put_folio(folio, 1, flags)
            return None
        return page

    def gup_fast_folio_allowed(self, folio: Folio, flags: int) -> Gen[bool]:
        """Whether a page may be had without looking at its VMA.

        Not where a file wants to know of writes and one is announced for long.
        """
        if flags & WRITABLE_PIN != WRITABLE_PIN or (yield load(folio.flags)) & PG_anon:
            return True
        mapping = Mapping((yield load(folio.mapping)))
        return bool(mapping) and (yield load(mapping.host)) != HOST_XFS

    def writable_file_mapping_allowed(self, vma: Vma, flags: int) -> Gen[bool]:
        """A pin for long may not write behind the back of a filesystem that tracks writes."""
        if flags & WRITABLE_PIN != WRITABLE_PIN:
            return True
        shared = VM_SHARED | VM_WRITE
        if (yield load(vma.vm_flags)) & shared != shared:  # vma_needs_dirty_tracking()
            return True
        return not (yield from self.vm_ops_needs_writenotify(vma))

    def gup_must_unshare(
        self, vma: Vma | None, flags: int, folio: Folio | None, page: Page
    ) -> Gen[bool]:
        """Whether a R/O pin must break sharing first (mm/internal.h)."""
        if flags & (FOLL_WRITE | FOLL_PIN) != FOLL_PIN:
            return False
        flags_word = (yield load(folio.flags)) if folio is not None else 0
        if not flags_word & PG_anon:
            if not flags & FOLL_LONGTERM:
                return False
            return vma is None or is_cow_mapping((yield load(vma.vm_flags)))
        if flags_word & PG_ksm:
            return True
        return not (yield load(page.flags)) & PG_anon_exclusive

    # -- slow path ---------------------------------------------------------------------

    def _get_user_pages_locked(self, mm: Mm, start: int, nr: int, flags: int) -> Gen[Pages]:
        """Under mmap_lock: look each page up, fault it in, try again."""
        yield lock(mm.mmap_lock, READ)
        pages = yield from self._get_user_pages(mm, start, nr, flags)
        yield unlock(mm.mmap_lock)
        return pages

    def _get_user_pages(self, mm: Mm, start: int, nr: int, flags: int) -> Gen[Pages]:
        """The loop, for a caller that holds mmap_lock; the rest of a PMD leaf at once."""
        pages: list[Page] = []
        while len(pages) < nr:
            addr = start + len(pages)
            vma = yield from self.find_vma(mm, addr)
            if vma is None or (yield from self.check_vma_flags(vma, flags)):
                break
            found = yield from self.gup_one_slow(mm, vma, addr, flags)
            if found is None:
                break
            more = min(found.rest, start + nr - addr) - 1
            if more:
                folio = yield from self.page_folio(found.page)
                yield from self.try_grab_folio(folio, found.page, more, flags)
            pages += (page_of_pfn(found.page.pfn + i) for i in range(1 + more))
        return tuple(pages)

    def check_vma_flags(self, vma: Vma, flags: int) -> Gen[int]:
        """-EFAULT when the VMA does not allow the access."""
        vm_flags = yield load(vma.vm_flags)
        if flags & FOLL_WRITE:
            if not (yield from self.writable_file_mapping_allowed(vma, flags)):
                return -EFAULT
            if not vm_flags & VM_WRITE and not (flags & FOLL_FORCE and is_cow_mapping(vm_flags)):
                return -EFAULT
        elif not vm_flags & VM_READ and not flags & FOLL_FORCE:
            return -EFAULT
        return 0

    def gup_one_slow(self, mm: Mm, vma: Vma, addr: int, flags: int) -> Gen[Followed | None]:
        """One page: follow_page_mask() until it is there, faulting in between (`faultin_page`)."""
        while True:
            found, fault = yield from self.follow_page_pte(mm, vma, addr, flags)
            if found is not None:
                return found
            if (yield from self.handle_mm_fault(mm, vma, addr, fault)):
                return None

    def follow_page_pte(
        self, mm: Mm, vma: Vma, addr: int, flags: int
    ) -> Gen[tuple[Followed | None, int]]:
        """Grab the page under the entry's lock, or say which fault is needed."""
        want = FAULT_FLAG_WRITE if flags & FOLL_WRITE else 0
        pmd = yield from self.pmd_alloc(mm, addr)
        if pmd_is_leaf((yield load(pmd))):
            return (yield from self.follow_huge_pmd(vma, pmd, addr, flags))
        ptep, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return None, want
        pte = yield from self.ptep_get(ptep)
        found, fault = None, want
        if (
            pte_present(pte)
            and (not pte_protnone(pte) or (yield from self.gup_can_follow_protnone(vma)))
            and (yield from self.can_follow(vma, pte, flags))
        ):
            page = page_of_pfn(pte_pfn(pte))
            normal = yield from self.vm_normal_page(pte)
            folio = (yield from self.page_folio(page)) if normal is not None else None
            if not pte_write(pte) and (yield from self.gup_must_unshare(vma, flags, folio, page)):
                fault = FAULT_FLAG_UNSHARE
            else:
                found = Followed(page)
                yield from self.try_grab_folio((yield from self.page_folio(page)), page, 1, flags)
                if flags & FOLL_TOUCH and flags & FOLL_WRITE and not pte_dirty(pte):
                    yield from self.gup_touch(folio)
        yield unlock(ptl)
        return found, fault

    def gup_touch(self, folio: Folio | None) -> Gen[None]:
        """FOLL_TOUCH of a page that is to be written through an entry that is clean."""
        if folio is not None and not (yield load(folio.flags)) & PG_dirty:
            yield from self.folio_mark_dirty(folio)

    def gup_can_follow_protnone(self, vma: Vma) -> Gen[bool]:
        """PROT_NONE of the VMA itself is no hint of NUMA balancing: FOLL_FORCE may pass it."""
        return not (yield load(vma.vm_flags)) & (VM_READ | VM_WRITE)

    def follow_huge_pmd(
        self, vma: Vma, pmd: int, addr: int, flags: int
    ) -> Gen[tuple[Followed | None, int]]:
        """`follow_page_pte` for a PMD leaf; the head page's exclusivity stands for all."""
        fault = FAULT_FLAG_WRITE if flags & FOLL_WRITE else 0
        mm = Mm((yield load(vma.vm_mm)))
        ptl = self.pmd_lockptr(pmd, addr)
        yield lock(ptl)
        pmdval, found = (yield load(pmd)), None
        if not pmd_is_leaf(pmdval):  # split meanwhile
            yield unlock(ptl)
            return (yield from self.follow_page_pte(mm, vma, addr, flags))
        if (
            pte_present(pmdval)
            and (not pte_protnone(pmdval) or (yield from self.gup_can_follow_protnone(vma)))
            and (yield from self.can_follow(vma, pmdval, flags))
        ):
            head = page_of_pfn(pte_pfn(pmdval))
            folio = None if pmdval & PTE_SPECIAL else (yield from self.page_folio(head))
            if not pte_write(pmdval) and (
                yield from self.gup_must_unshare(vma, flags, folio, head)
            ):
                fault = FAULT_FLAG_UNSHARE
            else:
                inside = addr & (HPAGE_PMD_NR - 1)
                page = page_of_pfn(head.pfn + inside)
                found = Followed(page, HPAGE_PMD_NR - inside)
                yield from self.try_grab_folio((yield from self.page_folio(page)), page, 1, flags)
                if flags & FOLL_TOUCH:
                    yield from self.touch_pmd(mm, pmd, addr, bool(flags & FOLL_WRITE))
        yield unlock(ptl)
        return found, fault

    def touch_pmd(self, mm: Mm, pmd: int, addr: int, write: bool) -> Gen[None]:
        """Make a leaf young, and dirty for a write (`touch_pmd`; follow_trans_huge_pmd)."""
        pmdval = yield load(pmd)
        entry = pte_mkyoung(pte_mkdirty(pmdval) if write else pmdval)
        if entry != pmdval:
            yield from self.pmdp_set_access_flags(mm, addr, pmd, entry)

    def can_follow(self, vma: Vma, pte: int, flags: int) -> Gen[bool]:
        """Whether a write may go on: writable, or FOLL_FORCE on an exclusive anon page."""
        if not flags & FOLL_WRITE or pte_write(pte):
            return True
        if not flags & FOLL_FORCE:
            return False
        vm_flags = yield load(vma.vm_flags)
        if vm_flags & VM_WRITE or not is_cow_mapping(vm_flags):
            return False
        if pte & PTE_UFFD_WP and vm_flags & VM_UFFD_WP:
            return False
        page = yield from self.vm_normal_page(pte)
        return page is not None and (yield from self.page_anon_and_exclusive(page))
