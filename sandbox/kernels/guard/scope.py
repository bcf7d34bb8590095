"""What the names of one function stand for, and the kind of each of its expressions."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

from sandbox.kernels.guard.bindings import bindings
from sandbox.kernels.guard.kinds import (
    CONTAINER,
    EVENT,
    NONE,
    UNKNOWN,
    VALUE,
    Kind,
    What,
    address_members,
    annotated,
    by_name,
    is_address_constant,
    is_event_maker,
    is_kernel_function,
    joined,
    plain_fields,
    returned,
)

__all__ = ["Function", "Scope", "Source", "has_yield", "inner_nodes", "parameters"]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_ROUNDS = 3
"""How often the bindings of a function are looked at: each may tell of another's kind."""


@dataclass(slots=True)
class Source:
    """One file of a person's: its text and the module that was made of it."""

    path: str
    """As the person named it."""
    tree: ast.Module
    names: Mapping[str, Any]
    """The module's own names."""
    fields: frozenset[str] = frozenset()
    """Attributes that classes of the person's own, which are no kernels, have."""
    answers: Callable[[object], bool] = is_kernel_function
    """Whether calling something gives what is run with `yield from`."""


def inner_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's own text; those of functions and classes in it are theirs."""
    body = function.body if isinstance(function, ast.Lambda) else None
    waiting = [body] if body is not None else list(reversed(getattr(function, "body", [])))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(reversed([*node.decorator_list, *_defaults(node)]))
        elif isinstance(node, ast.Lambda):
            waiting.extend(_defaults(node))
        elif isinstance(node, ast.ClassDef):
            waiting.extend(reversed(node.decorator_list + node.bases))
        else:
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _defaults(node: Function) -> list[ast.expr]:
    return [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]


def parameters(node: Function) -> list[ast.arg]:
    """The named parameters of a function, in order."""
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


