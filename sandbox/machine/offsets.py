"""Offsets of fields that are read by the address of their structure, as `fields` has them.

A handle (`handles`) says the same where there is one. Where memory is read for every event there
is only an address, and making a handle of it would cost more than the look.
"""

from __future__ import annotations

from sandbox.machine.fields import Struct, offset
from sandbox.machine.handles import PAGE_WORDS

REFCOUNT = offset(Struct.PAGE, "_refcount")
MAPCOUNT = offset(Struct.PAGE, "_mapcount")
MAPPING = offset(Struct.PAGE, "mapping")
COMPOUND_HEAD = offset(Struct.PAGE, "compound_head")
LARGE_MAPCOUNT = offset(Struct.PAGE, "_large_mapcount")
ENTIRE_MAPCOUNT = offset(Struct.PAGE, "_entire_mapcount")
NR_PAGES_MAPPED = offset(Struct.PAGE, "_nr_pages_mapped")
PINCOUNT = offset(Struct.PAGE, "_pincount")
MM_IDS = offset(Struct.PAGE, "_mm_id[0]")
MM_ID_1 = offset(Struct.PAGE, "_mm_id[1]")
MM_ID_MAPCOUNTS = offset(Struct.PAGE, "_mm_id_mapcount[0]")
"""The first of two, one after the other."""
DEFERRED_NODE = PAGE_WORDS + offset(Struct.PAGE, "_deferred_list")
"""In the first tail page of a folio."""

MM_ID = offset(Struct.MM, "mm_id")
WRITE_PROTECT_SEQ = offset(Struct.MM, "write_protect_seq")
PUD = offset(Struct.MM, "pud")


PT_LOCK = offset(Struct.PTE_TABLE, "ptl")
PT_MM = offset(Struct.PTE_TABLE, "pt_mm")
PT_START = offset(Struct.PTE_TABLE, "pt_start")
"""The words behind a table's entries; a PMD table has its own at the same places."""
LAST_ENTRY = PT_LOCK - 1
"""The last index of a table: the bits of an address, or of a page, that choose an entry."""
PAGE_DATA = offset(Struct.PAGE, "data")

XA_LOCK, CI_LOCK = offset(Struct.SWAP, "xa_lock"), offset(Struct.SWAP, "ci_lock")
"""Locks of the swap cache, and of the clusters, counts and claims (7.x: one lock a cluster)."""
SWAP_HEADER = offset(Struct.SWAP, "header")
"""The page of the device's header in the page cache of the block device."""
CLUSTER_TABLE = offset(Struct.SWAP, "cluster_info.table")
CLUSTER_COUNT = offset(Struct.SWAP, "cluster_info.count")
CLUSTER_FLAGS = offset(Struct.SWAP, "cluster_info.flags")
CLUSTER_ORDER = offset(Struct.SWAP, "cluster_info.order")
CLUSTER_NEXT = offset(Struct.SWAP, "cluster_info.list.next")
CLUSTER_PREV = offset(Struct.SWAP, "cluster_info.list.prev")
"""Arrays by cluster; lists name clusters by number + 1."""
LIST_FIRST = offset(Struct.SWAP, "clusters.first")
LIST_LAST = offset(Struct.SWAP, "clusters.last")
"""Ends of the lists: free, full, and by order those used in part and those in fragments."""
PERCPU_CLUSTER = offset(Struct.SWAP, "percpu_cluster.next")
"""By CPU and order: the slot to go on with."""
SWAP_ORDERS = (LIST_LAST - LIST_FIRST - 2) // 2
"""Orders that a folio in the swap cache may have."""
TABLE_MAP = offset(Struct.SWAP_TABLE, "swap_map")
TABLE_CACHE = offset(Struct.SWAP_TABLE, "swap_cache")
TABLE_DATA = offset(Struct.SWAP_TABLE, "swap_data")
TABLE_HAS_CACHE = offset(Struct.SWAP_TABLE, "swap_map.has_cache")
TABLE_ZERO = offset(Struct.SWAP_TABLE, "zeromap")
TABLE_FIRST = offset(Struct.SWAP_TABLE, "first_slot")
"""Arrays of a cluster's table by slot: entries that name it, its folio, its contents, its claim,
whether it is all zero; and the number of the first slot."""
SWAPFILE_CLUSTER = TABLE_CACHE - TABLE_MAP
"""Slots of a cluster."""
SWAP_CLUSTERS = CLUSTER_COUNT - CLUSTER_TABLE
"""Clusters of the swap device."""
