"""What a machine did, and what it did before that was left: back, forth, and other futures.

Each event is journaled with the old value of its word.  Going back reverts memory from there; a
function is made again from the answers it was given when it is next looked at or run (kernel
functions are pure functions of their answers).  Acting in the past keeps the old future as a
branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import compress, repeat
from typing import Any

from sandbox.errors import KernelBug, SandboxError
from sandbox.machine.calls import Call, start
from sandbox.machine.checked import PLACELESS, no_such_word
from sandbox.machine.checkpoints import Calls, kernel_to_itself
from sandbox.machine.endless import Guard
from sandbox.machine.frames import called_after
from sandbox.machine.journal import CHUNK, KEEP, Records, pack
from sandbox.machine.machine import SPECIAL, Machine, Watcher
from sandbox.machine.memory import BITS, DECIDE, FIRST_MUTATING, LOCK_BIT, Event, Gen, Word
from sandbox.machine.operations import OPERATIONS
from sandbox.machine.ranges import Group
from sandbox.machine.tasks import Branch, Task

__all__ = ["Branch", "History", "Task", "Watcher"]

BURST = 4096
"""Events between two looks at what is not looked at at every event: some 10 ms."""


class History(Machine):
    """A machine that remembers what it did.

    `position` is the number of events performed.  All methods that move raise
    `DeadlockError` when nothing can run and leave the machine as it was.  They raise `KernelBug`
    when a function misbehaves and `NoProgressError` when what runs would never end; the machine
    then stands between two events.
    """

    def __init__(self, cpus: int = 2, *, checked: bool = False) -> None:
        """Start an empty machine; `checked` is for functions that are not the models' own."""
        super().__init__(cpus, checked=checked)
        self.tasks: list[Task] = []
        self.events: Records = []
        self.olds: Records = []
        self.cpus = bytearray()
        self.plain_events = KEEP
        """How many events stay as they are; what came before them is packed (`journal`)."""
        self.interrupt: Callable[[], None] | None = None
        """Called every so many events in a long move; what it raises ends the move there."""
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
        self.successor: Callable[[Task], None] | None = None
        """Called with a task that has returned, in a move that is not one done again: what its CPU
        has to do next, if anything, is begun by it, chained."""

    # -- what was done ---------------------------------------------------------------

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

    def own_events(self, task: Task) -> Iterator[Event]:
        """The events that a task has done, in order."""
        end = len(self.events) if task.end is None else task.end
        cpus = self.cpus[task.start : end]
        mine = self.events[task.start : end]
        if cpus.count(task.cpu) == len(cpus):
            return iter(mine)
        return compress(mine, (cpu == task.cpu for cpu in cpus))

    def last_events(self, task: Task, count: int) -> list[Event]:
        """The last *count* events that a running task has done, in order."""
        end, start = len(self.cpus), max(len(self.cpus) - count, task.start)
        if self.cpus.count(task.cpu, start, end) < count:  # others did some in between
            start = end
            for _ in range(count):
                start = self.cpus.rindex(task.cpu, task.start, start)
        mine = compress(self.events[start:end], (cpu == task.cpu for cpu in self.cpus[start:end]))
        return list(mine)

    def made_shortly(self, task: Task) -> Gen[Any] | None:
        """A task's function live again with the help of what it has called (`checkpoints`)."""
        gen = None
        if task.calls:
            gen = task.calls.made_again(partial(self.last_events, task), self.watchdog.beat)
        if task.calls and gen is None:
            task.calls, task.own = None, kernel_to_itself(task.kernel)
        return gen

    def called_at(self, task: Task) -> int:
        """Position at which the event was pending that led into the function *task* is in."""
        try:
            with self.watchdog:
                events = called_after(start(task.call, task.kernel), task.answers)
        except BaseException as error:  # a person's own kernel may raise anything
            if error is self.interruption:
                raise
            return len(self.cpus)
        if not events:
            return task.start
        position = len(self.cpus)
        for _ in range(len(task.answers) - events + 1):
            position = self.cpus.rindex(task.cpu, task.start, position)
        return position

    def holder_of_bit(self, addr: int, cpu: int) -> int:
        """The CPU that set the lock bits of a word: the last one that set any."""
        for i in range(len(self.events) - 1, -1, -1):
            before = self.events[i]
            if before[0] in (LOCK_BIT, BITS) and before[1] == addr:
                return self.cpus[i] if i < len(self.cpus) else self.acting
        return cpu

    # -- performing ------------------------------------------------------------------

    def _perform(self, task: Task, count: int, send: Callable[[Word], Event]) -> None:
        """Change memory, journal the old value, tell the watchers, answer; *count* times.

        Everything the loop needs is bound before it, and what is the same for every event is
        done behind it: meanwhile `cpus` is as long as `events` was.
        """
        cpu, cells, kinds = task.cpu, self.memory.cells, self.memory.kinds
        done, old_was = self.events.append, self.olds.append
        self.acting = cpu
        answered, reactions = task.answers.append, self.reactions
        event: Any = task.pending
        try:
            for _ in repeat(None, count):
                op, addr = event[0], event[1]
                old = answer = cells[addr]
                if addr < 1 and op not in PLACELESS:
                    raise KernelBug(no_such_word(event, addr, len(cells)))
                if not op:  # LOAD, every other event: nobody is told
                    done(event)
                    old_was(old)
                    answered(old)
                    event = send(old)
                    continue
                if op in SPECIAL:
                    old, answer = self._special(event, old, cpu)
                elif op >= FIRST_MUTATING:
                    answer = OPERATIONS[op](cells, event, old, cpu)
                elif op != DECIDE:
                    answer = None
                done(event)
                old_was(old)
                answered(answer)
                if op >= FIRST_MUTATING:
                    for react in reactions[kinds[addr]]:
                        react(event, cpu, addr, old, cells[addr])
                else:
                    self._tell(event, cpu)
                event = send(answer)
        finally:
            task.pending = event
            self.cpus += bytes((cpu,)) * (len(self.events) - len(self.cpus))

    def _last_old(self) -> Word:
        self.events.pop()
        self.cpus.pop()
        return self.olds.pop()

    # -- starting tasks ------------------------------------------------------------

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

        One that is *chained* is begun as soon as its CPU was through with the call before it:
        going back to where it starts leaves it begun.
        """
        if self.running[cpu] is None:
            self.not_performing()
            self.leave_future()
        return super().spawn(name, call, kernel, cpu, payload, chained=chained)

    def _start(self, task: Task) -> None:
        task.own, task.calls = kernel_to_itself(task.kernel), None
        super()._start(task)
        self.tasks.append(task)

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

    def apply(self, cpu: int) -> Event:
        """As `step`: a machine that has a future does not go on beside it."""
        return self.step(cpu)

    def _step(self, cpu: int) -> Event:
        self._tick()
        return super().apply(cpu)

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
        for task in self.running:
            if task is not None and task.gen is not None:
                task.calls = task.calls if task.calls is not None else Calls(task)
                task.calls.look()
                if not self.checked:
                    task.calls.fill()
        if self.interrupt is not None:
            self.interrupt()
        wait = self.guard.look()
        if wait:
            self._left = wait

    def _finished(self, task: Task) -> None:
        if len(self.events) > self.plain_events:  # its answers are wanted again by going back
            task.answers = pack(task.answers, 0, min(CHUNK, self.plain_events))
        super()._finished(task)

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
                break
            task = self.tasks.pop()
            self.running[task.cpu] = None
            self.drop(task)
            self.future_tasks.append(task)
        self.group = (self.tasks[-1].group if self.tasks else None) or Group()

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
