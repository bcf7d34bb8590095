"""Page-table entries of arm64 as recordings write them."""

from __future__ import annotations

__all__ = ["KINDS", "flags_of", "letters_of", "uffd_wp"]

BITS = ((51, "w"), (7, "o"), (55, "d"), (10, "y"), (52, "c"))
"""w PTE_WRITE (DBM), o the read-only bit, d software dirty, y access flag, c CONT."""
_EXCLUSIVE = 4

KINDS = {
    "p": "present",
    "n": "protnone",
    "s": "swap",
    "m": "migration",
    "z": "zero",
    "x": "special",
    "H": "pmd",
    "M": "pmd-migration",
}
"""Kinds of entries by the module's letters."""


_UFFD_WP, _SWP_UFFD_WP, _MARKER_UFFD_WP = 1 << 58, 1 << 3, 1
"""userfaultfd's protection in a present entry, in a swap entry, and as what a marker says."""
_MARKERS = 8
"""Where frames begin that a migration can be of; what a marker says is less."""


def uffd_wp(raw: int, kind: str, frame: int) -> bool:
    """Does userfaultfd protect an entry of the module's *kind*?"""
    if kind == "m" and frame < _MARKERS:
        return bool(frame & _MARKER_UFFD_WP)
    return bool(raw & (_SWP_UFFD_WP if kind in "smM" else _UFFD_WP))


def letters_of(raw: int) -> str:
    """The letters of a present entry's flags."""
    return "".join(letter for bit, letter in BITS if raw >> bit & 1)


def flags_of(raw: int, kind: str) -> str:
    """The letters of an entry's flags, given the module's letter for its kind."""
    if kind in "sm":
        return "e" if raw & _EXCLUSIVE else ""
    return letters_of(raw)
