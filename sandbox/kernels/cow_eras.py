"""Copy on write before PG_anon_exclusive: which counter says that a page may be reused.

5.7: a page with one mapping is reused in place, whatever else holds it (CVE-2020-29374).  5.9: it
is reused only if nobody else holds a reference (09854ba94c6a), and fork copies what may be pinned
(Peter Xu, <20200925222600.6832-1-peterx@redhat.com>).  Order-0 pages only, on the model's oldest
kernel; GUP-fast does not look at write_protect_seq yet (5.11).
"""

from __future__ import annotations

from typing import ClassVar

from sandbox.arch.arm64.pgtable import pte_dirty, pte_write
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.memory import (
    Folio,
    Gen,
    Globals,
    Mm,
    Page,
    Vma,
    add,
    bits,
    load,
    store,
    unlock,
)
from sandbox.mm.flags import (
    FAULT_FLAG_WRITE,
    FOLL_FORCE,
    FOLL_WRITE,
    VM_SHARED,
    VM_WRITE,
    PG_anon,
    PG_locked,
    PG_swapbacked,
)
from sandbox.mm.gup import Followed, Pages
from sandbox.mm.memory.fault import VmFault

FOLL_COW = 1 << 14
"""GUP's own: a copy was made for this forced write (include/linux/mm.h until 6.1)."""
_NO_FLAG = "there is no PG_anon_exclusive"


class Cow57(Linux66):
    """Reuse by mapcount; fork shares pinned pages."""

    id = "cow-5.7"
    title = "Linux 5.7: reuse by mapcount"
    summary = "A write reuses a page that has one mapping; fork shares pinned pages."
    rules_off: ClassVar[dict[str, str]] = {
        "I-18": _NO_FLAG,
        "I-22": _NO_FLAG,
        "I-26": "GUP-fast does not look at write_protect_seq",
    }
    swapin_lone_ref_exclusive = False

    def thp_vma_allowable_pmd(self, vma: Vma, addr: int) -> Gen[bool]:
        """Huge pages of that time counted in other words; left out."""
        return False
        yield  # pragma: no cover - makes this a generator

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """A fresh page has no mark that says it is ours alone."""
        yield bits(folio.flags, PG_swapbacked)
        yield store(folio._mapcount, 0)
        yield add(Globals.nr_anon_mapped, 1)
        yield from self._folio_set_anon(folio, vma, addr, exclusive)

    def folio_try_dup_anon_rmap_pte(
        self, folio: Folio, page: Page, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        """One mapping more, pinned or not."""
        yield add(page._mapcount, 1)
        return True

    def do_wp_page(self, vmf: VmFault) -> Gen[int]:
        """Reuse or copy, by the counters alone."""
        vmf = vmf._replace(page=(yield from self.vm_normal_page(vmf.orig_pte)))
        folio = None
        if vmf.page is not None:
            folio = yield from self.page_folio(vmf.page)
        if (yield load(vmf.vma.vm_flags)) & VM_SHARED:
            return (yield from self.wp_page_shared(vmf, folio))
        if folio is not None:
            anon = (yield load(folio.flags)) & PG_anon
            if anon and (yield from self.reuse_swap_page(folio, vmf.vma)):
                yield from self.wp_page_reuse(vmf)
                return 0
            yield from self.folio_get(folio)
        yield unlock(vmf.ptl)
        return (yield from self.wp_page_copy(vmf, folio))

    def reuse_swap_page(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """Under the page lock: is ours the only mapping?"""
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        reuse = (yield load(folio._mapcount)) + 1 == 1
        if reuse:
            yield from self.folio_move_anon_rmap(folio, vma)
        yield bits(folio.flags, 0, PG_locked)
        return reuse

    # -- mm/gup.c ------------------------------------------------------------------------

    def lockless_pages_from_mm(self, mm: Mm, start: int, end: int, flags: int) -> Gen[Pages]:
        """Nothing tells a fast walk that a fork went on meanwhile."""
        return (yield from self.gup_pte_ranges(mm, start, end, flags))

    def gup_pte_ranges(self, mm: Mm, start: int, end: int, flags: int) -> Gen[Pages]:
        """The walk alone."""
        pages: list[Page] = []
        while start + len(pages) < end:
            taken = yield from self.gup_fast_pmd_range(mm, start + len(pages), end, flags)
            if not taken:
                break
            pages += taken
        return tuple(pages)

    def gup_one_slow(self, mm: Mm, vma: Vma, addr: int, flags: int) -> Gen[Followed | None]:
        """A forced write that has been given its copy says so for the next look (FOLL_COW)."""
        while True:
            found, fault = yield from self.follow_page_pte(mm, vma, addr, flags)
            if found is not None:
                return found
            if (yield from self.handle_mm_fault(mm, vma, addr, fault)):
                return None
            if fault & FAULT_FLAG_WRITE and not (yield load(vma.vm_flags)) & VM_WRITE:
                flags |= FOLL_COW

    def can_follow(self, vma: Vma, pte: int, flags: int) -> Gen[bool]:
        """A forced write takes a read-only entry once it was copied and is dirty."""
        if not flags & FOLL_WRITE or pte_write(pte):
            return True
        return bool(flags & FOLL_FORCE and flags & FOLL_COW) and pte_dirty(pte)
        yield  # pragma: no cover - makes this a generator

    def gup_must_unshare(
        self, vma: Vma | None, flags: int, folio: Folio | None, page: Page
    ) -> Gen[bool]:
        """A read-only pin takes the page that is there."""
        return False
        yield  # pragma: no cover - makes this a generator

    def sanity_check_pinned_pages(self, folio: Folio, pages: Pages, flags: int) -> Gen[None]:
        """Nothing to check."""
        return
        yield  # pragma: no cover - makes this a generator


class Cow59(Cow57):
    """Reuse by refcount; fork copies pages that may be pinned."""

    id = "cow-5.9"
    title = "Linux 5.9: reuse by refcount"
    summary = "A write reuses a page nobody else references; fork copies what may be pinned."

    def folio_try_dup_anon_rmap_pte(
        self, folio: Folio, page: Page, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        """A page that may be pinned is not shared (copy_present_page)."""
        mm = Mm((yield load(src_vma.vm_mm)))
        if (yield from self.folio_needs_cow_for_dma(mm, folio)):
            return False
        yield add(page._mapcount, 1)
        return True

    def reuse_swap_page(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """One reference, looked at before and under the page lock."""
        if (yield load(folio._refcount)) != 1:
            return False
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        reuse = (yield load(folio._mapcount)) + 1 == 1 and (yield load(folio._refcount)) == 1
        yield bits(folio.flags, 0, PG_locked)
        return reuse
