"""Performing events: what a machine does between two places where it could be looked at.

The loop is what the model's speed is made of; around it, what a function raises, or what it left
that those who are told of events cannot follow, becomes a `KernelBug`, and the machine is left
between two events.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

from sandbox.errors import KernelBug
from sandbox.machine import operations
from sandbox.machine.checked import MAX_WORDS, PLACELESS, no_such_word
from sandbox.machine.derived import Derived
from sandbox.machine.fields import Struct
from sandbox.machine.functions import FUNCTION, OPERATION, REACTION, Functions, NoEventAtAll
from sandbox.machine.locks import BLOCKING, deadlock, lock_owner
from sandbox.machine.memory import (
    ALLOC,
    DECIDE,
    FIRST_MUTATING,
    NOTE,
    TLB_FLUSH,
    Event,
    Word,
    reused_frame,
)
from sandbox.machine.operations import OPERATIONS
from sandbox.machine.ranges import Group
from sandbox.machine.reuse import FreeFrames
from sandbox.machine.tasks import Task

__all__ = ["Performer", "Watcher"]

SPECIAL = BLOCKING | {ALLOC}
"""Operations that are not just a function of their word."""
Watcher = Callable[[Event, int, int, Any, Any], None]
"""Called as (event, CPU, address, old, new) after a word of a watched field changed."""


class Performer(Functions):
    """The part of a machine that performs events, and takes back the one that went wrong."""

    running: list[Task | None]
    derived: Derived
    frames: FreeFrames
    group: Group
    acting: int
    watchers: list[tuple[Watcher, ...]]
    reactions: list[tuple[Watcher, ...]]
    note_watchers: list[Callable[[Event, int], None]]
    flush_watchers: list[Callable[[Event, int], None]]
    _performing = False
    _done = 0
    _last: tuple[Event, Word, int]

    @property
    def position(self) -> int:
        """Number of events performed so far."""
        raise NotImplementedError

    def holder_of_bit(self, addr: int, cpu: int) -> int:
        """The CPU that set the lock bits of a word."""
        raise NotImplementedError

    def _finished(self, task: Task) -> None:
        """A function has returned; the machine knows what that means."""
        raise NotImplementedError

    def _burst(self, task: Task, count: int) -> None:
        """Perform up to *count* events, while somebody watches if need be."""
        self.not_performing()
        self._performing = True
        try:
            if self.checked:
                with self.watchdog:
                    self._supervised(task, count)
            else:
                self._supervised(task, count)
        finally:
            self._performing = False

    def not_performing(self) -> None:
        """Refuse to be moved by a function that is being run."""
        if self._performing:
            raise KernelBug("a kernel function moves the machine that runs it")

    def _supervised(self, task: Task, count: int) -> None:
        """Perform events; whatever goes wrong, the machine is between two of them then."""
        send = self.sender(task)
        try:
            self._perform(task, count, send)
        except StopIteration as stop:
            self._returned(task, stop.value)
        except BaseException as error:
            fault = self._contained(task, self._phase_of(task, error), error)
            if fault is error:
                raise
            raise fault from error

    def _perform(self, task: Task, count: int, send: Callable[[Word], Event]) -> None:
        """Change memory, tell the watchers, answer; *count* times.

        `History` has the same with a journal, and must have it anew: the model's speed is made of
        it.
        """
        cpu, cells, kinds = task.cpu, self.memory.cells, self.memory.kinds
        self.acting = cpu
        event: Any = task.pending
        try:
            for _ in repeat(None, count):
                op, addr = event[0], event[1]
                old = answer = cells[addr]
                if addr < 1 and op not in PLACELESS:
                    raise KernelBug(no_such_word(event, addr, len(cells)))
                if op in SPECIAL:
                    old, answer = self._special(event, old, cpu)
                elif op >= FIRST_MUTATING:
                    answer = OPERATIONS[op](cells, event, old, cpu)
                elif op and op != DECIDE:
                    answer = None
                self._last = event, old, cpu
                self._done += 1
                task.answers.append(answer)
                if op >= FIRST_MUTATING:
                    for react in self.reactions[kinds[addr]]:
                        react(event, cpu, addr, old, cells[addr])
                elif op:
                    self._tell(event, cpu)
                event = send(answer)
        finally:
            task.pending = event

    def _phase_of(self, task: Task, error: BaseException) -> int:
        """Where in the loop an exception came from; the loop itself need not keep account of it."""
        gen: Any = task.gen
        if gen is None or gen.gi_frame is None or isinstance(error, NoEventAtAll):
            return FUNCTION
        at = error.__traceback__
        while at is not None and at.tb_frame.f_code is not type(self)._perform.__code__:
            at = at.tb_next
        inner = None if at is None or at.tb_next is None else at.tb_next.tb_frame.f_code
        own = Performer._special.__code__
        if inner is None or inner is own or inner.co_filename == operations.__file__:
            return OPERATION
        return REACTION

    def _returned(self, task: Task, result: Word) -> None:
        """The function has returned on the answer to its last event."""
        event = task.pending
        task.result = result
        self.watchdog.paused = True  # looking at all that there is may take a while
        try:
            self._finished(task)
        except Exception as error:  # what a function left may be nothing that rules can look at
            task.pending, task.end, task.result = event, None, None
            self.running[task.cpu] = task
            raise self._contained(task, REACTION, error) from error
        finally:
            self.watchdog.paused = False

    def _contained(self, task: Task, phase: int, error: BaseException) -> BaseException:
        """Leave the machine between two events; what to raise instead of *error*."""
        fault = self.bug(task, error, phase)
        if phase != OPERATION and task.pending is not None:
            self._take_back(task, task.pending)
        return fault

    def _special(self, event: Event, old: Word, cpu: int) -> tuple[Word, Word]:
        """(What is journaled, the answer) of what may have to wait, or changes no one word."""
        if event[0] == ALLOC:
            return self._allocate(event[2], event[3], cpu)
        if old and lock_owner(self, event, cpu) is not None:
            raise deadlock(self, cpu, event)
        return old, OPERATIONS[event[0]](self.memory.cells, event, old, cpu)

    def _allocate(self, struct: Struct, order: int, cpu: int) -> tuple[Word, int]:
        """(What is journaled, the address): a frame that is free, or a place in the CPU's range."""
        memory = self.memory
        length = len(memory.cells)
        if struct is Struct.PAGE:
            frame = self.frames.next(cpu, order)
            if frame:
                return (length, frame, *memory.renew(frame, order)), frame
        at = self.group.place(cpu, struct, order)
        if not at:
            return length, memory.allocate(struct, order)
        if at > MAX_WORDS:
            self.group.taken_back(cpu, struct, order)
            raise KernelBug(f"CPU {cpu} allocated beyond {MAX_WORDS:,} words of memory")
        return (length, at), memory.allocate(struct, order, at)

    def _tell(self, event: Event, cpu: int) -> None:
        """Tell of an event that changes no word."""
        if event[0] in (NOTE, DECIDE):
            for note in self.note_watchers:
                note(event, cpu)
        elif event[0] == TLB_FLUSH:
            for flush in self.flush_watchers:
                flush(event, cpu)
        else:
            raise KernelBug(f"{event!r} is not an event")

    def _take_back(self, task: Task, event: Event) -> None:
        """The function died on the answer to *event*: as if the event had not happened."""
        task.answers.pop()
        self._revert(event, self._last_old(), task.cpu)
        self.drop(task)

    def _last_old(self) -> Word:
        """Forget the last event; the old value of its word."""
        self._done -= 1
        return self._last[1]

    def _revert(self, event: Event, old: Word, cpu: int) -> None:
        """Take an event that was forgotten out of memory, and of what follows from it."""
        self.derived.undone(self.position)
        if event[0] < FIRST_MUTATING:
            return
        addr = event[1]
        if event[0] == ALLOC:
            self.memory.release(old)
            if old.__class__ is tuple and not reused_frame(old):
                self.group.taken_back(cpu, event[2], event[3])
            return
        cells = self.memory.cells
        new = cells[addr]
        cells[addr] = old
        for watch in self.watchers[self.memory.kinds[addr]]:
            watch(event, cpu, addr, new, old)
