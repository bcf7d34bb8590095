"""How the entries of page tables are drawn: one glyph each."""

from __future__ import annotations

from sandbox.arch.arm64 import pgtable as pt
from sandbox.truth.ledger import entry_kind

__all__ = ["GLYPH_LEGEND", "attribute", "glyph"]

GLYPH_LEGEND = (
    ("W", "present and writable"),
    ("r", "present and read-only"),
    (".", "mapped by the VMA, no entry yet"),
    (" ", "no VMA there"),
    ("z", "the zero page"),
    ("n", "PROT_NONE"),
    ("s", "swapped out"),
    ("m", "a migration entry"),
    ("u", "write-protected by userfaultfd, or a marker of it"),
    ("o", "in a folio's card: an entry that leads to another folio"),
    ("P p", "part of a PMD leaf, writable or read-only"),
    ("[ ]", "around a block of 16 entries with PTE_CONT, or a filled shape"),
    ("( )", "around a block of which only some entries have PTE_CONT"),
    ("d y b", "second row: dirty, young (access flag), both"),
    ("X", "third row: the page is AnonExclusive"),
)
"""What the glyphs of the page tables mean, for the help."""


_KINDS = {"zero": "z", "protnone": "n", "swap": "s", "migration": "m", "special": "?"}


def glyph(pte: int, inside: bool) -> str:
    """One glyph for an entry."""
    if not pte:
        return "." if inside else " "
    kind = entry_kind(pte)
    if pte & pt.PTE_UFFD_WP and (kind in ("present", "pmd") or pte & pt.PTE_MARKER):
        return "u"
    if kind in _KINDS:
        return _KINDS[kind]
    writable = pt.pte_write(pte)
    if kind == "pmd":
        return "P" if writable else "p"
    return "W" if writable else "r"


def attribute(pte: int) -> str:
    """One glyph for dirty and young."""
    if not pt.pte_present(pte):
        return " "
    dirty, young = pt.pte_dirty(pte), pt.pte_young(pte)
    return ("b" if young else "d") if dirty else ("y" if young else "-")
