"""Which functions of a modelled kernel a real one has by that name.

A helper of ours stands for a part of a kernel function, or for what the kernel does inline: whoever
sets a probe, or looks the source up, must know.  The two lists beside this file have every name; a
test holds them against the kernels' text.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path

__all__ = [
    "close_functions",
    "function_names",
    "is_function",
    "is_kernels",
    "is_ours",
    "kernel_name",
]


def is_kernels(function: str) -> bool:
    """Whether some release of the kernel has a function of that name."""
    return function in _names("kernel_functions.txt")


def is_ours(function: str) -> bool:
    """Whether it is a helper of the modelled kernels that no release has."""
    return function in _names("own_functions.txt")


def is_function(name: str) -> bool:
    """Whether the text of some modelled kernel has a function of that name."""
    return is_kernels(name) or is_ours(name)


def close_functions(name: str) -> list[str]:
    """Names that are nearest to one that there is not, at most one."""
    return get_close_matches(name, function_names(), n=1)


def function_names() -> list[str]:
    """All names, sorted."""
    return sorted(_names("kernel_functions.txt") | _names("own_functions.txt"))


def kernel_name(function: str) -> str | None:
    """How the kernel's source spells a function, None if it has none of that name.

    `_folio_put` is `__folio_put`: Python mangles names with two underscores inside a class.
    """
    if not is_kernels(function):
        return None
    return f"_{function}" if function.startswith("_") else function


@cache
def _names(file: str) -> frozenset[str]:
    text = Path(__file__).with_name(file).read_text(encoding="ascii")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
