"""A kernel on a machine with its rules, as a transition system: what a search walks over.

A state is a `Model`; `enabled` says which CPUs can go on, `apply` lets one do its next event and
says which rules that broke, and `clone` makes another one that goes its own way.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call
from sandbox.machine.machine import Machine
from sandbox.machine.tasks import Task
from sandbox.rules import RuleEngine, Violation
from sandbox.run.steps import Step
from sandbox.run.succession import next_action, succeeding
from sandbox.truth.canonical import canonical
from sandbox.truth.ledger import Ledger

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["Model"]


class Model:
    """One state; it changes only by `apply`.

    A CPU that has come to the end of an action of a block begins with its next one in the same
    step, as it does in a session.
    """

    def __init__(
        self,
        kernel: type[Kernel],
        machine: Machine,
        step: Step | None = None,
        begun: tuple[tuple[int, Call], ...] = (),
    ) -> None:
        """Put the ledger and the rules of *kernel* on a machine that nothing derives words of.

        *step* is what runs there, and *begun* what CPUs have begun of it so far.
        """
        self.kernel, self.machine = kernel, machine
        self.step, self._begun = step, begun
        self.ledger = Ledger(machine)
        self.rules = RuleEngine(machine, self.ledger, kernel)

    @classmethod
    def of(cls, session: Session) -> Model:
        """The state that a session is in, with what is running there."""
        step = session.last_step if session.running else None
        begun = tuple((task.cpu, task.call) for task in session.tasks_of(step)) if step else ()
        return cls(session.kernel, session.machine.clone(), step, begun)

    def enabled(self) -> list[int]:
        """CPUs that can go on, ascending; none when everything has ended, or waits for ever."""
        return self.machine.enabled()

    @property
    def resting(self) -> bool:
        """Whether nothing runs any more; if something does and nothing is enabled, it hangs."""
        return not any(self.machine.running)

    @property
    def begun(self) -> tuple[tuple[Call, ...], ...]:
        """By CPU, what it has begun of the block so far: what it comes to depends on that."""
        cpus = range(len(self.machine.running))
        return tuple(tuple(call for cpu, call in self._begun if cpu == own) for own in cpus)

    @property
    def calls(self) -> tuple[tuple[int, Call], ...]:
        """(CPU, call) of what was begun of the block so far, in that order."""
        return self._begun

    def apply(self, cpu: int) -> list[Violation]:
        """Let a CPU do its pending event; the rules that do not hold after it.

        An action that cannot be meant when its CPU comes to it does nothing.

        Raises:
            KernelBug: the function misbehaves; the state is as it was.
            DeadlockError: the CPU has to wait.
        """
        before = len(self.rules.violations)
        task = self.machine.running[cpu]
        self.machine.apply(cpu)
        if task is not None and not task.running:
            self._go_on(task)
        return self.rules.violations[before:]

    def _go_on(self, task: Task) -> None:
        """Begin what the CPU of a task has to do after it."""
        action = next_action(self.step, task.cpu, self._begun)
        if action is None or self.step is None:
            return
        kernel, number = cast("Kernel", task.kernel), self.step.number
        call, _ = succeeding(self.ledger, action, kernel, number, self._begun)
        self._begun = (*self._begun, (task.cpu, call))
        self.machine.spawn(action.text, call, kernel, task.cpu, self.step, chained=True)

    def clone(self) -> Model:
        """The same state once more."""
        return Model(self.kernel, self.machine.clone(), self.step, self._begun)

    def identity(self) -> Hashable:
        """The state as a value, addresses and answers included."""
        return self.machine.identity(), self.begun

    def canonical(self) -> Hashable:
        """A state at rest as a value in which addresses are names."""
        return canonical(self.machine)
