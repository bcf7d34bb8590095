"""A suspended kernel function as a value that can be hashed: code positions, live locals, stacks.

Kernel functions are pure functions of their answers.  So two of them whose generators stand at the
same places with equal variables do the same from here on, whatever they were answered before.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable
from types import CellType, CodeType, FunctionType, GeneratorType, MethodType
from typing import Any, NamedTuple

from sandbox.errors import KernelBug
from sandbox.explore.liveness import live_locals
from sandbox.machine.configuration import ITERATORS, generators

__all__ = ["Level", "Levels", "frozen_stack"]

_SCALARS = (str, bytes, float, complex, type(None), range, slice, frozenset, type)


class Level(NamedTuple):
    """What one generator of a call stack was when it was last looked at."""

    gen: object
    value: Hashable
    pure: bool
    """It has no variable that another generator could change."""


_OWN = frozenset(map(type, (iter(range(0)), iter(range(1 << 70)), iter(()))))
"""Iterators of loops, over what does not change: no other generator goes on with them."""
Levels = tuple[Level, ...]


def frozen_stack(gen: Any, before: Levels, constant: object) -> Levels:  # noqa: ANN401  # a generator
    """The levels of a call stack, of which those of *before* that did not move are taken over.

    *constant* is the kernel, which has no state.

    Raises:
        KernelBug: a variable is of a kind of which no value can be made.
    """
    chain = generators(gen)
    stood = 0
    for old, level in zip(before, chain, strict=False):
        if old.gen is not level:
            break
        stood += 1
    out: list[Level] = []
    for depth, level in enumerate(chain):
        if depth < stood - 1 and before[depth].pure:  # the one that it called is still the same
            out.append(before[depth])
            continue
        freezer = _Freezer(constant)
        out.append(Level(level, freezer.level(level), freezer.pure))
    return tuple(out)


class _Freezer:
    """Freezes one generator; what may change is told apart by where it was met first."""

    def __init__(self, constant: object) -> None:
        self._constant, self._seen, self._keep = constant, dict[int, int](), list[object]()
        self.pure = True

    def level(self, gen: Any) -> Hashable:  # noqa: ANN401  # a generator
        """The code, the place in it, the live variables and what lies on the stack."""
        frame, code = gen.gi_frame, gen.gi_code
        parts = gc.get_referents(gen)
        own = next(at for at, part in enumerate(parts) if type(part) is FunctionType)
        values = parts[own + 2 :]
        names = _bound(frame, code)
        places = live_locals(code)
        live = None if places is None else places[frame.f_lasti]
        inner = gen.gi_yieldfrom
        out: list[Hashable] = [id(code), frame.f_lasti]
        for name, value in zip(names, values, strict=False):
            if live is None or name in live:
                out.append((name, self.value(value)))
        for value in values[len(names) :]:
            out.append("inner" if value is inner else self.value(value))
        return tuple(out)

    def value(self, value: Any) -> Hashable:  # noqa: ANN401  # of any kind
        """A copy that equals another only if both behave alike."""
        kind = type(value)
        if kind is int or kind is str or value is None:
            return value  # type: ignore[no-any-return]  # one of the three
        if kind is bool or isinstance(value, _SCALARS):
            return (kind, value)
        if isinstance(value, int):
            return (kind, int(value))
        if isinstance(value, tuple):
            return (kind, *map(self.value, value))
        if value is self._constant:
            return "kernel"
        return self._function(kind, value)

    def _function(self, kind: type, value: Any) -> Hashable:  # noqa: ANN401  # of any kind
        if kind is MethodType:
            return ("method", value.__func__, self.value(value.__self__))
        if kind is FunctionType:
            inside = value.__closure__ or (), value.__defaults__ or ()
            return ("function", value.__code__, *(self.value(part) for part in inside))
        if kind is CellType:
            return ("cell", self._cell(value))
        if kind is CodeType or not hasattr(kind, "__dict__") or kind.__module__ == "builtins":
            return self._builtin(kind, value)
        return self._object(kind, value)

    def _cell(self, cell: CellType) -> Hashable:
        try:
            inside = cell.cell_contents
        except ValueError:
            return "empty"
        self.pure = False
        return self.value(inside)

    def _met(self, value: object) -> int | None:
        """The number under which a thing was met; None if it is new, and has one from now on."""
        self.pure = False
        number = self._seen.get(id(value))
        if number is None:
            self._seen[id(value)] = len(self._seen)
            self._keep.append(value)
        return number

    def _builtin(self, kind: type, value: Any) -> Hashable:  # noqa: ANN401  # of any kind
        if kind in ITERATORS:
            self.pure = self.pure and kind in _OWN
            return (kind, self.value(value.__reduce__()))
        if not isinstance(value, list | dict | set | GeneratorType):
            return (kind, id(value))  # code, modules, functions: they do not change
        number = self._met(value)
        if number is not None:
            return ("again", number)
        if isinstance(value, list):
            return (kind, *map(self.value, value))
        if isinstance(value, dict):
            return (kind, *((self.value(key), self.value(item)) for key, item in value.items()))
        if isinstance(value, set):
            return (kind, frozenset(map(self.value, value)))
        return (kind, *map(self.level, generators(value)))

    def _object(self, kind: type, value: Any) -> Hashable:  # noqa: ANN401  # of a Python class
        if kind in ITERATORS:
            return self._builtin(kind, value)
        if not kind.__flags__ & (1 << 9):  # made in C (not Py_TPFLAGS_HEAPTYPE): hidden state
            raise KernelBug(f"a variable of the kind {kind.__name__} cannot be compared")
        number = self._met(value)
        if number is not None:
            return ("again", number)
        slots = [name for base in kind.__mro__ for name in _slots(base)]
        parts = [(name, self.value(getattr(value, name, None))) for name in slots]
        parts += [(name, self.value(item)) for name, item in getattr(value, "__dict__", {}).items()]
        return (kind, *parts)


def _slots(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _bound(frame: Any, code: CodeType) -> list[str]:  # noqa: ANN401  # a frame
    """Names of the variables that are bound, in the order of their places in the frame."""
    cells = code.co_cellvars
    names = code.co_varnames + tuple(name for name in cells if name not in code.co_varnames)
    bound = frame.f_locals
    always = {*cells, *code.co_freevars}
    return [name for name in names + code.co_freevars if name in bound or name in always]
