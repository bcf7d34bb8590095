"""Whether the events of an action explain what memory is after it.

A kernel function can reach the machine's own lists if it insists; what it changes there without an
event is in no journal, cannot be taken back, and would be believed.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from sandbox.errors import KernelBug
from sandbox.machine.memory import ALLOC, FIRST_MUTATING, MemoryImage
from sandbox.machine.operations import OPERATIONS

if TYPE_CHECKING:
    from sandbox.machine.history import History

__all__ = ["check_explained", "copy_of"]


def copy_of(memory: MemoryImage) -> MemoryImage:
    """A copy of a machine's memory; some ten ms for a GiB."""
    return memory.copied()


def check_explained(machine: History, before: MemoryImage, start: int, what: str) -> None:
    """Do the events from *start* on once more, on memory as it was *before* them.

    Raises:
        KernelBug: memory is another than that; *what* was done meanwhile.
    """
    cells, end = before.cells, machine.position
    events, cpus = machine.events[start:end], machine.cpus[start:end]
    for event, cpu, old in zip(events, cpus, machine.olds[start:end], strict=True):
        if event[0] == ALLOC:
            before.allocate_again(event, old)
        elif event[0] >= FIRST_MUTATING:
            OPERATIONS[event[0]](cells, event, cells[event[1]], cpu)
    now = machine.memory
    if cells == now.cells:
        return
    pairs = zip(count(), cells, now.cells, strict=False)
    addr = next((addr for addr, want, got in pairs if want != got), len(cells))
    name = now.field_at(addr).name if addr < len(now.kinds) else "memory"
    raise KernelBug(f"{what}: the kernel changed {name} at {addr:#x} without an event")
