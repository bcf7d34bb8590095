"""What the local names of a function are bound to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sandbox.kernels.guard.kinds import UNKNOWN, Kind, What, annotated

__all__ = ["bindings"]


def bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | Kind]]:
    """The local names that a node binds, and to what."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _unpacked(target, value)
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            kind = annotated(annotation)
            yield name, value if kind is UNKNOWN and value is not None else kind
        case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
            yield name, ast.BinOp(target, op, value)
        case ast.NamedExpr(target=ast.Name(id=name), value=value):
            yield name, value
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name, Kind(What.FUNCTION, node)
        case _:
            yield from ((name, UNKNOWN) for name in _names_bound(node))


def _names_bound(node: ast.AST) -> Iterator[str]:
    """The names that are bound to what nothing is known of."""
    match node:
        case (
            ast.For(target=target)
            | ast.AsyncFor(target=target)
            | ast.comprehension(target=target)
            | ast.withitem(optional_vars=ast.expr() as target)
        ):
            yield from (name for name, _ in _unknown(target))
        case (
            ast.ExceptHandler(name=str(name))
            | ast.ClassDef(name=name)
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
        ):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            for alias in aliases:
                yield alias.asname or alias.name.partition(".")[0]


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | Kind]]:
    match target:
        case ast.Name(id=name):
            yield name, value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            starred = any(isinstance(part, ast.Starred) for part in parts)
            for index, part in enumerate(parts):
                if starred or isinstance(part, ast.Starred):
                    yield from _unknown(part)
                elif isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(parts):
                    yield from _unpacked(part, value.elts[index])
                else:
                    yield from _unpacked(part, ast.Subscript(value, ast.Constant(index)))


def _unknown(target: ast.expr) -> Iterator[tuple[str, ast.expr | Kind]]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, UNKNOWN
