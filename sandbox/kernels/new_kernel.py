"""The file of a person's own kernel, to begin with: a base, and the functions to be changed.

The text of each function is the one in effect, word for word, so that the new kernel behaves as
its base event for event until it is edited.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sandbox.errors import UsageError
from sandbox.kernels.texts import Definition, definitions, find, names_of

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["class_name", "kernel_text"]

_WIDTH = 100


def class_name(stem: str) -> str:
    """The class for a file's name: `my_idea` gives `MyIdea`.

    Raises:
        UsageError: it is no name of a module.
    """
    words = [word for word in re.split(r"[^0-9A-Za-z]+", stem) if word]
    name = "".join(word[0].upper() + word[1:] for word in words)
    if not name.isidentifier() or not stem.isidentifier():
        raise UsageError(f"{stem[:40]!r} is no name of a module", expected="such as my_idea.py")
    return name


def kernel_text(base: type[Kernel], names: Sequence[str], stem: str) -> str:
    """The text of a file STEM.py with a kernel in it that does as *base* does.

    Raises:
        UsageError: the base has no function of such a name, or STEM is no module's name.
    """
    cls, ident = class_name(stem), stem.replace("_", "-").lower()
    found = [_in_effect(base, name) for name in names]
    bodies = [_body(each, base) for each in found]
    imports = _Imports()
    imports.add(base.__module__, base.__name__)
    for each in found:
        imports.of(each)
    what = f"{base.title} with a change of {', '.join(names)}" if names else base.title
    head = [
        f'"""{_sentence(what)}"""', "", "from __future__ import annotations", "",
        *imports.lines(), "", "", f"class {cls}({base.__name__}):",
        f'    """{_sentence(what)}"""', "", f'    id = "{ident}"',
        f'    title = "{_short(what)}"', f'    summary = "{_short(what)}"',
    ]  # fmt: skip
    for body in bodies:
        head += ["", *body]
    return "\n".join(head) + "\n"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return (text if len(text) < _WIDTH - 12 else f"{text[: _WIDTH - 16]}...").rstrip(".") + "."


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _in_effect(base: type[Kernel], name: str) -> Definition:
    found = definitions(base, find(base, name))[0]
    if not isinstance(found.statement, ast.FunctionDef):
        raise UsageError(f"{name} is no function of {base.id}", expected="a function")
    return found


def _body(each: Definition, base: type[Kernel]) -> list[str]:
    """The lines of a function; `super()` in them goes on from the class that it is copied from."""
    lines = each.lines
    marks = getattr(each.statement, "decorator_list", [])
    first = min([each.statement.lineno, *(mark.lineno for mark in marks)])
    calls = [
        node
        for node in ast.walk(each.statement)
        if isinstance(node, ast.Call) and ast.unparse(node) == "super()"
    ]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        at = call.lineno - first
        line = lines[at]
        begin = len(line.encode()[: call.col_offset].decode())
        lines[at] = f"{line[:begin]}super({each.cls.__name__}, self){line[begin + 7 :]}"
    return lines


class _Imports:
    """What the functions name, from where their files take it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """The module of each name."""
        self._plain: set[str] = set()

    def add(self, module: str, name: str) -> None:
        self._names[name] = module

    def of(self, each: Definition) -> None:
        """Import what a function names.

        Raises:
            UsageError: two functions mean different things by one name.
            LookupError: the file has no such name: its text would not run.
        """
        table = names_of(each.module)
        for name in _free(each.statement):
            if name not in table:
                raise LookupError(f"{name} in {each.place}")
            module, origin = table[name]
            if not origin:
                self._plain.add(module)
            elif self._names.setdefault(name, module) != module:
                raise UsageError(f"the functions mean different things by {name}", expected="one")
        if any(ast.unparse(n) == "super()" for n in ast.walk(each.statement)):
            self.add(each.cls.__module__, each.cls.__name__)

    def lines(self) -> Iterator[str]:
        """The import statements as a formatter has them: the library's first."""
        modules: dict[str, list[str]] = {}
        for name, module in self._names.items():
            modules.setdefault(_public(module, name), []).append(name)
        library = [f"import {module}" for module in sorted(self._plain)]
        ours: list[str] = []
        for module in sorted(modules):
            statement = list(_statement(module, sorted(modules[module], key=_rank)))
            (ours if module.startswith("sandbox") else library).extend(statement)
        yield from library
        if library and ours:
            yield ""
        yield from ours


def _public(module: str, name: str) -> str:
    """Where a person takes a name from: `sandbox.memory` has those of the machine's events."""
    from sandbox import memory

    return "sandbox.memory" if name in memory.__all__ else module


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as isort has them."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def _statement(module: str, names: Iterable[str]) -> Iterator[str]:
    names = list(names)
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield f"from {module} import ("
        yield from (f"    {name}," for name in names)
        yield ")"


def _free(function: ast.stmt) -> Iterator[str]:
    """Names that a function takes from its module, in no order that matters."""
    bound = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    bound |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    for node in ast.walk(function):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name not in bound:
                if not hasattr(builtins, name):
                    yield name
