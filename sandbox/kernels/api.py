"""Write `kernel_api.pyi`: every member of the stock kernel with its types, for type checkers.

    python -m sandbox.kernels.api           writes the file anew
    python -m sandbox.kernels.api --check   says whether it is stale (exit status 1)

The mixins of a kernel call each other through `self`; no part can import the class that has them
all, but a stub can: what it imports is only looked at by a checker.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sandbox.kernels import REGISTRY, kernel_by_name
from sandbox.kernels.base import Kernel
from sandbox.kernels.texts import class_node, declared, names_of, tree
from sandbox.machine.part import KernelPart
from sandbox.truth.names.functions import is_ours

__all__ = ["FILE", "api_text", "main"]

FILE = Path(__file__).with_name("kernel_api.pyi")
_HEAD = '''\
"""The functions and constants of the stock kernel, each as the file that has it declares it.

No release of the kernel has those marked as ours (`sandbox.truth.names.functions`).

Written by `python -m sandbox.kernels.api`; do not edit.
"""

'''
_WIDTH = 100


class _Member(NamedTuple):
    """A member of a kernel: the class that has it, and how its text declares it."""

    cls: type
    module: ModuleType
    statement: ast.stmt


def api_text() -> str:
    """The text of the stub as it should be."""
    members: dict[str, _Member] = {}
    for cls in _parts():
        for name, member in _members(cls):
            members.setdefault(name, member)
    wanted = _called_by({member.module for member in members.values()}) - set(members)
    for cls in _kernels():
        for name, member in _members(cls):
            if name in wanted:  # the tree calls it where only some releases come to
                members.setdefault(name, member)
    imports = _Imports()
    lines = ["class KernelApi:", "    cpu: int"]
    lines += [
        line
        for name in sorted(members)
        if not (name.startswith("__") and name.endswith("__"))
        for line in _lines(name, members[name], imports)
    ]
    return _HEAD + imports.text() + "\n" + "\n".join(lines) + "\n"


def _parts() -> list[type]:
    """The classes whose members these are, the one that counts first.

    After the stock kernel's come the parts that releases add: its own functions call them.
    """
    added = (cls for cls in _kernels() if not cls.__module__.startswith("sandbox.kernels."))
    parts = dict.fromkeys([*Kernel.__mro__, *added])
    return [cls for cls in parts if issubclass(cls, KernelPart) and cls is not KernelPart]


def _kernels() -> list[type]:
    """Every class that a registered kernel is made of."""
    return list(
        dict.fromkeys(cls for entry in REGISTRY for cls in kernel_by_name(entry.id).__mro__)
    )


def _members(cls: type) -> Iterator[tuple[str, _Member]]:
    if issubclass(cls, KernelPart):
        module = importlib.import_module(cls.__module__)
        for statement in class_node(module, cls).body:
            for name in declared(statement):
                yield name, _Member(cls, module, statement)


def _called_by(modules: set[ModuleType]) -> set[str]:
    """The names that the text of modules reads of `self`."""
    return {
        node.attr
        for module in modules
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }


def _lines(name: str, member: _Member, imports: _Imports) -> Iterator[str]:
    """The declaration of a member."""
    statement = member.statement
    if isinstance(statement, ast.FunctionDef):
        if is_ours(name):
            yield "    # ours"
        for mark in statement.decorator_list:
            yield f"    @{ast.unparse(mark)}"
        yield from _def(imports.function(member.module, statement))
    elif isinstance(statement, ast.AnnAssign):
        annotation = imports.expression(member.module, statement.annotation)
        yield f"    {name}: {ast.unparse(annotation)}"
    else:
        yield f"    {name}: {_type_of(vars(member.cls)[name])}"


def _type_of(value: object) -> str:
    if isinstance(value, tuple):
        inner = " | ".join(sorted({_type_of(item) for item in value}))
        return f"tuple[{inner}, ...]"
    return type(value).__name__


def _def(node: ast.FunctionDef) -> list[str]:
    """A function's head, on one line if it fits there."""
    args = node.args
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    parameters = ast.unparse(args).replace("=...", " = ...")  # as a formatter writes them
    line = f"    def {node.name}({parameters}){result}: ..."
    if len(line) <= _WIDTH:
        return [line]
    line = f"        {parameters}"
    if len(line) <= _WIDTH:
        return [f"    def {node.name}(", line, f"    ){result}: ..."]
    parts = _one_by_one(parameters)
    return [f"    def {node.name}(", *(f"        {part}," for part in parts), f"    ){result}: ..."]


def _one_by_one(text: str) -> list[str]:
    """The parameters one by one."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


class _Imports(ast.NodeTransformer):
    """The names that the declarations need, from where the files themselves take them."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str]] = {}
        """What each name in the stub is: a module and a name there."""
        self._tables: dict[str, dict[str, tuple[str, str]]] = {}
        self._module = ""

    def function(self, module: ModuleType, node: ast.FunctionDef) -> ast.FunctionDef:
        """A copy of a function's head in which every name is one that the stub imports."""
        args = copy.deepcopy(node.args)
        args.defaults = [ast.Constant(...) for _ in args.defaults]
        args.kw_defaults = [None if d is None else ast.Constant(...) for d in args.kw_defaults]
        for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if arg is not None and arg.annotation is not None:
                arg.annotation = self.expression(module, arg.annotation)
        returns = None if node.returns is None else self.expression(module, node.returns)
        return ast.FunctionDef(node.name, args, [], [], returns)

    def expression(self, module: ModuleType, node: ast.expr) -> ast.expr:
        """A copy of a type in which every name is one that the stub imports."""
        self._module = module.__name__
        if self._module not in self._tables:
            self._tables[self._module] = names_of(module)
        changed: ast.expr = self.visit(copy.deepcopy(node))
        return changed

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """A name becomes the stub's name for the same thing."""
        origin = self._tables[self._module].get(node.id)
        if origin is None:
            if not hasattr(builtins, node.id):
                raise LookupError(f"{node.id} in {self._module}")
            return node
        name = node.id
        while self._names.setdefault(name, origin) != origin:
            name += "_"
        return ast.Name(name)

    def text(self) -> str:
        """The import statements."""
        lines = []
        for module in sorted({module for module, _ in self._names.values()}, key=_order):
            found = sorted((n, name) for name, (m, n) in self._names.items() if m == module)
            same = [n for n, name in found if n == name]
            line = f"from {module} import {', '.join(same)}"
            if len(line) > _WIDTH:
                line = "\n".join([f"from {module} import (", *(f"    {n}," for n in same), ")"])
            lines += [line] if same else []
            lines += [f"from {module} import {n} as {name}" for n, name in found if n != name]
        ours = next((n for n, line in enumerate(lines) if "from sandbox" in line), 0)
        return "\n".join([*lines[:ours], "", *lines[ours:], ""])


def _order(module: str) -> tuple[bool, str]:
    return module.startswith("sandbox"), module


def main(argv: list[str] | None = None) -> int:
    """Write the stub, or compare it."""
    summary = "Write kernel_api.pyi, the types of every kernel function."
    parser = argparse.ArgumentParser(prog="python -m sandbox.kernels.api", description=summary)
    parser.add_argument("--check", action="store_true", help="only say whether it is stale")
    text, there = api_text(), FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    if parser.parse_args(argv).check:
        if text != there:
            sys.stderr.write(f"{FILE.name} is stale: run python -m sandbox.kernels.api\n")
        return int(text != there)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
