"""Names of a kernel's addresses, and where its words lie: learnt from one boot, and kept."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rig.boot import Guest, boot
from rig.errors import RigError
from rig.work import Kernel, Narrate, Work

__all__ = ["Layout", "Symbols", "learn", "read_layout", "read_symbols"]

_MODULE = "mmoracle"
"""The rig's own module."""
_LAST = 1 << 16
"""Bytes that the last function of a kernel has at most."""


class Symbols:
    """Functions of a kernel by address."""

    def __init__(self, text: str) -> None:
        rows = []
        for line in text.split("\n"):
            words = line.split()
            if len(words) >= 3 and words[1] in "tTwW" and not words[2].startswith("$"):
                module = words[3] if len(words) > 3 else ""
                rows.append((int(words[0], 16), words[2].split(".")[0], module))
        rows.sort()
        kernel = [row for row in rows if not row[2]]
        self._addresses = [row[0] for row in kernel]
        self._names = [row[1] for row in kernel]
        self.by_name: dict[str, int] = {}
        """Addresses of the functions that are not in a module."""
        for address, name, module in rows:
            if not module:
                self.by_name.setdefault(name, address)

    def function(self, pc: int) -> str:
        """The function that an address is in; `module` if it is none of the kernel's own.

        Modules lie elsewhere in every boot.
        """
        if pc >> 48 != 0xFFFF:
            return hex(pc)
        at = bisect.bisect_right(self._addresses, pc) - 1
        inside = at >= 0 and pc < self._addresses[-1] + _LAST
        return self._names[at] if inside else "module"


class Layout(NamedTuple):
    """What the module says of a kernel: addresses, offsets and numbers of flags."""

    zero: int
    """The zero page's frame."""
    linear: int
    """Address of frame 0's memory."""
    vmemmap: int
    """Address of frame 0's struct page."""
    page: int
    """Bytes of a struct page."""
    fields: Mapping[str, int]
    """Offsets of fields of struct folio."""
    bits: Mapping[str, int]
    """Numbers of the flags in the first word of each page."""
    bits1: Mapping[str, int]
    """Numbers of the flags in the first word of the second page of a large folio."""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Layout:
        """Take it from the module's JSON."""
        return cls(**{name: found[name] for name in cls._fields})

    def frame(self, page: int) -> int:
        """The frame of a struct page."""
        return (page - self.vmemmap) // self.page


def learn(work: Work, kernel: Kernel, narrate: Narrate) -> None:
    """Boot a kernel once to learn its symbols and its layout, unless they are known.

    Raises:
        RigError: it does not come up, or its module does not load; with what it said last.
    """
    symbols, layout = kernel.folder / "kallsyms", kernel.folder / "layout.json"
    if symbols.exists() and layout.exists():
        return
    narrate(f"booting {kernel.name} for the first time, to learn its symbols")
    booted = boot(Guest(work, kernel), "", marks=["want-kallsyms", "want-layout"])
    found = re.search(r"^@T (\{.*\})$", booted.console, re.MULTILINE)
    text = booted.console.partition("\n@K\n")[2].partition("@Q")[0]
    problems = re.findall(r"^@X (.*)$", booted.console, re.MULTILINE)
    if found is None or not text:
        why = _why(problems, booted.serial)
        raise RigError(f"kernel {kernel.name} does not come up: {why}")
    for problem in problems:
        narrate(f"{kernel.name}: {problem}")
    layout.write_text(found[1], encoding="utf-8")
    symbols.write_text(text, encoding="utf-8")


def _why(problems: Sequence[str], serial: str) -> str:
    """What a guest said before it gave up: of its module, the kernel's log knows the reason."""
    lines = [line.strip() for line in serial.split("\n") if line.strip()]
    module = [line.partition("] ")[2] or line for line in lines if f"{_MODULE}:" in line]
    reasons = [line for line in module if "taint" not in line]  # which is said of every module
    return [*reasons[-1:], *problems, *lines[-1:], "it said nothing"][0]


def read_symbols(kernel: Kernel) -> Symbols:
    """Read what `learn` has kept."""
    return Symbols((kernel.folder / "kallsyms").read_text(encoding="utf-8"))


def read_layout(kernel: Kernel) -> Layout:
    """Read what `learn` has kept."""
    return Layout.read(json.loads(Path(kernel.folder, "layout.json").read_text(encoding="utf-8")))
