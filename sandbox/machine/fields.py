"""The layout of the modelled structures: which words exist and how they start.

Offsets mirror `struct page`/`struct folio` (mm_types.h): counters that start at -1 in
the kernel start at -1 here (raw values; logical = raw + 1).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

SWAP_CLUSTERS, SWAPFILE_CLUSTER = 32, 512
"""Clusters of the swap device (64 MiB), and the slots of one."""


class Struct(IntEnum):
    """Kinds of allocation."""

    PAGE = 0
    MM = 1
    VMA = 2
    PMD_TABLE = 3
    PTE_TABLE = 4
    ANON_VMA = 5
    MAPPING = 6
    GLOBALS = 7
    CPU = 8
    XARRAY = 9
    SWAP = 10
    AVC = 11
    SWAP_TABLE = 12


class Field(NamedTuple):
    """One kind of word: its number, the structure it belongs to, its kernel name."""

    number: int
    struct: Struct | None
    name: str
    offset: int
    """Offset from the structure's start; arrays keep the offset of entry 0."""
    per_index: bool = False


class Layout(NamedTuple):
    """Initial values and field numbers of one structure, in word order."""

    initial: list[int]
    kinds: bytes


FIELDS: list[Field] = [Field(0, None, "(hole)", 0)]
STRUCTS: dict[Struct, Layout] = {}
_BY_NAME: dict[tuple[Struct, str], int] = {}


def _layout(struct: Struct, words: list[tuple[str, int] | tuple[str, int, int]]) -> None:
    """Declare a structure; a triple is an array of that many words."""
    initial: list[int] = []
    kinds = bytearray()
    for word in words:
        name, value, count = word if len(word) == 3 else (word[0], word[1], 1)
        number = len(FIELDS)
        FIELDS.append(Field(number, struct, name, len(initial), count > 1))
        _BY_NAME[struct, name] = number
        initial.extend([value] * count)
        kinds.extend([number] * count)
    STRUCTS[struct] = Layout(initial, bytes(kinds))


def field(struct: Struct, name: str) -> int:
    """Number of a field by its kernel name."""
    return _BY_NAME[struct, name]


def offset(struct: Struct, name: str) -> int:
    """Words from the start of a structure to a field, to the first one of an array."""
    return FIELDS[_BY_NAME[struct, name]].offset


