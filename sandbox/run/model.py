"""A kernel on a machine with its rules, as a transition system: what a search walks over.

A state is a `Model`; `enabled` says which CPUs can go on, `apply` lets one do its next event and
says which rules that broke, and `clone` makes another one that goes its own way.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from sandbox.kernels.base import Kernel
from sandbox.machine.machine import Machine
from sandbox.rules import RuleEngine, Violation
from sandbox.truth.canonical import canonical
from sandbox.truth.ledger import Ledger

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["Model"]


class Model:
    """One state; it changes only by `apply`.

    What begins when a CPU has come to the end of its action (the next one of a block) is not a
    part of it: a search is over what runs.
    """

    def __init__(self, kernel: type[Kernel], machine: Machine) -> None:
        """Put the ledger and the rules of *kernel* on a machine that nothing derives words of."""
        self.kernel, self.machine = kernel, machine
        self.ledger = Ledger(machine)
        self.rules = RuleEngine(machine, self.ledger, kernel)

    @classmethod
    def of(cls, session: Session) -> Model:
        """The state that a session is in, with what is running there."""
        return cls(session.kernel, session.machine.clone())

    def enabled(self) -> list[int]:
        """CPUs that can go on, ascending; none when everything has ended, or waits for ever."""
        return self.machine.enabled()

    @property
    def resting(self) -> bool:
        """Whether nothing runs any more; if something does and nothing is enabled, it hangs."""
        return not any(self.machine.running)

    def apply(self, cpu: int) -> list[Violation]:
        """Let a CPU do its pending event; the rules that do not hold after it.

        Raises:
            KernelBug: the function misbehaves; the state is as it was.
            DeadlockError: the CPU has to wait.
        """
        before = len(self.rules.violations)
        self.machine.apply(cpu)
        return self.rules.violations[before:]

    def clone(self) -> Model:
        """The same state once more."""
        return Model(self.kernel, self.machine.clone())

    def identity(self) -> Hashable:
        """The state as a value, addresses and answers included."""
        return self.machine.identity()

    def canonical(self) -> Hashable:
        """A state at rest as a value in which addresses are names."""
        return canonical(self.machine)
