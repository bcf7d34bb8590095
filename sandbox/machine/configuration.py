"""What a suspended kernel function is in the middle of, as a value that can be compared.

A kernel function is a pure function of its answers, so what it will do depends on nothing but
where each generator of its call stack stands, its variables, and what the interpreter keeps for it
on its own stack (the iterator of a ``for`` loop).  Two equal configurations go on alike.
"""

from __future__ import annotations

import gc
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any

from sandbox.machine.frames import PASSED_ON

__all__ = ["ITERATORS", "configuration", "generators"]

MOST = 200_000
"""Values that are looked at; a function in the middle of more than that is not compared."""
_PLAIN = (str, bytes, float, complex, bool, type(None), type(Ellipsis), range)
_FIXED = (CodeType, type, ModuleType, BuiltinFunctionType)
"""What does not change, and is told by its identity."""
_ENGINE = (
    "sandbox.machine.machine",
    "sandbox.machine.history",
    "sandbox.machine.checkpoints",
    "sandbox.run.",
    "sandbox.scenario.",
    "sandbox.truth.ledger",
)
"""Modules whose objects an action's own closure leads to; no kernel function changes them."""
_SAMPLES: tuple[Any, ...] = (
    iter(range(0)), iter(range(1 << 70)), iter([]), reversed([]), iter(()), iter(""), iter(b""),
    iter({}), iter({}.values()), iter({}.items()), iter(set()), enumerate(()), zip(),
    reversed(range(0)), reversed(()), iter(bytearray()), map(len, ()), filter(None, ()),
)  # fmt: skip
ITERATORS = frozenset(map(type, _SAMPLES))
"""Iterators whose `__reduce__` says how far they are, and leaves them there."""


class _Unknown(Exception):
    """There is something among the variables of which no value can be made."""


def generators(gen: Any) -> list[Any]:  # noqa: ANN401  # a generator, whose attributes are Any
    """The generators of a call stack, outermost first."""
    out = []
    while isinstance(gen, GeneratorType):
        if gen.gi_code not in PASSED_ON:
            out.append(gen)
        gen = gen.gi_yieldfrom
    return out


def configuration(gen: Any) -> object | None:  # noqa: ANN401  # a generator
    """The configuration of a function by its generator; None if it cannot be told."""
    try:
        return tuple(_generator(level, _Budget()) for level in generators(gen))
    except (_Unknown, RecursionError, AttributeError, TypeError):
        return None


class _Budget:
    """What was seen already (it may lead back to itself), and how much of it there is."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.keep: list[object] = []
        """Temporary things, kept so that their ids stay theirs."""


def _generator(gen: Any, budget: _Budget) -> object:  # noqa: ANN401  # a generator
    frame = gen.gi_frame
    if frame is None:
        return ("returned", id(gen.gi_code))
    skip = (frame, gen.gi_code, gen.gi_yieldfrom, frame.f_locals, frame.f_globals)
    parts = [
        _value(part, budget)
        for part in gc.get_referents(gen)
        if not any(part is known for known in skip)
    ]
    return (id(gen.gi_code), frame.f_lasti, tuple(parts))


def _value(value: Any, budget: _Budget) -> object:  # noqa: ANN401  # of any kind
    """A copy of a value that equals another copy only if both behave alike."""
    kind = type(value)
    if kind is int or kind in _PLAIN:
        return (kind, value) if kind is bool or kind is float else value
    if isinstance(value, int):
        return (kind, int(value))
    if isinstance(value, _FIXED) or str(kind.__module__).startswith(_ENGINE):
        return id(value)
    if id(value) in budget.seen:
        return ("again", budget.seen[id(value)])
    budget.seen[id(value)] = len(budget.seen)
    budget.keep.append(value)
    if len(budget.seen) > MOST:
        raise _Unknown
    if isinstance(value, GeneratorType):
        return tuple(_generator(level, budget) for level in generators(value))
    if isinstance(value, CellType):
        return ("cell", _value(value.cell_contents, budget) if _filled(value) else None)
    return _compound(kind, value, budget)


def _compound(kind: type, value: Any, budget: _Budget) -> object:  # noqa: ANN401  # of any kind
    if isinstance(value, tuple | list):
        return (kind, tuple(_value(item, budget) for item in value))
    if isinstance(value, dict):
        pairs = ((_value(k, budget), _value(v, budget)) for k, v in value.items())
        return (kind, tuple(pairs))
    if isinstance(value, set | frozenset):
        return (kind, tuple(_value(item, budget) for item in value))
    if isinstance(value, FunctionType):
        inside = (value.__closure__, value.__defaults__, value.__kwdefaults__)
        return (id(value.__code__), _value(inside, budget))
    if isinstance(value, MethodType):
        return (id(value.__func__), _value(value.__self__, budget))
    if isinstance(value, FrameType):
        return (id(value.f_code), value.f_lasti)
    if kind in ITERATORS:
        return (kind, _value(value.__reduce__(), budget))
    return (kind, _attributes(kind, value, budget))


def _attributes(kind: type, value: Any, budget: _Budget) -> object:  # noqa: ANN401  # of any kind
    """What an object of a Python class holds; one of another kind cannot be told."""
    if not kind.__flags__ & (1 << 9):  # made in C (not Py_TPFLAGS_HEAPTYPE): its state is hidden
        raise _Unknown
    names = [name for base in kind.__mro__ for name in _slots(base)]
    slots = [_value(getattr(value, name, None), budget) for name in names]
    return (tuple(slots), _value(getattr(value, "__dict__", None), budget))


def _slots(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # an empty one raises
    except ValueError:
        return False
    return True