_layout(
    Struct.PAGE,
    [
        ("flags", 0),
        ("_refcount", 0),
        ("_mapcount", -1),
        ("mapping", 0),
        ("index", 0),
        ("data", 0),
        ("compound_head", 0),
        ("private", 0),
        ("_large_mapcount", -1),
        ("_entire_mapcount", -1),
        ("_nr_pages_mapped", 0),
        ("_pincount", 0),
        ("_mm_id[0]", 0),
        ("_mm_id[1]", 0),
        ("_mm_id_mapcount[0]", -1),
        ("_mm_id_mapcount[1]", -1),
    ],
)
# The words of the second half are used on head pages; in the first tail, word 8 is _deferred_list.
_layout(
    Struct.MM,
    [
        ("flags", 0),
        ("mm_id", 0),
        ("write_protect_seq", 0),
        ("mmap_lock", 0),
        ("rss_stat[MM_FILEPAGES]", 0),
        ("rss_stat[MM_ANONPAGES]", 0),
        ("rss_stat[MM_SWAPENTS]", 0),
        ("rss_stat[MM_SHMEMPAGES]", 0),
        ("locked_vm", 0),
        ("pinned_vm", 0),
        ("mm_mt", 0),
        ("page_table_lock", 0),
        ("mm_users", 1),
        ("mmlist.next", 0),
        ("mmlist.prev", 0),
        ("unused", 0),
        ("pud", 0, 512),
    ],
)
_layout(
    Struct.VMA,
    [
        ("vm_start", 0),
        ("vm_end", 0),
        ("vm_flags", 0),
        ("anon_vma", 0),
        ("vm_pgoff", 0),
        ("vm_file", 0),
        ("vm_lock", 0),
        ("vm_mm", 0),
        ("anon_vma_chain", 0),
        ("vm_anon_pgoff", 0),
        ("vm_next", 0),
        ("shared.rb_next", 0),
        ("shared.rb_prev", 0),
        ("swap_readahead_info", 0),
    ],
)
_layout(Struct.PMD_TABLE, [("pmd", 0, 512), ("pmd_ptl", 0), ("pmd_pt_mm", 0), ("pmd_pt_start", 0)])
_layout(Struct.PTE_TABLE, [("pte", 0, 512), ("ptl", 0), ("pt_mm", 0), ("pt_start", 0)])
_layout(Struct.ANON_VMA, [("rwsem", 0), ("rb_root", 0), ("rb_root.last", 0)])
_layout(
    Struct.AVC,
    [("vma", 0), ("anon_vma", 0), ("same_vma", 0), ("rb.next", 0), ("rb.prev", 0)],
)
_layout(
    Struct.MAPPING,
    [
        ("i_mmap_rwsem", 0),
        ("i_pages", 0),
        ("nrpages", 0),
        ("xa_lock", 0),
        ("i_mmap", 0),
        ("host", 0),
        ("i_size", 0),
        ("i_sb_list", 0),
        ("i_mmap.last", 0),
        ("i_disk", 0),
        ("f_count", 0),
        ("f_ra.start", 0),
        ("f_ra.size", 0),
        ("f_ra.async_size", 0),
        ("f_ra.order", 0),
    ],
)
_layout(Struct.XARRAY, [("slot", 0)])
_layout(
    Struct.SWAP,
    [
        ("xa_lock", 0),
        ("ci_lock", 0),
        ("header", 0),
        ("cluster_info.table", 0, SWAP_CLUSTERS),
        ("cluster_info.count", 0, SWAP_CLUSTERS),
        ("cluster_info.flags", 0, SWAP_CLUSTERS),
        ("cluster_info.order", 0, SWAP_CLUSTERS),
        ("cluster_info.list.next", 0, SWAP_CLUSTERS),
        ("cluster_info.list.prev", 0, SWAP_CLUSTERS),
        ("clusters.first", 0, 22),
        ("clusters.last", 0, 22),
        ("percpu_cluster.next", 0, 40),
    ],
)
_layout(
    Struct.SWAP_TABLE,
    [
        ("swap_map", 0, SWAPFILE_CLUSTER),
        ("swap_cache", 0, SWAPFILE_CLUSTER),
        ("swap_data", 0, SWAPFILE_CLUSTER),
        ("swap_map.has_cache", 0, SWAPFILE_CLUSTER),
        ("zeromap", 0, SWAPFILE_CLUSTER),
        ("first_slot", 0),
    ],
)
_layout(
    Struct.CPU,
    [
        ("lru_add.nr", 0),
        ("mmu_gather.nr", 0),
        ("mmu_gather.pages", 0, 510),
        ("lru_add.folios", 0, 31),
        ("lru_move_tail.nr", 0),
        ("lru_move_tail.folios", 0, 31),
        ("lru_deactivate_file.nr", 0),
        ("lru_deactivate_file.folios", 0, 31),
        ("lru_deactivate.nr", 0),
        ("lru_deactivate.folios", 0, 31),
        ("lru_lazyfree.nr", 0),
        ("lru_lazyfree.folios", 0, 31),
        ("mlock_fbatch.nr", 0),
        ("mlock_fbatch.folios", 0, 31),
        ("mlock_fbatch.kinds", 0, 31),
        ("unused", 0, 2),
    ],
)
_layout(
    Struct.GLOBALS,
    [
        ("anon_orders", 0),
        ("shmem_orders", 0),
        ("step", 0),
        ("s_inodes", 0),
        ("s_inode_list_lock", 0),
        ("mm_ida", 0),
        ("nr_anon_mapped", 0),
        ("nr_file_mapped", 0),
        ("swap_on", 0),
        ("zero_page", 0),
        ("split_queue_lock", 0),
        ("swap_device", 0),
        ("autodrain", 1),
        ("huge_zero", 0),
        ("reuse", 0),
        ("init_mm.mmlist", 0),
    ],
)


def _fresh_clusters() -> None:
    """Lists of a new swap device: slot 0 is its header, so cluster 0 is in use, the others free."""
    words = STRUCTS[Struct.SWAP].initial
    at = {f.name: f.offset for f in FIELDS if f.struct is Struct.SWAP}
    words[at["cluster_info.count"]] = 1
    words[at["cluster_info.flags"]] = 2  # CLUSTER_FLAG_NONFULL
    words[at["clusters.first"] + 2] = words[at["clusters.last"] + 2] = 1
    for i in range(1, SWAP_CLUSTERS):
        words[at["cluster_info.flags"] + i] = 1  # CLUSTER_FLAG_FREE
        words[at["cluster_info.list.next"] + i] = i + 2 if i + 1 < SWAP_CLUSTERS else 0
        words[at["cluster_info.list.prev"] + i] = i if i > 1 else 0
    words[at["clusters.first"]], words[at["clusters.last"]] = 2, SWAP_CLUSTERS


_fresh_clusters()

PAGE_LAYOUT: dict[str, int] = {
    f.name: STRUCTS[Struct.PAGE].initial[f.offset] for f in FIELDS if f.struct is Struct.PAGE
}
"""Initial value of every word of a `struct page`, by name."""

FREE_FRAME = 1 << 17
"""The bit of a page's flags that says that its frame is free (PG_buddy)."""

DEFERRED_LIST = len(FIELDS)
FIELDS.append(Field(DEFERRED_LIST, Struct.PAGE, "_deferred_list", 8))
_BY_NAME[Struct.PAGE, "_deferred_list"] = DEFERRED_LIST
if len(FIELDS) > 255:
    raise AssertionError("field numbers must fit a byte")


