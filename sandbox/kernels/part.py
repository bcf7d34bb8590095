"""The base of the mixins that make up a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.memory import Word


class KernelPart:
    """One file of the kernel's tree; its functions call those of the others through `self`.

    The parts call each other in circles, as the kernel's files do, so no part can name the class
    that has them all; for the type checker every other function is `Any`.
    """

    cpu: int

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Word: ...
