"""What is seen of a person's kernel before any of its functions runs: its mistakes, with places.

A misspelt override is silently the stock kernel, a call without `yield from` silently nothing, and
an address compared with a number silently false.  All of it stands in the text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sandbox.errors import PatchError, Where
from sandbox.kernels.guard.bodies import look_at
from sandbox.kernels.guard.findings import Finding
from sandbox.kernels.guard.overrides import ClassText, find_misfits
from sandbox.kernels.guard.scope import Source
from sandbox.kernels.guard.state import find_state
from sandbox.kernels.guard.text import Text, found_class

__all__ = ["Finding", "Source", "find_mistakes", "refuse_mistakes"]

_MOST_PLACES = 5


def refuse_mistakes(found: Sequence[Finding]) -> None:
    """Refuse a kernel for the mistakes that were found in its text, if there are any.

    Raises:
        PatchError: the first one with its place and what was expected, and where the others are.
    """
    if not found:
        return
    first, *others = found
    message = first.message
    if others:
        places = [_place(finding, first.path) for finding in others[:_MOST_PLACES]]
        more = ", ..." if len(others) > _MOST_PLACES else ""
        message += f" ({len(others)} more: {', '.join(places)}{more})"
    where = Where(first.path, first.line, first.column)
    error = PatchError(message, where, first.expected)
    error.findings = tuple(found)
    raise error


def _place(finding: Finding, path: str) -> str:
    return f"line {finding.line}" if finding.path == path else f"{finding.path}:{finding.line}"


def find_mistakes(kernel: type, sources: Sequence[Source]) -> list[Finding]:
    """All mistakes in the text of a kernel's own classes and of the functions beside them.

    In the order of the files and of their lines; an expression has one.
    """
    fields = _fields_of_others(sources, kernel)
    sources = [replace(source, fields=fields) for source in sources]
    found: list[Finding] = []
    texts = list(_class_texts(kernel, sources))
    found += find_misfits(texts, kernel, [source.tree for source in sources])
    own = {text.cls for text in texts}
    stock = frozenset(name for cls in kernel.__mro__ if cls not in own for name in vars(cls))
    text = Text(kernel, sources, stock)
    for scope in text.scopes:
        found += look_at(scope, iterator=text.is_iterator(scope))
        found += find_state(scope)
    order = {source.path: number for number, source in enumerate(sources)}
    found.sort(key=lambda f: (order[f.path], f.line, f.column))
    first = {(f.path, f.line, f.column): f for f in reversed(found)}
    return [f for f in found if first[f.path, f.line, f.column] is f]


# -- the classes -----------------------------------------------------------------------------------


def _class_texts(kernel: type, sources: Sequence[Source]) -> Iterator[ClassText]:
    """The classes that a kernel is made of and whose text is the person's."""
    for cls in kernel.__mro__:
        for source in sources:
            if cls.__module__ == source.names.get("__name__"):
                nodes = (node for node, named in _classes(source.tree) if named == cls.__qualname__)
                yield ClassText(cls, source, next(nodes, None))
                break


def _classes(tree: ast.AST, prefix: str = "") -> Iterator[tuple[ast.ClassDef, str]]:
    """Each class of a text with its qualified name."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name):
                yield node, prefix + name
                yield from _classes(node, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield from _classes(node, f"{prefix}{name}.<locals>.")
            case _:
                yield from _classes(node, prefix)


def _fields_of_others(sources: Iterable[Source], kernel: type) -> frozenset[str]:
    """The attributes of the person's classes that are no kernels: theirs, not a handle's."""
    names = set()
    for each in sources:
        for node, qualified in _classes(each.tree):
            if found_class(each, qualified, kernel) is None:
                names |= _attributes(node)
    return frozenset(names)


def _attributes(node: ast.ClassDef) -> set[str]:
    names = set()
    for inner in ast.walk(node):
        match inner:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Constant(value=str(name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
