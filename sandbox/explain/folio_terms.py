"""Counters and flags of folios and pages."""

from __future__ import annotations

from sandbox.explain.terms import Kind, Term

__all__ = ["FOLIO_TERMS"]

_HEADER = "struct folio (include/linux/mm_types.h)"
_FLAGS = "enum pageflags (include/linux/page-flags.h)"

_COUNTERS = (
    Term(
        name="_refcount", kind=Kind.COUNTER, aliases=("refcount", "references"), symbols=("R",),
        what="How many references there are to the folio; at 0 it goes back to the allocator.",
        more="Every mapping owns one, the page and swap cache one per page, each LRU batch, get and "
             "isolation one, a pin one (of a small folio 1024). Frozen at 0 means that one CPU "
             "splits, moves or frees it.",
        source=f"{_HEADER}; include/linux/page_ref.h", writes=("_refcount",),
    ),
    Term(
        name="_mapcount", kind=Kind.COUNTER, aliases=("mapcount", "mapped", "mappings"), symbols=("mc", "M"),
        what="How many page-table entries map this page by itself.",
        more="Of a large folio every page has its own. A mapping of the whole folio by one PMD is in "
             "_entire_mapcount instead. M in the rules is the sum over the folio. With "
             "CONFIG_NO_PAGE_MAPCOUNT (6.15) large folios do without.",
        bias="It starts at -1: the number of mappings is the raw value + 1.",
        source="struct page (include/linux/mm_types.h); mm/rmap.c", writes=("_mapcount",),
    ),
    Term(
        name="needed", kind=Kind.COUNTER,
        what="The references that can be accounted for: by mappings, pins, the caches and batches.",
        more="No word of the kernel. Beside _refcount it shows who holds a folio: what it is more, "
             "somebody else has; what it is less, is missing.",
    ),
    Term(
        name="_large_mapcount", kind=Kind.COUNTER, symbols=("L",),
        what="The sum of all mappings of a large folio, entire ones and those of single pages.",
        more="Read instead of a sum over the pages. It is raised after the others and lowered before "
             "them, so that a reader never sees more than there is.",
        bias="It starts at -1: the number of mappings is the raw value + 1.",
        since="6.10", source=f"{_HEADER}; folio_large_mapcount()", writes=("_large_mapcount",),
    ),
    Term(
        name="_entire_mapcount", kind=Kind.COUNTER, symbols=("E",),
        what="How many leaf entries map the whole folio at once: PMD mappings.",
        more="A CONT block is no such leaf: its entries are counted page by page.",
        bias="It starts at -1: the number of mappings is the raw value + 1.",
        since="6.3 by this name (compound_mapcount before)", source=f"{_HEADER}; mm/rmap.c",
        writes=("_entire_mapcount",),
    ),
    Term(
        name="_nr_pages_mapped", kind=Kind.COUNTER, symbols=("K",),
        what="How many pages of the folio have a mapping of their own, and whether it is mapped "
             "entirely.",
        more="Statistics and folio_mapped() came from it; when it falls, part of the folio is unused "
             "and it may wait for a split.",
        bias="ENTIRELY_MAPPED (0x800000) is added once while a PMD maps the folio.",
        since="6.3 by this name (subpages_mapcount in 6.2)",
        source=f"{_HEADER}; __folio_add_rmap() (mm/rmap.c)", writes=("_nr_pages_mapped",),
    ),
    Term(
        name="_pincount", kind=Kind.COUNTER, aliases=("pincount",), symbols=("P",),
        what="How many times a large folio is pinned (FOLL_PIN).",
        more="Each pin has a reference as well. A small folio has no such counter: a pin of it is 1024 "
             "references.",
        since="5.7 (hpage_pinned_refcount; by this name 6.3)",
        source=f"{_HEADER}; try_grab_folio() (mm/gup.c)", writes=("_pincount",),
    ),
    Term(
        name="pinned", kind=Kind.COUNTER, aliases=("pin", "pins", "held"),
        symbols=("pins", "pinned", "FOLL_PIN"),
        what="Somebody holds the page for DMA with FOLL_PIN, until it is unpinned.",
        more="The page must stay the one its owner maps: fork copies it at once instead of sharing "
             "it, and reclaim and migration leave it alone. The model remembers who holds it; the "
             "kernel knows only the counts.",
        since="5.6", source="Documentation/core-api/pin_user_pages.rst; mm/gup.c",
    ),
    Term(
        name="_mm_id", kind=Kind.COUNTER, aliases=("_mm_id[0]", "_mm_id[1]"),
        what="The two processes for which a large folio counts mappings apart.",
        more="A third one is counted in _large_mapcount only. The top bit of the first is the lock of "
             "these words, that of the second says that the folio may be shared.",
        since="6.15", source=f"{_HEADER}; include/linux/rmap.h", writes=("_mm_id",),
    ),
    Term(
        name="_mm_id_mapcount", kind=Kind.COUNTER, symbols=("s",),
        aliases=("_mm_id_mapcount[0]", "_mm_id_mapcount[1]"),
        what="How many mappings the process of a slot has of the folio.",
        bias="It starts at -1: the number of mappings is the raw value + 1.",
        since="6.15", source=f"{_HEADER}; include/linux/rmap.h", writes=("_mm_id_mapcount",),
    ),
    Term(
        name="shared", kind=Kind.COUNTER, aliases=("FOLIO_MM_IDS_SHARED",), symbols=("SH",),
        what="The folio may be mapped by more than one process (the top bit of _mm_id[1]).",
        more="It may err towards shared, never towards exclusive: one process alone may own a folio "
             "that is marked.",
        since="6.15", source="folio_maybe_mapped_shared() (include/linux/mm.h)",
        writes=("MM_ID_SHARED",),
    ),
    Term(
        name="_deferred_list", kind=Kind.BATCH, aliases=("queued", "deferred"), symbols=("queued",),
        what="The folio waits on a queue to be split when memory is short.",
        more="It was unmapped in part, so some of its pages are wasted. Only large anonymous folios of "
             "order 2 and more have room for the list node.",
        since="4.5; what it means changed in 6.12, see partially_mapped",
        source="deferred_split_folio() (mm/huge_memory.c)", writes=("_deferred_list",),
    ),
    Term(
        name="mapping", kind=Kind.COUNTER, aliases=("anon", "file"), symbols=("mapping", "page cache"),
        what="What the folio belongs to: an anon_vma, or the page cache of a file.",
        more="rmap finds the entries that map a folio from here, with the index.",
        source=f"{_HEADER}; folio_mapping() (mm/util.c)", writes=("mapping",),
    ),
    Term(
        name="index", kind=Kind.COUNTER,
        what="The place of the folio in its file, or in the mapping it was born in, in pages.",
        source=_HEADER, writes=("index",),
    ),
    Term(
        name="data", kind=Kind.COUNTER,
        symbols=("content",), what="A stand-in of the model for the contents of a page: who wrote it, and when.",
        more="So a lost write, or a leak from one process to another, is seen as data.",
        writes=("data",),
    ),
    Term(
        name="NR_ANON_MAPPED", kind=Kind.COUNTER, aliases=("nr_anon_mapped",),
        symbols=("NR_ANON_MAPPED",),
        what="How many anonymous pages are mapped by anybody, for statistics.",
        source="__folio_mod_stat() (mm/rmap.c)", writes=("nr_anon_mapped",),
    ),
)  # fmt: skip

