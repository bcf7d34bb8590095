"""Values among the entries of a page cache, beside folios: slots of swap, and contents on disk.

An entry is 0, a folio, or a negative number that is a value: an odd one names slots of swap
(radix_to_swp_entry, 6.12), an even one says what is written at that page of a file.  Slots of
several pages fill all their places, each with its own slot.
"""

from __future__ import annotations

_ORDER = 5
"""Bits below the slot: the order, and the one that tells the kinds apart."""


def swp_to_radix_entry(slot: int, order: int) -> int:
    """The value for the first page of what went to slots from *slot* on."""
    return -(slot + 1 << _ORDER | order << 1 | 1)


def radix_to_swp_entry(value: int) -> int:
    """The slot that a value names."""
    return (-value >> _ORDER) - 1


def xa_value_names_slot(value: int) -> bool:
    """Does an entry name a slot of swap?"""
    return value < 0 and bool(value & 1)


def xa_value_pages(value: int) -> int:
    """How many pages the entry has that a value is part of."""
    return 1 << ((-value & (1 << _ORDER) - 1) >> 1)


def xa_value_at(value: int, page: int) -> int:
    """The value for a later page of the same entry; nothing stays nothing."""
    return value - (page << _ORDER) if value else 0


def xa_of_disk(data: int) -> int:
    """The value for a page of a file that has *data* on disk; nothing for zeroes."""
    return -(data << 1)


def xa_to_disk(value: int) -> int:
    """What a page of a file has on disk."""
    return -value >> 1
