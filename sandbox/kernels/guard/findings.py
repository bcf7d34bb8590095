"""What is told of a mistake in kernel text: where it is, and what things are called."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from typing import NamedTuple

from sandbox.kernels.guard.kinds import Kind, What
from sandbox.printable import short

__all__ = ["Finding", "named", "nearest", "written"]


class Finding(NamedTuple):
    """A mistake: its place in a file, what it is, and what was expected."""

    path: str
    line: int
    column: int
    message: str
    expected: str


def nearest(name: str, known: Iterable[str]) -> str:
    """The most similar of some names, empty if none is; underscores in front do not count."""
    bare: dict[str, str] = {}
    for each in known:
        bare.setdefault(each.lstrip("_"), each)
    found = difflib.get_close_matches(name.lstrip("_"), bare, n=1, cutoff=0.5)
    return bare[found[0]] if found else ""


def named(kind: Kind) -> str:
    """What a kind of value is called in a sentence."""
    if kind.what is What.HANDLE:
        return f"a {kind.of.__name__}"
    return kind.what.value


def written(node: ast.AST) -> str:
    """An expression as it is written, shortened."""
    return short(" ".join(ast.unparse(node).split()), 60)
