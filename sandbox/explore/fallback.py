"""The walker in plain Python: a state is one number, a leaf a mask to exclusive-or it with."""

from __future__ import annotations

import sys
from array import array
from typing import Any

from sandbox.explore.layout import Layout
from sandbox.explore.plain_tables import Moved, PlainTables
from sandbox.explore.reduction import Alone
from sandbox.explore.tables import Tables
from sandbox.explore.walker import Hit, Stopped

__all__ = ["Fallback"]

NO_PARENT = (1 << 64) - 1


class Fallback(PlainTables):
    """Walks tables that it has made smaller: a table is a list, a leaf a tuple."""

    name = "Python"

    def __init__(
        self, tables: Tables, most_bytes: int = 1 << 62, preemptions: int | None = None
    ) -> None:
        """Start a search that takes about *most_bytes* for its states, and no more.

        With *preemptions*, which the tables must be made for, it walks schedules with so many.
        """
        self._most_preemptions = preemptions
        self._preemptions = 0
        self._all_seen = self._preempting = False
        self._first = self._last = 0
        self._alone: Alone = {}
        self._most_bytes = most_bytes
        self._found: dict[int, int] = {}
        self._states: list[int] = []
        self._parents = array("Q")
        """By state: number of the one before, times 4, plus the CPU."""
        self._next = 0
        self._level_end = 1
        self._transitions = self._depth = self._deadlocks = 0
        self._deadlock: int | None = None
        self._finals: list[int] = []
        self._hits: dict[int, list[int]] = {}
        self._start(tables)
        self._add(self._layout.pack(*tables.initial()), NO_PARENT)

    # -- asking ------------------------------------------------------------------------------

    @property
    def states(self) -> int:
        """How many there are so far."""
        return len(self._states)

    @property
    def frontier(self) -> int:
        """How many of them were not gone on from yet."""
        return len(self._states) - self._next

    @property
    def transitions(self) -> int:
        """Events done in all states so far."""
        return self._transitions

    @property
    def depth(self) -> int:
        """Events of the longest of the shortest ways to a state."""
        return self._depth

    @property
    def deadlocks(self) -> int:
        """States in which CPUs wait for each other."""
        return self._deadlocks

    @property
    def deadlock(self) -> int | None:
        """The first of them."""
        return self._deadlock

    @property
    def preemptions(self) -> int:
        """How many schedules had so far, where that is bounded."""
        return self._preemptions

    @property
    def all_seen(self) -> bool:
        """Whether more preemptions would lead to no other state."""
        return self._all_seen

    @property
    def bytes_used(self) -> int:
        """Memory of the states themselves, of the two tables and of the parents."""
        one = sys.getsizeof(self._states[-1])
        tables = sys.getsizeof(self._found) + sys.getsizeof(self._states)
        return tables + (one + 8 + 32) * len(self._states)

    @property
    def finals(self) -> list[int]:
        """States in which every CPU is through."""
        return self._finals

    def hits(self) -> list[Hit]:
        """What broke."""
        return [Hit(verdict, *where) for verdict, where in self._hits.items()]

    def parent(self, state: int) -> tuple[int, int] | None:
        """The state that one was reached from, and the CPU that was."""
        packed = self._parents[state]
        return None if packed == NO_PARENT else (packed >> 2, packed & 3)

    def numbers(self, state: int) -> tuple[list[int], list[int]]:
        """Nodes and values of a state."""
        return self._layout.unpack(self._states[state])

    def _move(self, layout: Layout) -> None:
        """Give every state found so far the form of another layout."""
        unpack, pack = self._layout.unpack, layout.pack
        self._states = [pack(*unpack(state)) for state in self._states]
        self._found = {state: number for number, state in enumerate(self._states)}
        self._layout = layout

    # -- reduction ---------------------------------------------------------------------------

    def let_go_first(self, known: Alone) -> None:
        """Walk no other order where an event may go first; before anything was walked."""
        self._alone = known

    def _only(self, state: int) -> int:
        """The CPU that goes alone from a state; -1: none does."""
        layout = self._layout
        count = layout.count
        nodes = [state >> layout.shifts[k] & layout.masks[k] for k in range(count)]
        for k, node in enumerate(nodes):
            rows = [self._alone[k, j] for j in range(count) if j != k]
            others = [own for j, own in enumerate(nodes) if j != k]
            if all(
                node < len(row) and row[node] >> other & 1
                for row, other in zip(rows, others, strict=True)
            ):
                leaf = self._leaf_of(k, node * self._choices, state)
                if leaf[0] is not None:
                    return k
        return -1

    # -- walking -----------------------------------------------------------------------------

    def _add(self, state: int, parent: int) -> None:
        self._found[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)

    def _alternatives_of(self, k: int, node: int) -> int:
        """How many events a node has to choose from, which is then known of all nodes."""
        known = self._alternatives[k]
        engine = self.tables.engine
        for own in engine.automata[k].nodes[len(known) :]:
            known.append(len(engine.events(own)))
        return known[node]

    def run(self, budget: int, *, stop_at_broken: bool = False) -> Stopped:
        """Go on until there are *budget* states."""
        one = self.bytes_used // len(self._states)
        room = max(self._most_bytes // max(one, 400), 1)
        while self._next < self._end() or self._next_round():
            if self._next == self._level_end:
                self._level_end = len(self._states)
                self._depth += 1
            broken = len(self._hits)
            try:
                self._go_on(stop_at_broken, min(budget, room))
            except Moved:
                continue  # with the same state once more
            if stop_at_broken and len(self._hits) > broken:
                return Stopped.BROKEN
            if self._next < self._end() and len(self._states) >= min(budget, room):
                return Stopped.BUDGET if len(self._states) >= budget else Stopped.NO_ROOM
        return Stopped.DONE

    def _end(self) -> int:
        """Where the states end that are gone on from in this round."""
        return self._last if self._preempting else len(self._states)

    def _next_round(self) -> bool:
        """With all states of so many preemptions known, go on with moves that are one more."""
        if self._most_preemptions is None:
            return False
        if not self._preempting:
            if self._preemptions == self._most_preemptions:
                return False
            self._last, self._next = len(self._states), self._first
        else:
            self._first = self._next = self._last
            self._preemptions += 1
            if self._next >= len(self._states):
                self._all_seen = True
                return False
        self._preempting = not self._preempting
        return True

    def _has_turn(self, k: int, state: int) -> bool:
        """Whether an event of CPU *k* is of the kind that is done in this round."""
        layout = self._layout
        at = layout.count
        last = (state >> layout.shifts[at] & layout.masks[at]) - 1
        could = False
        if last not in (-1, k):
            node = state >> layout.shifts[last] & layout.masks[last]
            slots = range(first := node * self._choices, first + self._alternatives_of(last, node))
            could = any(self._leaf_of(last, slot, state)[0] is not None for slot in slots)
        return could is self._preempting

    def _leaf_of(self, k: int, slot: int, state: int) -> Any:  # noqa: ANN401  # a tuple
        at = self._tables[k].get(slot)
        while at.__class__ is list:
            at = at[2].get(state >> at[0] & at[1])
        return at or self._missing(k, slot, state)

    def _go_on(self, stop: bool, budget: int) -> None:
        """Go on from the states of a level, or from as many as it may."""
        layout, states = self._layout, self._states
        cpus = list(
            zip(layout.shifts, layout.masks, self._tables, self._alternatives, strict=False)
        )
        end = min(self._level_end, self._end())
        while self._next < end and len(states) < budget:
            broke = self._from(self._next, cpus)
            self._next += 1
            if broke and stop:
                return

    def _from(self, number: int, cpus: list[tuple[int, int, dict[int, Any], list[int]]]) -> bool:
        """Do every event that is possible in a state; whether something broke."""
        state = self._states[number]
        bounded = self._most_preemptions is not None
        done, alive = 0, False
        broke: list[tuple[int, int]] = []
        only = self._only(state) if self._alone else -1
        for k, (shift, mask, table, known) in enumerate(cpus):
            if only not in (-1, k):
                continue
            node = state >> shift & mask
            count = known[node] if node < len(known) else self._alternatives_of(k, node)
            alive = alive or count > 0
            if bounded and not self._has_turn(k, state):
                continue
            for slot in range(first := node * self._choices, first + count):
                at = table.get(slot)
                while at.__class__ is list:
                    at = at[2].get(state >> at[0] & at[1])
                change, verdict, stages = at or self._missing(k, slot, state)
                if change is None:
                    continue
                done += 1
                if verdict:
                    broke.append((verdict, k))
                new = state ^ change
                if stages:
                    new = self._staged(k, new, stages, broke)
                if bounded:
                    new = self._turn_of(k, new)
                if new not in self._found:
                    self._add(new, number << 2 | k)
        self._transitions += done
        if not done and not self._preempting:
            self._ended(number, alive)
        self._broken(number, broke)
        return bool(broke)

    def _turn_of(self, k: int, state: int) -> int:
        """The state in which the last event was one of CPU *k*."""
        shift = self._layout.shifts[self._layout.count]
        return state ^ (state >> shift & 7 ^ k + 1) << shift

    def _staged(
        self, k: int, state: int, stages: tuple[int, ...], broke: list[tuple[int, int]]
    ) -> int:
        """The state after what follows an event; what breaks there is added to *broke*."""
        last = self._layout.count
        table = self._tables[last]
        for stage in stages:
            at = table.get(stage)
            while at.__class__ is list:
                at = at[2].get(state >> at[0] & at[1])
            change, verdict, _ = at or self._missing(last, stage, state)
            state ^= change
            if verdict:
                broke.append((verdict, k))
        return state

    def _ended(self, number: int, alive: bool) -> None:
        """No CPU can go on in a state: all are through, or they wait for each other."""
        if not alive:
            self._finals.append(number)
            return
        self._deadlocks += 1
        if self._deadlock is None:
            self._deadlock = number

    def _broken(self, number: int, broke: list[tuple[int, int]]) -> None:
        for verdict, k in broke:
            self._hits.setdefault(verdict, [number, k, 0])[2] += 1

    def close(self) -> None:
        """Forget all states."""
        self._states, self._found, self._parents = [], {}, array("Q")
