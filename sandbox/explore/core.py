"""The compiled walker: tables are copied into it as they are learned, and it does the rest."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from sandbox.errors import SandboxError
from sandbox.explore.compiled import library
from sandbox.explore.layout import Layout, TooSmall
from sandbox.explore.reduction import Alone
from sandbox.explore.tables import Guard, Leaf, Tables, Tree
from sandbox.explore.walker import Hit, Stopped, Walker

__all__ = ["Core"]

STEP, WAITS, NO_MORE = range(3)
DONE, MISSING, BUDGET, BROKEN, NO_ROOM = range(5)
NOBODY = 0xFFFFFFFF
MISSED = (1 << 64) - 1
"""The number of the state that a stage was missing for."""
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
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

    def __init__(
        self,
        tables: Tables,
        most_bytes: int = 1 << 62,
        preemptions: int | None = None,
        *,
        exact: bool = False,
    ) -> None:
        """Start a search that takes no more than *most_bytes* for its states.

        With *preemptions*, which the tables must be made for, it walks schedules with so many.

        Raises:
            SandboxError: there is no compiled walker, or a state is too large for it.
        """
        found = library()
        if found is None:
            raise SandboxError("there is no compiled walker")
        self._library: Any = found
        self.tables = tables
        self.walking = 0.0
        """Seconds spent in the library."""
        self._choices = tables.engine.alternatives
        self._core = self._library.core_new(tables.count, self._choices, most_bytes)
        if preemptions is not None:
            self._library.core_bound(self._core, tables.count, preemptions)
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
    def preemptions(self) -> int:
        """How many schedules had so far, where that is bounded."""
        return self._ask(11)

    @property
    def all_seen(self) -> bool:
        """Whether more preemptions would lead to no other state."""
        return bool(self._ask(12))

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
        count = len(self._layout.bits)
        numbers = (ctypes.c_uint32 * count)()
        self._library.core_numbers(self._core, state, numbers)
        out = numbers[:]
        return out[: self.tables.count], out[self.tables.count :]

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
            tables.remade.clear()
            try:
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

    def _copied(self, tree: Tree, k: int, slot: int, known: dict[int, int]) -> int:
        """Copy a tree and all below it, as far as it is not there yet; where it is."""
        if tree.sent is not None and tree.sent[0] is self._layout:
            return int(tree.sent[1])
        count = self.tables.count
        if isinstance(tree, Leaf):
            ref = self._leaf(tree, k, slot, known)
        elif isinstance(tree, Guard):
            ref = self._guard(tree.conditions)
            below = self._copied(tree.child, k, slot, known | dict(tree.conditions))
            self._library.core_child(self._core, ref, 0, below)
        else:
            at = count + tree.field
            self._layout.check(at, 0)
            ref = int(self._library.core_table(self._core, at))
            for number, child in tree.children.items():
                self._layout.check(at, number)
                below = self._copied(child, k, slot, {**known, tree.field: number})
                self._library.core_child(self._core, ref, number, below)
        tree.sent = self._layout, ref
        return ref

    def _guard(self, conditions: list[tuple[int, int]]) -> int:
        layout, count = self._layout, self.tables.count
        masks: dict[int, int] = {}
        values: dict[int, int] = {}
        for field, number in conditions:
            at = count + field
            layout.check(at, number)
            word, shift = layout.places[at]
            masks[word] = masks.get(word, 0) | layout.masks[at] << shift
            values[word] = values.get(word, 0) | number << shift
        flat = [part for word in masks for part in (word, masks[word], values[word])]
        packed = array("Q", flat)
        return int(self._library.core_guard(self._core, len(masks), packed.buffer_info()[0]))

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
        values = array("Q", [masks[word] for word in words])
        stages = array("I", leaf.stages)
        kind = WAITS if leaf.blocked else STEP
        return int(
            self._library.core_leaf(
                self._core, kind, leaf.verdict, len(words), bytes(words), values.buffer_info()[0],
                len(leaf.stages), stages.buffer_info()[0],
            )
        )  # fmt: skip

    def _learn(self, k: int, slot: int, values: list[int]) -> None:
        """A table ends here: copy what is known, or have the engine do it."""
        tables = self.tables
        if tables.known(k, slot, values) is None:
            tables.learn(k, slot, values)
            for other, own in tables.remade:
                self._root(other, own, 0)
            tables.remade.clear()
            self._tell_ends()
        self._send_path(k, slot, values)

    def _send_path(self, k: int, slot: int, values: list[int]) -> None:
        """Copy one leaf, and what leads to it, as far as that is not there."""
        at: Tree = self.tables.roots[k][slot]
        known: dict[int, int] = {}
        put: Callable[[int], None] = partial(self._root, k, slot)
        while not isinstance(at, Leaf) and at.sent is not None and at.sent[0] is self._layout:
            ref = at.sent[1]
            put(ref)
            number = 0
            if isinstance(at, Guard):
                known.update(at.conditions)
                at = at.child
            else:
                number = values[at.field] if at.field < len(values) else 0
                self._layout.check(self.tables.count + at.field, number)
                known[at.field] = number
                at = at.children[number]
            put = partial(self._library.core_child, self._core, ref, number)
        put(self._copied(at, k, slot, known))

    def let_go_first(self, known: Alone) -> None:
        """Walk no other order where an event may go first; before anything was walked."""
        for (k, j), rows in known.items():
            columns = len(self.tables.engine.automata[j].nodes)
            words = (columns + 63) // 64
            mask = (1 << 64) - 1
            bits = array("Q", [row >> 64 * at & mask for row in rows for at in range(words)])
            place = bits.buffer_info()[0]
            self._library.core_alone(self._core, k, j, len(rows), columns, place)

    # -- walking -----------------------------------------------------------------------------

    def run(self, budget: int, *, stop_at_broken: bool = False) -> Stopped:
        """Go on until there are *budget* states."""
        while True:
            began = perf_counter()
            code = self._library.core_run(self._core, budget, stop_at_broken)
            self.walking += perf_counter() - began
            if code != MISSING:
                return _STOPPED[code]
            stage = self._ask(10)
            k = self._ask(8)
            if stage < 1 << 63:
                _, values = self.numbers(MISSED)
                k, slot = self.tables.count, stage
            else:
                nodes, values = self.numbers(self._ask(7))
                slot = nodes[k] * self._choices + self._ask(9)
            try:
                self._learn(k, slot, values)
            except TooSmall:
                self._layout = Layout(self.tables, self._layout)
                self._lay_out()
