"""Write-protect faults: reuse or copy (mm/memory.c, 6.6)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import PTE_UFFD_WP, pfn_pte, pte_mkdirty, pte_mkwrite, pte_mkyoung
from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Vma, add, bits, copy_page, load, unlock
from sandbox.mm.flags import (
    FAULT_FLAG_UNSHARE,
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    VM_SHARED,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
    PG_ksm,
    PG_locked,
    PG_lru,
    PG_swapbacked,
    PG_swapcache,
    PG_uptodate,
)
from sandbox.mm.memory.fault import VmFault


class WpMixin(KernelPart):
    """do_wp_page and what it decides."""

    def do_wp_page(self, vmf: VmFault) -> Gen[int]:
        """A write (or unshare) met a read-only entry; called with the entry's lock held."""
        if not vmf.flags & FAULT_FLAG_UNSHARE and vmf.orig_pte & PTE_UFFD_WP:
            ret, vmf = yield from self.do_uffd_wp(vmf)
            if ret:
                return ret
        vmf = vmf._replace(page=(yield from self.vm_normal_page(vmf.orig_pte)))
        folio = None
        if vmf.page is not None:
            folio = yield from self.page_folio(vmf.page)
        if (yield load(vmf.vma.vm_flags)) & VM_SHARED:
            return (yield from self.wp_page_shared(vmf, folio))
        if folio is not None and vmf.page is not None and (yield load(folio.flags)) & PG_anon:
            exclusive = (yield load(vmf.page.flags)) & PG_anon_exclusive
            if exclusive or (yield from self.wp_can_reuse_anon_folio(folio, vmf.vma)):
                if not exclusive:
                    yield bits(vmf.page.flags, PG_anon_exclusive)
                if vmf.flags & FAULT_FLAG_UNSHARE:
                    yield unlock(vmf.ptl)
                    return 0
                yield from self.wp_page_reuse(vmf)
                return 0
        if folio is not None:
            yield from self.folio_get(folio)
        yield unlock(vmf.ptl)
        return (yield from self.wp_page_copy(vmf, folio))

    def wp_page_reuse(self, vmf: VmFault) -> Gen[None]:
        """The page is ours alone: make the entry writable."""
        entry = pte_mkdirty(pte_mkyoung(vmf.orig_pte))
        entry = yield from self.maybe_mkwrite(entry, vmf.vma)
        yield from self.ptep_set_access_flags(vmf.mm, vmf.address, vmf.pte, entry, True)
        yield unlock(vmf.ptl)

    def maybe_mkwrite(self, pte: int, vma: Vma) -> Gen[int]:
        """Writable only if the VMA is (FOLL_FORCE may write where the process may not)."""
        return pte_mkwrite(pte) if (yield load(vma.vm_flags)) & VM_WRITE else pte

    def wp_page_copy(self, vmf: VmFault, old_folio: Folio | None) -> Gen[int]:
        """Copy to a fresh order-0 folio and switch the entry; the caller took a reference."""
        mm, vma = vmf.mm, vmf.vma
        ret = yield from self.vmf_anon_prepare(vmf)
        if ret:
            if old_folio is not None:
                yield from self.folio_put(old_folio)
            return ret
        new_folio = yield from self.vma_alloc_folio(0)
        if vmf.page is not None:
            yield copy_page(new_folio.page(0), vmf.page)
        yield bits(new_folio.flags, PG_uptodate)
        pte, ptl = yield from self.pte_offset_map_lock(mm, vmf.pmd, vmf.address)
        vmf = vmf._replace(pte=pte, ptl=ptl)
        if not vmf.ptl or (yield from self.ptep_get(vmf.pte)) != vmf.orig_pte:
            if vmf.ptl:
                yield unlock(vmf.ptl)
            yield from self.folio_put(new_folio)
            if old_folio is not None:
                yield from self.folio_put(old_folio)
            return 0
        yield from self.wp_copy_rss(vmf, old_folio)
        entry = pte_mkyoung(pfn_pte(new_folio.pfn, (yield from self.vm_page_prot(vma))))
        if not vmf.flags & FAULT_FLAG_UNSHARE:
            entry = yield from self.maybe_mkwrite(pte_mkdirty(entry), vma)
        yield from self.ptep_clear_flush(mm, vmf.address, vmf.pte)
        yield from self.folio_add_new_anon_rmap(new_folio, vma, vmf.address)
        yield from self.folio_add_lru_vma(new_folio, vma)
        yield from self.set_pte_at(mm, vmf.address, vmf.pte, entry)
        if old_folio is not None and vmf.page is not None:
            yield from self.folio_remove_rmap_pte(old_folio, vmf.page, vma)
        yield unlock(vmf.ptl)
        if old_folio is not None:
            yield from self.free_swap_cache(old_folio)
            yield from self.folio_put(old_folio)
            yield from self.folio_put(old_folio)
        return 0

    def wp_copy_rss(self, vmf: VmFault, old_folio: Folio | None) -> Gen[None]:
        """A file page or the zero page becomes anonymous memory."""
        if old_folio is not None:
            if (yield load(old_folio.flags)) & PG_anon:
                return
            yield add(vmf.mm.rss_stat((yield from self.mm_counter_file(old_folio))), -1)
        yield add(vmf.mm.rss_stat(MM_ANONPAGES), 1)

    def mm_counter_file(self, folio: Folio) -> Gen[int]:
        """Which counter a page-cache folio belongs to (shmem folios are swap-backed)."""
        return MM_SHMEMPAGES if (yield load(folio.flags)) & PG_swapbacked else MM_FILEPAGES

    def mm_counter(self, folio: Folio) -> Gen[int]:
        """Which counter any folio belongs to."""
        if (yield load(folio.flags)) & PG_anon:
            return MM_ANONPAGES
        return (yield from self.mm_counter_file(folio))

    # -- reuse -------------------------------------------------------------------------

    def wp_can_reuse_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """Is the entry's reference the only one? Large folios are not excluded in 6.6."""
        return (yield from self.wp_can_reuse_small(folio, vma))

    def wp_can_reuse_small(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """Early looks without the folio lock, then the decision under it."""
        if (yield load(folio.flags)) & PG_ksm or (yield load(folio._refcount)) > 3:
            return False
        if not (yield load(folio.flags)) & PG_lru:
            yield from self.lru_add_drain()
        swapcache = bool((yield load(folio.flags)) & PG_swapcache)
        if (yield load(folio._refcount)) > 1 + swapcache:
            return False
        if (yield bits(folio.flags, PG_locked)) & PG_locked:
            return False
        if swapcache:
            yield from self.folio_free_swap(folio)
        if (yield load(folio._refcount)) != 1:
            yield bits(folio.flags, 0, PG_locked)
            return False
        yield from self.folio_move_anon_rmap(folio, vma)
        yield bits(folio.flags, 0, PG_locked)
        return True
