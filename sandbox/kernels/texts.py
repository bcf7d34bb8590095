"""The text of the modelled kernels: which definition is in effect, who calls it, what it names."""

from __future__ import annotations

import ast
import functools
import importlib
import linecache
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from sandbox.errors import UsageError

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = [
    "Definition",
    "callers",
    "class_node",
    "declared",
    "definitions",
    "find",
    "module_of",
    "names_of",
    "tree",
]


class Definition(NamedTuple):
    """A member of a kernel as one class declares it."""

    cls: type
    module: ModuleType
    statement: ast.stmt

    @property
    def place(self) -> str:
        """`sandbox/mm/batch.py:57`."""
        parts = Path(str(self.module.__file__)).parts
        at = len(parts) - 1 - parts[::-1].index("sandbox") if "sandbox" in parts else -1
        first = self.statement
        marks = first.decorator_list if isinstance(first, ast.FunctionDef) else []
        line = min([first.lineno, *(mark.lineno for mark in marks)])
        return f"{'/'.join(parts[at:])}:{line}"

    @property
    def summary(self) -> str:
        """The first sentence of its docstring, nothing if it has none."""
        node = self.statement
        text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
        return " ".join((text or "").split("\n\n")[0].split())

    @property
    def lines(self) -> list[str]:
        """Its text as it stands in the file, decorators included."""
        node = self.statement
        marks = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        first = min([node.lineno, *(mark.lineno for mark in marks)])
        return _file(self.module)[first - 1 : node.end_lineno]


def definitions(kernel: type[Kernel], name: str) -> list[Definition]:
    """Every definition of a member among a kernel's classes, the one in effect first."""
    return [found for key, found in _every(kernel) if key == name]


def _every(kernel: type[Kernel]) -> Iterator[tuple[str, Definition]]:
    """Every member that a kernel's classes declare, those in effect before what they override."""
    for cls in kernel.__mro__[:-1]:
        module = module_of(cls)
        try:
            body = class_node(module, cls).body
        except LookupError:  # `KernelApi` is there for type checkers only
            continue
        for statement in body:
            for key in declared(statement):
                yield key, Definition(cls, module, statement)


def find(kernel: type[Kernel], name: str) -> str:
    """How a kernel's text spells a function that a person names: `__f` is `_f` there.

    Raises:
        UsageError: it has none of that name.
    """
    for spelling in (name, name.removeprefix("_"), f"_{name}"):
        if any(spelling in vars(cls) for cls in kernel.__mro__[:-1]):
            return spelling
    every = sorted({key for cls in kernel.__mro__[:-1] for key in vars(cls) if key[:2] != "__"})
    bare = name.lstrip("_")
    near = get_close_matches(bare, every, n=3) or [each for each in every if bare in each][:3]
    raise UsageError(
        f"{kernel.id} has no function {name[:60]!r}", expected=", ".join(near) or "another name"
    )


def callers(kernel: type[Kernel], name: str) -> list[tuple[str, Definition]]:
    """The functions in effect of a kernel that call one of its own, each with its definition."""
    found: dict[str, Definition] = {}
    for key, each in _every(kernel):
        found.setdefault(key, each)
    return sorted((key, each) for key, each in found.items() if _calls(each.statement, name))


def _calls(statement: ast.stmt, name: str) -> bool:
    """Whether a function calls one of `self` by that name; itself is no caller."""
    if not isinstance(statement, ast.FunctionDef) or statement.name == name:
        return False
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and ast.unparse(node.value) in ("self", "super()")
        for node in ast.walk(statement)
    )


# -- modules -------------------------------------------------------------------------------------


def module_of(cls: type) -> ModuleType:
    """The module that a class stands in."""
    return sys.modules.get(cls.__module__) or importlib.import_module(cls.__module__)


def class_node(module: ModuleType, cls: type) -> ast.ClassDef:
    """The statement that makes a class.

    Raises:
        LookupError: the module's text has none of that name.
    """
    for node in tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return node
    raise LookupError(cls)


@functools.cache
def tree(module: ModuleType) -> ast.Module:
    """A module's text, parsed."""
    return ast.parse("\n".join(_file(module)))


@functools.cache
def _file(module: ModuleType) -> list[str]:
    """The lines of a module's text; a person's own is as it was when it was loaded."""
    name = str(module.__file__)
    kept = linecache.cache.get(name)
    if kept is not None and len(kept) == 4 and kept[1] is None:
        return "".join(kept[2]).split("\n")
    return Path(name).read_text(encoding="utf-8").split("\n")


def declared(statement: ast.stmt) -> Iterator[str]:
    """The members that a statement of a class declares."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=[ast.Name(id=name)]):
            yield name


def names_of(module: ModuleType) -> dict[str, tuple[str, str]]:
    """The names of a module and where each is from, imports for checkers alone included."""
    table: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree(module)):
        match node:
            case ast.ImportFrom(module=str(origin), names=names):
                table.update({a.asname or a.name: (origin, a.name) for a in names})
            case ast.Import(names=names):
                table.update({a.asname or a.name: (a.name, "") for a in names})
            case ast.ClassDef(name=name):
                table[name] = module.__name__, name
    for statement in tree(module).body:
        for name in _bound(statement):
            table.setdefault(name, (module.__name__, name))
    return table


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives something to."""
    if isinstance(statement, ast.FunctionDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
