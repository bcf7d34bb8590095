"""Frames that were freed and will be allocated again, where a machine is told to (`reuse on`).

A CPU keeps what it frees by order, as the kernel's own lists do (mm/page_alloc.c, struct
per_cpu_pages), and what it allocates next is the frame of that order that it freed last.  Nothing
goes from one CPU's lists to another's or is merged or split, so that what one CPU gets does not
depend on the others.  Only pages are allocated again: of other structures kernel text does not say
when they are freed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.machine.fields import FREE_FRAME, Struct, field
from sandbox.machine.handles import Globals
from sandbox.machine.memory import ADDR_MASK, ALLOC, Event, Word, reused_frame
from sandbox.machine.offsets import COMPOUND_HEAD

if TYPE_CHECKING:
    from sandbox.machine.machine import Machine

__all__ = ["ALLOCATION", "FreeFrames"]

ALLOCATION = 0
"""The kind by which reactions to allocations are asked for: they change no word of a field.

What is journaled as the old value says of a frame that it is used again (`reused_frame`).
"""
FLAGS = field(Struct.PAGE, "flags")
REUSE = field(Struct.GLOBALS, "reuse")


class FreeFrames:
    """The lists of free frames of one machine; `frames` are derived words."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cells = machine.memory.cells
        self._derived = machine.derived
        self.frames: dict[int, list[int]] = machine.derived.table("free frames", {})
        """By CPU and order (`CPU << 4 | order`): heads of free folios, the last freed last."""
        self._unfree = machine.derived.undoer(self._freed_back)
        self._put_back = machine.derived.undoer(self._put)
        machine.watch(REUSE, self._switched)
        machine.check(ALLOCATION, self._allocated)
        if self._cells[Globals.reuse]:
            machine.check(FLAGS, self._flags)

    def next(self, cpu: int, order: int) -> int:
        """The frame that a CPU would allocate next; 0 for a new one."""
        if not self._cells[Globals.reuse]:
            return 0
        mine = self.frames.get(cpu << 4 | order)
        return mine[-1] if mine else 0

    def _switched(self, event: Event, cpu: int, addr: int, old: Word, new: Word) -> None:
        """Look at frames that are freed, or do not, from here on (and from here back)."""
        if bool(old) == bool(new):
            return
        if new:
            self._machine.check(FLAGS, self._flags)
        else:
            reactions = self._machine.reactions
            reactions[FLAGS] = tuple(own for own in reactions[FLAGS] if own != self._flags)

    def _flags(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """A folio is freed, or a free one is none any more although nobody allocated it."""
        if not (old ^ new) & FREE_FRAME:
            return
        if new & FREE_FRAME:
            head = self._cells[addr + COMPOUND_HEAD]
            if head & ADDR_MASK == addr:
                key = cpu << 4 | head & ~ADDR_MASK
                self.frames.setdefault(key, []).append(addr)
                self._derived.add(self._unfree, key)
            return
        for key, mine in self.frames.items():
            if addr in mine:
                self._take(key, mine.index(addr))

    def _allocated(self, event: Event, cpu: int, addr: int, was: Word, new: Word) -> None:
        if event[0] == ALLOC and reused_frame(was):
            key = cpu << 4 | event[3]
            self._take(key, len(self.frames[key]) - 1)

    def _take(self, key: int, at: int) -> None:
        self._derived.add(self._put_back, key, at, self.frames[key].pop(at))

    def _put(self, key: int, at: int, frame: int) -> None:
        self.frames[key].insert(at, frame)

    def _freed_back(self, key: int) -> None:
        self.frames[key].pop()
