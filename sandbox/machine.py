"""The machine: CPUs that run kernel functions event by event, and their exact history.

Each CPU runs at most one task (a kernel generator).  A step performs the *pending* event
of one CPU, journals the old value and advances the generator to its next event, so what a
CPU is about to do is always known.  Going back reverts memory from the journal; a function
is rebuilt from the answers it was given when it is next looked at or run (kernel functions
are pure functions of their answers).  Acting in the past keeps the old future as a branch.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.calls import Call
from sandbox.derived import Derived
from sandbox.endless import Guard
from sandbox.errors import KernelBug, SandboxError
from sandbox.fields import Struct
from sandbox.journal import CHUNK, KEEP, History, pack
from sandbox.locks import lock_owner
from sandbox.memory import MAX_CPUS, Event, MemoryImage, Word
from sandbox.performing import Performer, Watcher
from sandbox.tasks import Branch, Task
from sandbox.watchdog import Watch

__all__ = ["Branch", "Machine", "Task", "Watcher"]

BURST = 4096
"""Events between two looks at what is not looked at at every event: some 10 ms."""


class Machine(Performer):
    """CPUs, memory and history of one modelled machine.

    `position` is the number of events performed.  All methods that move raise
    `DeadlockError` when nothing can run and leave the machine as it was.  They raise `KernelBug`
    when a function misbehaves and `NoProgressError` when what runs would never end; the machine
    then stands between two events.
    """

    def __init__(self, cpus: int = 2, *, checked: bool = False) -> None:
        """Start an empty machine; `checked` is for functions that are not the models' own."""
        self.memory = MemoryImage()
        self.memory.allocate(Struct.GLOBALS)
        for _ in range(MAX_CPUS):
            self.memory.allocate(Struct.CPU)
        self.running: list[Task | None] = [None] * cpus
        self.derived = Derived(lambda: len(self.events))
        self.acting = 0
        """The CPU that performs events, or was the last to."""
        self.tasks: list[Task] = []
        self.events: History = []
        self.olds: History = []
        self.cpus = bytearray()
        self.plain_events = KEEP
        """How many events stay as they are; what came before them is packed (`journal`)."""
        self.interrupt: Callable[[], None] | None = None
        """Called every so many events in a long move; what it raises ends the move there."""
        self.interruption: BaseException | None = None
        """What a person's own interruption raises, which no function is to blame for."""
        self.checked = checked
        self.watchdog = Watch(self, on=checked)
        self.guard = Guard(self)
        self._left = BURST
        self.future_cpus = bytearray()
        self.future_tasks: list[Task] = []
        self.branches: list[Branch] = []
        self._branch_count = 0
        self.forks = 0
        """How often a future was left or taken up again: what was written down of the history
        before the last time need not be a part of it any more."""
        self._open_end = False
        self.watchers: list[list[Watcher]] = [[] for _ in range(256)]
        """By field number: told of every change, also of those taken back."""
        self.reactions: list[list[Watcher]] = [[] for _ in range(256)]
        """By field number: the watchers, then the checkers, which are not told of going back."""
        self.idle_watchers: list[Callable[[], None]] = []
        """Called when the last running function has returned."""
        self.note_watchers: list[Callable[[Event, int], None]] = []
        self.flush_watchers: list[Callable[[Event, int], None]] = []
        """Called after a `tlb_flush` event."""
        self.successor: Callable[[Task], None] | None = None
        """Called with a task that has returned, in a move that is not one done again: what its CPU
        has to do next, if anything, is begun by it (`chain`)."""
        self.undo_watchers: list[Callable[[int], None]] = []
        """Called with the new position after a step back."""

    def watch(self, kind: int, watcher: Watcher, back: Watcher | None = None) -> None:
        """Tell *watcher* of every change of a word of field *kind*.

        Of one that is taken back it is told as well, with old and new exchanged; or *back* is.
        """
        self.watchers[kind].append(back or watcher)
        self.reactions[kind].insert(len(self.watchers[kind]) - 1, watcher)

    def check(self, kind: int, checker: Watcher) -> None:
        """Call *checker* after every change of a word of field *kind*, forwards only."""
        self.reactions[kind].append(checker)

    # -- reading (for the layers above; kernel functions yield instead) ----------

    @property
    def position(self) -> int:
        """Number of events performed so far."""
        return len(self.events)

    def action_in_flight(self) -> int:
        """Index (from 0) of the action that runs, or was the last to run: for what is reported."""
        for task in reversed(self.tasks):
            number = getattr(task.payload, "number", None)
            if number is not None:
                return int(number) - 1
        return 0

    def peek(self, addr: int) -> Word:
        """Value of a word without an event (for views, rules and argument lookup)."""
        return self.memory.cells[addr]

    # -- starting tasks ------------------------------------------------------------

    def spawn(
        self, name: str, call: Call, kernel: object, cpu: int = 0, payload: object = None
    ) -> Task:
        """Put a call of a function of *kernel* on an idle CPU; its first event becomes pending."""
        busy = self.running[cpu]
        if busy is not None:
            raise SandboxError(f"CPU {cpu} is still running {busy.name}")
        self.not_performing()
        self.leave_future()
        task = Task(cpu, name, call, kernel, self.position, payload)
        self._start(task)
        return task

    def chain(
        self, name: str, call: Call, kernel: object, cpu: int = 0, payload: object = None
    ) -> Task:
        """Put a call on a CPU that has just come to the end of the one before it.

        It belongs to the event that ended that one: going back to where it starts leaves it begun.
        """
        task = self.spawn(name, call, kernel, cpu, payload)
        task.chained = True
        return task

    def _start(self, task: Task) -> None:
        if self.running[task.cpu] is not None:
            raise KernelBug(f"{task.name} cannot begin: the function before it did other events")
        task.gen, task.pending = self.started(task)
        task.answers = []
        task.end = task.fault = None
        self.tasks.append(task)
        self.running[task.cpu] = task

    def leave_future(self, number: int = 0) -> None:
        """Keep the future, if there is one, as a branch: under its old number, or the next one."""
        if not (self.future_cpus or self.future_tasks):
            return
        self.forks += 1
        if self.future_cpus:
            self._branch_count = max(self._branch_count + (not number), number)
            end = self.position + len(self.future_cpus)
            # What was begun and never did an event is no part of any history.
            ran = [task for task in self.future_tasks if task.start < end or task.chained]
            number = number or self._branch_count
            branch = Branch(self.position, self.future_cpus, ran, number, self._open_end)
            for other in self.branches:
                if other.parent is None and other.position > self.position:
                    other.parent = branch
            self.branches.append(branch)
        self.future_cpus = bytearray()
        self.future_tasks = []

    def discard_begun(self) -> None:
        """Forget what was put on CPUs here and has not done an event."""
        if self.tasks and self.tasks[-1].start == self.position:
            self._unspawn_here()
            while self._task_due():
                self.future_tasks.pop()

    def forget_future(self) -> None:
        """Drop what was gone back over, so that it is no part of any history."""
        self.future_cpus = bytearray()
        self.future_tasks = []

    def switch_branch(self, branch: Branch) -> None:
        """Go to where *branch* forked off and make it the future again."""
        if branch.parent is not None:
            self.switch_branch(branch.parent)
        self.branches.remove(branch)
        self.goto(branch.position)
        self._unspawn_here()  # what was begun here and never did an event
        self.leave_future()
        for other in self.branches:
            if other.parent is branch:
                other.parent = None
        self.future_cpus, self.future_tasks = branch.cpus, branch.tasks
        self._open_end = branch.open_end
        self.forks += 1

    @property
    def open_end(self) -> bool:
        """Whether a function is still running where the present branch ends."""
        return self._open_end if self.future_cpus else any(self.running)

    # -- stepping ------------------------------------------------------------------

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
        # What cannot be done must not cost the future.
        if (self.future_cpus or self.future_tasks) and self.blocked(cpu) is None:
            self.leave_future()
        task = self.running[cpu]
        event = self._step(cpu)
        self._succeed(task)
        return event

    def _succeed(self, task: Task | None) -> None:
        if task is not None and not task.running and self.successor is not None:
            self.successor(task)

    def _task_due(self) -> bool:
        return bool(self.future_tasks) and self.future_tasks[-1].start == self.position

    def _step(self, cpu: int) -> Event:
        task = self.running[cpu]
        if task is None or task.pending is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to step")
        event = task.pending
        self._tick()
        self._burst(task, 1)
        return event

    def run(self, cpu: int = 0, limit: int | None = None) -> Task:
        """Step *cpu* until its function returns (or *limit* events); the fast path."""
        task = self.running[cpu]
        if task is None:
            raise SandboxError(f"CPU {cpu} is idle: nothing to run")
        if self.blocked(cpu) is None:
            self.leave_future()
        self._run(task, -1 if limit is None else limit)
        self._succeed(task)
        return task

    def _run(self, task: Task, left: int) -> None:
        """Perform up to *left* events of a task (all of them if negative)."""
        self._left = BURST
        while left:
            count = self._left if left < 0 else min(left, self._left)
            self._burst(task, count)
            left -= count if left > 0 else 0
            if not task.running:
                return
            if left:
                self._breathe()

    def _tick(self) -> None:
        """Count a single step; every so many are a long move."""
        self._left -= 1
        if self._left <= 0:
            self._breathe()

    def _breathe(self) -> None:
        """Between two events: pack what is far back, and let a person stop a long move."""
        self._left = BURST
        size = min(CHUNK, self.plain_events)
        if len(self.events) >= self.plain_events + size:
            self.events = pack(self.events, self.plain_events, size)
            self.olds = pack(self.olds, self.plain_events, size)
            for task in self.running:
                if task is not None:
                    task.answers = pack(task.answers, self.plain_events, size)
        if self.interrupt is not None:
            self.interrupt()
        wait = self.guard.look()
        if wait:
            self._left = wait

    def _finished(self, task: Task) -> None:
        task.end = self.position
        task.pending = None
        self.running[task.cpu] = None
        if len(self.events) > self.plain_events:  # its answers are wanted again by going back
            task.answers = pack(task.answers, 0, min(CHUNK, self.plain_events))
        if not any(self.running):
            for watch in self.idle_watchers:
                watch()

    # -- going back and forward -------------------------------------------------------

    def undo(self) -> Event:
        """Take back the last event; the future stays and can be redone."""
        if not self.events:
            raise SandboxError("at the start: nothing to go back to")
        self.not_performing()
        self._tick()
        if not self.future_cpus:
            here = self.position
            self._open_end = any(t and (t.chained or t.start < here) for t in self.running)
        self._unspawn_here(chained=True)
        event: Event = self.events.pop()
        old, cpu = self.olds.pop(), self.cpus.pop()
        task = self.running[cpu] or self._task_of(cpu)
        task.answers.pop()
        task.pending = event
        self.drop(task)
        task.end = task.result = task.fault = None
        self.running[cpu] = task
        self.future_cpus.append(cpu)
        self._revert(event, old, cpu)
        if self.tasks[-1].start == len(self.events):
            self._unspawn_here()
        return event

    def _unspawn_here(self, *, chained: bool = False) -> None:
        """Take what starts here off its CPU; what is chained only if that is asked for."""
        while self.tasks and self.tasks[-1].start == len(self.events):
            if self.tasks[-1].chained and not chained:
                return
            task = self.tasks.pop()
            self.running[task.cpu] = None
            self.drop(task)
            self.future_tasks.append(task)

    def _task_of(self, cpu: int) -> Task:
        return next(t for t in reversed(self.tasks) if t.cpu == cpu)

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
        while self._task_due() and self.future_tasks[-1].chained:
            self._start(self.future_tasks.pop())
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
