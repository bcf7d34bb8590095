"""The machine: CPUs that run kernel functions event by event, and their exact history.

Each CPU runs at most one task (a kernel generator).  A step performs the *pending* event
of one CPU, journals the old value and advances the generator to its next event, so what a
CPU is about to do is always known.  Going back reverts memory from the journal; a function
is rebuilt from the answers it was given when it is next looked at or run (kernel functions
are pure functions of their answers).  Acting in the past keeps the old future as a branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import DeadlockError, KernelBug, SandboxError
from sandbox.fields import Struct
from sandbox.frames import Frame, error_place, frames_of, innermost
from sandbox.memory import (
    ALLOC,
    BITS,
    FIRST_MUTATING,
    LOAD,
    LOCK,
    LOCK_BIT,
    MAX_CPUS,
    NOTE,
    READ,
    Event,
    Gen,
    MemoryImage,
    Word,
)
from sandbox.operations import OPERATIONS

BLOCKING = frozenset((LOCK, LOCK_BIT))
"""Operations that may have to wait."""
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
    payload: object = None
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


@dataclass(slots=True, eq=False)
class Branch:
    """A future that was left: what was done after *position* before history forked."""

    position: int
    cpus: bytearray
    tasks: list[Task]
    number: int
    parent: Branch | None = None
    """The future this one forked off from, if that was left as well; None: the present history."""


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
        """By field number: told of every change, also of those taken back."""
        self.reactions: list[list[Watcher]] = [[] for _ in range(256)]
        """By field number: the watchers, then the checkers, which are not told of going back."""
        self.idle_watchers: list[Callable[[], None]] = []
        """Called when the last running function has returned."""
        self.note_watchers: list[Callable[[Event, int], None]] = []
        self.undo_watchers: list[Callable[[int], None]] = []
        """Called with the new position after a step back."""

    def watch(self, kind: int, watcher: Watcher) -> None:
        """Tell *watcher* of every change of a word of field *kind*, backwards too."""
        self.watchers[kind].append(watcher)
        self.reactions[kind].insert(len(self.watchers[kind]) - 1, watcher)

    def check(self, kind: int, checker: Watcher) -> None:
        """Call *checker* after every change of a word of field *kind*, forwards only."""
        self.reactions[kind].append(checker)

    # -- reading (for the layers above; kernel functions yield instead) ----------

    @property
    def position(self) -> int:
        """Number of events performed so far."""
        return len(self.events)

    def peek(self, addr: int) -> Word:
        """Value of a word without an event (for views, rules and argument lookup)."""
        return self.memory.cells[addr]

    # -- starting tasks ------------------------------------------------------------

    def spawn(
        self, name: str, factory: Callable[[], Gen[Any]], cpu: int = 0, payload: object = None
    ) -> Task:
        """Put a kernel function on an idle CPU; its first event becomes pending."""
        busy = self.running[cpu]
        if busy is not None:
            raise SandboxError(f"CPU {cpu} is still running {busy.name}")
        self._leave_future()
        task = Task(cpu, name, factory, self.position, payload)
        self._start(task)
        return task

    def _start(self, task: Task) -> None:
        task.gen = task.factory()
        task.answers = []
        task.end = None
        try:
            task.pending = next(task.gen)
        except StopIteration:
            raise KernelBug(f"{task.name}: the function yields no event") from None
        self.tasks.append(task)
        self.running[task.cpu] = task

    def _leave_future(self) -> None:
        if not (self.future_cpus or self.future_tasks):
            return
        if self.future_cpus:
            self._branch_count += 1
            branch = Branch(self.position, self.future_cpus, self.future_tasks, self._branch_count)
            for other in self.branches:
                if other.parent is None and other.position > self.position:
                    other.parent = branch
            self.branches.append(branch)
        self.future_cpus = bytearray()
        self.future_tasks = []

    def switch_branch(self, branch: Branch) -> None:
        """Go to where *branch* forked off and make it the future again."""
        if branch.parent is not None:
            self.switch_branch(branch.parent)
        self.branches.remove(branch)
        self.goto(branch.position)
        self._leave_future()
        for other in self.branches:
            if other.parent is branch:
                other.parent = None
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
        if self.blocked(cpu) is None:  # what cannot be done must not cost the future
            self._leave_future()
        return self._step(cpu)

    def _task_due(self) -> bool:
        return bool(self.future_tasks) and self.future_tasks[-1].start == self.position

    def _step(self, cpu: int) -> Event:
        task = self.running[cpu]
        if task is None or task.pending is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to step")
        event = task.pending
        self._run(task, 1)
        return event

    def run(self, cpu: int = 0, limit: int | None = None) -> Task:
        """Step *cpu* until its function returns (or *limit* events); the fast path."""
        task = self.running[cpu]
        if task is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to run")
        if self.blocked(cpu) is None:
            self._leave_future()
        self._run(task, -1 if limit is None else limit)
        return task

    def _run(self, task: Task, left: int) -> None:
        """Perform up to *left* events of a task (all of them if negative)."""
        cpu, perform, answered = task.cpu, self._perform, task.answers.append
        send = (task.gen if task.gen is not None else self.rebuild(task)).send
        event: Any = task.pending
        try:
            while left:
                left -= 1
                if event[0] in BLOCKING and self._lock_owner(event, cpu) is not None:
                    raise self._deadlock(cpu, event)
                answer = perform(event, cpu)
                answered(answer)
                event = send(answer)
        except StopIteration as stop:
            event = None
            task.result = stop.value
            self._finished(task)
        except SandboxError:
            raise
        except Exception as error:  # a person's own kernel may raise anything
            self._take_back(task, event)
            raise KernelBug(f"{task.name}: {error_place(error)} raised {error!r}") from error
        finally:
            task.pending = event

    def _take_back(self, task: Task, event: Event) -> None:
        """The function died on the answer to *event*: as if the event had not happened."""
        if len(task.answers) and self.events and self.events[-1] is event:
            self.events.pop()
            self.cpus.pop()
            task.answers.pop()
            self._revert(event, self.olds.pop())
            for watch in self.undo_watchers:
                watch(len(self.events))
        task.gen = None

    def _finished(self, task: Task) -> None:
        task.end = self.position
        task.pending = None
        self.running[task.cpu] = None
        if not any(self.running):
            for watch in self.idle_watchers:
                watch()

    def _deadlock(self, cpu: int, event: Event) -> DeadlockError:
        waiting = self.running[cpu]
        if waiting is not None:
            waiting.pending = event
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

    def _perform(self, event: Event, cpu: int) -> Word:
        """Do *event*: change memory, journal the old value, tell the watchers; the answer."""
        op, addr = event[0], event[1]
        cells = self.memory.cells
        old = answer = cells[addr]
        if op >= FIRST_MUTATING:
            if op == ALLOC:
                old = len(cells)
                answer = self.memory.allocate(event[2], event[3])
            else:
                answer = OPERATIONS[op](cells, event, old, cpu)
        self.events.append(event)
        self.olds.append(old)
        self.cpus.append(cpu)
        if op == LOAD:
            return answer
        if op < FIRST_MUTATING:
            if op == NOTE:
                for note in self.note_watchers:
                    note(event, cpu)
            return None
        reactions = self.reactions[self.memory.kinds[addr]]
        if reactions:
            new = cells[addr]
            for react in reactions:
                react(addr, old, new)
        return answer

    # -- going back and forward -------------------------------------------------------

    def undo(self) -> Event:
        """Take back the last event; the future stays and can be redone."""
        if not self.events:
            raise SandboxError("at the start: nothing to go back to")
        self._unspawn_here()
        event, old, cpu = self.events.pop(), self.olds.pop(), self.cpus.pop()
        task = self.running[cpu] or self._task_of(cpu)
        task.answers.pop()
        task.pending = event
        task.gen = task.end = task.result = None
        self.running[cpu] = task
        self.future_cpus.append(cpu)
        if event[0] >= FIRST_MUTATING:
            self._revert(event, old)
        position = len(self.events)
        for watch in self.undo_watchers:
            watch(position)
        if self.tasks[-1].start == position:
            self._unspawn_here()
        return event

    def _unspawn_here(self) -> None:
        while self.tasks and self.tasks[-1].start == len(self.events):
            task = self.tasks.pop()
            self.running[task.cpu] = None
            task.gen = None
            self.future_tasks.append(task)

    def _task_of(self, cpu: int) -> Task:
        return next(t for t in reversed(self.tasks) if t.cpu == cpu)

    def _revert(self, event: Event, old: Word) -> None:
        addr = event[1]
        if event[0] == ALLOC:
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
        self._start_due()
        event = self._step(self.future_cpus[-1])
        self.future_cpus.pop()
        if not self.future_cpus:  # what was begun at the end and not stepped yet
            self._start_due()
        return event

    def _start_due(self) -> None:
        while self._task_due():
            self._start(self.future_tasks.pop())

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
        pending = None
        try:
            pending = next(gen)
            for answer in task.answers:
                pending = gen.send(answer)
        except StopIteration:
            pending = None
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

    def running_function(self, task: Task) -> Word:
        """The generator of the kernel function a running task is in."""
        gen: Any = task.gen if task.gen is not None else self.rebuild(task)
        while hasattr(gen.gi_yieldfrom, "gi_frame"):
            gen = gen.gi_yieldfrom
        return gen

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
