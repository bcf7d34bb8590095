"""The machine as a value: words, and the functions that run on its CPUs.

Each CPU runs at most one task (a kernel generator), of which the *pending* event is always known.
What there is to know of a transition system: which CPUs can go on (`enabled`), what becomes of the
machine when one does (`apply`), and another machine in the same state (`clone`).  What it did
before is not part of it; `history` remembers that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from sandbox.errors import KernelBug, SandboxError
from sandbox.machine.calls import Call
from sandbox.machine.derived import Derived
from sandbox.machine.fields import Struct
from sandbox.machine.locks import lock_owner
from sandbox.machine.memory import MAX_CPUS, Event, MemoryImage, Word
from sandbox.machine.performing import SPECIAL, Performer, Watcher
from sandbox.machine.ranges import Group
from sandbox.machine.reuse import FreeFrames
from sandbox.machine.tasks import Task
from sandbox.machine.watchdog import Watch

__all__ = ["SPECIAL", "Machine", "Task", "Watcher"]


def first_memory() -> MemoryImage:
    """The words that a machine starts with: the globals and what each CPU has."""
    memory = MemoryImage()
    memory.allocate(Struct.GLOBALS)
    for _ in range(MAX_CPUS):
        memory.allocate(Struct.CPU)
    return memory


class Machine(Performer):
    """CPUs and memory of one modelled machine, and what is told of their events.

    `apply` raises `DeadlockError` when the CPU has to wait, `KernelBug` when a function
    misbehaves; the machine then stands between two events.
    """

    def __init__(
        self,
        cpus: int = 2,
        *,
        checked: bool = False,
        memory: MemoryImage | None = None,
        derived: Derived | None = None,
    ) -> None:
        """Start an empty machine; `checked` is for functions that are not the models' own."""
        self.memory = memory or first_memory()
        self.running: list[Task | None] = [None] * cpus
        self.derived = derived or Derived()
        self.derived.position = lambda: self.position
        self.group = Group()
        """What runs at the same time, or was the last to."""
        self.acting = 0
        """The CPU that performs events, or was the last to."""
        self.interruption: BaseException | None = None
        """What a person's own interruption raises, which no function is to blame for."""
        self.checked = checked
        self.watchdog = Watch(self, on=checked)
        self.watchers: list[tuple[Watcher, ...]] = [()] * 256
        """By field number: told of every change, also of those taken back."""
        self.reactions: list[tuple[Watcher, ...]] = [()] * 256
        """By field number: the watchers, then the checkers, which are not told of going back."""
        self.idle_watchers: list[Callable[[], None]] = []
        """Called when the last running function has returned."""
        self.note_watchers: list[Callable[[Event, int], None]] = []
        self.flush_watchers: list[Callable[[Event, int], None]] = []
        """Called after a `tlb_flush` event."""
        self.frames = FreeFrames(self)

    # -- who is told -----------------------------------------------------------------

    def watch(self, kind: int, watcher: Watcher, back: Watcher | None = None) -> None:
        """Tell *watcher* of every change of a word of field *kind*.

        Of one that is taken back it is told as well, with old and new exchanged; or *back* is.
        """
        forth, count = self.reactions[kind], len(self.watchers[kind])
        self.watchers[kind] = (*self.watchers[kind], back or watcher)
        self.reactions[kind] = (*forth[:count], watcher, *forth[count:])

    def check(self, kind: int, checker: Watcher) -> None:
        """Call *checker* after every change of a word of field *kind*, forwards only."""
        self.reactions[kind] = (*self.reactions[kind], checker)

    # -- reading (for the layers above; kernel functions yield instead) ----------

    @property
    def position(self) -> int:
        """Number of events performed so far."""
        return self._done

    def peek(self, addr: int) -> Word:
        """Value of a word without an event (for views, rules and argument lookup)."""
        return self.memory.cells[addr]

    def action_in_flight(self) -> int:
        """Index (from 0) of the action that runs: for what is reported."""
        task = self.running[self.acting]
        return int(getattr(task.payload, "number", 1)) - 1 if task is not None else 0

    def own_events(self, task: Task) -> Iterator[Event] | None:
        """The events that a task has done: not kept here."""
        return None

    def holder_of_bit(self, addr: int, cpu: int) -> int:
        """The CPU that set the lock bits of a word, as far as that can be known."""
        others = [other for other, task in enumerate(self.running) if task and other != cpu]
        return others[0] if others else cpu

    # -- the transition system ---------------------------------------------------------

    def spawn(
        self,
        name: str,
        call: Call,
        kernel: object,
        cpu: int = 0,
        payload: object = None,
        *,
        chained: bool = False,
    ) -> Task:
        """Put a call of a function of *kernel* on an idle CPU; its first event becomes pending.

        One that is *chained* belongs to the event that ended the call before it on its CPU.
        """
        busy = self.running[cpu]
        if busy is not None:
            raise SandboxError(f"CPU {cpu} is still running {busy.name}")
        self.not_performing()
        task = Task(cpu, name, call, kernel, self.position, payload)
        task.chained = chained
        self._start(task)
        return task

    def _start(self, task: Task) -> None:
        if self.running[task.cpu] is not None:
            raise KernelBug(f"{task.name} cannot begin: the function before it did other events")
        task.gen, task.pending = self.started(task)
        task.answers = []
        task.end = task.fault = None
        going_on = task.chained or any(self.running)
        group = self.group if going_on else Group()
        self.group = task.group = group.joined(task.cpu, len(self.memory.cells))
        self.running[task.cpu] = task

    def blocked(self, cpu: int) -> str | None:
        """Why the pending event of *cpu* cannot happen now, or None."""
        task = self.running[cpu]
        if task is None or task.pending is None:
            return "idle"
        if task.fault is not None:
            return task.fault.message
        owner = lock_owner(self, task.pending, cpu)
        if owner is None:
            return None
        return f"waits for a lock held by CPU {owner}"

    def enabled(self) -> list[int]:
        """CPUs whose pending event could be performed now, ascending."""
        return [
            c
            for c in range(len(self.running))
            if self.running[c] is not None and self.blocked(c) is None
        ]

    def apply(self, cpu: int) -> Event:
        """Perform the pending event of a CPU and return it."""
        task = self.running[cpu]
        if task is None or task.pending is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to step")
        event = task.pending
        self._burst(task, 1)
        return event

    def _finished(self, task: Task) -> None:
        task.end = self.position
        task.pending = None
        self.running[task.cpu] = None
        if not any(self.running):
            for watch in self.idle_watchers:
                watch()

    def clone(self) -> Machine:
        """Another machine in the same state, without a history and with nobody told of events.

        What derives words (`Ledger`, `RuleEngine`) goes on with them when it is put on the clone.
        """
        memory, derived = self.memory.copied(), self.derived.copied()
        other = Machine(len(self.running), checked=self.checked, memory=memory, derived=derived)
        other.acting, other.group = self.acting, self.group.copied()
        other.running = [task.copied() if task is not None else None for task in self.running]
        return other

    def identity(self) -> Hashable:
        """The whole state as a value: words, derived words, and the answers of what runs."""
        functions = tuple(
            (task.call, tuple(task.answers)) if task is not None else None for task in self.running
        )
        beside = self.group.value() if any(self.running) else None
        return tuple(self.memory.cells), self.derived.remembered(), functions, beside
