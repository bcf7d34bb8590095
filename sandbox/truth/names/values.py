"""What a value is called by itself: the flags of pages, VMAs and entries, without a machine.

There are two spellings of an entry's flags: the words of mails (`RW D Y C`), for people, and the
letters of the recordings (`wdyc`), for the state format and the logs of stores.
"""

from __future__ import annotations

from sandbox.arch.arm64 import pgtable as pt
from sandbox.mm import flags as f

__all__ = [
    "FLAG_NAMES",
    "PTE_BITS",
    "VMA_NOTES",
    "letters_in_words",
    "page_flags",
    "pte_bits",
    "pte_flags",
    "pte_letters",
    "vm_flags",
]

PTE_BITS = (
    ("VALID", pt.PTE_VALID),
    ("WRITE", pt.PTE_WRITE),
    ("RDONLY", pt.PTE_RDONLY),
    ("DIRTY", pt.PTE_DIRTY),
    ("AF", pt.PTE_AF),
    ("CONT", pt.PTE_CONT),
    ("SPECIAL", pt.PTE_SPECIAL),
    ("PRESENT_INVALID", pt.PTE_PRESENT_INVALID),
    ("UFFD_WP", pt.PTE_UFFD_WP),
    ("HUGE", pt.PTE_HUGE),
)
"""Bits of an entry by their kernel names (without `PTE_`), in the order they are shown."""

FLAG_NAMES = (
    ("referenced", f.PG_referenced),
    ("uptodate", f.PG_uptodate),
    ("dirty", f.PG_dirty),
    ("lru", f.PG_lru),
    ("active", f.PG_active),
    ("workingset", f.PG_workingset),
    ("swapcache", f.PG_swapcache),
    ("swapbacked", f.PG_swapbacked),
    ("unevictable", f.PG_unevictable),
    ("mlocked", f.PG_mlocked),
    ("partially_mapped", f.PG_partially_mapped),
    ("large_rmappable", f.PG_large_rmappable),
)
"""The page flags that a recorded state has, by their names without `PG_`."""

VMA_NOTES = (
    ("dontfork", f.VM_DONTCOPY),
    ("wipeonfork", f.VM_WIPEONFORK),
    ("locked", f.VM_LOCKED),
    ("hugepage", f.VM_HUGEPAGE),
    ("nohugepage", f.VM_NOHUGEPAGE),
)
"""The VMA flags that a recorded state spells out."""

_PTE_LETTERS = (
    ("w", pt.PTE_WRITE),
    ("o", pt.PTE_RDONLY),
    ("d", pt.PTE_DIRTY),
    ("y", pt.PTE_AF),
    ("c", pt.PTE_CONT),
)
_PAGE_BITS = tuple(
    (name.removeprefix("PG_"), bit) for name, bit in vars(f).items() if name.startswith("PG_")
)
_VM_BITS = tuple(
    (name, bit)
    for name, bit in vars(f).items()
    if name.startswith("VM_") and not name.startswith("VM_FAULT_")
)


def pte_letters(pte: int) -> str:
    """Flags of an entry as letters of the recordings: `wodyc`, `e` for an exclusive swap entry."""
    if pte & pt.PTE_SWP:
        return "e" if pte & pt.PTE_SWP_EXCLUSIVE else ""
    return "".join(letter for letter, bit in _PTE_LETTERS if pte & bit)


def letters_in_words(letters: str) -> list[str]:
    """Letters of a recorded entry in the words of mails: `RW` or `RO`, `D`, `Y`, `C`.

    Dirty is the software bit, or the hardware's: writable (DBM) and not read-only.
    """
    words = ["RW" if "w" in letters else "RO"]
    if "d" in letters or ("w" in letters and "o" not in letters):
        words.append("D")
    return words + [letter.upper() for letter in "yc" if letter in letters]


def pte_flags(pte: int) -> str:
    """Flags of a present entry in the words of mails: `RW D Y C`."""
    return " ".join(letters_in_words(pte_letters(pte)))


def pte_bits(pte: int) -> str:
    """Bits of an entry by their kernel names, without `PTE_`."""
    return "|".join(name for name, bit in PTE_BITS if pte & bit)


def page_flags(value: int) -> str:
    """Page flags by their kernel names, without `PG_`."""
    return ",".join(name for name, bit in _PAGE_BITS if value & bit) or "0"


def vm_flags(value: int) -> str:
    """Flags of a VMA by their kernel names."""
    return ",".join(name for name, bit in _VM_BITS if value & bit) or "0"
