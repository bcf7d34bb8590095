"""A kernel of a person's own: whether it is one, and whether its class can be a kernel at all.

What can be seen of a class before anything runs is refused here, with the file and the name; what
its functions do is looked at when they do it (`checked`, `functions`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sandbox.errors import UsageError
from sandbox.machine.checked import shown

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["check_kernel", "is_foreign"]

LARGEST_BLOCK = 512
"""Entries of a page table: a contiguous block has no more."""
_CO_COROUTINE, _CO_ASYNC_GENERATOR = 0x80, 0x200


def is_foreign(kernel: type[Kernel]) -> bool:
    """Whether a kernel, or a class that it derives from, is not one of the models.

    Ask `check_kernel` first.
    """
    return next(_own_classes(kernel), None) is not None


def _own_classes(kernel: type) -> Iterator[type]:
    for cls in kernel.__mro__:
        module = str(cls.__module__)
        if cls is not object and module != "sandbox" and not module.startswith("sandbox."):
            yield cls


def check_kernel(kernel: type[Kernel]) -> None:
    """Refuse a class whose attributes cannot be what the models' functions take them for.

    Raises:
        UsageError: which attribute of which class in which file, and what was expected.
    """
    try:
        _check(kernel)
    except UsageError:
        raise
    except BaseException as error:  # of a metaclass, or of an attribute of its own
        text = f"a kernel class that cannot be looked at: it raises {shown(error)}"
        raise UsageError(text, expected="a class that derives from a modelled kernel") from error


def _check(kernel: type[Kernel]) -> None:
    for cls in _own_classes(kernel):
        for name, value in vars(cls).items():
            known, base = _of_the_models(kernel, name)
            wanted = _unmet(name, value, base) if known else None
            if wanted is not None:
                raise UsageError(
                    f"{_file_of(cls, kernel)}: {cls.__name__}.{name} is {shown(value)}",
                    expected=wanted,
                )


def _file_of(cls: type, kernel: type) -> str:
    """The file a class is from; a module that is not imported by name is known by its functions."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    codes = (getattr(value, "__code__", None) for value in vars(cls).values())
    return file or next((c.co_filename for c in codes if c is not None), str(kernel.__module__))


def _of_the_models(kernel: type, name: str) -> tuple[bool, Any]:
    """Whether the models have an attribute of that name, and theirs."""
    if name.startswith("__"):
        return False, None
    own = set(_own_classes(kernel))
    for cls in kernel.__mro__:
        if cls not in own and cls is not object and name in vars(cls):
            return True, vars(cls)[name]
    return False, None


def _unmet(name: str, value: object, base: object) -> str | None:  # a table
    """What was expected of an attribute in place of a model's *base*, None if it is that."""
    if name == "CONT_PTES":
        good = type(value) is int and 0 < value <= LARGEST_BLOCK and not value & (value - 1)
        return None if good else f"a power of two up to {LARGEST_BLOCK}"
    if isinstance(base, bool):
        return None if isinstance(value, bool) else "True or False"
    if isinstance(base, int):
        good = isinstance(value, int) and value >= 0
        return None if good else "a number that is not negative"
    if isinstance(base, str | dict):
        return None if isinstance(value, type(base)) else f"a {type(base).__name__}"
    if callable(base) or isinstance(base, staticmethod | classmethod):
        if not callable(value) and not hasattr(type(value), "__get__"):
            return "a function"
        flags = getattr(getattr(value, "__code__", None), "co_flags", 0)
        return "a generator, not `async`" if flags & (_CO_COROUTINE | _CO_ASYNC_GENERATOR) else None
    return None
