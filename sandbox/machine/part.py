"""The base of the mixins that make up a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.kernels.kernel_api import KernelApi
else:

    class KernelApi:
        """Every function of a kernel with its types (`kernel_api.pyi`), which only checkers see."""

        __slots__ = ()


class KernelPart(KernelApi):
    """One file of the kernel's tree; its functions call those of the others through `self`.

    The parts call each other in circles, as the kernel's files do, so no part can name the class
    that has them all; the type checker knows every other function from `kernel_api.pyi`, which
    `python -m sandbox.kernels.api` writes.
    """

    __slots__ = ()
