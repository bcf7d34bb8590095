"""Decision tables: what an event does to a state, looked up by the values it depends on.

A state is a number for the node of each CPU and one for the value of every place that was ever
written: a *field*.  A table says which field to look at next; a leaf says what changes.  Tables are
filled while they are used: where one ends, the engine performs the event once and is watched.  A
place that was never written is no field, as it cannot differ; when it is first written, the tables
of all that read it are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import compress
from operator import ne
from typing import Any, Protocol

from sandbox.explore.automaton import Automaton, Node
from sandbox.explore.recording import MISSING, Whole

__all__ = ["BLOCKED", "Effect", "Engine", "Field", "Guard", "Leaf", "Table", "Tables"]

TURN = "turn"
"""The place of the last CPU's number in the block, from 1: no event reads it."""
BLOCKED = object()
"""The answer to an event that has to wait."""
Verdict = frozenset[Any]
"""What broke in one event: whatever the engine says."""


class Effect:
    """What an engine found out about one event: places read and written, and what follows."""

    __slots__ = ("found", "next", "reads", "stages", "writes")

    def __init__(
        self,
        reads: dict[Hashable, Any],
        writes: dict[Hashable, Any],
        found: Verdict,
        stages: Sequence[Hashable] = (),
        next_: Node | None = None,
    ) -> None:
        self.reads, self.writes, self.found, self.stages = reads, writes, found, stages
        self.next = next_
        """The CPU's node after it; None if it has to wait."""


class Engine(Protocol):
    """What can be explored: it performs events on values that it is given."""

    automata: list[Automaton]
    """One for each CPU of the block."""
    starts: list[Node]
    cpus: list[int]
    alternatives: int
    """The most events that one node has to choose from."""

    def events(self, node: Node) -> Sequence[Any]:
        """What a CPU at a node may do next; nothing when it is through."""
        ...

    def perform(self, number: int, node: Node, alternative: int) -> Effect:
        """Do an event of the CPU of that number, as the values loaded have it."""
        ...

    def stage(self, key: Hashable) -> Effect:
        """Do what follows an event in a table of its own."""
        ...

    def load(self, place: Hashable, value: Any) -> None:  # noqa: ANN401  # a word
        """Give a place a value."""
        ...

    def kind(self, place: Hashable) -> Hashable:
        """What is alike of places that have about as many values."""
        ...

    def lock_of(self, node: Node) -> tuple[Hashable, bool] | None:
        """The lock that the event of a node takes for its CPU alone (True), or gives back."""
        ...


class Field:
    """A place that was written, and the values it has had; number 0 is the one it started with."""

    __slots__ = ("index", "kind", "numbers", "place", "values")

    def __init__(self, index: int, place: Hashable, first: Any, kind: Hashable) -> None:  # noqa: ANN401  # a word
        self.index, self.place, self.kind = index, place, kind
        self.values = [first]
        self.numbers = {_key(first): 0}

    def number_of(self, value: Any) -> int:  # noqa: ANN401  # a word
        """The number of a value, a new one if need be."""
        key = _key(value)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.values)
            self.values.append(value)
        return number


def _key(value: Any) -> Hashable:  # noqa: ANN401  # a word
    return value if value.__class__ is int else (value.__class__, value)


class Leaf:
    """What one event does: fields written, the next node, what broke, what is to follow."""

    __slots__ = ("blocked", "next", "sent", "stages", "verdict", "writes")

    def __init__(
        self,
        writes: list[tuple[int, int]],
        next_: int,
        verdict: int,
        stages: list[int],
        *,
        blocked: bool,
    ) -> None:
        self.writes, self.next, self.verdict = writes, next_, verdict
        self.stages, self.blocked = stages, blocked
        self.sent: Any = None
        """Where a walker keeps its own form of it."""


class Table:
    """Look at a field; then go on with the child of its value."""

    __slots__ = ("children", "field", "sent")

    def __init__(self, field: int) -> None:
        self.field = field
        self.children: dict[int, Tree] = {}
        self.sent: Any = None
        """Where a walker keeps its own form of it."""


class Guard:
    """Go on with the child if all these fields have these values; other values are not known yet.

    It stands for as many tables that have one child each.
    """

    __slots__ = ("child", "conditions", "sent")

    def __init__(self, conditions: list[tuple[int, int]], child: Tree) -> None:
        self.conditions = conditions
        """(Field, number of its value)."""
        self.child = child
        self.sent: Any = None


Tree = Table | Guard | Leaf
Reads = list[tuple[Any, Any]]
Values = Sequence[int]


