"""What a person's own kernel overrides of the model it is made of, and what comes to that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from sandbox.kernels import KERNEL_IDS

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["noted", "overrides"]


def overrides(kernel: type[Kernel]) -> dict[str, type]:
    """Functions that classes above the nearest model define, each with the class in effect."""
    found: dict[str, type] = {}
    for cls in kernel.__mro__:
        if vars(cls).get("id") in KERNEL_IDS:
            break
        for name, value in vars(cls).items():
            if isfunction(value) and not (name.startswith("__") and name.endswith("__")):
                found.setdefault(name, cls)
    return found


@contextmanager
def noted(functions: Mapping[str, type]) -> Iterator[set[str]]:
    """Note which functions, each of the class that has it, are called meanwhile, by name."""
    called: set[str] = set()
    before = {(cls, name): vars(cls)[name] for name, cls in functions.items()}
    for (cls, name), function in before.items():
        setattr(cls, name, _note(function, name, called))
    try:
        yield called
    finally:
        for (cls, name), function in before.items():
            setattr(cls, name, function)


def _note(function: Any, name: str, called: set[str]) -> Any:  # noqa: ANN401  # any function
    def note(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # what it returns
        called.add(name)
        return function(*args, **options)

    return note
