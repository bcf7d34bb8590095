"""Looking at the functions that run: live again after going back, their stacks, their calls.

And what becomes of one that misbehaves: whatever it raises is a `KernelBug` that names it, and the
machine is left as it was between two events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any, TypeVar

from sandbox.errors import DeadlockError, KernelBug, NoEventError, NotPureError
from sandbox.machine.calls import start
from sandbox.machine.checked import event_fault, event_text, shown
from sandbox.machine.configuration import generators
from sandbox.machine.frames import (
    Frame,
    error_place,
    frames_of,
    innermost,
    not_a_generator,
    place_text,
    trace,
)
from sandbox.machine.memory import Event, Gen, MemoryImage, Word
from sandbox.machine.tasks import Task
from sandbox.machine.watchdog import NoEvent, Watch

__all__ = ["FUNCTION", "OPERATION", "REACTION", "Functions", "NoEventAtAll"]

OPERATION, REACTION, FUNCTION = range(3)
"""Where a burst is: in the event itself, in those told of it, in the function it is answered to."""

T = TypeVar("T")


class Functions:
    """The part of a machine that makes functions and looks at running ones."""

    memory: MemoryImage
    checked: bool
    watchdog: Watch
    interruption: BaseException | None

    # -- making them -----------------------------------------------------------------------

    def started(self, task: Task) -> tuple[Gen[Any], Event]:
        """Make a task's function, up to its first event."""
        gen = None
        try:
            with self.watchdog:
                gen = start(task.call, task.own)
                if not isinstance(gen, GeneratorType):
                    raise TypeError(f"{shown(gen)} is no generator")
                pending: Event = next(gen)
                if self.checked:
                    self._look_at(pending, gen)
        except StopIteration:
            raise KernelBug(f"{task.name}: the function yields no event") from None
        except BaseException as error:  # a person's own kernel may raise anything
            raise self.bug(task, error, None) from error
        return gen, pending

    def live(self, task: Task) -> Gen[Any]:
        """The generator of a running task, made live again if it is stale."""
        gen: Gen[Any] | None = task.gen
        return gen if gen is not None else self.rebuild(task)

    def rebuild(self, task: Task) -> Gen[Any]:
        """Make a stale function live again by giving it its answers once more.

        Raises:
            NotPureError: it does not do the events that the journal has.
        """
        if task.fault is not None:
            raise task.fault
        gen: Any = None
        try:
            with self.watchdog:
                gen = self.made_shortly(task)
                if gen is None:
                    gen = start(task.call, task.own)
                    self._again(task, gen)
        except NotPureError as error:
            task.fault = error
            raise
        except BaseException as error:  # a person's own kernel may raise anything
            fault = self.bug(task, error, None)
            if isinstance(fault, KernelBug) and not isinstance(fault, NoEventError):
                fault = self._not_pure(task, gen, len(task.answers), f"it {fault.message}")
                fault.function, fault.file, fault.line = _place_of(error)
            if isinstance(fault, KernelBug):
                task.fault = fault
            raise fault from error
        task.gen = gen
        return gen  # type: ignore[no-any-return]  # what it yields is Any by nature

    def made_shortly(self, task: Task) -> Gen[Any] | None:
        """A task's function live again without doing all of it, where enough of it is known."""
        return None

    def _again(self, task: Task, gen: Any) -> None:  # noqa: ANN401  # a generator's own methods
        """Give a fresh generator a task's answers, and hold what it does against the journal."""
        count = 0
        try:
            now = next(gen)
            events, last = self.own_events(task), len(task.answers) - 1
            for answer in task.answers:
                if count == last:
                    task.before = count + 1, innermost(gen)
                was = now if events is None else next(events, None)
                if now != was:
                    raise self._differs(task, gen, count, was, now)
                now = gen.send(answer)
                count += 1
                if not count & 255:
                    self.watchdog.beat()
        except StopIteration:
            now = None
            if not task.running and count == len(task.answers) - 1:
                return
        if now != task.pending:
            raise self._differs(task, gen, count, task.pending, now)

    def own_events(self, task: Task) -> Iterator[Event] | None:
        """The events that a task has done, in order; None where they are not kept."""
        raise NotImplementedError

    def verify(self, task: Task) -> None:
        """Do a function again that has returned, beside the machine, and compare.

        Raises:
            NotPureError: it is no pure function of its answers.
        """
        gen = None
        try:
            with self.watchdog:
                gen = start(task.call, task.kernel)
                self._again(task, gen)
        except BaseException as error:  # a person's own kernel may raise anything
            if isinstance(error, NotPureError):
                raise
            raise self.bug(task, error, None) from error

    def _differs(
        self, task: Task, gen: Word, count: int, was: Event | None, now: object
    ) -> KernelBug:
        """A function did another event than the journal has for it."""
        old = "to return" if was is None else event_text(was, self.memory)
        if now is None:
            new = "it returns"
        elif event_fault(now, self.memory) is None:
            new = event_text(now, self.memory)  # type: ignore[arg-type]  # it is an event
        else:
            new = shown(now)
        return self._not_pure(task, gen, count, f"event {count + 1} was {old}, now {new}")

    def _not_pure(self, task: Task, gen: Word, count: int, what: str) -> NotPureError:
        frame = getattr(gen, "gi_frame", None)
        function, line, file = innermost(gen) if frame is not None else _first_line(gen, task)
        error = NotPureError(
            f"{task.name}: the function is not a pure function of its answers: "
            f"{place_text(function, file, line)}: {what}"
        )
        error.function, error.file, error.line = function, file, line
        return error

    def sender(self, task: Task) -> Callable[[Word], Event]:
        """What gives a task's function an answer and brings its next event."""
        gen = self.live(task)
        if not self.checked:
            return gen.send

        def send(answer: Word) -> Event:
            event: Event = gen.send(answer)
            self._look_at(event, gen)
            return event

        return send

    def _look_at(self, event: Event, gen: Word) -> None:
        """Refuse what is no event before it becomes pending."""
        fault = event_fault(event, self.memory)
        if fault is not None:
            raise NoEventAtAll(f"{place_text(*_in_order(innermost(gen)))} {fault}")

    def drop(self, task: Task) -> None:
        """Forget a task's live function: what is gone back over is made again when it is wanted."""
        gen, task.gen = task.gen, None
        if self.checked and gen is not None:
            self.discard(gen)

    def discard(self, gen: Any) -> None:  # noqa: ANN401  # a generator, or what is none
        """End a generator that nobody wants any more; its own clean-up may do anything."""
        if not isinstance(gen, GeneratorType):
            return
        levels = generators(gen)
        try:
            with self.watchdog:
                gen.close()
        except BaseException as error:
            if error is self.interruption:
                raise
            for level in levels:
                if level.gi_frame is not None:
                    _keep_for_ever(level)

    # -- when they go wrong ----------------------------------------------------------------

    def bug(self, task: Task, error: BaseException, phase: int | None) -> BaseException:
        """What to raise for an exception that came out of a function or of what it did.

        A person's own interruption stays what it is.
        """
        if error is self.interruption or not (self.checked or isinstance(error, Exception)):
            return error
        if isinstance(error, DeadlockError) and phase == OPERATION:
            return error
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
            error = error.__cause__  # what Python makes of one in a generator
        if isinstance(error, NoEvent):
            return self.watchdog.ended(task.name)
        if isinstance(error, NoEventAtAll):
            return KernelBug(f"{task.name}: {error}")
        if phase == OPERATION:
            return self._bad_operation(task, error)
        if phase == REACTION and task.gen is not None:
            place = place_text(*_in_order(innermost(task.gen)))
            return KernelBug(
                f"{task.name}: {place} left what cannot be: the rules' own look at it raised "
                f"{shown(error)}"
            )
        message = error.message if isinstance(error, KernelBug) else f"raised {shown(error)}"
        return KernelBug(f"{task.name}: {error_place(error)} {message}{not_a_generator(error)}")

    def _bad_operation(self, task: Task, error: BaseException) -> KernelBug:
        """The pending event itself cannot be done."""
        place = place_text(*_in_order(innermost(task.gen))) if task.gen is not None else "it"
        if isinstance(error, KernelBug):
            return KernelBug(f"{task.name}: {place}: {error.message}", expected=error.expected)
        fault = event_fault(task.pending, self.memory)
        return KernelBug(f"{task.name}: {place} {fault or 'raised ' + shown(error)}")

    # -- looking at them -------------------------------------------------------------------

    def stack(self, task: Task) -> list[Frame]:
        """The call stack of a running task, outermost first, with lines and locals.

        Of one that cannot be made live again it is the place that shows it, alone.
        """
        if not task.running:
            return []
        try:
            return list(frames_of(self.live(task)))
        except NotPureError as fault:
            return [Frame(fault.function, fault.file, fault.line, {})]
        except KernelBug:
            return []

    def running_function(self, task: Task) -> Word:
        """The generator of the kernel function a running task is in."""
        gen: Any = self.live(task)
        while hasattr(gen.gi_yieldfrom, "gi_frame"):
            gen = gen.gi_yieldfrom
        return gen

    def trace_functions(self, task: Task) -> list[tuple[str, int, str]]:
        """For each event of *task* in order: (function, line, file) that yielded it.

        Of a function that is not pure, as far as it goes; then the places are not known.
        """
        return self.traced(task, innermost, ("?", 0, ""))

    def traced(self, task: Task, look: Callable[[Word], T], unknown: T) -> list[T]:
        """What *look* says of the function of *task* before each of its events, in order.

        Of a function that is not pure, as far as it goes; then it is *unknown*.
        """
        answers = task.answers if task.running else task.answers[:-1]
        seen: list[T] = []
        wanted = len(answers) + 1
        try:
            with self.watchdog:
                for each in trace(start(task.call, task.kernel), answers, look):
                    seen.append(each)
                    self.watchdog.beat()
        except BaseException as error:  # a person's own kernel may raise anything
            if error is self.interruption:
                raise
        return seen[:wanted] + [unknown] * (wanted - len(seen))


def _keep_for_ever(gen: Any) -> None:  # noqa: ANN401  # a generator
    """Never free what did not let itself be ended: freeing it would try again, at any time."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(gen))


class NoEventAtAll(Exception):
    """A function yielded what is no event; the text says which, and what it yielded."""


def _in_order(place: tuple[str, int, str]) -> tuple[str, str, int]:
    function, line, file = place
    return function, file, line


def _place_of(error: BaseException) -> tuple[str, str, int]:
    """Function, file and line where an exception was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return "", "", 0
    code = at.tb_frame.f_code
    return code.co_name, code.co_filename, at.tb_lineno


def _first_line(gen: Word, task: Task) -> tuple[str, int, str]:
    """Where a function begins that has returned, or that is none."""
    code = getattr(gen, "gi_code", None)
    if code is None:
        return task.name, 0, ""
    return code.co_name, code.co_firstlineno, code.co_filename