class Tables:
    """All that was learned of an engine; `lookup` learns what it does not know yet.

    A *slot* of a CPU is a node's number times `alternatives`, plus that of the alternative.  The
    stages have the place behind the last CPU.
    """

    def __init__(self, engine: Engine, *, turns: bool = False) -> None:
        """Learn of an *engine*; with *turns* a state says as well whose event was the last."""
        self.engine = engine
        self.count = len(engine.automata)
        self.fields: list[Field] = []
        self.learned = 0
        """Leaves made by performing something."""
        self.verdicts: list[Verdict] = [frozenset()]
        self._verdict_numbers: dict[Verdict, int] = {frozenset(): 0}
        self.stages: list[Hashable] = []
        self._stage_numbers: dict[Hashable, int] = {}
        self._by_place: dict[Hashable, Field] = {}
        self._of_table: dict[Hashable, list[Field]] = {}
        self._loaded: list[int] = []
        """By field, the number of the value that the engine has; -1: not known."""
        self.roots: list[dict[int, Tree]] = [{} for _ in range(self.count + 1)]
        self._memo: list[dict[int, list[tuple[Reads, Leaf]]]]
        self._memo = [{} for _ in range(self.count + 1)]
        self._readers: dict[Hashable, set[tuple[int, int]]] = {}
        """Slots that read what is no field, or a whole table."""
        self.remade: set[tuple[int, int]] = set()
        """Slots whose tables were made anew since somebody last asked."""
        if turns:
            field = self._field(TURN, 0)
            for number in range(1, self.count + 1):
                field.number_of(number)

    # -- looking up ------------------------------------------------------------------------

    def initial(self) -> tuple[list[int], list[int]]:
        """(Nodes, values) of the state that everything starts from."""
        return [node.number for node in self.engine.starts], [0] * len(self.fields)

    def known(self, k: int, slot: int, values: Values) -> Leaf | None:
        """What is known of a slot with these values."""
        at: Any = self.roots[k].get(slot)
        count = len(values)
        while at.__class__ is not Leaf and at is not None:
            if at.__class__ is Table:
                at = at.children.get(values[at.field] if at.field < count else 0)
                continue
            for field, number in at.conditions:
                if number != (values[field] if field < count else 0):
                    return None
            at = at.child
        return at  # no table

    def footprints(self, k: int) -> Iterator[tuple[int, int, int, set[int]]]:
        """Of each slot of a CPU: fields read and written, as bits, and the nodes that follow."""
        stages = {slot: self._footprint(self.count, slot) for slot in self._memo[self.count]}
        for slot, memo in self._memo[k].items():
            reads, writes = self._footprint(k, slot)
            for _, leaf in memo:
                for stage in leaf.stages:
                    more = stages.get(stage, (0, 0))
                    reads, writes = reads | more[0], writes | more[1]
            yield slot, reads, writes, {leaf.next for _, leaf in memo if not leaf.blocked}

    def _footprint(self, k: int, slot: int) -> tuple[int, int]:
        reads = writes = 0
        for places, leaf in self._memo[k][slot]:
            for field in self._path(places):
                reads |= 1 << field
            for field, _ in leaf.writes:
                writes |= 1 << field
        return reads, writes

    def learn(self, k: int, slot: int, values: Values) -> Leaf:
        """Have the engine do the event of a slot of CPU *k*, or the stage *slot*."""
        self._load(values)
        self.learned += 1
        if k == self.count:
            effect = self.engine.stage(self.stages[slot])
            after = 0
        else:
            number, alternative = divmod(slot, self.engine.alternatives)
            node = self.engine.automata[k].nodes[number]
            effect = self.engine.perform(k, node, alternative)
            after = node.number if effect.next is None else effect.next.number
        leaf = Leaf(
            self._written(effect),
            after,
            self._verdict(effect.found),
            [self._stage(key) for key in effect.stages],
            blocked=k < self.count and effect.next is None,
        )
        self._keep(k, slot, effect, leaf, values)
        return leaf

    def _load(self, values: Values) -> None:
        loaded, count = self._loaded, len(values)
        if count < len(loaded):
            values = [*values, *[0] * (len(loaded) - count)]
        for index in compress(range(len(loaded)), map(ne, loaded, values)):
            field = self.fields[index]
            if field.place is not TURN:
                self.engine.load(field.place, field.values[values[index]])
            loaded[index] = values[index]

    def _written(self, effect: Effect) -> list[tuple[int, int]]:
        out = []
        for place, value in effect.writes.items():
            field = self._field(place, effect.reads[place])
            number = field.number_of(value)
            out.append((field.index, number))
            self._loaded[field.index] = number
        return out

    def _verdict(self, found: Verdict) -> int:
        number = self._verdict_numbers.get(found)
        if number is None:
            number = self._verdict_numbers[found] = len(self.verdicts)
            self.verdicts.append(found)
        return number

    def _stage(self, key: Hashable) -> int:
        number = self._stage_numbers.get(key)
        if number is None:
            number = self._stage_numbers[key] = len(self.stages)
            self.stages.append(key)
        return number

    # -- keeping ---------------------------------------------------------------------------

    def _field(self, place: Hashable, first: Any) -> Field:  # noqa: ANN401  # a word
        """The field of a place; a new one has the tables of its readers made anew."""
        field = self._by_place.get(place)
        if field is not None:
            return field
        kind = place if place is TURN else self.engine.kind(place)
        field = self._by_place[place] = Field(len(self.fields), place, first, kind)
        self.fields.append(field)
        self._loaded.append(0)
        readers = self._readers.pop(place, set())
        for table in _tables_of(place):
            self._of_table.setdefault(table, []).append(field)
            readers |= self._readers.get(Whole(table), set())
        for k, slot in readers:
            self._remake(k, slot)
        return field

    def _keep(self, k: int, slot: int, effect: Effect, leaf: Leaf, values: Values) -> None:
        reads: Reads = list(effect.reads.items())
        self._memo[k].setdefault(slot, []).append((reads, leaf))
        for place, _ in reads:
            if place not in self._by_place:
                self._readers.setdefault(place, set()).add((k, slot))
        self._insert(k, slot, reads, leaf, values)

    def _remake(self, k: int, slot: int) -> None:
        self.remade.add((k, slot))
        self.roots[k].pop(slot, None)
        kept = self._memo[k].pop(slot, [])
        self._memo[k][slot] = [pair for pair in kept if self._insert(k, slot, *pair, None)]

    def _path(self, reads: Reads) -> dict[int, int]:
        """(Field, number) of what was read, in that order; constants left out."""
        found = dict(reads)
        path: dict[int, int] = {}
        for place, value in reads:
            if place.__class__ is Whole:
                for field in self._of_table.get(place.table, ()):
                    path[field.index] = field.number_of(found.get(field.place, MISSING))
                continue
            field_ = self._by_place.get(place)
            if field_ is not None:
                path[field_.index] = field_.number_of(value)
        return path

    def _insert(self, k: int, slot: int, reads: Reads, leaf: Leaf, values: Values | None) -> bool:
        """Put a leaf into the table of a slot; False if that asks for what the leaf does not know.

        With the *values* it was learned at, those decide then.
        """
        path = self._path(reads)

        def number_of(field: int) -> int:
            """What the leaf is for, also where it does not depend on the field."""
            if field in path:
                return path.pop(field)
            if values is None:
                raise _NotKnown
            return values[field] if field < len(values) else 0

        at: Any = self.roots[k].get(slot)
        put: Callable[[Tree], None] = partial(self.roots[k].__setitem__, slot)
        try:
            while at is not None:
                if at.__class__ is Leaf:
                    return False
                if at.__class__ is Table:
                    number = number_of(at.field)
                    put, at = partial(at.children.__setitem__, number), at.children.get(number)
                    continue
                for place, (field, own) in enumerate(at.conditions):
                    number = number_of(field)
                    if number != own:
                        put(_split(at, place, number, _guarded(path, leaf)))
                        return True
                put, at = partial(setattr, at, "child"), at.child
        except _NotKnown:
            return False
        put(_guarded(path, leaf))
        return True


class _NotKnown(Exception):
    """A leaf does not say what it is for."""


def _guarded(path: dict[int, int], leaf: Leaf) -> Tree:
    """A leaf under what it depends on."""
    return Guard(list(path.items()), leaf) if path else leaf


def _split(guard: Guard, place: int, number: int, other: Tree) -> Tree:
    """A guard with another child where its condition of that *place* has another *number*."""
    field, own = guard.conditions[place]
    before, after = guard.conditions[:place], guard.conditions[place + 1 :]
    table = Table(field)
    table.children[own] = Guard(after, guard.child) if after else guard.child
    table.children[number] = other
    return Guard(before, table) if before else table


def _tables_of(place: Hashable) -> list[Hashable]:
    """The table that a place is an entry of, and that which it is in."""
    out = []
    while isinstance(place, tuple):
        place = place[0]
        out.append(place)
    return out
