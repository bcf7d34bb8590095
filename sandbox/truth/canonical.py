"""A machine at rest as a value in which addresses are names.

Which frame or slot an object got depends on the order in which CPUs asked, and nothing else does.
Objects are named in the order in which they are met on a walk from the fixed words (`GLOBALS`, the
CPUs' own), by what each field leads to (`fields.POINTS_TO`).  Pages are met as folios, however they
were allocated.  What nothing leads to is left out if it is free; what is not free and lost all the
same is told from other states by its words.  Of frames that are free and will be allocated again
it matters which ones something still leads to, and when their turn comes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from typing import Any

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_PRESENT_INVALID,
    PTE_SWP,
    PTE_UFFD_WP,
    PTE_VALID,
)
from sandbox.machine.fields import COUNTED_BY, FIELDS, POINTS_TO, STRUCTS, Points, Struct
from sandbox.machine.handles import page_of_pfn
from sandbox.machine.machine import Machine
from sandbox.machine.memory import (
    ADDR_MASK,
    PAGE_WORDS,
    AnonVma,
    Folio,
    Mapping,
    Mm,
    Page,
    Vma,
)
from sandbox.machine.offsets import COMPOUND_HEAD, REFCOUNT
from sandbox.mm.flags import PG_buddy

__all__ = ["canonical"]

HANDLES = (Page, Folio, Mm, Vma, AnonVma, Mapping)
FRAME = PTE_VALID | PTE_PRESENT_INVALID | PTE_MIGRATION
"""An entry with one of these leads to a page."""
LOW = (1 << PFN_SHIFT) - 1


def canonical(machine: Machine) -> Hashable:
    """The state of a machine on which nothing runs: equal for two that differ in addresses only.

    Each object is (struct, order, words); a word that leads to another one is ("ref", number of
    the object in the walk, distance into it, what else it says).  Of derived words the book's are
    in it; what rules remember between events is not, for at rest nothing is decided by it any more.
    """
    walk = _Walk(machine)
    for base, struct, _ in machine.memory.objects:
        if struct in (Struct.GLOBALS, Struct.CPU):
            walk.name(base)
    book = walk.book(machine.derived.tables)
    reached = tuple(walk.objects())
    return book, reached, walk.lost(), walk.free(machine.frames.frames)


class _Walk:
    """Names objects as they are met."""

    def __init__(self, machine: Machine) -> None:
        self.memory = machine.memory
        self.bases = [base for base, _, _ in self.memory.objects]
        self.numbers: dict[int, int] = {}
        """By the base of an object: its number."""
        self.order: list[tuple[int, Struct, int]] = []
        """What has a number, in that order: its base, structure and order."""

    def name(self, addr: int) -> tuple[int, int]:
        """(number of the object that an address lies in, distance from its start)."""
        found = self.memory.objects[bisect_right(self.bases, addr) - 1]
        if found[1] is Struct.PAGE:
            found = self.folio(addr)
        base = found[0]
        if base not in self.numbers:
            self.numbers[base] = len(self.order)
            self.order.append(found)
        return self.numbers[base], addr - base

    def folio(self, addr: int) -> tuple[int, Struct, int]:
        """The folio that the page around an address is of."""
        head = self.memory.cells[(addr & ADDR_MASK) + COMPOUND_HEAD]
        return head & ADDR_MASK, Struct.PAGE, head & ~ADDR_MASK

    def objects(self) -> list[tuple[Any, ...]]:
        """All that is reached, those reached from them included."""
        found: list[tuple[Any, ...]] = []
        while len(found) < len(self.order):
            found.append(self._object(self.order[len(found)]))
        return found

    def book(self, tables: dict[str, Any]) -> tuple[Any, ...]:
        """What has a name, in the order of the names."""
        regions: dict[int, tuple[Any, ...]] = tables.get("regions", {})
        written = [
            (name, self._book(mm), *sorted(regions.get(mm, ())))
            for name, mm in sorted(tables.get("processes", {}).items())
        ]
        for table in ("places", "files"):
            written += self._book(tuple(sorted(tables.get(table, {}).items())))
        holds = [(self._book(id_), held) for id_, held in tables.get("holds", {}).items()]
        return *written, *(self._book(entry) for entry in sorted(holds, key=repr))

    def lost(self) -> tuple[Any, ...]:
        """Folios that nothing leads to and that are not free, in the order of their words."""
        left: list[tuple[Any, ...]] = []
        cells = self.memory.cells
        for block, struct, order in self.memory.objects:
            base, end = block, block + (PAGE_WORDS << order)
            while struct is Struct.PAGE and base < end:
                folio = self.folio(base)
                if (
                    base not in self.numbers
                    and not cells[base] & PG_buddy
                    and cells[base + REFCOUNT]
                ):
                    left.append(self._object(folio))
                base += PAGE_WORDS << folio[2]
        return tuple(sorted(left, key=repr))

    def free(self, frames: dict[int, list[int]]) -> tuple[Any, ...]:
        """Frames that will be allocated again, the next first, down to the last that matters."""
        lists: list[tuple[Any, ...]] = []
        for key, mine in sorted(frames.items()):
            turns = [self.numbers.get(frame) for frame in mine]
            while turns and turns[0] is None:
                del turns[0]
            if turns:
                lists.append((key, *reversed(turns)))
        return tuple(lists)

    def _object(self, found: tuple[int, Struct, int]) -> tuple[Any, ...]:
        base, struct, order = found
        cells, kinds = self.memory.cells, self.memory.kinds
        end = base + (len(STRUCTS[struct].initial) << order)
        values = cells[base:end]
        for array, count in COUNTED_BY.items():
            if FIELDS[array].struct is struct:  # what lies beyond the count means nothing
                first = FIELDS[array].offset
                used = values[FIELDS[count].offset]
                length = kinds[base:end].count(array)
                values[first + used : first + length] = [0] * (length - used)
        words = (
            self._word(POINTS_TO.get(kind, Points.NOWHERE), value)
            for kind, value in zip(kinds[base:end], values, strict=True)
        )
        return int(struct), order, tuple(words)

    def _word(self, points: Points, value: Any) -> Any:  # noqa: ANN401  # a word
        if points is Points.NOWHERE or not value:
            return value
        if points is Points.ADDRESS:
            return ("ref", *self.name(value))
        if points is Points.FOLIO and value < 0:  # a value in a page cache
            return value
        if points is Points.FOLIO:
            return ("ref", *self.name(value & ~15), value & 15)
        if points in (Points.ENTRY, Points.PMD):
            return self._entry(value, points is Points.PMD)
        if points is Points.GATHERED:
            return ("ref", *self.name(value >> 11), value & 2047)
        raise AssertionError(points)

    def _entry(self, value: int, middle: bool) -> Any:  # noqa: ANN401  # a word
        if middle and not value & (PTE_HUGE | PTE_SWP | PTE_UFFD_WP):
            return ("ref", *self.name(value >> PFN_SHIFT), value & LOW)
        if value & FRAME and value >> PFN_SHIFT:
            return ("ref", *self.name(page_of_pfn(value >> PFN_SHIFT)), value & LOW)
        return value

    def _book(self, value: Any) -> Any:  # noqa: ANN401  # what a table of the book has
        if isinstance(value, HANDLES):
            return ("ref", *self.name(value & ~15))
        if isinstance(value, tuple):
            return tuple(self._book(item) for item in value)
        if isinstance(value, str):
            verb, _, address = value.partition(" ")
            if verb == "uring" and address.isdigit():  # named by its mm
                return ("uring", *self.name(int(address)))
        return value
