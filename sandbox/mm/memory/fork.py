"""fork's copy of the page tables (mm/memory.c, 6.6: copy_page_range and below)."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_MARKER,
    PTE_MIGRATION,
    PTE_MIGRATION_EXCLUSIVE,
    PTE_MIGRATION_WRITE,
    PTE_SWP,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    pfn_pte,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_mkwrite,
    pte_mkyoung,
    pte_pfn,
    pte_present,
    pte_write,
    pte_wrprotect,
)
from sandbox.machine.part import KernelPart
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    bits,
    copy_page,
    load,
    page_of_pfn,
    unlock,
)
from sandbox.mm.flags import (
    EAGAIN,
    MM_ANONPAGES,
    MM_SWAPENTS,
    VM_SHARED,
    VM_WRITE,
    PG_anon,
    PG_uptodate,
    is_cow_mapping,
)
from sandbox.mm.memory.rss import NO_RSS, Rss, count_rss
from sandbox.mm.pgalloc import pmd_is_leaf


class CopyContext(NamedTuple):
    """One copy_pte_range() in flight, a value: who counts or allocates returns another one."""

    dst_mm: Mm
    src_mm: Mm
    dst_vma: Vma
    src_vma: Vma
    rss: Rss = NO_RSS
    """What the present table adds to the child's rss."""
    prealloc: Folio | None = None
    """The folio allocated for a page that must be copied."""

    def charge(self, member: int, nr: int) -> CopyContext:
        """The context with *nr* pages more of a counter in its rss vector."""
        dst_mm, src_mm, dst_vma, src_vma, rss, prealloc = self
        rss = count_rss(rss, member, nr)
        return CopyContext(dst_mm, src_mm, dst_vma, src_vma, rss, prealloc)


