"""Which statements are never reached: what stands there only makes a function a generator."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

__all__ = ["after_calls", "unreachable"]

_NEVER_RETURN = frozenset(("_exit", "abort", "exit", "quit"))


def unreachable(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are never reached: after a return, or under a test that is false."""
    over = False
    for statement in body:
        if over:
            yield statement
            continue
        for inner in _blocks(statement):
            yield from unreachable(inner)
        if isinstance(statement, ast.If | ast.While) and _is_constant(statement.test, value=False):
            yield from statement.body
        over = _ends(statement)


def after_calls(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.Call, ast.Yield]]:
    """Each `yield` of nothing that comes right after a call."""
    for before, statement in zip([None, *body], body, strict=False):
        for inner in _blocks(statement):
            yield from after_calls(inner)
        match before, statement:
            case ast.Expr(value=ast.Call() as call), ast.Expr(value=ast.Yield(value=None) as node):
                yield call, node


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list):
            yield block
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        yield part.body


def _ends(statement: ast.stmt) -> bool:
    """Whether what comes after a statement is never reached."""
    match statement:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.If(body=body, orelse=orelse):
            return _end(body) and _end(orelse)
        case ast.While(test=test, body=body):
            return _is_constant(test, value=True) and not any(_breaks(body))
        case ast.With(body=body, items=[ast.withitem(context_expr=ast.Call(func=func)), *_]):
            return _end(body) and "suppress" not in ast.unparse(func)
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name))):
            return name in _NEVER_RETURN
    return False


def _end(body: Sequence[ast.stmt]) -> bool:
    return any(_ends(statement) for statement in body)


def _is_constant(test: ast.expr, *, value: bool) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value) is value


def _breaks(body: Sequence[ast.stmt]) -> Iterator[bool]:
    """Each break that leaves the loop of a body."""
    for statement in body:
        if isinstance(statement, ast.Break):
            yield True
        if isinstance(statement, ast.For | ast.While):
            yield from _breaks(statement.orelse)
        else:
            for block in _blocks(statement):
                yield from _breaks(block)
