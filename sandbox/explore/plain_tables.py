"""Tables as plain Python walks them: a table is a list, a leaf a tuple, a state one number."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sandbox.explore.layout import Layout, TooSmall
from sandbox.explore.tables import Guard, Leaf, Tables, Tree
from sandbox.explore.walker import Walker

__all__ = ["Moved", "PlainTables"]

WAITS = (None, 0, ())
"""A leaf of a CPU that has to wait."""


class Moved(Exception):
    """The states have another form than when a look at one of them began."""


class PlainTables(Walker):
    """The part of a walker that gives tables, and what is learned, the form that it walks."""

    _layout: Layout
    _choices: int

    def _start(self, tables: Tables) -> None:
        """Begin with no table."""
        self.tables = tables
        self._choices = tables.engine.alternatives
        self._layout = Layout(tables, None, ample=True)
        self._lay_out()

    @abstractmethod
    def _move(self, layout: Layout) -> None:
        """Give every state found so far the form of another layout."""

    def _lay_out(self) -> None:
        """Forget all tables: they are made in the present layout when they are needed."""
        self._tables: list[dict[int, Any]] = [{} for _ in range(self.tables.count + 1)]
        self._alternatives: list[list[int]] = [[] for _ in range(self.tables.count)]

    def _smaller(self, tree: Tree, k: int, slot: int, known: dict[int, int]) -> Any:  # noqa: ANN401  # a list or a tuple
        """The form of a tree in this layout, as far as it has none yet.

        A guard is a table that looks at all its places at once.
        """
        if tree.sent is not None and tree.sent[0] is self._layout:
            return tree.sent[1]
        layout, count = self._layout, self.tables.count
        made: Any
        if isinstance(tree, Leaf):
            made = self._leaf(tree, k, slot, known)
        elif isinstance(tree, Guard):
            mask = value = 0
            for field, number in tree.conditions:
                layout.check(count + field, number)
                mask |= layout.masks[count + field] << layout.shifts[count + field]
                value |= number << layout.shifts[count + field]
            below = self._smaller(tree.child, k, slot, known | dict(tree.conditions))
            made = [0, mask, {value: below}]
        else:
            at = count + tree.field
            for number in tree.children:
                layout.check(at, number)
            children = {
                number: self._smaller(child, k, slot, {**known, tree.field: number})
                for number, child in tree.children.items()
            }
            made = [layout.shifts[at], layout.masks[at], children]
        tree.sent = layout, made
        return made

    def _leaf(self, leaf: Leaf, k: int, slot: int, known: dict[int, int]) -> Any:  # noqa: ANN401  # a tuple
        if leaf.blocked:
            return WAITS
        layout, count = self._layout, self.tables.count
        mask = 0
        if k < count:
            layout.check(k, leaf.next)
            node = slot // self._choices
            mask = (node ^ leaf.next) << layout.shifts[k]
        for field, number in leaf.writes:
            layout.check(count + field, number)
            mask ^= (known[field] ^ number) << layout.shifts[count + field]
        return mask, leaf.verdict, tuple(leaf.stages)

    def _send_path(self, k: int, slot: int, values: list[int]) -> None:
        """Take over one leaf, and what leads to it, as far as that is not known here."""
        at: Tree = self.tables.roots[k][slot]
        known: dict[int, int] = {}
        table: dict[int, Any] = self._tables[k]
        key = slot
        while not isinstance(at, Leaf) and at.sent is not None and at.sent[0] is self._layout:
            table[key] = at.sent[1]
            table = at.sent[1][2]
            if isinstance(at, Guard):
                known.update(at.conditions)
                (key,) = table
                at = at.child
            else:
                key = values[at.field] if at.field < len(values) else 0
                self._layout.check(self.tables.count + at.field, key)
                known[at.field] = key
                at = at.children[key]
        table[key] = self._smaller(at, k, slot, known)

    def _learn(self, k: int, slot: int, state: int) -> None:
        """A table ends here: take over what is known, or have the engine do it."""
        tables = self.tables
        _, values = self._layout.unpack(state)
        if tables.known(k, slot, values) is None:
            tables.learn(k, slot, values)
            for other, own in tables.remade:
                self._tables[other].pop(own, None)
            tables.remade.clear()
        self._send_path(k, slot, values)

    def _missing(self, k: int, slot: int, state: int) -> Any:  # noqa: ANN401  # a tuple
        """Learn what a slot does in a state; the leaf.

        Raises:
            Moved: the states have another form now.
        """
        try:
            self._learn(k, slot, state)
        except TooSmall:
            self._move(Layout(self.tables, self._layout, ample=True))
            self._lay_out()
            raise Moved from None
        at = self._tables[k][slot]
        while at.__class__ is list:
            at = at[2][state >> at[0] & at[1]]
        return at
