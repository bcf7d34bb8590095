"""What an application writes to its terminal: escape sequences, modes, and the status line."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ESCAPE", "PRIVATE", "UNFINISHED", "Modes", "Standing", "known", "plain", "standing_in"]

ESCAPE = re.compile(rb"\x1b\[([?><=]?)([0-9;:]*)([ -/]*)([@-~])")
PRIVATE = re.compile(rb"\x1b\[([?><=])([0-9;:]*)([ -/]*)([@-~])")
UNFINISHED = re.compile(rb"\x1b(?:\[[?><=]?[0-9;:]*[ -/]*)?\Z")

_NAMES = {
    1049: "alternate screen", 1000: "mouse", 1002: "mouse drag", 1003: "mouse motion",
    1005: "mouse UTF-8", 1006: "mouse SGR", 1015: "mouse urxvt", 1016: "mouse pixels",
    1004: "focus events", 2004: "bracketed paste", 2026: "synchronised update",
    2048: "in-band resize",
}  # fmt: skip
_USUALLY_ON = {25: "cursor hidden", 7: "no line wrap"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the status line says that the application is."""

    kernel: str
    position: int
    end: int
    branches: int


@dataclass(slots=True)
class Modes:
    """The modes that a program has switched on and not off."""

    values: dict[int, bool]
    kitty: int = 0
    frames: int = 0

    def take(self, private: bytes, numbers: bytes, final: bytes) -> None:
        """Note what an escape sequence switches."""
        if private == b"?" and final in (b"h", b"l"):
            for number in numbers.split(b";"):
                self.values[int(number or b"0")] = final == b"h"
            self.frames += numbers == b"2026" and final == b"l"
        elif final == b"u" and private in (b">", b"<"):
            self.kitty = max(0, self.kitty + (1 if private == b">" else -int(numbers or b"1")))

    def left(self) -> list[str]:
        """What is left in another state than a shell needs."""
        bad = [f"{name} left on" for n, name in _NAMES.items() if self.values.get(n)]
        bad += [name for n, name in _USUALLY_ON.items() if not self.values.get(n, True)]
        return [*bad, "kitty keys left on"] if self.kitty > 0 else bad


def known(found: re.Match[bytes]) -> bytes:
    """An escape sequence if it moves text and pyte knows its kind, else nothing.

    Colours are most of what is written, and reading them would cost more than all the rest.
    """
    private, _, between, final = found.groups()
    return b"" if between or private or final in b"mu" else found[0]


def plain(data: bytearray) -> str:
    """Output as text, without escape sequences."""
    return ESCAPE.sub(b"", bytes(data)).decode("utf-8", "replace").replace("\r", "")


UNKNOWN = 1 << 30
"""Branches where the screen did not say how many."""


def standing_in(row: str) -> Standing | None:
    """Read a status line; None if it is none, or cut in the middle of a number."""
    where = re.search(r"kernel (\S+)  event (\d+)/(\d+)(?![\d~])", row)
    if where is None:
        return None
    branches = re.search(r"  branches (\d+)", row[where.end() :])
    # A screen that is too narrow cuts the line, and there may be any number of them.
    none = UNKNOWN if row.rstrip().endswith("~") else 0
    number = int(branches[1]) if branches else none
    return Standing(where[1], int(where[2]), int(where[3]), number)
