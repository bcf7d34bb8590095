"""The catalogue of invariants: what must hold, when it is looked at, and who says so.

R refcount, P pincount, M sum of entire and page mapcounts, L large mapcount, K pages mapped, mc a
page's mapcount, E entire mapcount (all logical, without the -1 bias), X PageAnonExclusive, C page-cache
references, T leaf entries that map the folio.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    """When a rule is looked at."""

    EVENT = "event"
    """After every event that touches a word it reads."""
    PTL = "ptl"
    """When the CPU that touched the folio holds no page-table lock any more."""
    ACCEPT = "accept"
    """When the kernel takes the decision the rule is about."""
    QUIET = "quiet"
    """When nothing is in flight and the LRU batches are drained."""


class Rule(NamedTuple):
    """One invariant."""

    id: str
    statement: str
    formula: str
    scope: Scope
    source: str
    """Where the kernel or a mail states or checks it."""
    explanation: str
    """Why it must hold, and what breaks it."""


_E, _P, _A, _Q = Scope.EVENT, Scope.PTL, Scope.ACCEPT, Scope.QUIET

_CATALOGUE = (
    Rule("I-01", "A reference count is never negative, and nobody takes a reference on a free folio.",
         "R >= 0; no add to R = 0", _E, "folio_get() VM_BUG_ON (include/linux/mm.h); try_get_folio() (mm/gup.c)",
         "A free folio belongs to the allocator. A plain get on it, or one put too many, corrupts someone else's page."),
    Rule("I-02", "Tail pages have no references of their own.", "R(tail) = 0", _E,
         "Documentation/mm/transhuge.rst", "References are taken on the head; one taken on a tail is never given back right."),
    Rule("I-03", "A folio is clean when it is freed.", "R = 0 => mc = E = K = L = P = 0, not queued", _E,
         "page_bad_reason(), free_tail_page_prepare() (mm/page_alloc.c)",
         "Dropping the last reference while a mapping is still counted means the order of zap was reversed."),
    Rule("I-04", "No mapcount is negative.", "mc >= 0, E >= 0, L >= 0", _E,
         "zap_present_folio_ptes() print_bad_pte (mm/memory.c)", "Something was unmapped twice, or counted in the wrong folio."),
    Rule("I-05", "There are never more mappings than references (refcount >= mapcount).", "M <= R", _E,
         "David Hildenbrand, 16 Nov 2023, 271f1e98-6217-4b40-bae0-0ac9fe5851cb@redhat.com; "
         "__wp_can_reuse_large_anon_folio() (mm/memory.c, 6.15)",
         "Every mapping owns a reference: take it before the mapping is counted, drop it after. Code that compares "
         "the two counters without the page-table lock decides wrongly while they are the other way round."),
    Rule("I-06", "Mapping references come on top of the page cache's.", "M + C <= R", _E,
         "folio_expected_ref_count() (include/linux/mm.h)",
         "Split, migration and reclaim freeze a folio when only the expected references are left."),
    Rule("I-07", "At rest every reference is accounted for.", "R = M + C + batches + gets + pins", _Q,
         "David Hildenbrand, 24 Nov 2023, 20231124132626.235350-1-david@redhat.com (one mapping, one reference)",
         "A reference nobody owns is a leak: the folio can never be freed, split or migrated."),
    Rule("I-08", "Each present leaf entry owns exactly one reference.", "references owned by mappings = T", _Q,
         "folio_mapcount() (include/linux/mm.h)",
         "Holds for PTE and PMD leaves alike; counting sixteen entries as one mapping gives it up."),
    Rule("I-09", "Pins are backed by references.", "P <= R - M - C", _E, "try_grab_folio(), gup_put_folio() (mm/gup.c)",
         "A pin takes its reference first and gives it back last."),
    Rule("I-10", "Pins of small folios are 1024 references each.", "R >= 1024 * pins", _E,
         "GUP_PIN_COUNTING_BIAS (include/linux/mm.h)", "Releasing a pin as if it were a plain reference leaves the count short."),
    Rule("I-11", "A page's mapcount is the number of entries that map it.", "mc + E = T(page)", _P,
         "folio_precise_page_mapcount() (fs/proc/internal.h)", "A lost or doubled rmap call, or the wrong page in a batch."),
    Rule("I-12", "A folio's mapcounts are the number of leaf entries that map it.", "M = T", _P,
         "folio_mapcount() (include/linux/mm.h)", "As for single pages, for the folio as a whole."),
    Rule("I-13", "The large mapcount is the sum of the others.", "L = M at rest, L <= M always", _E,
         "__folio_add_rmap(), __folio_remove_rmap() (mm/rmap.c, 6.10)",
         "It is raised last and lowered first, so that a reader never sees more in total than there is."),
    Rule("I-14", "_nr_pages_mapped counts the pages with a mapping of their own.", "K = #{mc > 0} (+ ENTIRELY_MAPPED)", _P,
         "__folio_add_rmap() (mm/rmap.c)", "Forgetting it on the first or last mapping of a page skews the statistics."),
    Rule("I-15", "An entire mapping is one leaf for the whole folio.", "E > 0 => order = PMD", _E,
         "__folio_rmap_sanity_checks() (mm/rmap.c, 6.8); Ryan Roberts, 27 Nov 2023, "
         "c359a8a6-8221-4d83-a945-580039042056@arm.com",
         "A contiguous block is not a leaf: its entries come and go one by one, and a folio may have several blocks."),
    Rule("I-16", "A batch stays within one folio.", "page + n - 1 in folio", _E, "__folio_rmap_sanity_checks() (mm/rmap.c)",
         "A batch that runs on counts pages of a folio it does not own."),
    Rule("I-17", "The zero page is not counted.", "mc(zero) = 0; R(zero) = 1 + gets at rest", _E,
         "vm_normal_page() (mm/memory.c)", "It is shared by everybody and never freed; its entries are special."),
    Rule("I-18", "A writable entry for an anonymous page means the page is exclusive.", "write => X", _P,
         "wp_page_reuse() VM_BUG_ON (mm/memory.c)", "Who may write without asking must be the only one who maps the page."),
    Rule("I-19", "An exclusive page is mapped at most once.", "X => mc + E <= 1", _P,
         "__folio_add_anon_rmap() VM_WARN_ON (mm/rmap.c)", "Exclusive means a write may go ahead without a copy."),
    Rule("I-20", "No anonymous page is mapped writable while somebody else maps it.", "writable entry => T(page) = 1", _P,
         "page_table_check_set() (mm/page_table_check.c)", "One of the two would see the other's writes."),
    Rule("I-21", "After fork nobody sees the other side's writes.", "private write => no other mm maps or holds the page", _E,
         "David Hildenbrand, 8 Mar 2022, 20220308141437.144919-1-david@redhat.com", "The whole point of copy on write."),
    Rule("I-22", "A pinned anonymous page stays exclusive.", "FOLL_PIN held => X", _E,
         "sanity_check_pinned_pages() (mm/gup.c)", "A pin on a shared page reads or writes somebody else's memory after the next copy."),
    Rule("I-23", "The pinned page stays the one its owner maps.", "entry of a pinned page is never replaced by a copy", _P,
         "Peter Xu, 25 Sep 2020, 20200925222600.6832-1-peterx@redhat.com",
         "If the owner is moved to a copy, what the device writes is lost to it."),
    Rule("I-24", "A child never maps a page its parent has pinned.", "FOLL_PIN held => T(page) <= 1", _P,
         "folio_try_dup_anon_rmap_ptes() (include/linux/rmap.h)", "fork must copy pinned exclusive pages at once."),
    Rule("I-25", "Anonymous mappings are duplicated only inside fork's sequence section.", "dup => write_protect_seq odd", _E,
         "folio_needs_cow_for_dma() VM_BUG_ON (include/linux/mm.h)", "GUP-fast looks at the sequence to know that it raced with fork."),
    Rule("I-26", "A fast pin succeeds only when no fork overlapped it.", "pin recorded => write_protect_seq even", _E,
         "lockless_pages_from_mm() (mm/gup.c)", "Otherwise the page may have become shared after it was looked at."),
    Rule("I-27", "MMF_HAS_PINNED is set before the first pin.", "pin recorded => flag set", _E,
         "internal_get_user_pages_fast() (mm/gup.c)", "fork skips the pin test for an mm that never pinned anything."),
    Rule("I-28", "A migration entry stands for a page of a locked folio.", "migration entry => PG_locked", _P,
         "pfn_swap_entry_folio() BUG_ON (include/linux/swapops.h)",
         "It counts in no mapcount and holds no reference: only the folio lock keeps the page where it is. "
         "A fault that meets the entry waits for that lock."),
    Rule("I-29", "An exclusive migration entry is the only entry for its page.", "write, read-exclusive => 1 entry, mc = 0", _P,
         "copy_nonpresent_pte() (mm/memory.c)",
         "When it is turned back the page becomes exclusive; fork must downgrade it on both sides first."),
    Rule("I-30", "A KSM page is small, never exclusive and never writable.", "KSM => !X, !write, N = 1", _P,
         "__folio_add_anon_rmap() VM_WARN_ON, folio_test_ksm() callers (mm/rmap.c, mm/memory.c)",
         "Its contents stand for many pages, of one mm or several: every write must copy."),
    Rule("I-31", "An exclusive swap entry is the only entry for its slot.", "exclusive => count = 1, one entry", _P,
         "check_swap_exclusive() VM_WARN (mm/memory.c, 7.x)",
         "The fault that reads it in maps the page writable without looking; fork must clear the bit in the parent."),
    Rule("I-32", "A swap slot counts the entries that name it.", "swap_map = #{swap entries}", _Q,
         "swap_duplicate(), swap_free() (mm/swapfile.c)",
         "Too low, and the slot is given to somebody else; too high, and it is never free again."),
    Rule("I-33", "The swap cache and its folios agree, and what is swapped out is not exclusive.",
         "PG_swapcache <=> N slots, N references; entry for a cached slot => !X", _E,
         "do_swap_page() BUG_ON (mm/memory.c); add_to_swap_cache() (mm/swap_state.c)",
         "References come before the folio can be found in a slot; the slots go before the flag. The exclusive "
         "bit moves into the swap entry."),
    Rule("I-34", "Only who froze a folio touches it until it is unfrozen.", "R frozen at 0 => one CPU; unfreeze from 0 only", _E,
         "page_ref_unfreeze() VM_BUG_ON (include/linux/page_ref.h)",
         "A frozen folio is being split, moved or freed: whoever changes it meanwhile may be changing another."),
    Rule("I-35", "A folio is frozen only when nobody else refers to it.", "at freeze: M = 0, R = C + 1", _A,
         "folio_ref_freeze() callers: split, migration, reclaim",
         "A reference in excess is no mistake, the freezer backs out; freezing in spite of it pulls the folio away "
         "from under its holder."),
    Rule("I-36", "rss counts what the page tables hold.", "rss = present entries by type", _Q, "check_mm() (kernel/fork.c)",
         "Anything else shows as a bad rss-counter state when the mm dies."),
    Rule("I-37", "An entry write-protected by userfaultfd is not writable.", "uffd_wp => !write", _P,
         "page_table_check_pte_flags() (mm/page_table_check.c)", "The monitor would miss the write it asked to hear of."),
    Rule("I-38", "Valid entries of a contiguous block agree.", "same CONT, attributes, frame sequence", _E,
         "Arm ARM, contiguous hint; contpte_ptep_get_lockless() (arch/arm64/mm/contpte.c)",
         "The TLB may have loaded the block from any of its entries; disagreement is misprogramming."),
    Rule("I-39", "A contiguous block lies in one folio, aligned.", "CONT => frame and address aligned, one folio", _E,
         "contpte_set_ptes() (arch/arm64/mm/contpte.c)", "Otherwise the block would translate to memory of others."),
    Rule("I-41", "No folio is freed while a TLB may still translate to it.", "freed => every cleared entry flushed", _E,
         "mmu_gather (mm/mmu_gather.c, include/asm-generic/tlb.h)",
         "References of unmapped pages are parked until the flush. The worst case is assumed: every valid entry was cached."),
    Rule("I-42", "A dirty file page stays mapped until its translation is flushed.", "dirty entry cleared => mc counted until the flush", _E,
         "tlb_flush_rmaps() (mm/mmu_gather.c, 6.2)",
         "Another CPU may still write through its TLB; a page that looks unmapped may be cleaned, and the write is lost."),
    Rule("I-43", "A folio not marked shared belongs to one mm.", "!SH, L > 0 => one mm", _P,
         "__folio_large_mapcount_sanity_checks() (include/linux/rmap.h, 6.15)",
         "The slots may err towards shared, never towards exclusive."),
    Rule("I-44", "A slot never counts more than its mm maps.", "s <= T(mm)", _P, "include/linux/rmap.h (6.15)",
         "An overcount would make a shared folio look exclusive."),
    Rule("I-45", "An unmapped folio is not marked shared.", "L = 0 => !SH", _P, "include/linux/rmap.h (6.15)",
         "The next mapping must start clean."),
    Rule("I-46", "A large folio that is reused maps each page once.", "reuse => L <= N, E = 0", _A,
         "__wp_can_reuse_large_anon_folio() VM_WARN_ON (mm/memory.c, 6.15)",
         "Nobody else maps it, and an anonymous page is mapped once per mm."),
    Rule("I-47", "A large folio is reused only when nobody else has any part in it.", "R = L = T(mm), P = 0", _A,
         "__wp_can_reuse_large_anon_folio() (mm/memory.c, 6.15)", "Comparing without the lock can be fooled either way."),
    Rule("I-48", "Only large anonymous folios wait for a deferred split.", "queued => order >= 2, anon", _E,
         "deferred_split_folio() (mm/huge_memory.c)", "Smaller folios have no room for the list node."),
    Rule("I-49", "A lazyfree page is discarded only when clean and held by its mappings alone.", "discard => R = 1 + M, clean; lazyfree => !swapcache", _A,
         "try_to_unmap_one() (mm/rmap.c)",
         "The contents are thrown away: whoever else holds a reference would read zeroes later, or write into the void. "
         "The counters are read without a lock on other mms, so a fork or an unmap elsewhere can fool the test."),
    Rule("I-50", "NR_ANON_MAPPED is the number of mapped anonymous pages.", "NR_ANON_MAPPED = #{anon pages with mc + E > 0}", _Q,
         "__folio_mod_stat() (mm/rmap.c)",
         "Known to drift upstream: a PMD mapping that goes while another mm unmaps the same pages one by one loses "
         "some in a clamp at 0. It is a statistic, and reported as a known window."),
    Rule("I-51", "An anonymous page is mapped at most once per mm.", "T(page, mm) <= 1", _P,
         "__wp_can_reuse_large_anon_folio() comment (mm/memory.c)", "Reuse relies on it."),
    Rule("I-52", "A reader never takes a mapped folio for an unmapped one.", "T > 0 => folio_mapped()", _E,
         "folio_mapped() (include/linux/mm.h)",
         "When one kind of mapping is turned into another the new one is counted before the old one goes: the words "
         "that are read without a lock never all say no."),
    Rule("I-53", "Nobody but its one mapping can get at an exclusive page.", "X, mapped => T(page) = 1, no swap or migration entry", _P,
         "PG_anon_exclusive (include/linux/page-flags.h)",
         "As for I-19, but by the page tables, not by the counters, and with the entries that are not present: a "
         "swap entry elsewhere is a way to the same page."),
    Rule("I-54", "Entries and their mapcounts change under the page-table lock.", "change => ptl held by the CPU", _E,
         "Documentation/mm/process_addrs.rst",
         "Not needed: for a table that is not linked yet, for the counts of a frozen folio, and for the MMU's own "
         "updates of the access and dirty state."),
    Rule("I-55", "An entry lies in a VMA of its mm.", "entry => VMA covers its address", _Q,
         "free_pgtables(), unmap_vmas() (mm/memory.c); exit_mmap() (mm/mmap.c)",
         "What is left behind by munmap belongs to nobody: the next mapping of the range shows the old contents, and "
         "nothing ever gives the pages back."),
    Rule("I-56", "After MADV_DONTNEED the range is empty.", "dontneed, nobody else runs => no entry but uffd markers", _Q,
         "madvise_dontneed_single_vma() (mm/madvise.c); zap_page_range_single() (mm/memory.c)",
         "The process was told that it will read zeroes, or the file again. Another thread may fault the range in "
         "anew, so it is looked at only when nothing ran beside the call."),
    Rule("I-57", "A file has one folio per index.", "page cache folio => its slots have it; no two folios at one index", _Q,
         "__filemap_add_folio() (mm/filemap.c); page_cache_delete() (mm/filemap.c)",
         "Two folios for one page of a file are two contents: one process reads what the other never wrote. A folio "
         "leaves its slots before it forgets the file."),
    Rule("I-58", "rmap finds every mapping of a folio.", "entries found by mapping, index and the VMAs = T", _Q,
         "rmap_walk_anon(), rmap_walk_file() (mm/rmap.c); __folio_set_anon() (mm/rmap.c)",
         "folio->mapping is an anon_vma that the VMA hangs on, or the file that it maps, and the index is the one of "
         "the page there. What rmap does not find is never unmapped by reclaim or migration. KSM pages have a tree of "
         "their own, which is not modelled."),
    Rule("I-59", "MM_SWAPENTS counts the swap entries.", "rss[MM_SWAPENTS] = swap entries of the mm", _Q, "check_mm() (kernel/fork.c)",
         "As for I-36: it shows as a bad rss-counter state when the mm dies. Migration entries and markers are no swap "
         "entries."),
    Rule("I-60", "A process reads what it last wrote, and zeroes where nobody ever did.",
         "entry replaced => same content; fresh page => 0, the file's, or the parent's at fork", _P,
         "__wp_page_copy_user() (mm/memory.c), folio_migrate_copy() (mm/migrate.c), folio_zero_user()",
         "Copy on write, migration, swap and KSM put another page in the place of one: the process must not notice. A "
         "page that comes without its contents shows zeroes or somebody else's data."),
    Rule("I-61", "A private mapping never changes the file.", "write to a page of a file => through a shared mapping", _E,
         "do_wp_page(), do_cow_fault() (mm/memory.c)", "Whoever else has the file would read what was written in private."),
    Rule("I-62", "What a pinned page is mapped by is not replaced.", "entry of a pinned page: never a swap entry or another page", _P,
         "folio_try_share_anon_rmap_pte() (include/linux/rmap.h); folio_maybe_dma_pinned() (include/linux/mm.h)",
         "As for I-23, but by reclaim and migration as well, and for pages of files. A migration entry for the page "
         "itself may stand there for a while; a private copy may replace the page of a file, for such a pin is of the "
         "file."),
    Rule("I-63", "A swap slot has one content.", "every entry that names a slot: the content its page had when it was unmapped", _P,
         "swap_writepage() (mm/page_io.c), do_swap_page() (mm/memory.c)",
         "All entries of a slot stand for one page; written late, read early or given out twice, it is somebody "
         "else's."),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.id: rule for rule in _CATALOGUE}
"""All rules by id, in the order of the catalogue."""
