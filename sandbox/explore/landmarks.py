"""A schedule found by search, written with landmarks where it can be.

A switch right behind a store that a real kernel's plugin can watch, or right before one, can be
played on a real kernel; one between two loads has no other name than a number of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sandbox.errors import KernelBug
from sandbox.run.model import Model
from sandbox.run.watched import Watched, counts
from sandbox.scenario.schedule import Landmark, Turn

__all__ = ["landmarks", "playable", "turns"]

STORE = Landmark("store", 1)


def turns(schedule: Sequence[int]) -> tuple[Turn, ...]:
    """A schedule, the CPUs whose events it has in order, as turns of so many events."""
    return tuple(Turn(cpu, len(list(events))) for cpu, events in groupby(schedule))


def landmarks(start: Model, schedule: Sequence[int]) -> tuple[Turn, ...]:
    """The same with landmarks, of a block that has just begun in the state *start*."""
    model = start.clone()
    watched = Watched(model)
    out: list[Turn] = []
    for turn in turns(schedule):
        stores, hit = 0, False
        for _ in range(turn.events or 0):
            hit = _store_next(model, watched, turn.cpu)
            try:
                model.apply(turn.cpu)
            except KernelBug:
                return (*out, turn)
            stores += hit
        out.append(_named(model, watched, turn, stores, hit))
    return tuple(out)


def _named(model: Model, watched: Watched, turn: Turn, stores: int, hit: bool) -> Turn:
    """A turn that has ended here after so many stores; *hit*: with the last of them."""
    cpu = turn.cpu
    if model.machine.running[cpu] is None:
        return Turn(cpu)
    if hit:
        return Turn(cpu, until=Landmark("store", stores))
    if model.machine.blocked(cpu) is None and _store_next(model, watched, cpu):
        return Turn(cpu, until=Landmark("store", stores + 1, before=True))
    return turn


def _store_next(model: Model, watched: Watched, cpu: int) -> bool:
    """Whether the next event of a CPU changes a word that is counted."""
    task = model.machine.running[cpu]
    return task is not None and counts(STORE, watched.pending(task))


def playable(schedule: Sequence[Turn]) -> bool:
    """Whether a real kernel can be made to do it: no turn is a number of events."""
    return all(turn.events is None for turn in schedule)
