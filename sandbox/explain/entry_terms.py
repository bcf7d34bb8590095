"""Entries of page tables, their bits and kinds, and swap."""

from __future__ import annotations

from sandbox.explain.terms import Kind, Term

__all__ = ["ENTRY_TERMS"]

_ARM64 = "arch/arm64/include/asm/pgtable.h"

ENTRY_TERMS = (
    Term(
        name="pte", kind=Kind.ENTRY, aliases=("PTE", "entries", "entry"), symbols=("T", "entry"),
        what="One entry of the last level of a page table: a page of memory, or what became of it.",
        more="T in the rules is the number of leaf entries that map a page or folio; nobody stores it, "
             "the model counts.",
        source=f"{_ARM64}; mm/memory.c", writes=("pte", "ptep"),
    ),
    Term(
        name="CONT", kind=Kind.ENTRY, aliases=("C", "PTE_CONT", "CONT_PTES"), symbols=("CONT",),
        what="The contiguous hint: sixteen entries in a row map one aligned block of memory.",
        more="The TLB may keep one translation for the whole block, so all sixteen must agree; the "
             "access and dirty bits are those of any of them. To change one entry the block is "
             "unfolded first (cleared, flushed and written again without the bit).",
        since="6.9 for user memory", source="arch/arm64/mm/contpte.c (bit 52)",
        writes=("PTE_CONT", "pte_mkcont", "pte_mknoncont"),
    ),
    Term(
        name="VALID", kind=Kind.ENTRY, aliases=("PTE_VALID", "present"),
        what="The hardware translates by this entry.",
        source=f"{_ARM64} (bit 0)", writes=("PTE_VALID",),
    ),
    Term(
        name="WRITE", kind=Kind.ENTRY, aliases=("RW", "PTE_WRITE", "DBM", "w"),
        symbols=("write", "writable"),
        what="Software lets the process write: on arm64 the DBM bit.",
        more="With RDONLY beside it the first write faults, or the hardware clears RDONLY by itself, "
             "which marks the entry dirty.",
        source=f"{_ARM64} (bit 51)", writes=("PTE_WRITE", "pte_mkwrite", "pte_wrprotect"),
    ),
    Term(
        name="RDONLY", kind=Kind.ENTRY, aliases=("RO", "PTE_RDONLY", "r"),
        what="The hardware does not let the process write.",
        more="Writable and not read-only means dirty by hardware.",
        source=f"{_ARM64} (AP[2], bit 7)", writes=("PTE_RDONLY", "pte_wrprotect", "pte_mkdirty"),
    ),
    Term(
        name="DIRTY", kind=Kind.ENTRY, aliases=("D", "PTE_DIRTY", "d"),
        what="The page was written through this entry (the bit of software).",
        source=f"{_ARM64} (bit 55)", writes=("PTE_DIRTY", "pte_mkdirty", "pte_mkclean"),
    ),
    Term(
        name="AF", kind=Kind.ENTRY, aliases=("Y", "young", "PTE_AF", "y"),
        what="The access flag: the page was used through this entry since the bit was cleared.",
        more="Without the flag the next access faults, or the hardware sets it by itself.",
        source=f"{_ARM64} (bit 10)", writes=("PTE_AF", "pte_mkyoung", "pte_mkold"),
    ),
    Term(
        name="SPECIAL", kind=Kind.ENTRY, aliases=("PTE_SPECIAL", "special"),
        what="The page behind the entry is not counted: vm_normal_page() finds none.",
        source="vm_normal_page() (mm/memory.c; bit 56)", writes=("PTE_SPECIAL", "pte_mkspecial"),
    ),
    Term(
        name="PRESENT_INVALID", kind=Kind.ENTRY, aliases=("PROT_NONE", "protnone"),
        what="There for software, not for the hardware: PROT_NONE, or a hint of NUMA balancing.",
        source=f"{_ARM64} (bit 59)", writes=("PTE_PRESENT_INVALID",),
    ),
    Term(
        name="UFFD_WP", kind=Kind.ENTRY, aliases=("uffd_wp", "PTE_UFFD_WP"), symbols=("uffd_wp", "uffd"),
        what="userfaultfd asked to hear of the next write: the entry is not writable until then.",
        since="6.10 on arm64", source=f"{_ARM64}; mm/userfaultfd.c",
        writes=("PTE_UFFD_WP", "pte_mkuffd_wp", "pte_clear_uffd_wp"),
    ),
    Term(
        name="HUGE", kind=Kind.ENTRY, aliases=("PMD", "pmd", "P"),
        what="An entry of the middle level maps 2M at once (a PMD leaf).",
        more="It counts once, in _entire_mapcount, with one reference. When one page of it has to be "
             "changed, it is split into 512 entries.",
        source="mm/huge_memory.c", writes=("PTE_HUGE", "pmd", "pmdp"),
    ),
    Term(
        name="zero", kind=Kind.ENTRY, aliases=("zero_page", "z"),
        what="The zero page: one page of zeroes for everybody who has only read.",
        more="It is special, so nothing counts its mappings.",
        source="do_anonymous_page() (mm/memory.c)",
    ),
    Term(
        name="migration", kind=Kind.ENTRY, aliases=("PTE_MIGRATION", "m"), symbols=("migration",),
        what="The page is being moved; whoever touches it waits for the folio's lock.",
        more="It holds no reference and counts in no mapcount. It remembers whether the page was "
             "writable and exclusive.",
        source="include/linux/swapops.h; mm/migrate.c",
        writes=("PTE_MIGRATION", "PTE_MIGRATION_WRITE", "PTE_MIGRATION_EXCLUSIVE"),
    ),
    Term(
        name="marker", kind=Kind.ENTRY, aliases=("PTE_MARKER",),
        what="No page, but something to remember: userfaultfd's write protection.",
        since="5.19", source="include/linux/swapops.h", writes=("PTE_MARKER",),
    ),
    Term(
        name="none", kind=Kind.ENTRY, what="An empty entry: the next access faults.",
        source="pte_none()",
    ),
    # -- swap -----------------------------------------------------------------------------
    Term(
        name="swap entry", kind=Kind.SWAP, aliases=("swap", "PTE_SWP", "slot"), symbols=("swap",),
        what="The page is in a slot of swap; the entry has the number of the slot.",
        more="MM_SWAPENTS counts it for its process, swap_map for its slot.",
        source="include/linux/swapops.h; do_swap_page() (mm/memory.c)", writes=("PTE_SWP",),
    ),
    Term(
        name="SWP_EXCLUSIVE", kind=Kind.SWAP, aliases=("PTE_SWP_EXCLUSIVE",),
        symbols=("exclusive",),
        what="The page was exclusive when it was swapped out, and will be so again.",
        more="fork clears it in the parent when it duplicates the entry.",
        since="5.19", source="pte_swp_mkexclusive() (include/linux/pgtable.h)",
        writes=("PTE_SWP_EXCLUSIVE",),
    ),
    Term(
        name="swap_map", kind=Kind.SWAP, symbols=("swap_map", "count"),
        what="How many swap entries name a slot.",
        source="swap_duplicate(), swap_free() (mm/swapfile.c)", writes=("swap_map",),
    ),
    Term(
        name="swap_cache", kind=Kind.SWAP, symbols=("C",),
        what="Which folio stands in the swap cache for a slot.",
        source="mm/swap_state.c", writes=("swap_cache",),
    ),
    Term(
        name="zeromap", kind=Kind.SWAP,
        what="The page of a slot was all zeroes, so nothing was written.",
        since="6.12", source="mm/page_io.c", writes=("zeromap",),
    ),
    Term(
        name="cluster_info", kind=Kind.SWAP,
        what="Slots are given out in clusters of 512; each has its list and its count.",
        source="mm/swapfile.c", writes=("cluster_info",),
    ),
)  # fmt: skip
