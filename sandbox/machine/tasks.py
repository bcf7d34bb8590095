"""What runs on a CPU, and the futures that were left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.errors import KernelBug
from sandbox.machine.calls import Call
from sandbox.machine.journal import Records
from sandbox.machine.memory import Event, Gen
from sandbox.machine.ranges import Group

if TYPE_CHECKING:
    from sandbox.machine.checkpoints import Calls

__all__ = ["Branch", "Task"]


class Task:
    """A kernel function running on a CPU: the call it was made of, and what it was answered."""

    __slots__ = (
        "__weakref__",
        "answers",
        "before",
        "call",
        "calls",
        "chained",
        "cpu",
        "end",
        "fault",
        "gen",
        "group",
        "kernel",
        "name",
        "own",
        "payload",
        "pending",
        "result",
        "start",
    )

    def __init__(
        self, cpu: int, name: str, call: Call, kernel: object, start: int, payload: object
    ) -> None:
        self.cpu = cpu
        self.name = name
        self.call = call
        self.kernel = kernel
        """The object whose method the call names: the kernel as this CPU runs it."""
        self.chained = False
        """Begun as soon as its CPU was through with the call before it, not by itself: it stays
        begun at the position where it starts."""
        self.start = start
        """Position in the history at which it was started."""
        self.payload = payload
        """What the caller attached (the scenario layer's action)."""
        self.group: Group | None = None
        """What ran at the same time when it was started, itself included."""
        self.answers: Records = []
        self.own: object = kernel
        """The kernel object that its live function calls `self`."""
        self.calls: Calls | None = None
        """What it has called, once it is long (`checkpoints`)."""
        self.fault: KernelBug | None = None
        """Why the generator cannot be made live again, once that was tried."""
        self.gen: Gen[Any] | None = None
        """The live generator; None when stale (after going back) until it is rebuilt."""
        self.pending: Event | None = None
        self.before: tuple[int, tuple[str, int, str]] | None = None
        """Of a function made live again: after how many answers, and the place (function, line,
        file) that the last of them was an answer to."""
        self.end: int | None = None
        """Position after its last event once it has returned."""
        self.result: Any = None

    def copied(self) -> Task:
        """The same call, answered the same, on another machine."""
        other = Task(self.cpu, self.name, self.call, self.kernel, 0, self.payload)
        other.answers, other.pending = list(self.answers), self.pending
        other.chained, other.fault = self.chained, self.fault
        return other

    @property
    def begins(self) -> bool:
        """Whether an action begins with it: not what drains, nor what a CPU came to by itself."""
        return self.payload is not None and not self.chained

    @property
    def running(self) -> bool:
        """True until the function has returned."""
        return self.pending is not None


class Branch:
    """A future that was left: what was done after *position* before history forked."""

    __slots__ = ("cpus", "number", "open_end", "parent", "position", "tasks")

    def __init__(
        self, position: int, cpus: bytearray, tasks: list[Task], number: int, open_end: bool = False
    ) -> None:
        self.position = position
        self.cpus = cpus
        self.tasks = tasks
        self.number = number
        self.open_end = open_end
        """Whether a function is still running where it ends."""
        self.parent: Branch | None = None
        """The future this forked off from, if that was left as well; None: the present history."""
