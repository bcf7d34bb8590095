"""The typed errors of the engine, each of which can say where and what was expected.

Every error that the sandbox raises on purpose derives from `SandboxError`, so
that a caller (command line, application, test) can catch one class and print
one line.  A caller that needs to tell them apart catches the subclass.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "Cancelled",
    "CannotError",
    "DeadlockError",
    "ExpectationError",
    "KernelBug",
    "NoEventError",
    "NoProgressError",
    "NotPureError",
    "PatchError",
    "PresetError",
    "SandboxError",
    "ScenarioError",
    "UnknownKernelError",
    "UnknownRuleError",
    "UsageError",
    "Where",
]


class Where(NamedTuple):
    """A place in a text that a person wrote; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class SandboxError(Exception):
    """Something the sandbox refuses, with its place and what was expected instead.

    `str()` gives `file:line:column: message; expected ...`; the parts that are
    not known are left out.
    """

    def __init__(
        self, message: str, where: Where | None = None, expected: str | None = None
    ) -> None:
        super().__init__(message, where, expected)
        self.message = message
        self.where = where
        self.expected = expected

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None else ""
        wanted = f"; expected {self.expected}" if self.expected else ""
        return f"{place}{self.message}{wanted}"


class ScenarioError(SandboxError):
    """A text is not a scenario: the language of the actions was not followed."""


class PresetError(SandboxError):
    """A preset document is malformed, or there is no preset of that name."""


class ExpectationError(SandboxError):
    """An expectation is malformed; one that merely does not hold raises nothing."""


class CannotError(SandboxError):
    """This machine cannot do it: a program, a kernel or a privilege is missing."""


class UsageError(SandboxError):
    """The machine refuses an action (unknown process, bad range ...) and is unchanged."""


class UnknownKernelError(SandboxError):
    """No modelled kernel has that name."""


class UnknownRuleError(SandboxError):
    """No rule has that name, or a person's own is none."""


class PatchError(UnknownKernelError):
    """The text of a person's kernel has a mistake that is seen before any of it runs.

    `findings` has all of them, the one of the message first.
    """

    findings: tuple[NamedTuple, ...] = ()


class KernelBug(SandboxError):
    """A modelled kernel function misbehaved: a BUG() or a broken promise to the machine."""


class NotPureError(KernelBug):
    """A function, given its answers again, did other events than the journal has.

    `function`, `file` and `line` are where it is when it first does something else.
    """

    function = file = ""
    line = 0


class NoProgressError(KernelBug):
    """An action that would go on for ever; the machine stands between two of its events.

    `function`, `file` and `line` are the place that repeats, `events` what it repeats, as text.
    """

    function = file = ""
    line = 0
    events: tuple[str, ...] = ()
    waits = False
    """Whether it might go on if another CPU did."""


class NoEventError(NoProgressError):
    """A function was ended from outside, for it came to no event within a time that was set."""


class Cancelled(SandboxError):
    """A long move was stopped on request, between two events; the machine stands where it was."""


class DeadlockError(SandboxError):
    """Every CPU that could run waits for a lock that another of them holds."""