class CopyMixin(KernelPart):
    """Copying one mm's page tables to another."""

    def copy_page_range(self, dst_vma: Vma, src_vma: Vma) -> Gen[int]:
        """Copy the entries of one VMA; both mmap_locks are held for writing."""
        src_mm, dst_mm = Mm((yield load(src_vma.vm_mm))), Mm((yield load(dst_vma.vm_mm)))
        addr, end = (yield load(src_vma.vm_start)), (yield load(src_vma.vm_end))
        if not (yield load(src_vma.anon_vma)):  # vma_needs_copy(): faults will fill the rest
            return 0
        is_cow = is_cow_mapping((yield load(src_vma.vm_flags)))
        ctx = CopyContext(dst_mm, src_mm, dst_vma, src_vma)
        if is_cow:
            yield add(src_mm.write_protect_seq, 1)
        while addr < end:
            next_ = min((addr | 511) + 1, end)
            src_pmd = yield from self.pmd_offset(src_mm, addr)
            pmdval = (yield load(src_pmd)) if src_pmd else 0
            if pmdval:
                yield from self.copy_pmd(ctx, src_pmd, pmdval, addr, next_)
            addr = next_
        if is_cow:
            yield add(src_mm.write_protect_seq, 1)
        return 0

    def copy_pmd(
        self, ctx: CopyContext, src_pmd: int, pmdval: int, addr: int, end: int
    ) -> Gen[None]:
        """One entry of copy_pmd_range(): a leaf as one mapping, or split; a table by entries."""
        if pmd_is_leaf(pmdval):
            if (yield load(ctx.src_vma.vm_file)):  # faults will fill it (copy_huge_pmd)
                return
            dst_pmd = yield from self.pmd_alloc(ctx.dst_mm, addr)
            if (yield from self.copy_huge_pmd(ctx, dst_pmd, src_pmd, addr)) != -EAGAIN:
                return
        dst_pmd = yield from self.pmd_alloc(ctx.dst_mm, addr)
        yield from self.copy_pte_range(ctx, dst_pmd, src_pmd, addr, end)

    def copy_pte_range(
        self, ctx: CopyContext, dst_pmd: int, src_pmd: int, addr: int, end: int
    ) -> Gen[None]:
        """Walk one table under both locks; stops to allocate when a pinned page must be copied."""
        while True:
            yield from self.pte_alloc(ctx.dst_mm, dst_pmd, addr)
            dst_pte, dst_ptl = yield from self.pte_offset_map_lock(ctx.dst_mm, dst_pmd, addr)
            src_pte, src_ptl = yield from self.pte_offset_map_lock(ctx.src_mm, src_pmd, addr)
            ctx = ctx._replace(rss=NO_RSS)
            ctx, ret, addr = yield from self.copy_ptes_locked(ctx, dst_pte, src_pte, addr, end)
            yield unlock(src_ptl)
            yield from self.add_mm_rss_vec(ctx.dst_mm, ctx.rss)
            yield unlock(dst_ptl)
            if ret == -EAGAIN:
                ctx = ctx._replace(prealloc=(yield from self.folio_prealloc()))
            elif addr >= end:
                break
        if ctx.prealloc is not None:
            yield from self.folio_put(ctx.prealloc)

    def copy_ptes_locked(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int, int]]:
        """The loop of copy_pte_range(): (the context, 0 or -EAGAIN, where it stopped)."""
        progress, start = 0, addr
        while addr < end:
            ptent = yield from self.ptep_get(src_pte + addr - start)
            if not ptent:
                progress += 1
                addr += 1
                continue
            if not pte_present(ptent):
                ctx = yield from self.copy_nonpresent_pte(
                    ctx, dst_pte + addr - start, src_pte + addr - start, addr, ptent
                )
                progress += 8
                addr += 1
                continue
            ctx, nr = yield from self.copy_present_ptes(
                ctx, dst_pte + addr - start, src_pte + addr - start, ptent, addr, end
            )
            if nr == -EAGAIN:
                return ctx, -EAGAIN, addr
            if ctx.prealloc is not None:
                # pre-allocated for this address, or not needed any more
                yield from self.folio_put(ctx.prealloc)
                ctx = ctx._replace(prealloc=None)
            addr += nr
            progress += 8 * nr
            if progress >= 32 and (yield from self.need_resched()):
                break
        return ctx, 0, addr

    def need_resched(self) -> Gen[bool]:
        """Is somebody waiting for the locks? The model never gives way here."""
        return False
        yield  # pragma: no cover - makes this a generator

    def folio_prealloc(self) -> Gen[Folio]:
        """An order-0 folio for a page that fork must copy (`folio_prealloc`)."""
        return (yield from self.vma_alloc_folio(0))

    def add_mm_rss_vec(self, mm: Mm, rss: Rss) -> Gen[None]:
        """Add a local rss vector to the mm."""
        for member, nr in enumerate(rss):
            if nr:
                yield add(mm.rss_stat(member), nr)

    def copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, end: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Copy the entry at *addr* (6.6: one; its copy_present_pte).

        Returns the context, and entries done or -EAGAIN.
        """
        page = yield from self.vm_normal_page(pte)
        if page is None:
            yield from self.copy_one_entry(ctx, dst_pte, src_pte, pte, addr)
            return ctx, 1
        folio = yield from self.page_folio(page)
        yield from self.folio_get(folio)
        if (yield load(folio.flags)) & PG_anon:
            if not (
                yield from self.folio_try_dup_anon_rmap_pte(folio, page, ctx.dst_mm, ctx.src_vma)
            ):
                yield from self.folio_put(folio)
                return (yield from self.copy_present_page(ctx, dst_pte, folio, page, pte, addr))
            ctx = ctx.charge(MM_ANONPAGES, 1)
        else:
            yield from self.folio_dup_file_rmap_ptes(folio, page, 1, ctx.dst_mm)
            ctx = ctx.charge((yield from self.mm_counter_file(folio)), 1)
        yield from self.copy_one_entry(ctx, dst_pte, src_pte, pte, addr)
        return ctx, 1

    def copy_one_entry(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int
    ) -> Gen[None]:
        """Write-protect the source if need be and set the child's entry."""
        yield from self._copy_present_ptes(ctx, dst_pte, src_pte, pte, addr, 1)

    def _copy_present_ptes(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, pte: int, addr: int, nr: int
    ) -> Gen[None]:
        """The entries proper, *nr* of them with the attributes of *pte*."""
        vm_flags = yield load(ctx.src_vma.vm_flags)
        if is_cow_mapping(vm_flags) and pte_write(pte):
            yield from self.wrprotect_ptes(ctx.src_mm, addr, src_pte, nr)
            pte = pte_wrprotect(pte)
        if vm_flags & VM_SHARED:
            pte = pte_mkclean(pte)
        pte = pte_mkold(pte) & ~PTE_UFFD_WP
        yield from self.set_ptes(ctx.dst_mm, addr, dst_pte, pte, nr)

    def copy_present_page(
        self, ctx: CopyContext, dst_pte: int, folio: Folio, page: Page, pte: int, addr: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Give the child its own copy of a page that may be pinned; 1, or -EAGAIN to allocate."""
        new_folio = ctx.prealloc
        if new_folio is None:
            return ctx, -EAGAIN
        ctx = ctx._replace(prealloc=None)
        yield copy_page(new_folio.page(0), page)
        yield bits(new_folio.flags, PG_uptodate)
        yield from self.folio_add_new_anon_rmap(new_folio, ctx.dst_vma, addr)
        yield from self.folio_add_lru_vma(new_folio, ctx.dst_vma)
        ctx = ctx.charge(MM_ANONPAGES, 1)
        entry = pte_mkdirty(
            pte_mkyoung(pfn_pte(new_folio.pfn, (yield from self.vm_page_prot(ctx.dst_vma))))
        )
        if (yield load(ctx.dst_vma.vm_flags)) & VM_WRITE:
            entry = pte_mkwrite(entry)
        yield from self.set_pte_at(ctx.dst_mm, addr, dst_pte, entry)
        return ctx, 1

    def copy_nonpresent_pte(
        self, ctx: CopyContext, dst_pte: int, src_pte: int, addr: int, pte: int
    ) -> Gen[CopyContext]:
        """Copy a swap, migration or marker entry."""
        if pte & PTE_SWP:
            ctx, pte = yield from self.copy_swap_entry(ctx, src_pte, addr, pte)
        elif pte & PTE_MIGRATION:
            ctx, pte = yield from self.copy_migration_entry(ctx, src_pte, addr, pte)
        if not pte & PTE_MARKER:  # nobody watches the child: what is protected here is not there
            yield from self.set_pte_at(ctx.dst_mm, addr, dst_pte, pte & ~PTE_UFFD_WP)
        return ctx

    def copy_swap_entry(
        self, ctx: CopyContext, src_pte: int, addr: int, pte: int
    ) -> Gen[tuple[CopyContext, int]]:
        """One entry more for the slot; neither side's is exclusive any longer."""
        yield from self.swap_duplicate(pte >> PFN_SHIFT)
        yield from self.mmlist_add(ctx.dst_mm, ctx.src_mm)
        if pte & PTE_SWP_EXCLUSIVE:
            pte &= ~PTE_SWP_EXCLUSIVE
            yield from self.set_pte_at(ctx.src_mm, addr, src_pte, pte)
        return ctx.charge(MM_SWAPENTS, 1), pte

    def copy_migration_entry(
        self, ctx: CopyContext, src_pte: int, addr: int, pte: int
    ) -> Gen[tuple[CopyContext, int]]:
        """Only rss: the entry becomes readable on both sides, so nobody stays exclusive."""
        folio = yield from self.page_folio(page_of_pfn(pte_pfn(pte)))
        ctx = ctx.charge((yield from self.mm_counter(folio)), 1)
        exclusive = PTE_MIGRATION_WRITE | PTE_MIGRATION_EXCLUSIVE
        if pte & exclusive and is_cow_mapping((yield load(ctx.src_vma.vm_flags))):
            pte &= ~exclusive
            yield from self.set_pte_at(ctx.src_mm, addr, src_pte, pte)
        return ctx, pte
