"""A session: a kernel, a machine, and the actions done on it, back and forth.

This is what front ends drive.  An action of the scenario language becomes a task on a CPU; it can
be run to its end or stepped event by event.  After an action the LRU batches are drained (unless
`autodrain off`), as the recordings do before they look.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sandbox.errors import KernelBug, NoProgressError, SandboxError, UsageError
from sandbox.kernels import DEFAULT_KERNEL, kernel_by_name
from sandbox.kernels.base import Kernel
from sandbox.kernels.foreign import check_kernel, is_foreign
from sandbox.machine.calls import Call
from sandbox.machine.checked import shown
from sandbox.machine.fields import Struct
from sandbox.machine.frames import Frame, error_place
from sandbox.machine.history import History, Task
from sandbox.machine.memory import MAX_CPUS, Event, Fbatch, Globals, Page, PerCpu
from sandbox.machine.watchdog import NoEvent
from sandbox.mm.flags import PG_reserved
from sandbox.rules import RuleEngine
from sandbox.run.blocks import check_block
from sandbox.run.plan import plan
from sandbox.run.scheduling import Seen, play, play_rest
from sandbox.run.steps import Begun, Step
from sandbox.run.succession import next_action, succeeding
from sandbox.scenario.language import Action, CpuBlock
from sandbox.syscalls import Result
from sandbox.truth.book import Book
from sandbox.truth.ledger import Ledger

__all__ = ["Session", "Step"]

DRAIN = Call("lru_add_drain")
"""What every CPU does after an action, as the recordings do before they look."""
OWN_PAGES = 14
"""Pages of its own that a process of the rig touches last (rig/guest/init.c, `settle`)."""
SETTLE = Call("sys_settle", (OWN_PAGES,))


class Session:
    """A machine running one kernel, with its actions, rules and names.

    All moves keep the machine consistent; an action that is refused (`UsageError`) changes
    nothing.  `position` counts events from 0.
    """

    def __init__(self, kernel: str | type[Kernel] = DEFAULT_KERNEL, cpus: int = MAX_CPUS) -> None:
        self.kernel = kernel_by_name(kernel) if isinstance(kernel, str) else kernel
        check_kernel(self.kernel)
        self.machine = History(cpus, checked=is_foreign(self.kernel))
        self.machine.guard.room = self._room
        self.machine.successor = self._next_of
        with self.contained(f"the kernel {self.kernel.id}"):
            self.cpus = [self.kernel(cpu) for cpu in range(cpus)]
        self._begun = Begun()
        self.starting = False
        """Does every verb start the process that it names (`sandbox.run.plan.plan`)?"""
        self._boot()
        self.ledger = Ledger(self.machine)
        with self.contained(f"the kernel {self.kernel.id}"):  # the rules ask one of its own
            self.rules = RuleEngine(self.machine, self.ledger, self.kernel)

    def _boot(self) -> None:
        memory = self.machine.memory
        zero = Page(memory.allocate(Struct.PAGE))
        memory.cells[zero.flags] = PG_reserved
        memory.cells[Globals.zero_page] = zero

    def _room(self) -> int:
        """Events that a walk over every page of every region may need, whatever it does there."""
        total = 0
        for mm in self.book.processes.values():
            pages = sum(region.pages for region in self.book.regions(mm))
            total += pages * (64 + 8 * len(self.ledger.vmas(mm)))
        return total

    @property
    def book(self) -> Book:
        """Which processes, regions, files and holds there are."""
        return self.ledger.book

    @contextmanager
    def contained(self, what: str) -> Iterator[None]:
        """Name what a person's own kernel raises outside of its functions."""
        machine = self.machine
        try:
            with machine.watchdog:
                yield
        except SandboxError:
            raise
        except BaseException as error:
            if not machine.checked or error is machine.interruption:
                raise
            if isinstance(error, NoEvent):
                raise machine.watchdog.ended(what) from error
            raise KernelBug(f"{what}: {error_place(error)} raised {shown(error)}") from error

    # -- where we are ------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Events performed."""
        return self.machine.position

    @property
    def end(self) -> int:
        """Position of the end of the present branch."""
        return self.position + len(self.machine.future_cpus)

    def _followed(self) -> Begun:
        """What is known of the actions begun so far, up to date."""
        self._begun.follow(self.machine.tasks)
        return self._begun

    @property
    def steps(self) -> Sequence[Step]:
        """The actions begun so far, in order: a list that follows the session, not a copy."""
        return self._followed().steps

    @property
    def starts(self) -> Sequence[int]:
        """Positions at which the actions begun so far start, in their order; follows as `steps`."""
        return self._followed().starts

    @property
    def last_step(self) -> Step | None:
        """The last action begun, None before the first."""
        steps = self.steps
        return steps[-1] if steps else None

    @property
    def several_cpus(self) -> bool:
        """Whether another CPU than the first was given something to do."""
        return self._followed().elsewhere > 0

    def tasks_of(self, step: Step) -> list[Task]:
        """The tasks of an action begun, one for each CPU; none when it was taken back."""
        begun, at = self._followed(), step.number - 1
        if at >= len(begun.steps) or begun.steps[at] is not step:
            return []
        tasks = self.machine.tasks
        end = begun.tasks[at + 1] if at + 1 < len(begun.tasks) else len(tasks)
        return [t for t in tasks[begun.tasks[at] : end] if t.payload is step]

    @property
    def running(self) -> list[Task]:
        """Tasks that have not returned yet."""
        return [t for t in self.machine.running if t is not None]

    def stack(self, cpu: int | None = None) -> list[Frame]:
        """Call stack of a running CPU, outermost first; empty when idle."""
        task = self.machine.running[cpu] if cpu is not None else next(iter(self.running), None)
        return self.machine.stack(task) if task is not None else []

    def result_of(self, number: int) -> Result | None:
        """What the action *number* returned, None while it runs."""
        steps = self.steps
        if not 0 < number <= len(steps):
            return None
        results = [task.result for task in self.tasks_of(steps[number - 1])]
        if not results or any(r is None for r in results):
            return None
        return next((r for r in results if r.ret), results[0])

    # -- acting ------------------------------------------------------------------------

    def begin(self, action: Action | CpuBlock) -> Step:
        """Put an action on its CPU(s) without performing an event; refused while one runs."""
        if self.running:
            raise UsageError(
                "an action is still running", expected="it to be stepped to its end first"
            )
        last = self.last_step
        step = Step(last.number + 1 if last else 1, action)
        firsts = (action,) if isinstance(action, Action) else check_block(self, action)
        plans = []
        places: dict[str, int] = {}
        for item in firsts:
            cpu = item.cpu or 0
            if cpu >= len(self.cpus):
                raise UsageError(f"there is no CPU {cpu}", item.where, f"0 to {len(self.cpus) - 1}")
            with self.contained(item.text):
                kernel = self.cpus[cpu]
                call = plan(self.ledger, item, kernel, step.number, places, starting=self.starting)
            plans.append((call, cpu))
        self.drain()  # going back may have ended between an action and its drain
        for call, cpu in plans:
            self.machine.spawn(call.text, call, self.cpus[cpu], cpu, step)
        return step

    def _next_of(self, task: Task) -> None:
        """Begin what the CPU of a task has to do after it in its block.

        Raises:
            UsageError: that cannot be meant now. It has become an action that does nothing, so
                that the CPU comes to the one after it.
        """
        step, cpu = task.payload, task.cpu
        if not isinstance(step, Step):
            return
        begun = [(other.cpu, other.call) for other in self.tasks_of(step)]
        item, kernel = next_action(step, cpu, begun), self.cpus[cpu]
        if item is None:
            return
        with self.contained(item.text):
            call, refusal = succeeding(self.ledger, item, kernel, step.number, begun)
        self.machine.spawn(item.text, call, kernel, cpu, step, chained=True)
        if refusal is not None:
            raise refusal

    def do(self, action: Action | CpuBlock, seen: Seen | None = None) -> Step:
        """Begin an action and run it to its end, then drain; tell *seen* of the turns of a block.

        Raises:
            UsageError: it is refused, or a landmark of its schedule is not reached; nothing is
                changed.
        """
        before, branches = self.position, len(self.machine.branches)
        step = self.begin(action)
        try:
            if isinstance(action, CpuBlock):
                play(self, action.schedule, seen)
                if seen is not None:
                    play_rest(self, seen)
            self.finish()
        except UsageError:
            self.machine.goto(before)
            self.machine.discard_begun()
            self.machine.forget_future()
            if len(self.machine.branches) > branches:  # it was begun in the past
                self.machine.switch_branch(self.machine.branches[-1])
            raise
        return step

    def finish(self) -> None:
        """Run everything in flight to its end, CPUs in order, and drain.

        A CPU that only waits for what another one will do is left alone until that has done it.

        Raises:
            NoProgressError: no CPU would ever come to its end.
        """
        waiting: dict[int, int] = {}
        while self.running:
            enabled = self.machine.enabled()
            able = [cpu for cpu in enabled if cpu not in waiting]
            cpu = (able or enabled or [self.running[0].cpu])[0]
            try:
                if len(self.running) == 1:
                    self.machine.run(cpu)
                else:
                    self.machine.step(cpu)
            except NoProgressError as error:
                self._let_others(cpu, waiting, error)
        self.drain()

    def _let_others(self, cpu: int, waiting: dict[int, int], error: NoProgressError) -> None:
        """After it was seen that *cpu* goes round: go on with others, or give up.

        *waiting* has where each of the others was seen to go round.
        """
        guard, position = self.machine.guard, self.machine.position
        waiting[cpu] = position
        others = [c for c in self.machine.enabled() if c != cpu]
        if not others or len(waiting) == 1 or not error.waits:
            if others and error.waits:
                return
            raise error
        changed = [c for c in others if c in waiting and guard.changed(waiting[c], position)]
        for other in changed:
            del waiting[other]
        if not any(c not in waiting for c in others):
            names = ", ".join(f"CPU {c}" for c in others)
            error.message = error.message.partition(", unless CPU")[0] + f", nor does {names}"
            raise error

    def verify(self, step: Step) -> None:
        """Do a step's functions again beside the machine.

        Raises:
            NotPureError: one of them is no pure function of its answers.
        """
        for task in self.machine.tasks:
            if task.payload is step and not task.running:
                self.machine.verify(task)

    def drain(self, force: bool = False) -> None:
        """Drain the LRU batches of every CPU, if that is asked for (`autodrain`) or *force*."""
        if self.running or not (force or self.machine.peek(Globals.autodrain)):
            return
        for cpu in range(min(len(self.cpus), MAX_CPUS)):
            if any(map(self.machine.peek, PerCpu.fbatch_nrs(cpu))):
                self.machine.spawn("lru_add_drain_all", DRAIN, self.cpus[cpu], cpu)
                self.machine.run(cpu)

    def settle(self) -> frozenset[int]:
        """Let a process of the rig have started: pages of its own are left in the LRU batch."""
        self.drain(force=True)
        if self.machine.peek(Globals.autodrain):
            return frozenset()
        self.machine.spawn("sys_settle", SETTLE, self.cpus[0], 0)
        self.machine.run(0)
        own = (PerCpu.fbatch_folio(0, Fbatch.LRU_ADD, i) for i in range(OWN_PAGES))
        return frozenset(self.machine.peek(word) for word in own)

    # -- moving ------------------------------------------------------------------------

    def step_event(self, cpu: int | None = None) -> Event:
        """One event: of *cpu*, or of the first CPU that can run; redoes when in the past."""
        machine = self.machine
        if machine.future_cpus and (cpu is None or machine.future_cpus[-1] == cpu):
            return machine.redo()
        if cpu is None:
            cpu = self._first_runnable()
        event = machine.step(cpu)
        if machine.running[cpu] is None:
            self.drain()
        return event

    def _first_runnable(self) -> int:
        """The first CPU that can go on; when all wait, the first of them, to say so."""
        machine = self.machine
        busy = [cpu for cpu, task in enumerate(machine.running) if task is not None]
        if not busy:
            raise SandboxError("nothing is running: start an action")
        if len(busy) == 1:
            return busy[0]
        return next((cpu for cpu in busy if machine.blocked(cpu) is None), busy[0])

    def start_before(self, position: int, count: int = 1) -> int | None:
        """Where the last action starts that was begun before *position*, None if there is none.

        With a *count*, the last but so many; the first one if there are fewer.
        """
        starts = self.starts
        at = bisect_left(starts, position)
        return starts[max(at - count, 0)] if at else None

    def start_from(self, position: int) -> int | None:
        """Where the first action starts at *position* or after it, None if there is none."""
        starts, future = self.starts, self.machine.future_tasks
        at = bisect_left(starts, position)
        if at < len(starts):
            return starts[at]
        # The task that is due next is the last of them.
        at = bisect_right(future, -position, key=lambda task: -task.start)
        while at and not future[at - 1].begins:
            at -= 1
        return future[at - 1].start if at else None

    def goto(self, position: int) -> None:
        """Go to any position of the present branch."""
        end = self.end
        if not 0 <= position <= end:
            raise UsageError(f"there is no event {position}", expected=f"0 to {end}")
        self.machine.goto(position)

    # -- reading -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The machine's state in the shape of the recordings (`procs`, `folios`, `holds`)."""
        from sandbox.truth.state import machine_state

        return machine_state(self)

    def event_log(self, start: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
        """Events [start, end) with function, word, old and new value and broken rules."""
        from sandbox.truth.events import describe_events

        return describe_events(self, start, end)
