"""Looking at the functions that run: live again after going back, their stacks, their calls."""

from __future__ import annotations

from typing import Any

from sandbox.errors import KernelBug
from sandbox.frames import Frame, called_after, frames_of, trace
from sandbox.memory import Gen, Word
from sandbox.tasks import Task

__all__ = ["Functions"]


class Functions:
    """The part of a machine that looks at running functions."""

    cpus: bytearray

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
        answers = task.answers if task.running else task.answers[:-1]
        return list(trace(task.factory(), answers))

    def called_at(self, task: Task) -> int:
        """Position at which the event was pending that led into the function *task* is in."""
        events = called_after(task.factory(), task.answers)
        if not events:
            return task.start
        position = len(self.cpus)
        for _ in range(len(task.answers) - events + 1):
            position = self.cpus.rindex(task.cpu, task.start, position)
        return position