class Scope:
    """The names of a function, seen within those of the functions around it and of its file."""

    def __init__(
        self,
        source: Source,
        node: Function,
        *,
        kernel: type | None = None,
        cls: type | None = None,
        base: object = None,
        outer: Scope | None = None,
    ) -> None:
        self.source, self.node, self.outer = source, node, outer
        self.kernel = kernel
        """What `self` is, if the function is a kernel's."""
        self.cls = cls
        """The class whose text it is in, which `super()` looks above."""
        self._known: dict[int, Kind] = {}
        self.sure: set[str] = set()
        """Parameters whose kind is promised by more than their name."""
        self._base = base
        self.nodes = tuple(inner_nodes(node))
        """The nodes of its own text."""
        self._kinds: dict[str, Kind] | None = None

    # -- names ---------------------------------------------------------------------------------

    def _parameters(self, base: object) -> dict[str, Kind]:
        """The kinds of parameters: annotated, as in the function that is overridden, or by name."""
        promised = getattr(inspect.unwrap(base), "__annotations__", {}) if callable(base) else {}
        kinds = {}
        for arg in parameters(self.node):
            kind = annotated(arg.annotation or promised.get(arg.arg, ""))
            if kind is not UNKNOWN:
                self.sure.add(arg.arg)
            elif arg.annotation is None and arg.arg not in promised:
                kind = by_name(arg.arg)
            kinds[arg.arg] = kind
        for extra in (self.node.args.vararg, self.node.args.kwarg):
            if extra is not None:
                kinds[extra.arg] = CONTAINER
        first = parameters(self.node)[:1]
        if self.kernel is not None and first and self.outer is None:
            kinds[first[0].arg] = Kind(What.KERNEL, self.kernel.__mro__)
        return kinds

    @property
    def kinds(self) -> dict[str, Kind]:
        """The parameters and local names, and what each can be; found out when it is asked for."""
        if self._kinds is None:
            self._kinds = self._parameters(self._base)
            self._bind(dict(self._kinds), self._kinds)
        return self._kinds

    def _bind(self, given: dict[str, Kind], result: dict[str, Kind]) -> None:
        """Find out what each local name can be, from everything that it is bound to."""
        bound = [binding for node in self.nodes for binding in bindings(node)]
        for name, _ in bound:
            result.setdefault(name, UNKNOWN)
        for _ in range(_ROUNDS):
            self._known.clear()
            found: dict[str, list[Kind]] = {}
            for name, value in bound:
                kind = value if isinstance(value, Kind) else self.kind(value)
                found.setdefault(name, []).append(kind)
            for name, kinds in found.items():
                kind = joined([given[name], *kinds] if name in given else kinds)
                result[name] = by_name(name) if kind is UNKNOWN else kind
        self._known.clear()

    def names(self, name: str) -> Kind:
        """What a name stands for."""
        if name in self.kinds:
            return self.kinds[name]
        if self.outer is not None:
            return self.outer.names(name)
        if name in self.source.names:
            return self.of_object(self.source.names[name])
        return self.of_object(getattr(builtins, name, None)) if hasattr(builtins, name) else UNKNOWN

    def of_object(self, value: object) -> Kind:
        """The kind of something that is there already: a global name, a class's attribute."""
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, type | ModuleType):
            return Kind(What.CLASS, value)
        if isinstance(value, FunctionType) or inspect.isbuiltin(value):
            return Kind(What.FUNCTION, value)
        if isinstance(value, bool | int | float | str | bytes):
            return VALUE
        return CONTAINER if isinstance(value, list | dict | set | tuple) else UNKNOWN

    # -- expressions ---------------------------------------------------------------------------

    def kind(self, node: ast.expr | None) -> Kind:
        """The kind of an expression."""
        if node is None:
            return NONE
        if id(node) not in self._known:
            self._known[id(node)] = self._kind(node)
        return self._known[id(node)]

    def _kind(self, node: ast.expr) -> Kind:  # noqa: PLR0911  # one line for each form
        match node:
            case ast.Constant(value=None):
                return NONE
            case ast.Constant() | ast.JoinedStr() | ast.Compare():
                return VALUE
            case ast.Name(id=name):
                return self.names(name)
            case ast.Attribute(value=owner, attr=attr):
                return self._attribute(owner, attr)
            case ast.Call():
                return self._call(node)
            case ast.YieldFrom(value=inner):
                return self._run(inner)
            case ast.NamedExpr(value=inner):
                return self.kind(inner)
            case ast.IfExp(body=body, orelse=orelse):
                return joined((self.kind(body), self.kind(orelse)))
            case ast.BoolOp(values=values):
                return joined([self.kind(value) for value in values])
            case ast.UnaryOp(op=op, operand=inner):
                known = isinstance(op, ast.Not) or self.kind(inner) == VALUE
                return VALUE if known else UNKNOWN
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(self.kind(left), op, self.kind(right))
            case _:
                return self._display(node)

    def _display(self, node: ast.expr) -> Kind:
        match node:
            case ast.Tuple(elts=parts) if not any(isinstance(p, ast.Starred) for p in parts):
                return Kind(What.TUPLE, tuple(self.kind(part) for part in parts))
            case ast.List() | ast.Set() | ast.Dict() | ast.ListComp() | ast.SetComp():
                return CONTAINER
            case ast.DictComp():
                return CONTAINER
            case ast.Lambda():
                return Kind(What.FUNCTION)
            case ast.Subscript(value=value, slice=ast.Constant(value=int(index))):
                kind = self.kind(value)
                if kind.what is What.TUPLE and -len(kind.of) <= index < len(kind.of):
                    part: Kind = kind.of[index]
                    return part
        return UNKNOWN

    @staticmethod
    def _arithmetic(left: Kind, op: ast.operator, right: Kind) -> Kind:
        addresses = (left, right).count(Kind(What.ADDRESS))
        if addresses == 1 and isinstance(op, ast.Add | ast.Sub):
            return Kind(What.ADDRESS)
        return VALUE if addresses or left == right == VALUE else UNKNOWN

    def _attribute(self, owner: ast.expr, attr: str) -> Kind:
        kind = self.kind(owner)
        if kind.what is What.HANDLE:
            if attr in address_members(kind.of)[0] and not self._by_name_alone(owner, attr):
                return Kind(What.ADDRESS)
            return VALUE if isinstance(vars(kind.of).get(attr), property) else UNKNOWN
        if kind.what is What.KERNEL:
            return self._of_class(kind.of, attr)
        if kind.what is What.CLASS:
            if is_address_constant(kind.of, attr):
                return Kind(What.ADDRESS)
            if isinstance(kind.of, type):
                return self._of_class(kind.of.__mro__, attr)
            return self.of_object(vars(kind.of).get(attr))
        if kind.what is not What.UNKNOWN or attr in self.source.fields:
            return UNKNOWN
        return Kind(What.ADDRESS) if attr in plain_fields() else by_name(attr)

    def around(self) -> Iterator[Scope]:
        """This one and those around it, innermost first."""
        here: Scope | None = self
        while here is not None:
            yield here
            here = here.outer

    @cached_property
    def yields(self) -> bool:
        """Whether it is a generator."""
        return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in self.nodes)

    @property
    def lasting(self) -> bool:
        """Whether its variables can outlive a kernel function: it is none, and has none around."""
        return all(here.kernel is None and not here.yields for here in self.around())

    def shared_defaults(self) -> set[str]:
        """The parameters whose default is a container, which all calls have in common."""
        args = self.node.args
        named = [*args.posonlyargs, *args.args]
        pairs = list(zip(reversed(named), reversed(args.defaults), strict=False))
        pairs += [(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d]
        made = ast.List | ast.Dict | ast.Set | ast.Call
        return {arg.arg for arg, default in pairs if isinstance(default, made)}

    def _by_name_alone(self, owner: ast.expr, attr: str) -> bool:
        """Whether only a name tells that something is a handle, and it may be the person's own."""
        return attr in self.source.fields and (
            not isinstance(owner, ast.Name) or owner.id not in self.sure
        )

    def _of_class(self, classes: tuple[type, ...], attr: str) -> Kind:
        found = (vars(cls)[attr] for cls in classes if attr in vars(cls))
        return self.of_object(next(found, None))

    def _call(self, node: ast.Call) -> Kind:
        func = node.func
        if isinstance(func, ast.Name) and func.id == "super" and func.id not in self.kinds:
            return self._above(node)
        if isinstance(func, ast.Attribute):
            owner = self.kind(func.value)
            if owner.what is What.HANDLE:
                if func.attr in address_members(owner.of)[1]:
                    return Kind(What.ADDRESS)
                return returned(vars(owner.of).get(func.attr))
            if owner.what is What.CLASS and owner.of.__name__ == "PerCpu":
                return Kind(What.ADDRESS)
            if owner is UNKNOWN and func.attr in plain_fields() - self.source.fields:
                return Kind(What.ADDRESS)
        kind = self.kind(func)
        if kind.what is What.CLASS:
            return self._made(kind.of)
        return self.result(kind.of) if kind.what is What.FUNCTION else UNKNOWN

    @staticmethod
    def _made(made: object) -> Kind:
        """What calling a class gives."""
        if isinstance(made, type) and issubclass(made, int):
            return VALUE if made in (int, bool) else Kind(What.HANDLE, made)
        if made in (list, dict, set, tuple, frozenset, range):
            return CONTAINER
        return VALUE if made in (str, float) else UNKNOWN

    def result(self, function: object) -> Kind:
        """What calling a function gives."""
        if isinstance(function, ast.AST):
            return Kind(What.CALL, UNKNOWN) if self.source.answers(function) else UNKNOWN
        if is_event_maker(function):
            return EVENT
        if self.source.answers(function):
            return Kind(What.CALL, returned(function))
        if function in (len, sum, abs, any, all, hex):
            return VALUE
        kind = returned(function)
        return kind.of if kind.what is What.CALL else kind

    def _above(self, node: ast.Call) -> Kind:
        """What `super()` is: the kernel, as the classes above this one have it."""
        if self.outer is not None and self.kernel is None:
            return self.outer._above(node)
        if self.kernel is None or self.cls is None:
            return UNKNOWN
        cls = self.cls
        if node.args:
            named = self.kind(node.args[0])
            cls = named.of if named.what is What.CLASS else cls
        mro = self.kernel.__mro__
        return Kind(What.KERNEL, mro[mro.index(cls) + 1 :] if cls in mro else mro)

    def _run(self, inner: ast.expr) -> Kind:
        kind = self.kind(inner)
        return kind.of if kind.what is What.CALL and isinstance(kind.of, Kind) else UNKNOWN


def has_yield(function: ast.AST) -> bool:
    """Whether a function is a generator."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inner_nodes(function))