_PAGE_FLAGS = (
    Term(
        name="AnonExclusive", kind=Kind.PAGE_FLAG, symbols=("X",),
        aliases=("anon_exclusive", "PG_anon_exclusive", "exclusive", "X"),
        what="The page belongs to one process alone, which may write to it without asking.",
        more="It is of single pages, also within a large folio. fork clears it when it shares a page; "
             "of a pinned page it may not, and so has to copy. Only a page that has it may be pinned.",
        since="5.19", source=f"PG_anon_exclusive; {_FLAGS}", writes=("PG_anon_exclusive",),
    ),
    Term(
        name="partially_mapped", kind=Kind.PAGE_FLAG,
        what="Part of a large anonymous folio was unmapped, which is why it waits to be split.",
        since="6.12", source=f"{_FLAGS}; deferred_split_folio() (mm/huge_memory.c)",
        writes=("PG_partially_mapped",),
    ),
    Term(
        name="large_rmappable", kind=Kind.PAGE_FLAG,
        what="A large folio whose mappings are counted by rmap.",
        since="6.6", source=_FLAGS, writes=("PG_large_rmappable",),
    ),
    Term(
        name="locked", kind=Kind.PAGE_FLAG, aliases=("PG_locked",), symbols=("PG_locked",),
        what="Somebody has the lock of the folio.",
        more="Of a VMA the word means VM_LOCKED: see locked_vm.",
        source="folio_lock() (include/linux/pagemap.h)", writes=("PG_locked",),
    ),
    Term(
        name="referenced", kind=Kind.PAGE_FLAG, what="The folio was used since reclaim last looked.",
        source="folio_mark_accessed() (mm/swap.c)", writes=("PG_referenced",),
    ),
    Term(
        name="uptodate", kind=Kind.PAGE_FLAG, what="The contents are valid.", source=_FLAGS,
        writes=("PG_uptodate",),
    ),
    Term(
        name="dirty", kind=Kind.PAGE_FLAG, aliases=("PG_dirty",),
        what="The contents are newer than what is on disk or in swap.",
        more="Of an entry, D says that its page was written through it; reclaim moves that into this "
             "flag.",
        source="folio_mark_dirty() (mm/page-writeback.c)", writes=("PG_dirty",),
    ),
    Term(
        name="writeback", kind=Kind.PAGE_FLAG, what="The contents are being written out.",
        source="mm/page-writeback.c", writes=("PG_writeback",),
    ),
    Term(
        name="lru", kind=Kind.PAGE_FLAG,
        what="The folio is on a list of reclaim (not in a batch of a CPU, not isolated).",
        source="lru_add() (mm/swap.c)", writes=("PG_lru",),
    ),
    Term(
        name="active", kind=Kind.PAGE_FLAG, what="The folio is on the active list, if on any.",
        source="mm/swap.c, mm/vmscan.c", writes=("PG_active",),
    ),
    Term(
        name="workingset", kind=Kind.PAGE_FLAG,
        what="The folio was active before, so reading it in again counts as thrashing.",
        source="mm/workingset.c", writes=("PG_workingset",),
    ),
    Term(
        name="swapcache", kind=Kind.PAGE_FLAG, aliases=("PG_swapcache",), symbols=("PG_swapcache",),
        what="The folio stands in the swap cache: a slot finds it, and it has a reference per page.",
        source="add_to_swap_cache() (mm/swap_state.c)", writes=("PG_swapcache",),
    ),
    Term(
        name="swapbacked", kind=Kind.PAGE_FLAG,
        what="The contents have no home but swap: anonymous memory or shmem.",
        more="MADV_FREE clears it: such a folio is lazyfree, and is dropped when it is clean.",
        source="folio_mark_lazyfree() (mm/swap.c)", writes=("PG_swapbacked",),
    ),
    Term(
        name="unevictable", kind=Kind.PAGE_FLAG,
        what="Reclaim leaves the folio alone, as it does with what is mlocked.",
        source="mm/mlock.c", writes=("PG_unevictable",),
    ),
    Term(
        name="mlocked", kind=Kind.PAGE_FLAG, what="The folio is mapped by a VMA that is mlocked.",
        source="mlock_folio() (mm/mlock.c)", writes=("PG_mlocked",),
    ),
    Term(
        name="ksm", kind=Kind.PAGE_FLAG, aliases=("PG_ksm",), symbols=("KSM",),
        what="One page stands for several with the same contents (kernel samepage merging).",
        source="mm/ksm.c", writes=("PG_ksm",),
    ),
    Term(
        name="buddy", kind=Kind.PAGE_FLAG, symbols=("freed",),
        what="The frame is free and belongs to the allocator.", source="mm/page_alloc.c",
        writes=("PG_buddy",),
    ),
    Term(
        name="hwpoison", kind=Kind.PAGE_FLAG, what="The memory of the page is broken.",
        source="mm/memory-failure.c", writes=("PG_hwpoison",),
    ),
)  # fmt: skip

FOLIO_TERMS = (*_COUNTERS, *_PAGE_FLAGS)
