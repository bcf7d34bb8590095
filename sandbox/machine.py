"""The machine: CPUs that run kernel functions event by event, and their exact history.

Each CPU runs at most one task (a kernel generator).  A step performs the *pending* event
of one CPU, journals the old value and advances the generator to its next event, so what a
CPU is about to do is always known.  Going back reverts memory from the journal; a function
is rebuilt from the answers it was given when it is next looked at or run (kernel functions
are pure functions of their answers).  Acting in the past keeps the old future as a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import DeadlockError, KernelBug, SandboxError
from sandbox.fields import Struct
from sandbox.memory import (
    ADD,
    ALLOC,
    APPEND,
    BITS,
    CAS,
    COPY,
    FIRST_MUTATING,
    LOAD,
    LOCK,
    LOCK_BIT,
    MAX_CPUS,
    NOTE,
    READ,
    STORE,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    XCHG,
    Event,
    Gen,
    MemoryImage,
)  # fmt: skip

Watcher = Callable[[int, Any, Any], None]
"""Called as (address, old, new) after a word of a watched field changed."""


@dataclass(slots=True)
class Task:
    """A kernel function running on a CPU: how to make it, and what it was answered."""

    cpu: int
    name: str
    factory: Callable[[], Gen[Any]]
    start: int
    """Position in the history at which it was started."""
    payload: Any = None
    """What the caller attached (the scenario layer's action)."""
    answers: list[Any] = field(default_factory=list)
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


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a running function's call stack."""

    function: str
    filename: str
    line: int
    locals: dict[str, Any]


@dataclass(slots=True)
class Branch:
    """A future that was left: what was done after *position* before history forked."""

    position: int
    cpus: bytearray
    tasks: list[Task]
    number: int


class Machine:
    """CPUs, memory and history of one modelled machine.

    `position` is the number of events performed.  All methods that move raise
    `DeadlockError` when nothing can run and leave the machine as it was.
    """

    def __init__(self, cpus: int = 2) -> None:
        self.memory = MemoryImage()
        self.memory.allocate(Struct.GLOBALS)
        for _ in range(MAX_CPUS):
            self.memory.allocate(Struct.CPU)
        self.running: list[Task | None] = [None] * cpus
        self.tasks: list[Task] = []
        self.events: list[Event] = []
        self.olds: list[Any] = []
        self.cpus = bytearray()
        self.future_cpus = bytearray()
        self.future_tasks: list[Task] = []
        self.branches: list[Branch] = []
        self._branch_count = 0
        self.watchers: list[list[Watcher]] = [[] for _ in range(256)]
        self.checkers: list[list[Watcher]] = [[] for _ in range(256)]
        """As `watchers`, after them, but not when events are taken back."""
        self.idle_watchers: list[Callable[[], None]] = []
        """Called when the last running function has returned."""
        self.note_watchers: list[Callable[[Event, int], None]] = []
        self.undo_watchers: list[Callable[[int], None]] = []
        """Called with the new position after a step back."""

    # -- reading (for the layers above; kernel functions yield instead) ----------

    @property
    def position(self) -> int:
        """Number of events performed so far."""
        return len(self.events)

    def peek(self, addr: int) -> Any:
        """Value of a word without an event (for views, rules and argument lookup)."""
        return self.memory.cells[addr]

    # -- starting tasks ------------------------------------------------------------

    def spawn(
        self, name: str, factory: Callable[[], Gen[Any]], cpu: int = 0, payload: Any = None
    ) -> Task:
        """Put a kernel function on an idle CPU; its first event becomes pending."""
        if self.running[cpu] is not None:
            raise SandboxError(f"CPU {cpu} is still running {self.running[cpu].name}")  # type: ignore[union-attr]  # just tested
        self._leave_future()
        task = Task(cpu, name, factory, self.position, payload)
        self._start(task)
        return task

    def _start(self, task: Task) -> None:
        task.gen = task.factory()
        task.answers = []
        task.end = None
        task.pending = next(task.gen)
        self.tasks.append(task)
        self.running[task.cpu] = task

    def _leave_future(self) -> None:
        if not (self.future_cpus or self.future_tasks):
            return
        if self.future_cpus:
            self._branch_count += 1
            branch = Branch(self.position, self.future_cpus, self.future_tasks, self._branch_count)
            self.branches.append(branch)
        self.future_cpus = bytearray()
        self.future_tasks = []

    def switch_branch(self, branch: Branch) -> None:
        """Go back to where *branch* forked off and make it the future again."""
        self.branches.remove(branch)
        self.goto(branch.position)
        self._leave_future()
        self.future_cpus, self.future_tasks = branch.cpus, branch.tasks

    # -- stepping ------------------------------------------------------------------

    def blocked(self, cpu: int) -> str | None:
        """Why the pending event of *cpu* cannot happen now, or None."""
        task = self.running[cpu]
        if task is None or task.pending is None:
            return "idle"
        owner = self._lock_owner(task.pending, cpu)
        if owner is None:
            return None
        return f"waits for a lock held by CPU {owner}"

    def _lock_owner(self, event: Event, cpu: int) -> int | None:
        if event[0] == LOCK:
            value = self.memory.cells[event[1]]
            if value < 0:
                return int(-value - 1)
            others = value & ~(1 << cpu)
            if value and (event[2] != READ or value & (1 << cpu)):
                return int((others or value).bit_length() - 1)
        elif event[0] == LOCK_BIT and self.memory.cells[event[1]] & event[2]:
            for i in range(len(self.events) - 1, -1, -1):
                if self.events[i][0] in (LOCK_BIT, BITS) and self.events[i][1] == event[1]:
                    return self.cpus[i]
            return cpu
        return None

    def runnable(self) -> list[int]:
        """CPUs whose pending event could be performed now."""
        return [
            c
            for c in range(len(self.running))
            if self.running[c] is not None and self.blocked(c) is None
        ]

    def step(self, cpu: int) -> Event:
        """Perform the pending event of *cpu* (a new decision: an old future becomes a branch)."""
        if self.future_cpus and self.future_cpus[-1] == cpu and not self._task_due():
            return self.redo()
        self._leave_future()
        return self._step(cpu)

    def _task_due(self) -> bool:
        return bool(self.future_tasks) and self.future_tasks[-1].start == self.position

    def _step(self, cpu: int) -> Event:
        task = self.running[cpu]
        if task is None or task.pending is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to step")
        if task.pending[0] in (LOCK, LOCK_BIT) and self._lock_owner(task.pending, cpu) is not None:
            raise self._deadlock(cpu)
        gen = task.gen if task.gen is not None else self.rebuild(task)
        event = task.pending
        old = self._perform(event, cpu)
        task.answers.append(old)
        self._advance(task, gen, old)
        return event

    def _advance(self, task: Task, gen: Gen[Any], answer: Any) -> None:
        try:
            task.pending = gen.send(answer)
        except StopIteration as stop:
            task.pending = None
            task.result = stop.value
            self._finished(task)

    def _finished(self, task: Task) -> None:
        task.end = self.position
        self.running[task.cpu] = None
        if not any(self.running):
            for watch in self.idle_watchers:
                watch()

    def run(self, cpu: int = 0, limit: int | None = None) -> Task:
        """Step *cpu* until its function returns (or *limit* events); the fast path."""
        task = self.running[cpu]
        if task is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to run")
        self._leave_future()
        send = (task.gen if task.gen is not None else self.rebuild(task)).send
        answered, perform = task.answers.append, self._perform
        event: Any = task.pending
        left = -1 if limit is None else limit
        try:
            while left:
                left -= 1
                if event[0] in (LOCK, LOCK_BIT) and self._lock_owner(event, cpu) is not None:
                    task.pending = event
                    raise self._deadlock(cpu)
                answer = perform(event, cpu)
                answered(answer)
                event = send(answer)
            task.pending = event
        except StopIteration as stop:
            task.pending = None
            task.result = stop.value
            self._finished(task)
        return task

    def _deadlock(self, cpu: int) -> DeadlockError:
        chain, seen = [], set()
        at: int | None = cpu
        while at is not None and at not in seen:
            seen.add(at)
            task = self.running[at]
            owner = self._lock_owner(task.pending, at) if task and task.pending else None
            if task and task.pending and owner is not None:
                name = self.memory.field_at(task.pending[1]).name
                chain.append(f"CPU {at} ({task.name}) waits for {name} held by CPU {owner}")
            at = owner
        kind = "deadlock" if at in seen and at is not None else "blocked"
        return DeadlockError(f"{kind}: " + "; ".join(chain))

    # -- performing one event ---------------------------------------------------------

    def _perform(self, event: Event, cpu: int) -> Any:
        """Do *event*: change memory, journal the old value, tell the watchers; the answer."""
        op, addr = event[0], event[1]
        cells = self.memory.cells
        old = cells[addr]
        if op == LOAD:
            self.events.append(event)
            self.olds.append(old)
            self.cpus.append(cpu)
            return old
        if op < FIRST_MUTATING:
            self.events.append(event)
            self.olds.append(None)
            self.cpus.append(cpu)
            if op == NOTE:
                for note in self.note_watchers:
                    note(event, cpu)
            return None
        answer: Any
        if op == ADD:
            cells[addr] = answer = old + event[2]
        elif op == STORE:
            cells[addr] = event[2]
            answer = None
        elif op == XCHG:
            cells[addr] = event[2]
            answer = old
        elif op == BITS:
            cells[addr] = (old | event[2]) & ~event[3]
            answer = old
        elif op == ALLOC:
            old = len(cells)
            answer = self.memory.allocate(event[2], event[3])
        else:
            answer = self._perform_rare(op, event, cpu, old)
        self.events.append(event)
        self.olds.append(old)
        self.cpus.append(cpu)
        watchers = self.watchers[self.memory.kinds[addr]]
        if watchers:
            new = cells[addr]
            for watch in watchers:
                watch(addr, old, new)
        checkers = self.checkers[self.memory.kinds[addr]]
        if checkers:
            new = cells[addr]
            for check in checkers:
                check(addr, old, new)
        return answer

    def _perform_rare(self, op: int, event: Event, cpu: int, old: Any) -> Any:
        cells, addr = self.memory.cells, event[1]
        if op == TRY_ADD:
            if old == 0:
                return False
            cells[addr] = old + event[2]
            return True
        if op == CAS:
            if old != event[2]:
                return False
            cells[addr] = event[3]
            return True
        if op == LOCK or op == TRYLOCK:
            if op == TRYLOCK and old and (event[2] != READ or old < 0):
                return False
            cells[addr] = -(cpu + 1) if event[2] != READ else old | (1 << cpu)
            return True
        if op == UNLOCK:
            if not (old == -(cpu + 1) or (old > 0 and old & (1 << cpu))):
                raise KernelBug(
                    f"CPU {cpu} unlocks {self.memory.field_at(addr).name}, which it does not hold"
                )
            cells[addr] = 0 if old < 0 else old & ~(1 << cpu)
            return None
        if op == LOCK_BIT:
            cells[addr] = old | event[2]
            return old
        if op == COPY:
            cells[addr] = cells[event[2]]
            return cells[addr]
        if op == APPEND:
            cells[addr] = (*old, event[2])
            return len(old) + 1
        raise KernelBug(f"unknown operation {op}")

    # -- going back and forward -------------------------------------------------------

    def undo(self) -> Event:
        """Take back the last event; the future stays and can be redone."""
        self._unspawn_here()
        if not self.events:
            raise SandboxError("at the start: nothing to go back to")
        event, old, cpu = self.events.pop(), self.olds.pop(), self.cpus.pop()
        task = self._task_of(cpu)
        task.answers.pop()
        task.pending = event
        task.gen = None
        task.end = None
        self.running[cpu] = task
        self.future_cpus.append(cpu)
        self._revert(event, old)
        for watch in self.undo_watchers:
            watch(len(self.events))
        self._unspawn_here()
        return event

    def _unspawn_here(self) -> None:
        while self.tasks and self.tasks[-1].start == self.position:
            task = self.tasks.pop()
            self.running[task.cpu] = None
            task.gen = None
            self.future_tasks.append(task)

    def _task_of(self, cpu: int) -> Task:
        running = self.running[cpu]
        if running is not None:
            return running
        return next(t for t in reversed(self.tasks) if t.cpu == cpu)

    def _revert(self, event: Event, old: Any) -> None:
        op, addr = event[0], event[1]
        if op < FIRST_MUTATING:
            return
        if op == ALLOC:
            self.memory.release_last(old)
            return
        cells = self.memory.cells
        new = cells[addr]
        cells[addr] = old
        for watch in self.watchers[self.memory.kinds[addr]]:
            watch(addr, new, old)

    def can_redo(self) -> bool:
        """True while a future was left by going back."""
        return bool(self.future_cpus)

    def redo(self) -> Event:
        """Do the next event of the future again."""
        if not self.future_cpus:
            raise SandboxError("at the end: nothing to go forward to")
        while self._task_due():
            self._start(self.future_tasks.pop())
        return self._step(self.future_cpus.pop())

    def goto(self, position: int) -> None:
        """Go back or forward to a position of the present branch."""
        while self.position > position:
            self.undo()
        while self.position < position:
            self.redo()

    # -- looking at functions --------------------------------------------------------

    def rebuild(self, task: Task) -> Gen[Any]:
        """Make a stale function live again by giving it its answers once more."""
        gen = task.factory()
        pending = next(gen)
        for answer in task.answers:
            pending = gen.send(answer)
        if pending != task.pending:
            raise KernelBug(f"{task.name}: the function is not a pure function of its answers")
        task.gen = gen
        return gen

    def stack(self, task: Task) -> list[Frame]:
        """The call stack of a running task, outermost first, with lines and locals."""
        if not task.running:
            return []
        gen: Any = task.gen if task.gen is not None else self.rebuild(task)
        return list(frames_of(gen))

    def trace_functions(self, task: Task) -> list[tuple[str, int, str]]:
        """For each event of *task* in order: (function, line, file) that yielded it."""
        gen = task.factory()
        next(gen)
        out = [innermost(gen)]
        for answer in task.answers[:-1] if not task.running else task.answers:
            gen.send(answer)
            out.append(innermost(gen))
        gen.close()
        return out


def innermost(gen: Any) -> tuple[str, int, str]:
    """Function name, line and file of the innermost frame of a suspended generator."""
    while gen.gi_yieldfrom is not None and hasattr(gen.gi_yieldfrom, "gi_frame"):
        gen = gen.gi_yieldfrom
    frame = gen.gi_frame
    return gen.gi_code.co_name, frame.f_lineno, gen.gi_code.co_filename


def frames_of(gen: Any) -> Iterator[Frame]:
    """All frames of a suspended generator, outermost first."""
    while gen is not None and hasattr(gen, "gi_frame") and gen.gi_frame is not None:
        frame = gen.gi_frame
        names = {k: v for k, v in frame.f_locals.items() if k != "self"}
        yield Frame(gen.gi_code.co_name, gen.gi_code.co_filename, frame.f_lineno, names)
        gen = gen.gi_yieldfrom
