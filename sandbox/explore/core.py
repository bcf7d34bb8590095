"""The compiled walker: tables are copied into it as they are learned, and it does the rest."""

from __future__ import annotations

import ctypes
from typing import Any

from sandbox.errors import SandboxError
from sandbox.explore.compiled import library
from sandbox.explore.layout import Layout, TooSmall
from sandbox.explore.tables import Leaf, Table, Tables, Tree
from sandbox.explore.walker import Hit, Stopped, Walker

__all__ = ["Core"]

STEP, WAITS, NO_MORE = range(3)
DONE, MISSING, BUDGET, BROKEN, NO_ROOM = range(5)
NOBODY = 0xFFFFFFFF
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32)
"""Words of a state that the core was compiled for."""
_STOPPED = {
    DONE: Stopped.DONE,
    BUDGET: Stopped.BUDGET,
    BROKEN: Stopped.BROKEN,
    NO_ROOM: Stopped.NO_ROOM,
}


class Core(Walker):
    """Owns a search in the library; its memory is given back by `close`."""

    name = "compiled"

    def __init__(self, tables: Tables, most_bytes: int = 1 << 62, *, exact: bool = False) -> None:
        """Start a search that takes no more than *most_bytes* for its states.

        Raises:
            SandboxError: there is no compiled walker, or a state is too large for it.
        """
        found = library()
        if found is None:
            raise SandboxError("there is no compiled walker")
        self._library: Any = found
        self.tables = tables
        self._choices = tables.engine.alternatives
        self._core = self._library.core_new(tables.count, self._choices, most_bytes)
        self._layout = Layout(tables, None, exact=exact)
        self._lay_out()
        first = self._words(self._layout.pack(*tables.initial()))
        self._library.core_start(self._core, first)

    def close(self) -> None:
        """Give the memory back."""
        if self._core:
            self._library.core_free(self._core)
            self._core = None

    def __del__(self) -> None:
        if getattr(self, "_core", None):
            self.close()

    # -- asking ------------------------------------------------------------------------------

    def _ask(self, what: int) -> int:
        return int(self._library.core_ask(self._core, what))

    @property
    def states(self) -> int:
        """How many there are so far."""
        return self._ask(0)

    @property
    def frontier(self) -> int:
        """How many of them were not gone on from yet."""
        return self._ask(0) - self._ask(7)

    @property
    def transitions(self) -> int:
        """Events done in all states so far."""
        return self._ask(1)

    @property
    def depth(self) -> int:
        """Events of the longest of the shortest ways to a state."""
        return self._ask(2)

    @property
    def deadlocks(self) -> int:
        """States in which CPUs wait for each other."""
        return self._ask(4)

    @property
    def deadlock(self) -> int | None:
        """The first of them."""
        return self._ask(5) if self._ask(4) else None

    @property
    def bytes_used(self) -> int:
        """Memory for states, how they were reached and how they are found."""
        return self._ask(6)

    @property
    def finals(self) -> list[int]:
        """States in which every CPU is through."""
        return [self._library.core_final(self._core, at) for at in range(self._ask(3))]

    def hits(self) -> list[Hit]:
        """What broke."""
        out = []
        state, cpu = ctypes.c_uint64(), ctypes.c_uint64()
        for verdict in range(1, len(self.tables.verdicts)):
            times = self._library.core_hit(
                self._core, verdict, ctypes.byref(state), ctypes.byref(cpu)
            )
            if times:
                out.append(Hit(verdict, state.value, cpu.value, times))
        return out

    def parent(self, state: int) -> tuple[int, int] | None:
        """The state that one was reached from, and the CPU that was."""
        packed = self._library.core_parent(self._core, state)
        return None if packed == NOBODY else (packed >> 2, packed & 3)

    def numbers(self, state: int) -> tuple[list[int], list[int]]:
        """Nodes and values of a state."""
        words = self._words(0)
        self._library.core_state(self._core, state, words)
        return self._unpacked(words)

    def _unpacked(self, words: Any) -> tuple[list[int], list[int]]:  # noqa: ANN401  # an array
        return self._layout.unpack(sum(word << 64 * at for at, word in enumerate(words)))

    def _words(self, state: int) -> Any:  # noqa: ANN401  # an array
        count = self._size
        mask = (1 << 64) - 1
        return (ctypes.c_uint64 * count)(*(state >> 64 * at & mask for at in range(count)))

    # -- tables ------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """Make all tables anew in the present layout, which is made larger if need be."""
        tables = self.tables
        while True:
            layout = self._layout
            size = next((size for size in SIZES if size >= layout.words), None)
            if size is None:
                raise SandboxError(f"a state of {layout.words} words is too large to be explored")
            self._size = size
            words, shifts = zip(*layout.places, strict=True)
            places = bytes(words), bytes(shifts), bytes(layout.bits)
            if not self._library.core_lay_out(self._core, size, len(words), *places):
                raise SandboxError("there is no memory to explore with")
            self._ends_told = [0] * tables.count
            self._stage_count = 0
            tables.remade.clear()
            try:
                for k, roots in enumerate(tables.roots):
                    for slot in roots:
                        self._send(k, slot)
                self._tell_ends()
                return
            except TooSmall:
                self._layout = Layout(tables, layout)

    def _tell_ends(self) -> None:
        """Say of each node where its alternatives end."""
        engine = self.tables.engine
        for k, automaton in enumerate(engine.automata):
            for node in automaton.nodes[self._ends_told[k] :]:
                self._layout.check(k, node.number)
                count = len(engine.events(node))
                if count < self._choices:
                    end = self._library.core_leaf(self._core, NO_MORE, 0, 0, b"", None, 0, None)
                    slot = node.number * self._choices + count
                    self._library.core_root(self._core, k, slot, end)
            self._ends_told[k] = len(automaton.nodes)

    def _root(self, k: int, slot: int, ref: int) -> None:
        self._library.core_root(self._core, k, slot, ref)

    def _send(self, k: int, slot: int) -> None:
        self._root(k, slot, self._copied(self.tables.roots[k][slot], k, slot, {}))

    def _copied(self, tree: Tree, k: int, slot: int, known: dict[int, int]) -> int:
        """Copy a tree and all below it; where it is."""
        if isinstance(tree, Leaf):
            return self._leaf(tree, k, slot, known)
        at = self.tables.count + tree.field
        self._layout.check(at, 0)
        ref: int = self._library.core_table(self._core, at)
        tree.sent = (ref, self._layout)
        for number, child in tree.children.items():
            self._layout.check(at, number)
            below = self._copied(child, k, slot, {**known, tree.field: number})
            self._library.core_child(self._core, ref, number, below)
        return ref

    def _leaf(self, leaf: Leaf, k: int, slot: int, known: dict[int, int]) -> int:
        layout, count = self._layout, self.tables.count
        masks: dict[int, int] = {}
        if not leaf.blocked:
            changes = [(count + field, known[field], new) for field, new in leaf.writes]
            if k < count:
                changes.append((k, slot // self._choices, leaf.next))
            for at, old, new in changes:
                layout.check(at, new)
                word, shift = layout.places[at]
                masks[word] = masks.get(word, 0) ^ ((old ^ new) << shift)
        words = [word for word, mask in masks.items() if mask]
        values = (ctypes.c_uint64 * len(words))(*(masks[word] for word in words))
        stages = (ctypes.c_uint32 * len(leaf.stages))(*leaf.stages)
        kind = WAITS if leaf.blocked else STEP
        return int(
            self._library.core_leaf(
                self._core, kind, leaf.verdict, len(words), bytes(words), values,
                len(leaf.stages), stages,
            )
        )  # fmt: skip

    def _learn(self, k: int, slot: int, values: list[int]) -> None:
        """A table ends: have the engine do it, and copy that."""
        tables = self.tables
        tables.learn(k, slot, values)
        again, tables.remade = tables.remade, set()
        self._tell_ends()
        if (k, slot) not in again:
            self._send_path(k, slot, values)
        for other, own in again:
            if own in tables.roots[other]:
                self._send(other, own)
            else:
                self._root(other, own, 0)

    def _send_path(self, k: int, slot: int, values: list[int]) -> None:
        """Copy one new leaf and the tables on the way to it."""
        at = self.tables.roots[k][slot]
        known: dict[int, int] = {}
        ref, number = 0, 0
        while isinstance(at, Table) and at.sent is not None and at.sent[1] is self._layout:
            ref = at.sent[0]
            number = values[at.field] if at.field < len(values) else 0
            self._layout.check(self.tables.count + at.field, number)
            known[at.field] = number
            at = at.children[number]
        if not ref:
            self._send(k, slot)
        else:
            below = self._copied(at, k, slot, known)
            self._library.core_child(self._core, ref, number, below)

    # -- walking -----------------------------------------------------------------------------

    def run(self, budget: int, *, stop_at_broken: bool = False) -> Stopped:
        """Go on until there are *budget* states."""
        while True:
            code = self._library.core_run(self._core, budget, stop_at_broken)
            if code != MISSING:
                return _STOPPED[code]
            stage = self._ask(10)
            k = self._ask(8)
            if stage < 1 << 63:
                words = self._words(0)
                self._library.core_missed(self._core, words)
                _, values = self._unpacked(words)
                k, slot = self.tables.count, stage
            else:
                nodes, values = self.numbers(self._ask(7))
                slot = nodes[k] * self._choices + self._ask(9)
            try:
                self._learn(k, slot, values)
            except TooSmall:
                self._layout = Layout(self.tables, self._layout)
                self._lay_out()
