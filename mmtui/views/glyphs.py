"""The shapes that are drawn with: those of Unicode, or of ASCII alone."""

from __future__ import annotations

import locale
import os
from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Glyphs", "choose", "glyphs"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of shapes, each one cell wide."""

    name: str
    cont: tuple[str, str]
    """Left and right end of a block of entries with PTE_CONT, which is one filled shape."""
    part: tuple[str, str]
    """The same where only some entries have it."""
    pmd: tuple[str, str, str]
    """Left end, filling and right end of a leaf of the PMD."""
    bar: str
    """A reference."""
    mapping: str
    """A mapping that needs one."""
    above: str
    below: str
    """Changes that are out of sight."""
    rule: str
    """What a line across is made of."""
    side: str
    """What a line between two columns is made of."""
    branch: str
    """Before a child."""


UNICODE = Glyphs(
    "unicode", ("▐", "▌"), ("(", ")"), ("◀", "━", "▶"), "█", "▒", "▲", "▼", "─", "│", "└"
)
ASCII = Glyphs("ascii", ("[", "]"), ("(", ")"), ("<", "=", ">"), "#", "=", "^", "v", "-", "|", "`")

_CHOSEN: list[Glyphs] = []


def glyphs() -> Glyphs:
    """The set in use: as chosen, else the one that the environment can show."""
    if not _CHOSEN:
        _CHOSEN.append(ASCII if _plain() else UNICODE)
    return _CHOSEN[0]


def choose(chosen: Glyphs) -> None:
    """Draw with that set from now on."""
    _CHOSEN[:] = [chosen]


def _plain() -> bool:
    """Whether the terminal is not known to show more than ASCII."""
    if asked := os.environ.get("MMTUI_ASCII"):
        return asked != "0"
    named = next(
        (value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), ""
    )
    if named in ("C", "POSIX"):
        return True
    return "utf" not in locale.getpreferredencoding(False).lower()
