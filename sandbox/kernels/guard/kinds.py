"""What an expression of kernel text can be, as far as its text says: the kinds that are told apart.

An address and a number are both an `int` to Python, and a kernel function that was called without
`yield from` is an object like any other; to the kernel they are mistakes.
"""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from sandbox.machine import address_space, handles, memory

__all__ = [
    "CONTAINER",
    "EVENT",
    "NONE",
    "UNKNOWN",
    "VALUE",
    "Kind",
    "What",
    "address_members",
    "annotated",
    "by_name",
    "declared_names",
    "is_address_constant",
    "is_event_maker",
    "is_kernel_function",
    "joined",
    "plain_fields",
    "returned",
]


class What(enum.Enum):
    """The kinds of things in kernel text."""

    UNKNOWN = "something"
    VALUE = "a value"
    NONE = "None"
    CONTAINER = "a container"
    ADDRESS = "an address"
    HANDLE = "a handle"
    EVENT = "an event"
    CALL = "a kernel function that was called and does not run"
    FUNCTION = "a function"
    KERNEL = "the kernel"
    CLASS = "a class or module"
    TUPLE = "a tuple"


class Kind(NamedTuple):
    """One of them, and what is known of it: a class, a function, what a call returns, parts."""

    what: What
    of: Any = None


UNKNOWN, VALUE, NONE = Kind(What.UNKNOWN), Kind(What.VALUE), Kind(What.NONE)
CONTAINER, EVENT = Kind(What.CONTAINER), Kind(What.EVENT)

HANDLES: dict[str, type] = {
    name: value
    for module in (handles, address_space)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, int) and not issubclass(value, enum.Enum)
}
"""The classes of handles by name."""
_FAR = 1 << 20
_PROBES = (_FAR, _FAR << 1)


def joined(kinds: Iterable[Kind]) -> Kind:
    """The kind of what is one of several; a handle or None is a handle.

    An address or None is nothing known: it may be tested, for None.
    """
    every = list(dict.fromkeys(kinds))
    found = [kind for kind in every if kind is not NONE]
    if not found:
        return NONE
    open_end = len(found) < len(every) and found[0].what in (What.ADDRESS, What.CALL, What.EVENT)
    return UNKNOWN if len(found) > 1 or open_end else found[0]


@functools.cache
def address_members(handle: type) -> tuple[frozenset[str], frozenset[str]]:
    """The fields and the methods of a handle that give the address of a word.

    Those that move by as much as the handle does; an order or a frame number does not.
    """
    fields, methods = set(), set()
    for name, member in vars(handle).items():
        if isinstance(member, property) and _moves([getattr(handle(at), name) for at in _PROBES]):
            fields.add(name)
        elif isinstance(member, FunctionType) and not name.startswith("__"):
            count = member.__code__.co_argcount - 1
            results = [getattr(handle(at), name)(*[0] * count) for at in _PROBES]
            if _moves(results) and type(results[0]) is int:
                methods.add(name)
    return frozenset(fields), frozenset(methods)


def _moves(results: list[Any]) -> bool:
    low, high = results
    return bool(high - low == _PROBES[1] - _PROBES[0])


@functools.cache
def plain_fields() -> frozenset[str]:
    """Fields whose name alone says that they are a handle's (`_mapcount`, `vm_start`)."""
    return frozenset(
        name
        for handle in HANDLES.values()
        for name in set().union(*address_members(handle))
        if "_" in name
    )


@functools.cache
def declared_names() -> frozenset[str]:
    """The names of `kernel_api.pyi`, some of which only later releases have behind their flags."""
    text = Path(__file__).parents[1].joinpath("kernel_api.pyi").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^    (?:def )?(\w+)[(:]", text, re.MULTILINE))


def is_address_constant(owner: object, name: str) -> bool:
    """Whether `owner.name` is the address of a word of the machine (`Globals.swap_on`)."""
    return owner is memory.Globals and name != "BASE" and name in vars(memory.Globals)


# -- annotations and names -----------------------------------------------------------------------


def annotated(annotation: object) -> Kind:
    """The kind that an annotation promises: an expression, a text or a type."""
    if isinstance(annotation, str):
        return _promised(annotation)
    if isinstance(annotation, type):
        annotation = ast.Name(annotation.__name__)
    if isinstance(annotation, ast.Constant):
        return NONE if annotation.value is None else annotated(annotation.value)
    if isinstance(annotation, ast.BinOp):
        return joined((annotated(annotation.left), annotated(annotation.right)))
    if isinstance(annotation, ast.Subscript):
        return _subscripted(annotation)
    name = _last_name(annotation)
    if name in HANDLES:
        return Kind(What.HANDLE, HANDLES[name])
    if name == "Event":
        return EVENT
    return VALUE if name in ("bool", "str", "float") else UNKNOWN


@functools.lru_cache(2000)
def _promised(text: str) -> Kind:
    try:
        return annotated(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return UNKNOWN


def _subscripted(annotation: ast.Subscript) -> Kind:
    name, inner = _last_name(annotation.value), annotation.slice
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Optional":
        return annotated(inner)
    if name in ("Gen", "Generator"):
        return Kind(What.CALL, annotated(parts[-1]))
    if name == "tuple" and not any(_is_dots(part) for part in parts):
        return Kind(What.TUPLE, tuple(annotated(part) for part in parts))
    return CONTAINER if name in ("list", "dict", "set", "tuple", "frozenset") else UNKNOWN


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _last_name(node: object) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


_BY_NAME = {
    "folio": "Folio", "page": "Page", "mm": "Mm", "vma": "Vma", "anon_vma": "AnonVma",
    "mapping": "Mapping",
}  # fmt: skip


def by_name(name: str) -> Kind:
    """The handle that the kernel's own naming of variables promises: `folio`, `src_vma`."""
    handle = _BY_NAME.get(name)
    if handle is None and "anon_vma" not in name:
        handle = _BY_NAME.get(name.rpartition("_")[2])
    return UNKNOWN if handle is None else Kind(What.HANDLE, HANDLES[handle])


# -- functions -----------------------------------------------------------------------------------


def is_event_maker(function: object) -> bool:
    """Whether a function is one of those that make events (`load`, `store` ...)."""
    return (
        isinstance(function, FunctionType)
        and function.__module__ == memory.__name__
        and function.__annotations__.get("return") == "Event"
    )


def is_kernel_function(function: object) -> bool:
    """Whether a function is run with `yield from`: it yields, and is no iterator of the engine."""
    if isinstance(function, staticmethod | classmethod):
        function = function.__func__
    if not callable(function):
        return False
    function = inspect.unwrap(function)
    if not inspect.isgeneratorfunction(function):
        return False
    promised = annotated(getattr(function, "__annotations__", {}).get("return", ""))
    return promised.what is What.CALL or not _is_ours(function)


def _is_ours(function: object) -> bool:
    return str(getattr(function, "__module__", "")).startswith("sandbox.")


def returned(function: object) -> Kind:
    """What a function's annotation says that it returns; of a kernel function, when it has run."""
    kind = annotated(getattr(function, "__annotations__", {}).get("return", ""))
    return kind.of if kind.what is What.CALL and is_kernel_function(function) else kind