class Points(IntEnum):
    """How the value of a word leads to other words; 0 in it leads nowhere."""

    NOWHERE = 0
    ADDRESS = 1
    """An address."""
    FOLIO = 2
    """A page's address with the folio's order in its low four bits."""
    ENTRY = 3
    """A page-table entry: a frame number above bit 16, if it is present or stands for a move."""
    PMD = 4
    """An entry of the middle level: a leaf, or a table's address above bit 16."""
    GATHERED = 5
    """A page's address above bit 11."""


POINTS_TO: dict[int, Points] = {
    field(struct, name): points
    for struct, names, points in (
        (Struct.PAGE, "mapping", Points.ADDRESS),
        (Struct.PAGE, "compound_head", Points.FOLIO),
        (Struct.MM, "mm_mt mmlist.next mmlist.prev pud", Points.ADDRESS),
        (Struct.VMA, "anon_vma vm_file vm_mm", Points.ADDRESS),
        (Struct.VMA, "anon_vma_chain vm_next shared.rb_next shared.rb_prev", Points.ADDRESS),
        (Struct.PMD_TABLE, "pmd", Points.PMD),
        (Struct.PMD_TABLE, "pmd_pt_mm", Points.ADDRESS),
        (Struct.PTE_TABLE, "pte", Points.ENTRY),
        (Struct.PTE_TABLE, "pt_mm", Points.ADDRESS),
        (Struct.ANON_VMA, "rb_root rb_root.last", Points.ADDRESS),
        (Struct.AVC, "vma anon_vma same_vma rb.next rb.prev", Points.ADDRESS),
        (Struct.MAPPING, "i_pages i_disk i_sb_list i_mmap i_mmap.last", Points.ADDRESS),
        (Struct.XARRAY, "slot", Points.FOLIO),
        (Struct.SWAP, "cluster_info.table", Points.ADDRESS),
        (Struct.SWAP_TABLE, "swap_cache", Points.FOLIO),
        (Struct.SWAP, "header", Points.FOLIO),
        (Struct.CPU, "lru_add.folios lru_move_tail.folios", Points.FOLIO),
        (Struct.CPU, "lru_deactivate_file.folios lru_deactivate.folios", Points.FOLIO),
        (Struct.CPU, "lru_lazyfree.folios mlock_fbatch.folios", Points.FOLIO),
        (Struct.CPU, "mmu_gather.pages", Points.GATHERED),
        (Struct.GLOBALS, "zero_page swap_device s_inodes init_mm.mmlist", Points.ADDRESS),
        (Struct.GLOBALS, "huge_zero", Points.FOLIO),
    )
    for name in names.split()
}
"""By field number, of the fields that lead anywhere."""

ENTRIES: dict[int, Callable[[int], tuple[int, bool] | None]] = {}
"""By field number of a page-table entry: the address that a value leads to, and whether a page
table must be there and not a page; None where it leads nowhere.  The architecture fills it in."""

COUNTED_BY: dict[int, int] = {
    field(Struct.CPU, "lru_add.folios"): field(Struct.CPU, "lru_add.nr"),
    field(Struct.CPU, "lru_move_tail.folios"): field(Struct.CPU, "lru_move_tail.nr"),
    field(Struct.CPU, "lru_deactivate_file.folios"): field(Struct.CPU, "lru_deactivate_file.nr"),
    field(Struct.CPU, "lru_deactivate.folios"): field(Struct.CPU, "lru_deactivate.nr"),
    field(Struct.CPU, "lru_lazyfree.folios"): field(Struct.CPU, "lru_lazyfree.nr"),
    field(Struct.CPU, "mlock_fbatch.folios"): field(Struct.CPU, "mlock_fbatch.nr"),
    field(Struct.CPU, "mlock_fbatch.kinds"): field(Struct.CPU, "mlock_fbatch.nr"),
    field(Struct.CPU, "mmu_gather.pages"): field(Struct.CPU, "mmu_gather.nr"),
}
"""By field number of an array: that of the word which says how many of its words mean anything."""

WIDTHS: dict[int, int] = {
    field(struct, name): bits
    for struct, names, bits in (
        (Struct.PAGE, "_refcount _mapcount _large_mapcount _entire_mapcount _nr_pages_mapped "
                      "_pincount _mm_id[0] _mm_id[1] _mm_id_mapcount[0] _mm_id_mapcount[1]", 32),
        (Struct.PAGE, "_deferred_list", 1),
        (Struct.MM, "write_protect_seq mm_id mm_users", 32),
        (Struct.GLOBALS, "swap_on autodrain reuse", 1),
        (Struct.SWAP_TABLE, "swap_map", 8),
        (Struct.SWAP_TABLE, "swap_map.has_cache zeromap", 1),
    )
    for name in names.split()
}  # fmt: skip
"""Bits of the kernel's own word by field number, where there are fewer than 64 (mm_types.h)."""
