"""Linux 6.9: mTHP (6.8), batched rmap (6.8), batched fork and zap, the contpte layer."""

from __future__ import annotations

from sandbox.arch.arm64.contpte import ContptePgtable
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.memory import Folio, Gen, Globals, Mm, Page, Vma, add, bits, load, store
from sandbox.mm.batch import BatchDupMixin, BatchFreeMixin, BatchZapMixin
from sandbox.mm.flags import ENTIRELY_MAPPED, PG_anon, PG_anon_exclusive, PG_swapbacked
from sandbox.mm.mthp import MthpMixin


class Linux69(BatchDupMixin, BatchZapMixin, BatchFreeMixin, MthpMixin, ContptePgtable, Linux66):
    """Linux 6.9.0 (arm64, 4K pages)."""

    id = "6.9"
    title = "Linux 6.9"
    summary = (
        "References once per batch, a batch whole or not at all; large folios are never reused."
    )
    has_contpte = True
    gather_spare = 1
    swapin_prepares = True

    # -- rmap (mm/rmap.c) ----------------------------------------------------------------

    def folio_add_new_anon_rmap(
        self, folio: Folio, vma: Vma, addr: int, exclusive: bool = True
    ) -> Gen[None]:
        """Mapping and index before the counters; the counters are plain stores."""
        yield bits(folio.flags, PG_swapbacked)
        yield from self._folio_set_anon(folio, vma, addr, exclusive)
        mm = Mm((yield load(vma.vm_mm)))
        if not folio.large:
            yield store(folio._mapcount, 0)
            if exclusive:
                yield bits(folio.flags, PG_anon_exclusive)
        elif self.is_pmd_mapping(folio):
            yield store(folio._entire_mapcount, 0)
            yield from self.folio_set_large_mapcount(folio, 1, mm)
            yield from self.set_nr_pages_mapped(folio, ENTIRELY_MAPPED)
            if exclusive:
                yield bits(folio.flags, PG_anon_exclusive)
        else:
            yield from self.new_anon_pages(folio, exclusive)
            yield from self.folio_set_large_mapcount(folio, folio.nr_pages, mm)
            yield from self.set_nr_pages_mapped(folio, folio.nr_pages)
        yield add(Globals.nr_anon_mapped, folio.nr_pages)

    def set_nr_pages_mapped(self, folio: Folio, value: int) -> Gen[None]:
        """Initial _nr_pages_mapped."""
        yield store(folio._nr_pages_mapped, value)

    def folio_set_large_mapcount(self, folio: Folio, mapcount: int, mm: Mm) -> Gen[None]:
        """Initial _large_mapcount (6.10 and later; nothing here)."""
        return
        yield  # pragma: no cover - makes this a generator

    def folio_dup_file_rmap_ptes(self, folio: Folio, page: Page, nr: int, dst_mm: Mm) -> Gen[None]:
        """Duplicate file mappings."""
        if self.has_page_mapcount or not folio.large:
            yield from super().folio_dup_file_rmap_ptes(folio, page, nr, dst_mm)
        if folio.large:
            yield from self.folio_add_large_mapcount(folio, nr, dst_mm)

    def folio_remove_rmap_ptes(self, folio: Folio, page: Page, nr: int, vma: Vma) -> Gen[None]:
        """Unmap *nr* pages in one call (`__folio_remove_rmap`)."""
        gone = 0
        for i in range(nr):
            last = (yield add(page._mapcount + 16 * i, -1)) < 0
            if last and folio.large:
                last = (yield add(folio._nr_pages_mapped, -1)) < ENTIRELY_MAPPED
            gone += last
        anon = bool((yield load(folio.flags)) & PG_anon)
        if gone:
            yield add(Globals.nr_anon_mapped if anon else Globals.nr_file_mapped, -gone)
            if anon and folio.large:
                yield from self.deferred_split_folio(folio, True)
        yield from self.munlock_vma_folio(folio, vma)

    # -- reuse (mm/memory.c) ---------------------------------------------------------------

    def wp_can_reuse_anon_folio(self, folio: Folio, vma: Vma) -> Gen[bool]:
        """Never a large folio: better to give it back as a whole."""
        if folio.large:
            return False
        return (yield from self.wp_can_reuse_small(folio, vma))
