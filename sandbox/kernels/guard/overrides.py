"""Whether what a person's class defines takes the place of something, and fits there."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from inspect import Parameter
from types import FunctionType
from typing import Any

from sandbox.kernels.guard.findings import Finding, nearest
from sandbox.kernels.guard.kinds import is_kernel_function
from sandbox.kernels.guard.scope import Source
from sandbox.machine.calls import OWN_FUNCTIONS
from sandbox.machine.checked import shown

__all__ = ["ClassText", "find_misfits"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class ClassText:
    """A class of a person's own and where its text is."""

    def __init__(self, cls: type, source: Source, node: ast.ClassDef | None) -> None:
        self.cls, self.source, self.node = cls, source, node

    def place(self, name: str) -> tuple[int, int]:
        """Line and column where the class defines a name."""
        for statement in self.node.body if self.node is not None else ():
            if name in _defines(statement):
                return statement.lineno, statement.col_offset + 1
        code = getattr(_function_of(vars(self.cls).get(name)), "__code__", None)
        if code is not None:
            return code.co_firstlineno, 1
        return (self.node.lineno, self.node.col_offset + 1) if self.node is not None else (1, 1)

    def written(self, name: str) -> str:
        """A name as the text has it: Python mangles one that begins with two underscores."""
        mangled = f"_{self.cls.__name__.lstrip('_')}__"
        return name[len(mangled) - 2 :] if name.startswith(mangled) else name

    @cached_property
    def members(self) -> dict[str, object]:
        """What the class itself defines, without what Python adds."""
        return {
            name: value
            for name, value in vars(self.cls).items()
            if not (name.startswith("__") and name.endswith("__"))
        }


def _defines(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target)
                        if isinstance(node, ast.Name))  # fmt: skip
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def find_misfits(
    own: Sequence[ClassText], kernel: type, trees: Iterable[ast.Module]
) -> Iterator[Finding]:
    """Find the members that replace nothing and that nothing reads, and those that do not fit."""
    classes = {text.cls for text in own}
    stock: dict[str, object] = {}
    for cls in reversed([cls for cls in kernel.__mro__ if cls not in classes]):
        stock.update(vars(cls))
    used = _Uses(trees)
    for text in own:
        for name, value in text.members.items():
            if name in stock:
                problem = _misfit(text, name, value, stock[name])
            else:
                problem = _stranger(text, text.written(name), value, stock, used)
            if problem is not None:
                line, column = text.place(text.written(name))
                yield Finding(text.source.path, line, column, *problem)


class _Uses:
    """The names that a person's files read, and where."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self.names: dict[str, list[tuple[str, ...]]] = {}
        for tree in trees:
            self._walk(tree, ())

    def _walk(self, node: ast.AST, within: tuple[str, ...]) -> None:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                within = (*within, name)
            case ast.Attribute(attr=name, ctx=ast.Load()):
                self.names.setdefault(name, []).append(within)
            case ast.Name(id=name, ctx=ast.Load()):
                self.names.setdefault(name, []).append(within)
            case ast.Constant(value=str(name)) if name.isidentifier():
                self.names.setdefault(name, []).append(within)
        for child in ast.iter_child_nodes(node):
            self._walk(child, within)

    def reads(self, name: str) -> bool:
        """Whether anything but the function of that name itself reads it."""
        return any(name not in within for within in self.names.get(name, ()))


# -- members that replace nothing ------------------------------------------------------------------


def _stranger(
    text: ClassText, name: str, value: object, stock: dict[str, object], used: _Uses
) -> tuple[str, str] | None:
    function = _function_of(value) is not None or isinstance(value, property)
    if name in OWN_FUNCTIONS or used.reads(name) or (name.startswith("_") and not function):
        return None
    same = [
        known
        for known, other in stock.items()
        if not (known.startswith("__") and known.endswith("__"))
        and (_function_of(other) is not None) == function
    ]
    near = nearest(name, same)
    expected = near or ("a function that the kernel has" if function else "a constant it has")
    if function:
        message = f"{text.cls.__name__}.{name}() replaces nothing and nothing in the file calls it"
    else:
        message = f"{text.cls.__name__}.{name} replaces nothing and nothing in the file reads it"
    return message, expected


# -- members that do not fit -----------------------------------------------------------------------


def _misfit(text: ClassText, name: str, value: object, base: object) -> tuple[str, str] | None:
    """What is wrong with a member in place of a model's, and what was expected."""
    here = f"{text.cls.__name__}.{name}"
    theirs = _function_of(base)
    if theirs is None:
        if _function_of(value) is not None:
            return f"{here}() is a function in place of a constant", f"a value like {shown(base)}"
        return None
    ours = _function_of(value)
    if ours is None:
        return f"{here} is {shown(value)} in place of a function", f"def {name}{_signature(base)}"
    if _binding(value) != _binding(base):
        return f"{here}() is {_binding(value)}", f"{_binding(base)}, as the kernel's {name}()"
    if problem := _misfitting_parameters(value, base):
        return f"{here}{_signature(value)} does not fit: {problem}", f"{name}{_signature(base)}"
    if is_kernel_function(base) and not is_kernel_function(value) and not _is_made(text, ours):
        return f"{here}() is a plain function: it yields nothing", "a kernel function, with `yield`"
    if is_kernel_function(value) and not is_kernel_function(base):
        return f"{here}() yields, and the kernel's {name}() is a plain function", "no `yield` in it"
    return None


