"""mprotect(2) (mm/mprotect.c, 6.6: one entry at a time)."""

from __future__ import annotations

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_UFFD_WP,
    pte_clear_uffd_wp,
    pte_dirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_modify,
    pte_present,
    pte_write,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import Gen, Mm, Page, Vma, load, lock, store, tlb_flush, unlock
from sandbox.mm.flags import (
    VM_ACCOUNT,
    VM_EXEC,
    VM_LOCKED,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    PG_anon,
    PG_anon_exclusive,
)
from sandbox.mm.pgalloc import pmd_is_leaf

MM_CP_TRY_CHANGE_WRITABLE, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE = 1, 4, 8
"""What change_protection is asked for beyond the protection (include/linux/mm.h)."""


def change_uffd_wp(ptent: int, cp_flags: int) -> int:
    """Set or clear userfaultfd's bit in a new entry, as *cp_flags* say."""
    if cp_flags & MM_CP_UFFD_WP:
        return pte_mkuffd_wp(ptent)
    return pte_clear_uffd_wp(ptent) if cp_flags & MM_CP_UFFD_WP_RESOLVE else ptent


class MprotectMixin(KernelPart):
    """Changing protection."""

    def do_mprotect_pkey(self, mm: Mm, start: int, end: int, prot: int) -> Gen[int]:
        """mprotect(2): *prot* is a mix of VM_READ and VM_WRITE."""
        yield lock(mm.mmap_lock)
        ret, _ = yield from self.walk_until_hole(mm, start, end, self.mprotect_fixup, prot)
        yield unlock(mm.mmap_lock)
        return ret

    def mprotect_fixup(self, vma: Vma, start: int, end: int, prot: int) -> Gen[tuple[int, int]]:
        """Change the flags and the entries of one VMA's part.

        A locked mapping that becomes writable is copied at once, for no fault shall do it.
        """
        mm = Mm((yield load(vma.vm_mm)))
        oldflags = yield load(vma.vm_flags)
        newflags = oldflags & ~(VM_READ | VM_WRITE | VM_EXEC) | prot
        if newflags == oldflags:
            return 0, prot
        newflags = yield from self.mprotect_account(vma, oldflags, newflags)
        vma = yield from self.vma_modify_flags(mm, vma, start, end, newflags)
        yield from self.vma_start_write(vma)
        yield store(vma.vm_flags, newflags)
        try_upgrade = yield from self.vma_wants_manual_pte_write_upgrade(vma)
        cp_flags = MM_CP_TRY_CHANGE_WRITABLE if try_upgrade else 0
        yield from self.change_protection(mm, vma, start, end, cp_flags)
        if oldflags & (VM_WRITE | VM_SHARED | VM_LOCKED) == VM_LOCKED and newflags & VM_WRITE:
            yield from self.populate_vma_page_range(mm, vma, start, end)
        return 0, prot

    def mprotect_account(self, vma: Vma, oldflags: int, newflags: int) -> Gen[int]:
        """The new flags with VM_ACCOUNT: private memory that is written is accounted for.

        It stays so unless no page was ever made; VMAs that differ in it do not merge.
        """
        if newflags & VM_WRITE:
            if not oldflags & (VM_ACCOUNT | VM_WRITE | VM_SHARED):
                newflags |= VM_ACCOUNT
            return newflags
        anonymous = not (yield load(vma.vm_file)) and not (yield load(vma.anon_vma))
        return newflags & ~VM_ACCOUNT if anonymous else newflags

    def change_protection(self, mm: Mm, vma: Vma, start: int, end: int, cp_flags: int) -> Gen[None]:
        """Give the entries of [start, end) the protection of their VMA."""
        newprot = yield from self.vm_page_prot(vma)
        addr = start
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            yield from self.change_pmd(mm, vma, addr, next_, newprot, cp_flags)
            addr = next_
        yield tlb_flush(mm, start, end)

    def change_pmd(
        self, mm: Mm, vma: Vma, addr: int, end: int, newprot: int, cp_flags: int
    ) -> Gen[None]:
        """One entry of change_pmd_range(): a leaf whole or split, a table by its entries.

        There is a table, and no leaf of a file's, where markers are wanted.
        """
        markers = cp_flags & MM_CP_UFFD_WP and (yield from self.userfaultfd_wp_use_markers(vma))
        if markers:
            pmd = yield from self.pmd_alloc(mm, addr)
            yield from self.pte_alloc(mm, pmd, addr)
        else:
            pmd = yield from self.pmd_offset(mm, addr)
        pmdval = (yield load(pmd)) if pmd else 0
        if pmdval and pmd_is_leaf(pmdval):
            split = end - addr != HPAGE_PMD_NR
            if not split and cp_flags & MM_CP_UFFD_WP:  # pgtable_split_needed()
                split = bool((yield load(vma.vm_file)))
            if split:
                yield from self.split_huge_pmd(vma, pmd, addr)
                if markers:
                    yield from self.pte_alloc(mm, pmd, addr)
                pmdval = yield load(pmd)
            else:
                pmdval = yield from self.change_huge_pmd(mm, vma, pmd, addr, newprot, cp_flags)
        if pmdval:
            yield from self.change_pte_range(mm, vma, pmd, addr, end, newprot, cp_flags)

    def vma_wants_manual_pte_write_upgrade(self, vma: Vma) -> Gen[bool]:
        """May entries be made writable here, not by a fault?

        Those of private VMAs, and of files that want to know of the first write.  Where
        userfaultfd alone has shared memory read-only, vma_wants_writenotify() finds the VMA's
        protection changed, and says no.
        """
        vm_flags = yield load(vma.vm_flags)
        if vm_flags & VM_SHARED:
            return bool(vm_flags & VM_WRITE) and (yield from self.vm_ops_needs_writenotify(vma))
        return bool(vm_flags & VM_WRITE)

    def change_pte_range(
        self, mm: Mm, vma: Vma, pmd: int, addr: int, end: int, newprot: int, cp_flags: int
    ) -> Gen[None]:
        """Change one table's entries under its lock."""
        pte, ptl = yield from self.pte_offset_map_lock(mm, pmd, addr)
        if not ptl:
            return
        start = addr
        while addr < end:
            ptep = pte + addr - start
            oldpte = yield from self.ptep_get(ptep)
            nr = 1
            if pte_present(oldpte):
                nr = yield from self.change_present_ptes(
                    mm, vma, addr, ptep, oldpte, end, newprot, cp_flags
                )
            elif oldpte or cp_flags & MM_CP_UFFD_WP:
                yield from self.change_softleaf_pte(mm, vma, addr, ptep, oldpte, cp_flags)
            addr += nr
        yield unlock(ptl)

    def change_present_ptes(
        self,
        mm: Mm,
        vma: Vma,
        addr: int,
        ptep: int,
        oldpte: int,
        end: int,
        newprot: int,
        cp_flags: int,
    ) -> Gen[int]:
        """Change the entry at *addr* (6.6: that one only); entries done."""
        oldpte = yield from self.ptep_modify_prot_start(mm, addr, ptep, 1)
        ptent = change_uffd_wp(pte_modify(oldpte, newprot), cp_flags)
        if (
            cp_flags & MM_CP_TRY_CHANGE_WRITABLE
            and not pte_write(ptent)
            and (yield from self.can_change_pte_writable(vma, ptent))
        ):
            ptent = pte_mkwrite(ptent)
        yield from self.set_pte_at(mm, addr, ptep, ptent)
        return 1

    def ptep_modify_prot_start(self, mm: Mm, addr: int, ptep: int, nr: int) -> Gen[int]:
        """Take the entries out so that hardware cannot change them meanwhile."""
        return (yield from self.get_and_clear_full_ptes(mm, addr, ptep, nr, False))

    def can_change_pte_writable(self, vma: Vma, pte: int) -> Gen[bool]:
        """Private: only exclusive anon pages; shared: only dirty ones (mm/mprotect.c)."""
        if not pte & 1 or pte & PTE_UFFD_WP:  # PROT_NONE entries stay read-only, tracked ones too
            return False
        if (yield load(vma.vm_flags)) & VM_SHARED:
            return pte_dirty(pte)
        page = yield from self.vm_normal_page(pte)
        if page is None:
            return False
        return (yield from self.page_anon_and_exclusive(page))

    def page_anon_and_exclusive(self, page: Page) -> Gen[bool]:
        """PageAnon and PageAnonExclusive."""
        folio = yield from self.page_folio(page)
        if not (yield load(folio.flags)) & PG_anon:
            return False
        return bool((yield load(page.flags)) & PG_anon_exclusive)
