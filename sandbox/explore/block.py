"""A block of CPUs as something that can be explored: the engine, learned event by event."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from sandbox.errors import KernelBug, SandboxError
from sandbox.explore.automaton import Automaton, Function, Node
from sandbox.explore.shadow import Broken, Shadow
from sandbox.explore.tables import Effect
from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call, start
from sandbox.machine.checked import PLACELESS, no_such_word
from sandbox.machine.memory import (
    ALLOC,
    DECIDE,
    FIRST_MUTATING,
    LOAD,
    LOCK,
    LOCK_BIT,
    READ,
    UNLOCK,
    Event,
)
from sandbox.machine.operations import OPERATIONS
from sandbox.machine.tasks import Task
from sandbox.machine.watchdog import NoEvent
from sandbox.run.model import Model
from sandbox.run.succession import next_action, succeeding

__all__ = ["BUG", "Block"]

BUG = "BUG"
"""What is broken when a function misbehaves."""


class _Reaction(NamedTuple):
    """What looks at a change, as a stage of its own: the same wherever the change is made."""

    number: int
    event: Event
    cpu: int
    old: Any


class Block:
    """A state in which CPUs have begun what they do, as an engine for `Tables`.

    With `rules` off only what the functions do themselves is learned.
    """

    alternatives = 1

    def __init__(self, model: Model, *, rules: bool = True) -> None:
        """Explore from the state of a *model*, which is left as it is."""
        self.shadow = Shadow(model)
        self._rules = rules
        self._step = model.step
        running = model.machine.running
        self.cpus = [cpu for cpu, task in enumerate(running) if task is not None]
        tasks = [cast("Task", running[cpu]) for cpu in self.cpus]
        self._kernels = [cast("Kernel", task.kernel) for task in tasks]
        self.automata = [Automaton(kernel) for kernel in self._kernels]
        self.starts = [
            own.begin(partial(_made, task)) for own, task in zip(self.automata, tasks, strict=True)
        ]
        self._tasks: dict[tuple[int, Call], Task] = {}
        begun = model.calls
        self._follows = [next_action(model.step, cpu, begun) is not None for cpu in self.cpus]
        self.shadow.begun.put("calls", begun)
        if not rules:
            machine = self.shadow.machine
            machine.reactions = [kind and () for kind in machine.reactions]

    def events(self, node: Node) -> Sequence[Event]:
        """The one event of a node; none when its CPU is through, or is not to go on."""
        return () if node.event is None else (node.event,)

    def load(self, place: Hashable, value: Any) -> None:  # noqa: ANN401  # a word
        """Give a place a value."""
        self.shadow.load(place, value)

    def kind(self, place: Hashable) -> Hashable:
        """The field that a word is, or the table that an entry is of."""
        if place.__class__ is int:
            return self.shadow.machine.memory.kinds[place]
        name = cast("tuple[Hashable, ...]", place)[0]
        return name[0] if isinstance(name, tuple) else name

    def lock_of(self, node: Node) -> tuple[Hashable, bool] | None:
        """The lock that the event of a node takes for its CPU alone, or gives back."""
        event = node.event
        if event is None or event[0] not in (LOCK, UNLOCK):
            return None
        takes = event[0] == LOCK
        return None if takes and event[2] == READ else (int(event[1]), takes)

    # -- events ------------------------------------------------------------------------------

    def perform(self, number: int, node: Node, alternative: int) -> Effect:
        """Do the event of a node, which its CPU then goes on from."""
        shadow, cpu = self.shadow, self.cpus[number]
        recorder = shadow.recorder
        recorder.start()
        try:
            waits, answer, stages = self._operation(node.event, cpu)
            if waits:
                recorder.stop()
                return Effect(recorder.reads, {}, frozenset())
            with shadow.machine.watchdog:
                after = self.automata[number].next(node, answer)
            if after is self.automata[number].ended:
                for stage in stages:
                    shadow.react(stage.event, cpu, stage.number, stage.old)
                stages, after = [], self._go_on(number, node.stage)
        except (Exception, NoEvent) as error:  # noqa: BLE001  # a person's own may raise anything
            recorder.on = False
            shadow.put_back()
            recorder.stop()
            broke = frozenset((Broken(f"{BUG}: {self._said(error)}", 0, None),))
            recorder.writes = {}
            list(shadow.found())
            return Effect(recorder.reads, {}, broke, (), self._stuck(number))
        recorder.stop()
        return Effect(recorder.reads, recorder.writes, frozenset(shadow.found()), stages, after)

    def _operation(self, event: Event, cpu: int) -> tuple[bool, Any, list[_Reaction]]:
        """(Must it wait, the answer, what is to look at it), as `Performer._perform` has it."""
        shadow, words = self.shadow, self.shadow.words
        op, addr = event[0], event[1]
        if op == ALLOC:
            old, at = shadow.machine.allocate(event, cpu)
            for number in shadow.reactions(event):
                shadow.react(event, cpu, number, old)
            return False, at, []
        if addr < 1 and op not in PLACELESS:
            raise KernelBug(no_such_word(event, addr, len(words)))
        if LOAD < op < FIRST_MUTATING and op != DECIDE:
            shadow.machine.tell(event, cpu)
            return False, None, []
        old = answer = words[addr]
        if op < FIRST_MUTATING:
            if op:
                shadow.machine.tell(event, cpu)
            return False, answer, []
        if old and _waits(event, old, cpu):
            return True, None, []
        answer = OPERATIONS[op](words, event, old, cpu)
        return False, answer, [_Reaction(n, event, cpu, old) for n in shadow.reactions(event)]

    def stage(self, key: Hashable) -> Effect:
        """Have one watcher, or one check, look at a change."""
        reaction = cast("_Reaction", key)
        shadow, recorder = self.shadow, self.shadow.recorder
        recorder.start()
        shadow.react(reaction.event, reaction.cpu, reaction.number, reaction.old)
        recorder.stop()
        return Effect(recorder.reads, recorder.writes, frozenset(shadow.found()))

    # -- what comes next ---------------------------------------------------------------------

    def _go_on(self, number: int, stage: int) -> Node:
        """The node at which a CPU is when its function has returned."""
        cpu, shadow = self.cpus[number], self.shadow
        automaton, kernel = self.automata[number], self._kernels[number]
        if self._follows[number]:
            begun = shadow.begun["calls"]
            action = next_action(self._step, cpu, begun)
            if action is not None and self._step is not None:
                call, _ = succeeding(shadow.ledger, action, kernel, self._step.number, begun)
                shadow.begun["calls"] = (*begun, (cpu, call))
                shadow.running[cpu] = self._task(cpu, call, kernel)
                return automaton.begin(partial(start, call, kernel), stage + 1)
        shadow.running[cpu] = None
        return automaton.ended

    def _task(self, cpu: int, call: Call, kernel: Kernel) -> Task:
        """What the rules see of a call that runs: one thing for each call."""
        task = self._tasks.get((cpu, call))
        if task is None:
            task = self._tasks[cpu, call] = Task(cpu, call.text, call, kernel, 0, self._step)
        return task

    def _said(self, error: BaseException) -> str:
        """What went wrong."""
        if isinstance(error, NoEvent):
            error = self.shadow.machine.watchdog.ended("the function")
        return error.message if isinstance(error, SandboxError) else repr(error)

    def _stuck(self, number: int) -> Node:
        """Where a CPU is whose function misbehaved: it does not go on."""
        return self.automata[number].ended


def _made(task: Task) -> Function:
    """A task's function as it stands now, before its next event is asked for."""
    if not task.answers:
        return start(task.call, task.kernel)
    return _gone_on(task)


def _gone_on(task: Task) -> Function:
    """The same of one that was answered already."""
    gen = start(task.call, task.kernel)
    event = next(gen)
    for answer in task.answers:
        event = gen.send(answer)
    while True:
        answer = yield event
        try:
            event = gen.send(answer)
        except StopIteration as stop:
            return stop.value


def _waits(event: Event, value: int, cpu: int) -> bool:
    """Whether an event has to wait for a word that is not 0 (`sandbox.machine.locks`)."""
    if event[0] == LOCK:
        return value < 0 or event[2] != READ or bool(value & (1 << cpu))
    return event[0] == LOCK_BIT and bool(value & event[2])


def broken_rules(found: Iterable[Broken]) -> set[str]:
    """Rules, and what the kernel complained of, that no window of its own covers."""
    return {own.rule for own in found if own.window is None}
