"""State outside the words: what a kernel function may not keep, for nothing goes back over it.

A function is made again from its answers whenever somebody goes back; what it left on the kernel
object, on a class or in a module would still be there.
"""

from __future__ import annotations

import ast
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from types import FunctionType, ModuleType

from sandbox.kernels.guard.findings import Finding
from sandbox.kernels.guard.kinds import What
from sandbox.kernels.guard.scope import Scope
from sandbox.printable import short

__all__ = ["find_state"]

_CHANGING = frozenset((
    "append", "appendleft", "add", "clear", "discard", "extend", "extendleft", "insert", "pop",
    "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort", "subtract",
    "update", "difference_update", "intersection_update", "symmetric_difference_update",
    "__setitem__", "__delitem__", "__setattr__", "__delattr__",
))  # fmt: skip
_MUTABLE = (list, dict, set, bytearray, deque, Counter, OrderedDict, defaultdict)
_EXPECTED = "a word (yield store(...)), or a local variable: a kernel has constants only"


def find_state(scope: Scope) -> Iterator[Finding]:
    """Find what a function changes that would outlive it."""
    for node in scope.nodes:
        match node:
            case ast.Global(names=names):
                yield _finding(scope, node, f"`global {', '.join(names)}`")
            case ast.Nonlocal(names=names) if any(_outlives(scope, name) for name in names):
                yield _finding(scope, node, f"`nonlocal {', '.join(names)}`")
            case (
                ast.Attribute(ctx=ast.Store() | ast.Del())
                | ast.Subscript(ctx=ast.Store() | ast.Del())
            ):
                if (what := _lasting(scope, node)) and not _sets_cpu(scope, node):
                    yield _finding(scope, node, f"{_text(node)} is changed: {what}")
            case ast.Call():
                if what := _call(scope, node):
                    yield _finding(scope, node, f"{_text(node)}: {what}")


def _finding(scope: Scope, node: ast.AST, message: str) -> Finding:
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    return Finding(scope.source.path, line, column + 1, f"{message} keeps state", _EXPECTED)


def _outlives(scope: Scope, name: str) -> bool:
    """Whether a variable of a function around this one is kept when a kernel function returns."""
    owner = scope.outer
    while owner is not None and name not in owner.kinds:
        owner = owner.outer
    return owner is None or owner.lasting


def _sets_cpu(scope: Scope, node: ast.Attribute | ast.Subscript) -> bool:
    """`self.cpu = cpu` in a constructor is what the models do."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "cpu"
        and getattr(scope.node, "name", "") == "__init__"
    )


def _lasting(scope: Scope, target: ast.expr) -> str:
    """What something belongs to that outlives the function, empty if to nothing such."""
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        owner = target.value
        kind = scope.kind(owner)
        if kind.what is What.KERNEL:
            return "the kernel object"
        if kind.what is What.CLASS:
            module = isinstance(kind.of, ModuleType)
            return f"the {'module' if module else 'class'} {kind.of.__name__}"
        if isinstance(kind.of, FunctionType):
            return f"the function {kind.of.__name__}"
        if isinstance(owner, ast.Call) and _is_type_of_kernel(scope, owner):
            return f"{_text(owner)} outlives the function and"
        if isinstance(owner, ast.Name):
            return _lasting_name(scope, owner.id)
        target = owner
    return ""


def _is_type_of_kernel(scope: Scope, call: ast.Call) -> bool:
    """`type(self)`, `vars(self)`, and `globals()`, which is as lasting."""
    function = call.func
    if not isinstance(function, ast.Name) or function.id not in ("type", "vars", "globals"):
        return False
    return function.id == "globals" or any(
        scope.kind(arg).what in (What.KERNEL, What.CLASS) for arg in call.args
    )


def _lasting_name(scope: Scope, name: str) -> str:
    here: Scope | None = scope
    while here is not None:
        if name in here.kinds:
            return "a default, made once" if name in here.shared_defaults() else ""
        here = here.outer
    value = scope.source.names.get(name)
    return f"the {type(value).__name__} {name} of the module" if _is_mutable(value) else ""


def _is_mutable(value: object) -> bool:
    if isinstance(value, _MUTABLE):
        return True
    return (
        value is not None
        and not isinstance(value, type)
        and hasattr(value, "__dict__")
        and (not callable(value) and not isinstance(value, ModuleType))
    )


def _call(scope: Scope, node: ast.Call) -> str:
    """What a call changes that outlives the function."""
    func = node.func
    if isinstance(func, ast.Name) and func.id in ("setattr", "delattr") and node.args:
        return _lasting(scope, ast.Attribute(node.args[0], "x"))
    if isinstance(func, ast.Name) and func.id == "next" and node.args:
        return _iterator(scope, node.args[0])
    if not isinstance(func, ast.Attribute) or func.attr not in _CHANGING:
        return ""
    if func.attr in ("__setattr__", "__delattr__") and node.args:
        return _lasting(scope, ast.Attribute(node.args[0], "x"))
    owner = func.value
    if isinstance(owner, ast.Call) and _is_type_of_kernel(scope, owner):
        return f"{_text(owner)} outlives the function and"
    if isinstance(owner, ast.Name):
        return _lasting_name(scope, owner.id)
    return _lasting(scope, owner)


def _iterator(scope: Scope, node: ast.expr) -> str:
    """An iterator of the module goes on from one call to the next."""
    if not isinstance(node, ast.Name) or scope.names(node.id).what is not What.UNKNOWN:
        return ""
    value = scope.source.names.get(node.id)
    local = any(node.id in here.kinds for here in scope.around())
    return (
        f"the iterator {node.id} of the module" if hasattr(value, "__next__") and not local else ""
    )


def _text(node: ast.AST) -> str:
    return short(" ".join(ast.unparse(node).split()), 60)
