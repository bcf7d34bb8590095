"""What runs on a CPU, and the futures that were left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.journal import History
from sandbox.memory import Event, Gen

__all__ = ["Branch", "Task"]


@dataclass(slots=True)
class Task:
    """A kernel function running on a CPU: how to make it, and what it was answered."""

    cpu: int
    name: str
    factory: Callable[[], Gen[Any]]
    start: int
    """Position in the history at which it was started."""
    payload: object = None
    """What the caller attached (the scenario layer's action)."""
    answers: History = field(default_factory=list)
    gen: Gen[Any] | None = None
    """The live generator; None when stale (after going back) until it is rebuilt."""
    pending: Event | None = None
    end: int | None = None
    """Position after its last event once it has returned."""
    result: Any = None

    @property
    def running(self) -> bool:
        """True until the function has returned."""
        return self.pending is not None


@dataclass(slots=True, eq=False)
class Branch:
    """A future that was left: what was done after *position* before history forked."""

    position: int
    cpus: bytearray
    tasks: list[Task]
    number: int
    parent: Branch | None = None
    """The future this one forked off from, if that was left as well; None: the present history."""
