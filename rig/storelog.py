"""The log of the plugin `stores`: records of 64-bit words, cut at the steps.

The head of plugins/stores.c says what the words of each kind are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from rig.symbols import Symbols

__all__ = [
    "CALL",
    "CONTENT",
    "DROPPED",
    "OFF",
    "ON",
    "STORE",
    "TABLE",
    "Range",
    "Record",
    "hooks",
    "ranges",
    "steps",
]

ON, OFF, STORE, CALL, CONTENT, TABLE, DROPPED = range(1, 8)

_LOGGED = (
    *("contpte_wrprotect_ptes", "contpte_get_and_clear_full_ptes", "contpte_clear_full_ptes"),
    *("contpte_ptep_set_access_flags", "__contpte_try_fold", "__contpte_try_unfold"),
    *("deferred_split_folio", "__split_huge_pmd_locked"),
)
"""Calls that the log has for their own sake."""
HOOKS = {
    **dict.fromkeys(_LOGGED, "c"),
    "copy_huge_pmd": "d",
    "contpte_set_ptes": "s",
    "pmd_install": "p",
    **dict.fromkeys(("folio_add_new_anon_rmap", "folio_add_anon_rmap_ptes"), "f"),
    **dict.fromkeys(("folio_add_anon_rmap_pmd", "folio_add_file_rmap_ptes"), "f"),
    "folio_add_file_rmap_pmd": "f",
    "unmap_page_range": "c",
    "__zap_vma_range": "c",
    "handle_mm_fault": "c",
    "copy_page_range": "v",
    "move_page_tables": "m",
}
"""Functions whose entry is logged, with the letter by which the plugin knows what to do there."""


class Record(NamedTuple):
    """One record."""

    kind: int
    words: tuple[int, ...]


class Range(NamedTuple):
    """Something watched from the beginning of a step (`watch_range` in guest/mmoracle.c)."""

    address: int
    length: int
    what: int
    extra: int


def hooks(symbols: Symbols) -> tuple[str, list[str]]:
    """The plugin's file of hooks for a kernel, and their names by number."""
    rows = [
        (symbols.by_name[name], kind, name)
        for name, kind in HOOKS.items()
        if name in symbols.by_name
    ]
    text = "".join(f"{address:x} {kind} {name}\n" for address, kind, name in rows)
    return text, [name for _, _, name in rows]


def steps(log: bytes) -> Iterator[list[Record]]:
    """Yield the records of each traced step; one that the log ends in is left out."""
    current: list[Record] | None = None
    at = 0
    while at + 8 <= len(log):
        (head,) = struct.unpack_from("<Q", log, at)
        kind, count = head & 0xFFFFFFFF, head >> 32
        if at + 8 + 8 * count > len(log):
            return
        words = struct.unpack_from(f"<{count}Q", log, at + 8)
        at += 8 + 8 * count
        if kind == ON:
            current = []
        if current is not None:
            current.append(Record(kind, words))
            if kind == OFF:
                yield current
                current = None


def ranges(words: tuple[int, ...]) -> Iterator[Range]:
    """The ranges of an ON record."""
    for at in range(0, len(words), 4):
        address, length, what, extra = words[at : at + 4]
        yield Range(address, length, what, extra - (1 << 64) if extra >> 63 else extra)
