"""What walks from state to state, breadth first: what every such walker can be asked.

One is plain Python (`fallback`), one compiled C (`core`); both walk the same tables to the same
states in the same order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import NamedTuple

from sandbox.explore.reduction import Alone
from sandbox.explore.tables import Tables

__all__ = ["Hit", "Stopped", "Walker"]


class Stopped(Enum):
    """Why a walk came back."""

    DONE = "done"
    """There is no state left that was not gone on from."""
    BUDGET = "budget"
    """It has found as many states as it was given; it can go on."""
    BROKEN = "broken"
    """Something broke; it can go on."""
    NO_ROOM = "no room"
    """There is no memory for another state, or it may not have more."""


class Hit(NamedTuple):
    """Where a verdict was met first, which is after the fewest events, and how often it was."""

    verdict: int
    state: int
    cpu: int
    """The CPU (its number in the block) whose event it was."""
    times: int


class Walker(ABC):
    """States by number, in the order in which they were found."""

    name: str
    tables: Tables

    @property
    @abstractmethod
    def states(self) -> int:
        """How many there are so far."""

    @property
    @abstractmethod
    def transitions(self) -> int:
        """Events done in all states so far."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Events of the longest of the shortest ways to a state."""

    @property
    @abstractmethod
    def deadlocks(self) -> int:
        """States in which CPUs wait for each other."""

    @property
    @abstractmethod
    def deadlock(self) -> int | None:
        """The first of them."""

    @property
    @abstractmethod
    def frontier(self) -> int:
        """How many of them were not gone on from yet."""

    @property
    @abstractmethod
    def preemptions(self) -> int:
        """How many schedules had so far, where that is bounded."""

    @property
    @abstractmethod
    def all_seen(self) -> bool:
        """Whether more preemptions would lead to no other state."""

    @property
    @abstractmethod
    def bytes_used(self) -> int:
        """Memory for states, how they were reached and how they are found."""

    @property
    @abstractmethod
    def finals(self) -> list[int]:
        """States in which every CPU is through."""

    @abstractmethod
    def let_go_first(self, known: Alone) -> None:
        """Walk no other order where an event may go first; before anything was walked."""

    @abstractmethod
    def run(self, budget: int, *, stop_at_broken: bool = False) -> Stopped:
        """Go on until there are *budget* states."""

    @abstractmethod
    def hits(self) -> list[Hit]:
        """What broke."""

    @abstractmethod
    def parent(self, state: int) -> tuple[int, int] | None:
        """The state that one was reached from, and by the event of which CPU; None of the first."""

    @abstractmethod
    def numbers(self, state: int) -> tuple[list[int], list[int]]:
        """Nodes and values of a state."""

    def schedule(self, state: int) -> list[int]:
        """The CPUs whose events lead to a state, in order: as few as can be."""
        out = []
        above = self.parent(state)
        while above is not None:
            state, cpu = above
            out.append(self.tables.engine.cpus[cpu])
            above = self.parent(state)
        out.reverse()
        return out

    @abstractmethod
    def close(self) -> None:
        """Give the memory back; nothing can be asked any more."""
