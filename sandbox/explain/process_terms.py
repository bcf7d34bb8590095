"""Processes, their mappings, batches of CPUs, and locks."""

from __future__ import annotations

from sandbox.explain.terms import Kind, Term

__all__ = ["PROCESS_TERMS"]

_VMA = "struct vm_area_struct (include/linux/mm_types.h)"
_MM = "struct mm_struct (include/linux/mm_types.h)"
_VM = "include/linux/mm.h"

_MAPPINGS = (
    Term(
        name="vm_start", kind=Kind.VMA, aliases=("vm_end",),
        what="Where a mapping begins and ends, in pages of the region here.", source=_VMA,
        writes=("vm_start", "vm_end"),
    ),
    Term(
        name="vm_flags", kind=Kind.VMA,
        what="What a mapping allows (r, w, x; private or shared) and what was asked for it.",
        source=f"{_VMA}; {_VM}", writes=("vm_flags",),
    ),
    Term(
        name="VM_SHARED", kind=Kind.VMA, aliases=("rw-s", "r--s", "r-xs"),
        what="Writes go to the file, and everybody who maps it sees them.", source=_VM,
        writes=("VM_SHARED",),
    ),
    Term(
        name="dontfork", kind=Kind.VMA, aliases=("VM_DONTCOPY",),
        what="A child does not get this mapping (MADV_DONTFORK).",
        source="dup_mmap() (kernel/fork.c)", writes=("VM_DONTCOPY",),
    ),
    Term(
        name="wipeonfork", kind=Kind.VMA, aliases=("VM_WIPEONFORK",),
        what="A child gets this mapping empty (MADV_WIPEONFORK).", since="4.14",
        source="dup_mmap() (kernel/fork.c)", writes=("VM_WIPEONFORK",),
    ),
    Term(
        name="hugepage", kind=Kind.VMA, aliases=("VM_HUGEPAGE",),
        what="Large folios were asked for here (MADV_HUGEPAGE).",
        source="hugepage_madvise() (mm/khugepaged.c)", writes=("VM_HUGEPAGE",),
    ),
    Term(
        name="nohugepage", kind=Kind.VMA, aliases=("VM_NOHUGEPAGE", "nohuge"),
        what="No large folios here (MADV_NOHUGEPAGE).",
        source="hugepage_madvise() (mm/khugepaged.c)", writes=("VM_NOHUGEPAGE",),
    ),
    Term(
        name="VM_LOCKED", kind=Kind.VMA, what="The pages of this mapping stay in memory (mlock).",
        source="mm/mlock.c", writes=("VM_LOCKED",),
    ),
    Term(
        name="VM_UFFD_WP", kind=Kind.VMA,
        what="A userfaultfd hears of writes to write-protected pages here.", since="5.7",
        source="fs/userfaultfd.c", writes=("VM_UFFD_WP",),
    ),
    Term(
        name="VM_MERGEABLE", kind=Kind.VMA,
        what="KSM may merge pages of this mapping with others of equal contents.",
        source="ksm_madvise() (mm/ksm.c)", writes=("VM_MERGEABLE",),
    ),
    Term(
        name="anon_vma", kind=Kind.VMA,
        what="What the mappings that may have anonymous pages in common hang on.",
        more="rmap goes from a folio to its anon_vma, and from there to every mapping that may have "
             "an entry for it.",
        source="struct anon_vma (include/linux/rmap.h); mm/rmap.c",
        writes=("anon_vma", "anon_vma_chain", "rb_root"),
    ),
    Term(
        name="vm_pgoff", kind=Kind.VMA, aliases=("vm_anon_pgoff",),
        what="The page of the file, or of the anon_vma, at which a mapping begins.", source=_VMA,
        writes=("vm_pgoff", "vm_anon_pgoff"),
    ),
)  # fmt: skip

