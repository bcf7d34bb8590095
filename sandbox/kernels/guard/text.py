"""The functions of a person's files: which are run with `yield from`, and which are iterators."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sandbox.kernels.guard.kinds import What, annotated, is_kernel_function
from sandbox.kernels.guard.scope import (
    Function,
    Scope,
    Source,
    has_yield,
    inner_nodes,
    parameters,
)

__all__ = ["Text", "found_class"]


class Text:
    """The functions of a person's files, each in the scope of those around it."""

    def __init__(self, kernel: type, sources: Sequence[Source], methods: frozenset[str]) -> None:
        self._kernel, self._methods = kernel, methods
        self._asked: dict[int, bool] = {}
        self._run: set[str] = set()
        """The names of functions that are run with `yield from`."""
        for source in sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.YieldFrom) and isinstance(node.value, ast.Call):
                    func = node.value.func
                    self._run.add(getattr(func, "attr", getattr(func, "id", "")))
        self.scopes = [
            scope
            for source in sources
            for scope in self._inside(replace(source, answers=self.answers), source.tree, "", None)
        ]
        self._by_node = {id(scope.node): scope for scope in self.scopes}
        self._by_code = {
            (scope.source.names.get("__file__"), _first_line(scope.node), _name(scope.node)): scope
            for scope in self.scopes
        }

    def _inside(
        self, source: Source, node: ast.AST, prefix: str, cls: type | None,
        outer: Scope | None = None,
    ) -> Iterator[Scope]:  # fmt: skip
        """The functions in a text that the kernel can come to."""
        for child in _functions_in(node):
            if isinstance(child, ast.ClassDef):
                found = found_class(source, prefix + child.name, self._kernel)
                if found is None or found in self._kernel.__mro__:
                    inner = f"{prefix}{child.name}."
                    yield from self._inside(source, child, inner, found, None)
                continue
            mine = cls is not None or (isinstance(node, ast.Module) and _is_method(child))
            scope = Scope(
                source,
                child,
                kernel=self._kernel if mine and not _is_static(child) else None,
                cls=cls,
                base=_replaced(self._kernel, cls, _name(child)),
                outer=outer,
            )
            yield scope
            yield from self._inside(source, child, f"{prefix}{_name(child)}.<locals>.", None, scope)

    # -- kernel functions and iterators --------------------------------------------------------

    def answers(self, function: object) -> bool:
        """Whether calling something gives what is run with `yield from`.

        So does a plain function of the person's that does nothing but hand on what it called; an
        iterator, which yields no event and that nobody runs, does not.
        """
        if isinstance(function, ast.AST):
            scope = self._by_node.get(id(function))
            return has_yield(function) and not (scope and self.is_iterator(scope))
        if not callable(function):
            return False
        code = getattr(inspect.unwrap(function), "__code__", None)
        scope = self._scope_of(code)
        if scope is None:
            return is_kernel_function(function)
        if scope.yields:
            return not self.is_iterator(scope)
        if id(code) not in self._asked:
            self._asked[id(code)] = False  # of one that calls itself
            self._asked[id(code)] = _returns_calls(scope)
        return self._asked[id(code)]

    def _scope_of(self, code: object) -> Scope | None:
        file, name = getattr(code, "co_filename", ""), getattr(code, "co_name", "")
        return self._by_code.get((file, getattr(code, "co_firstlineno", 0), name))

    def is_iterator(self, scope: Scope) -> bool:
        """Whether a function of the person's yields things for a loop and not events."""
        key = id(scope.node)
        if key not in self._asked:
            self._asked[key] = False
            self._asked[key] = self._is_iterator(scope)
        return self._asked[key]

    def _is_iterator(self, scope: Scope) -> bool:
        name = _name(scope.node)
        if name in self._run or (scope.cls is not None and name in self._methods):
            return False
        if annotated(getattr(scope.node, "returns", None) or "").what is What.CALL:
            return False
        for node in scope.nodes:
            if isinstance(node, ast.Yield) and scope.kind(node.value).what is What.EVENT:
                return False
            if isinstance(node, ast.YieldFrom) and scope.kind(node.value).what is What.CALL:
                return False
        return scope.yields


def _functions_in(node: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """The functions and classes directly in a text, however deep in its statements."""
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in inner_nodes(node) if function else _statements(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
        ):
            yield from _statements(child)


def _name(node: Function) -> str:
    return getattr(node, "name", "<lambda>")


def _first_line(node: Function) -> int:
    """The line that Python takes for a function's first: that of its first decorator."""
    marks = [mark.lineno for mark in getattr(node, "decorator_list", ())]
    return min([node.lineno, *marks])


def _is_method(node: Function) -> bool:
    """Whether a function outside classes is written to be a method."""
    return [arg.arg for arg in parameters(node)[:1]] == ["self"]


def _is_static(node: Function) -> bool:
    marks = getattr(node, "decorator_list", ())
    return any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in marks)


def _replaced(kernel: type, cls: type | None, name: str) -> object:
    """The function that a method takes the place of, if it says what it is given."""
    mro = kernel.__mro__
    for base in mro[mro.index(cls) + 1 :] if cls in mro else ():
        value = vars(base).get(name)
        if getattr(value, "__annotations__", None):
            return value
    return None


def _returns_calls(scope: Scope) -> bool:
    if isinstance(scope.node, ast.Lambda):
        return scope.kind(scope.node.body).what is What.CALL
    results = [node.value for node in scope.nodes if isinstance(node, ast.Return)]
    return bool(results) and all(scope.kind(value).what is What.CALL for value in results)


def found_class(source: Source, qualified: str, kernel: type) -> type | None:
    """The kernel class, or part of one, that stands under a name in a file."""
    from sandbox.machine.part import KernelPart

    module = source.names.get("__name__")
    for cls in kernel.__mro__:
        if cls.__module__ == module and cls.__qualname__ == qualified:
            return cls
    named: object = source.names.get(qualified)
    return named if isinstance(named, type) and issubclass(named, KernelPart) else None
