"""What the rig refuses, or could not do; a machine that lacks something is `CannotError`."""

from __future__ import annotations

from sandbox.errors import CannotError, SandboxError

__all__ = ["CannotError", "GoneError", "RigError", "UnplayableError"]


class RigError(SandboxError):
    """A recording could not be made, though the machine has all that it needs."""


class UnplayableError(RigError):
    """A scenario asks for something that the rig's guest does not do; with its place."""


class GoneError(CannotError):
    """The archive does not have a version of a kernel any more."""
