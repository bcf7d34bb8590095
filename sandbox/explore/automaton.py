"""What a CPU still has to do, as an automaton that is built while it is walked.

A node is what a function will do from here on; edges go by the answers to its event.  Generators
are made once and handed on from node to node; a second edge out of a node makes one anew by giving
it its answers once more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Any

from sandbox.explore.identity import Levels, frozen_stack

__all__ = ["Automaton", "Node"]

Function = Generator[Any, Any, Any]
Make = Callable[[], Function]


class Node:
    """One place that a CPU can be at; `event` is what it does next, None when it is through."""

    __slots__ = ("above", "answer", "edges", "event", "gen", "levels", "made", "number", "stage")

    def __init__(self, number: int, event: Any, stage: int) -> None:  # noqa: ANN401  # an event
        self.number, self.event, self.stage = number, event, stage
        """The stage is the number of the action, from 0."""
        self.edges: dict[Hashable, Node] = {}
        self.gen: Function | None = None
        self.levels: Levels = ()
        self.made: Make | None = None
        """Of the first node of an action: what makes its function, before this event."""
        self.above: Node | None = None
        self.answer: Any = None
        """What it was reached by first, from the node *above*."""


class Automaton:
    """The nodes of one CPU, numbered in the order in which they were met."""

    def __init__(self, kernel: object = None) -> None:
        self._kernel = kernel
        self.nodes: list[Node] = []
        self._known: dict[Hashable, Node] = {}
        self.replayed = 0
        """Answers that were given a second time."""
        self.ended = self._node(("through",), None, 0)

    def _node(self, key: Hashable, event: Any, stage: int) -> Node:  # noqa: ANN401  # an event
        node = Node(len(self.nodes), event, stage)
        self.nodes.append(node)
        self._known[key] = node
        return node

    def begin(self, make: Make, stage: int = 0) -> Node:
        """The node at which a function stands that has just been made, up to its first event."""
        gen = make()
        event = next(gen)
        node, new = self._at(gen, event, stage, ())
        if new:
            node.made = make
        return node

    def _at(self, gen: Function, event: Any, stage: int, before: Levels) -> tuple[Node, bool]:  # noqa: ANN401  # an event
        levels = frozen_stack(gen, before, self._kernel)
        key = stage, event, tuple(level.value for level in levels)
        node = self._known.get(key)
        if node is not None:
            return node, False
        node = self._node(key, event, stage)
        node.gen, node.levels = gen, levels
        return node, True

    def _live(self, node: Node) -> tuple[Function, Levels]:
        """A generator that stands at a node, to be used up."""
        if node.gen is not None:
            gen, levels = node.gen, node.levels
            node.gen, node.levels = None, ()
            return gen, levels
        answers: list[Any] = []
        first = node
        while first.above is not None:
            answers.append(first.answer)
            first = first.above
        assert first.made is not None
        gen = first.made()
        next(gen)
        for answer in reversed(answers):
            gen.send(answer)
        self.replayed += len(answers)
        return gen, ()

    def next(self, node: Node, answer: Any) -> Node:  # noqa: ANN401  # a word
        """Where the CPU is after an answer; `ended` when its function has returned.

        Raises:
            whatever the function does.
        """
        key = answer if answer.__class__ is int else (answer.__class__, answer)
        found = node.edges.get(key)
        if found is not None:
            return found
        gen, levels = self._live(node)
        try:
            event = gen.send(answer)
        except StopIteration:
            found = self.ended
        else:
            found, new = self._at(gen, event, node.stage, levels)
            if new:
                found.above, found.answer = node, answer
        node.edges[key] = found
        return found
