"""The actions of a session, in step with the tasks of its machine."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.machine.tasks import Task
from sandbox.run.following import Follower
from sandbox.scenario.language import Action, CpuBlock

__all__ = ["Begun", "Step"]


class Step(NamedTuple):
    """One action as done: its number from 1 and the action (or block of CPUs)."""

    number: int
    action: Action | CpuBlock


class Begun(Follower[Task]):
    """The actions begun so far, and where each one starts in the lists of tasks and events."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.tasks: list[int] = []
        """Number of the first task of each step."""
        self.starts: list[int] = []
        """Position at which each step starts, ascending."""
        self.elsewhere = 0
        """Tasks that run on other CPUs than the first."""

    def added(self, task: Task, at: int) -> None:
        """Take in a task: that of the last step, of a new one, or one that drains."""
        self.elsewhere += task.cpu > 0
        step = task.payload
        if isinstance(step, Step) and (not self.steps or self.steps[-1] is not step):
            self.steps.append(step)
            self.tasks.append(at)
            self.starts.append(task.start)

    def dropped(self, task: Task, at: int) -> None:
        """A task was taken back, and its step if it was the first one of it."""
        self.elsewhere -= task.cpu > 0
        if self.tasks and self.tasks[-1] == at:
            self.steps.pop()
            self.tasks.pop()
            self.starts.pop()
