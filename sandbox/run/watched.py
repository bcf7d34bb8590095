"""Which stores a schedule counts: those that change a watched word (`store:N`, `WORD:N`).

The words are those that a plugin can watch on a real kernel: `struct page` of the folios that are
there when the block begins, and of those that get their first anonymous rmap in it; the entries of
page tables; and `mm->write_protect_seq`, which only its own name counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.machine.fields import FIELDS, Struct, field
from sandbox.machine.frames import calls_of
from sandbox.machine.memory import ADDR_MASK, ALLOC, COPY, FIRST_MUTATING, USER_STORE, Word
from sandbox.machine.offsets import COMPOUND_HEAD
from sandbox.machine.operations import value_after
from sandbox.mm import flags as f
from sandbox.scenario.schedule import COUNTED, Landmark

if TYPE_CHECKING:
    from sandbox.machine.machine import Machine
    from sandbox.machine.tasks import Task
    from sandbox.run.model import Model
    from sandbox.run.session import Session

__all__ = ["Watched", "counts"]

_NOT_COUNTED = (ALLOC, COPY, USER_STORE)
"""Allocations and contents of pages: no watched word changes."""
FLAGS = (
    f.PG_anon_exclusive
    | f.PG_locked
    | f.PG_uptodate
    | f.PG_dirty
    | f.PG_lru
    | f.PG_swapbacked
    | f.PG_unevictable
    | f.PG_mlocked
    | f.PG_partially_mapped
    | f.PG_large_rmappable
)
"""Page flags that have a bit of their own in the kernel's word, and whose changes are counted: not
those that depend on what ran before (referenced, active, workingset)."""
FLAGS_KIND = field(Struct.PAGE, "flags")
PTE_KIND = field(Struct.PTE_TABLE, "pte")
SEQ_KIND = field(Struct.MM, "write_protect_seq")
NAMES = {
    **{field(Struct.PAGE, name): name for name in COUNTED if name != "pte"},
    PTE_KIND: "pte",
    SEQ_KIND: "write_protect_seq",
}
"""Names of the watched words by the number of their field."""
FIRST_RMAP = "folio_add_new_anon_rmap"


class Watched:
    """The watched words of a block that begins now."""

    def __init__(self, session: Session | Model) -> None:
        self._machine: Machine = session.machine
        self._cells = session.machine.memory.cells
        self._heads = {folio & ADDR_MASK for folio in session.ledger.live_folios()}

    def pending(self, task: Task) -> str | None:
        """The watched word that the pending event of a task is about to change, None if none."""
        event = task.pending
        if event is None or event[0] < FIRST_MUTATING or event[0] in _NOT_COUNTED:
            return None
        kind = self._machine.memory.kinds[event[1]]
        name = NAMES.get(kind)
        old = self._cells[event[1]]
        if name is None or not _differ(kind, old, value_after(event, old, task.cpu)):
            return None
        of_page = FIELDS[kind].struct is Struct.PAGE
        return name if not of_page or self._watches(task, event[1]) else None

    def _watches(self, task: Task, addr: int) -> bool:
        """Whether the folio of a word was there, or is getting its first anonymous rmap."""
        head = self._cells[(addr & ADDR_MASK) + COMPOUND_HEAD] & ADDR_MASK
        if head in self._heads:
            return True
        for gen in calls_of(self._machine.live(task)):
            if gen.gi_code.co_name == FIRST_RMAP:
                given = gen.gi_frame.f_locals.get(gen.gi_code.co_varnames[1])
                if isinstance(given, int) and given & ADDR_MASK == head:
                    self._heads.add(head)
                    return True
        return False


def _differ(kind: int, old: Word, new: Word) -> bool:
    """Whether a kernel's word would have changed as well."""
    return bool((old ^ new) & FLAGS if kind == FLAGS_KIND else old != new)


def counts(landmark: Landmark, name: str | None) -> bool:
    """Whether a landmark counts the change of a word of this name."""
    if name is None:
        return False
    return name in COUNTED if landmark.what == "store" else name == landmark.what
