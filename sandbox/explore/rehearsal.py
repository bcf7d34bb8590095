"""Random schedules before a search: most of what it will ask is learned on them, and sooner.

From one event of a schedule to the next little changes, so that the engine has little to load, and
each function goes on from where it stands.  A search asks in another order, and only for the rest.
"""

from __future__ import annotations

import random

from sandbox.explore.tables import Leaf, Tables

__all__ = ["rehearse"]

WALKS = 24
MOST = 4_000
"""Events of one: blocks that go round have no end."""
BURSTS = (3, 12, 50, 200)
"""How many events a CPU does in a turn, on average."""


def rehearse(tables: Tables, walks: int = WALKS) -> None:
    """Play some random schedules, always the same ones."""
    rnd = random.Random(1)
    for number in range(walks):
        _walk(tables, rnd, BURSTS[number % len(BURSTS)])


def _walk(tables: Tables, rnd: random.Random, burst: int) -> None:
    engine = tables.engine
    nodes, values = tables.initial()
    k = left = 0
    for _ in range(MOST):
        able = [
            own
            for own, automaton in enumerate(engine.automata)
            if engine.events(automaton.nodes[nodes[own]])
        ]
        if not able:
            return
        if left <= 0 or k not in able:
            k, left = rnd.choice(able), int(rnd.expovariate(1 / burst)) + 1
        left -= 1
        events = len(engine.events(engine.automata[k].nodes[nodes[k]]))
        slot = nodes[k] * engine.alternatives + rnd.randrange(events)
        leaf = _leaf(tables, k, slot, values)
        if leaf.blocked:
            left = 0
            continue
        nodes[k] = leaf.next
        _write(tables, leaf, values)
        for stage in leaf.stages:
            _write(tables, _leaf(tables, tables.count, stage, values), values)


def _leaf(tables: Tables, k: int, slot: int, values: list[int]) -> Leaf:
    return tables.known(k, slot, values) or tables.learn(k, slot, values)


def _write(tables: Tables, leaf: Leaf, values: list[int]) -> None:
    values.extend([0] * (len(tables.fields) - len(values)))
    for field, number in leaf.writes:
        values[field] = number