_PROCESSES = (
    Term(
        name="rss", kind=Kind.PROCESS, symbols=("rss",),
        aliases=("rss_stat", "MM_ANONPAGES", "MM_FILEPAGES", "MM_SHMEMPAGES"),
        what="How many pages a process has mapped, apart for anonymous pages, files and shmem.",
        more="check_mm() complains at exit of what is left of them.",
        source=f"{_MM}; include/linux/mm.h", writes=("rss_stat", "add_mm_counter"),
    ),
    Term(
        name="MM_SWAPENTS", kind=Kind.PROCESS, symbols=("rss[MM_SWAPENTS]",),
        what="How many swap entries the page tables of a process have.", source=_MM,
        writes=("MM_SWAPENTS",),
    ),
    Term(
        name="HAS_PINNED", kind=Kind.PROCESS, aliases=("MMF_HAS_PINNED",), symbols=("flag",),
        what="The process has pinned something at some time: fork has to look at pins.",
        more="It is set before the first pin and never cleared.",
        since="5.9 (as mm->has_pinned; a flag since 5.14)",
        source="internal_get_user_pages_fast() (mm/gup.c)", writes=("MMF_HAS_PINNED",),
    ),
    Term(
        name="write_protect_seq", kind=Kind.PROCESS, symbols=("write_protect_seq",),
        what="A sequence count that is odd while fork write-protects the page tables.",
        more="GUP-fast reads it before and after: if a fork was in between, what it pinned is let go.",
        since="5.11", source="copy_page_range() (mm/memory.c); mm/gup.c",
        writes=("write_protect_seq",),
    ),
    Term(
        name="mm_id", kind=Kind.PROCESS, aliases=("mm_ida",),
        what="The number by which large folios know the process in their slots.", since="6.15",
        source=_MM, writes=("mm_id", "mm_ida"),
    ),
    Term(
        name="locked_vm", kind=Kind.PROCESS, what="Pages of mappings that are mlocked.",
        source="mm/mlock.c", writes=("locked_vm",),
    ),
    Term(
        name="pinned_vm", kind=Kind.PROCESS, what="Pages that drivers have charged as pinned.",
        source=_MM, writes=("pinned_vm",),
    ),
    Term(
        name="mm_users", kind=Kind.PROCESS, what="How many users the address space has.",
        source="mmput() (kernel/fork.c)", writes=("mm_users",),
    ),
)  # fmt: skip

_BATCHES = (
    Term(
        name="lru_add", kind=Kind.BATCH, symbols=("batches",),
        aliases=("lru_add.nr", "lru_deactivate", "lru_lazyfree", "lru_deactivate.nr", "lru_lazyfree.nr"),
        what="Folios that a CPU will move to a list of reclaim when its batch is full.",
        more="Each has a reference for as long as it waits there: a reason why a count is one too "
             "high for a while.",
        source="folio_batch_add_and_move() (mm/swap.c)",
        writes=("fbatch_nr", "fbatch_folio", "lru_add"),
    ),
    Term(
        name="mlock_fbatch", kind=Kind.BATCH, aliases=("mlock_fbatch.nr",),
        what="Folios that a CPU will mlock or munlock when its batch is full.",
        source="mm/mlock.c", writes=("mlock_fbatch", "mlock_nr"),
    ),
    Term(
        name="mmu_gather", kind=Kind.BATCH, aliases=("mmu_gather.nr", "mmu_gather.pages"),
        symbols=("flush", "flushed", "page + n"),
        what="Pages that were unmapped and keep their reference until the TLB is flushed.",
        source="mm/mmu_gather.c", writes=("mmu_gather", "gather_nr", "gather_page"),
    ),
)  # fmt: skip

_LOCKS = (
    Term(
        name="mmap_lock", kind=Kind.LOCK, aliases=("mmap_lock:",),
        what="Guards the mappings of a process: faults read it, mmap and fork write it.",
        since="5.8 by this name (mmap_sem before)", source="include/linux/mmap_lock.h",
        writes=("mmap_lock",),
    ),
    Term(
        name="ptl", kind=Kind.LOCK, symbols=("ptl",), aliases=("pmd_ptl",),
        what="The lock of a page table: entries and their mapcounts change under it.",
        more="Rules of scope ptl are looked at when a CPU drops the last one that it holds.",
        source="pte_lockptr() (include/linux/mm.h)", writes=("ptl", "pmd_ptl"),
    ),
    Term(
        name="vm_lock", kind=Kind.LOCK, what="The lock of one mapping, under which faults run "
        "without mmap_lock.",
        since="6.4", source="include/linux/mmap_lock.h", writes=("vm_lock",),
    ),
    Term(
        name="split_queue_lock", kind=Kind.LOCK,
        what="Guards the queue of folios that wait to be split.", source="mm/huge_memory.c",
        writes=("split_queue_lock",),
    ),
    Term(
        name="rwsem", kind=Kind.LOCK, aliases=("i_mmap_rwsem",),
        what="Guards the mappings that hang on an anon_vma or a file, for rmap.",
        source="include/linux/rmap.h, include/linux/fs.h", writes=("rwsem", "i_mmap_rwsem"),
    ),
)  # fmt: skip

PROCESS_TERMS = (*_MAPPINGS, *_PROCESSES, *_BATCHES, *_LOCKS)