def _is_made(text: ClassText, function: object) -> bool:
    """Whether a function was made by another, a decorator say: what it returns is not known."""
    name = str(getattr(function, "__qualname__", ""))
    return not name.startswith(f"{text.cls.__qualname__}.") and (
        "<locals>" in name or not isinstance(function, FunctionType)
    )


def _function_of(value: object) -> Any:  # noqa: ANN401  # whatever can be called
    """The function behind a member, None if it is none."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    if isinstance(value, type):
        return None
    return value if callable(value) else None


def _binding(value: object) -> str:
    for kind in (staticmethod, classmethod, property):
        if isinstance(value, kind):
            return f"a {kind.__name__}"
    return "a method"


def _parameters(value: object) -> list[Parameter] | None:
    try:
        found = inspect.signature(_function_of(value))
    except (TypeError, ValueError):  # made in C, or by something that does not say
        return None
    function = _function_of(value)
    takes_self = isinstance(function, FunctionType) or hasattr(function, "__wrapped__")
    parameters = list(found.parameters.values())
    if (
        takes_self
        and not isinstance(value, staticmethod)
        and parameters
        and parameters[0].kind in _POSITIONAL
    ):
        return parameters[1:]
    return parameters


def _signature(value: object) -> str:
    """The parameters of a function without their types, as in a call."""
    found = _parameters(value) or []
    plain = [p.replace(annotation=Parameter.empty) for p in found]
    return str(inspect.Signature(plain))


def _misfitting_parameters(value: object, base: object) -> str:
    """Say why a function cannot be called as the one it replaces is, empty if it can."""
    ours, theirs = _parameters(value), _parameters(base)
    if ours is None or theirs is None:
        return ""
    kinds = {p.kind for p in ours}
    if Parameter.VAR_POSITIONAL in kinds and Parameter.VAR_KEYWORD in kinds:
        return _extra_without_default(ours, theirs)
    mine = [p for p in ours if p.kind in _POSITIONAL]
    named = {p.name: p for p in ours}
    for index, base_parameter in enumerate(p for p in theirs if p.kind in _POSITIONAL):
        if index >= len(mine):
            if Parameter.VAR_POSITIONAL in kinds:
                break
            return f"it has no {base_parameter.name}"
        if not _same_name(mine[index].name, base_parameter, theirs):
            return f"{mine[index].name} where {base_parameter.name} is"
        named[base_parameter.name] = mine[index]
    for base_parameter in theirs:
        problem = _misfitting(named.get(base_parameter.name), base_parameter, kinds)
        if problem:
            return problem
    taken = {named[p.name].name for p in theirs if p.name in named}
    return _extra_without_default([p for p in ours if p.name not in taken], theirs)


def _same_name(name: str, base: Parameter, theirs: list[Parameter]) -> bool:
    """Whether a parameter is called as the kernel's, or shorter: `flags` for `cp_flags`.

    One with a default is given by its name, so it has to keep it.
    """
    if name == base.name or base.default is not Parameter.empty or name in (p.name for p in theirs):
        return name == base.name
    one, other = name.strip("_"), base.name.strip("_")
    return one == other or one.endswith("_" + other) or other.endswith("_" + one)


def _misfitting(mine: Parameter | None, base: Parameter, kinds: set[Any]) -> str:
    if mine is None:
        keyword = base.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
        absorbed = Parameter.VAR_KEYWORD if keyword else Parameter.VAR_POSITIONAL
        return "" if absorbed in kinds else f"it has no {base.name}"
    if base.kind is Parameter.POSITIONAL_OR_KEYWORD and mine.kind is Parameter.POSITIONAL_ONLY:
        return f"{base.name} cannot be given by its name"
    if base.default is not Parameter.empty and mine.default is Parameter.empty:
        return f"{base.name} has no default"
    if base.default is not Parameter.empty and mine.default != base.default:
        return f"the default of {base.name} is {shown(mine.default)}"
    return ""


def _extra_without_default(ours: list[Parameter], theirs: list[Parameter]) -> str:
    known = {p.name for p in theirs}
    for p in ours:
        given = p.default is not Parameter.empty or p.kind in (
            Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD,
        )  # fmt: skip
        if p.name not in known and not given:
            return f"{p.name} is given by no caller"
    return ""
