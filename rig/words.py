"""Stores to words of struct page and of page tables, as events of a log before they have names.

A log's event is a mapping with `what`; frames (`pfn`), addresses (`va`) and `pid` are named when
the states around the step are known (`rig.naming`).
"""

from __future__ import annotations

import struct
from typing import Any

from rig.entries import letters_of
from rig.symbols import Layout

__all__ = ["Event", "Words", "signed"]

Event = dict[str, Any]

NOISE = ("lru.", "deferred.prev", "memcg_data", "mapping", "private", "index", "flags+")
"""Fields (and what lies behind one) that no log has: pointers, and generations of the LRU."""
_FRAME = (1 << 36) - 1
_OFFSET = (1 << 50) - 1
_PRESENT_INVALID = 1 << 11
_SWAP_EXCLUSIVE = 4


def signed(word: int) -> int:
    """Read 32 bits as the kernel's int."""
    value: int = struct.unpack("<i", struct.pack("<I", word & 0xFFFFFFFF))[0]
    return value


class Words:
    """Which field of a folio, or what entry, a store is to."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._fields = sorted((offset, name) for name, offset in layout.fields.items())
        self._names = dict(reversed(self._fields))
        self._every = {layout.fields["_mapcount"], layout.fields["_refcount"]}
        """Offsets of what each page has."""

    def page_event(self, head: int, offset: int, old: int, new: int) -> Event | None:
        """The event of 32 bits at an offset of a folio's struct pages; None if no log has it."""
        page, inside = divmod(offset, self.layout.page)
        if not inside:
            return self._flags(head, page, old, new)
        own = page >= 3 or (page and inside in self._every)
        name = self._name(inside if own else offset)
        if name.startswith(NOISE) or name.endswith("+"):
            return None
        if name == "deferred.next":
            return {"what": "deferred list", "pfn": head, "page": page}
        return {"what": name, "pfn": head, "page": page, "old": signed(old), "new": signed(new)}

    def _name(self, offset: int) -> str:
        if offset in self._names:
            return self._names[offset]
        below = [name for start, name in self._fields if start < offset]
        return f"{below[-1] if below else '?'}+"

    def _flags(self, head: int, page: int, old: int, new: int) -> Event | None:
        bits = self.layout.bits if page != 1 else {**self.layout.bits, **self.layout.bits1}
        names = {bit: name for name, bit in bits.items()}
        change = [
            f"{'+' if new >> bit & 1 else '-'}{names[bit]}"
            for bit in range(32)
            if (old ^ new) >> bit & 1 and bit in names
        ]
        return {"what": "flags", "pfn": head, "page": page, "change": change} if change else None

    def entry(self, raw: int) -> list[Any] | None:
        """A PTE as `[frame, letters]`; `!` marks one that is not valid, `m` a migration."""
        if not raw:
            return None
        if raw & 1 or raw & _PRESENT_INVALID:  # valid, or PROT_NONE
            frame = raw >> 12 & _FRAME
            letters = letters_of(raw) + ("" if raw & 1 else "!")
            return ["zero.0" if frame == self.layout.zero else frame, letters]
        offset, exclusive = raw >> 12 & _OFFSET, "e" if raw & _SWAP_EXCLUSIVE else ""
        if not raw >> 6 & 31:
            return [f"swap.{offset}", exclusive + "!"]
        return [offset & _FRAME, exclusive + "m!"]

    def pmd(self, raw: int) -> list[Any] | None:
        """A PMD entry likewise; one that points to a page table is `["table", ""]`."""
        return ["table", ""] if raw & 3 == 3 else self.entry(raw)
