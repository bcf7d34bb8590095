"""Which events need not be tried in every order: persistent sets of one event, from what is known.

Where nothing that the others may still do touches what the next event of a CPU reads or writes, all
orders come to the same, and it is enough to let that CPU go first.  What others can do only behind
a lock that the CPU holds does not count, for it comes later.  On a way that leads back to itself no
CPU goes alone, or it would for ever.

What the others may do is taken from the tables, which know what was walked so far.  So a search is
repeated until it has learned nothing new: then each event that any order comes to is one that the
tables know, by induction on the length of the order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from sandbox.explore.automaton import Node
from sandbox.explore.tables import Tables

__all__ = ["Alone", "alone"]

Alone = dict[tuple[int, int], list[int]]
"""By (CPU, other CPU): for each node of the CPU, the nodes of the other one, as bits, beside which
its event may go first."""
Held = frozenset[Hashable]


class _Marks(NamedTuple):
    """Fields, as bits, by node."""

    reads: list[int]
    writes: list[int]


class _Cpu:
    """What is known of one CPU's nodes."""

    def __init__(self, tables: Tables, k: int) -> None:
        self.nodes: list[Node] = tables.engine.automata[k].nodes
        self.lock = [tables.engine.lock_of(node) for node in self.nodes]
        count = len(self.nodes)
        self.own = _Marks([0] * count, [0] * count)
        self.after: list[set[int]] = [set() for _ in self.nodes]
        for slot, reads, writes, following in tables.footprints(k):
            number = slot // tables.engine.alternatives
            self.own.reads[number] |= reads
            self.own.writes[number] |= writes
            self.after[number] |= following
        self.loops = _on_loops(self.after)
        self.held = self._held(tables.engine.starts[k].number)

    def _held(self, start: int) -> list[Held]:
        """The locks that the CPU is sure to hold at each node."""
        known: dict[int, Held] = {start: frozenset()}
        todo = [start]
        while todo:
            number = todo.pop()
            held, lock = known[number], self.lock[number]
            if lock is not None:
                place, takes = lock
                held = held | {place} if takes else held - {place}
            for other in self.after[number]:
                new = held & known.get(other, held)
                if known.get(other) != new:
                    known[other] = new
                    todo.append(other)
        return [known.get(number, frozenset()) for number in range(len(self.nodes))]

    def future(self, held: Held) -> _Marks:
        """By node, what may be read and written from there on before such a lock is taken."""
        reads, writes = [0] * len(self.nodes), [0] * len(self.nodes)
        stops = [lock is not None and lock[1] and lock[0] in held for lock in self.lock]
        changed = True
        while changed:
            changed = False
            for number in range(len(self.nodes) - 1, -1, -1):
                if stops[number]:
                    continue
                r, w = self.own.reads[number], self.own.writes[number]
                for other in self.after[number]:
                    r |= reads[other]
                    w |= writes[other]
                if (r, w) != (reads[number], writes[number]):
                    reads[number], writes[number], changed = r, w, True
        return _Marks(reads, writes)


def alone(tables: Tables) -> Alone:
    """Which events may go first, as far as the tables know."""
    cpus = [_Cpu(tables, k) for k in range(tables.count)]
    out: Alone = {}
    for k, cpu in enumerate(cpus):
        for j, other in enumerate(cpus):
            if j != k:
                out[k, j] = _beside(cpu, other)
    return out


def _beside(cpu: _Cpu, other: _Cpu) -> list[int]:
    futures: dict[Held, _Marks] = {}
    rows = []
    for number, held in enumerate(cpu.held):
        if number in cpu.loops or not cpu.after[number]:
            rows.append(0)
            continue
        if held not in futures:
            futures[held] = other.future(held)
        reads, writes = cpu.own.reads[number], cpu.own.writes[number]
        row = 0
        for at, (r, w) in enumerate(zip(*futures[held], strict=True)):
            if not (writes & (r | w) or reads & w):
                row |= 1 << at
        rows.append(row)
    return rows


def _on_loops(after: list[set[int]]) -> set[int]:
    """Nodes from which a way leads back to them: what is left when all ends are taken off.

    Nodes between two loops are among them, which is on the safe side.
    """
    left = _peeled(range(len(after)), after)
    before: list[set[int]] = [set() for _ in after]
    for number in left:
        for other in after[number] & left:
            before[other].add(number)
    return _peeled(left, before)


def _peeled(nodes: Iterable[int], after: list[set[int]]) -> set[int]:
    """Nodes from which there is a way without an end."""
    left = set(nodes)
    while True:
        ends = {number for number in left if not after[number] & left}
        if not ends:
            return left
        left -= ends
