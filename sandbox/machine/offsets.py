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

SWAP_CACHE = offset(Struct.SWAP, "swap_cache")
SWAP_SLOTS = offset(Struct.SWAP, "swap_cache") - offset(Struct.SWAP, "swap_map")
"""Slots of the swap device."""
