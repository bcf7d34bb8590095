"""Looking into suspended kernel functions: stack, lines, locals."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from os.path import basename, dirname
from types import CodeType, TracebackType
from typing import Any, NamedTuple, TypeVar

from sandbox.machine.memory import Word

T = TypeVar("T")

_PACKAGE = dirname(dirname(__file__)) + os.sep
_LIBRARY = dirname(os.__file__) + os.sep
_CONFINED = _PACKAGE + "confined.py"
"""Refuses calls for the function that makes them."""
PASSED_ON: set[CodeType] = set()
"""Generators that only pass a call on (`checkpoints`): no level of a kernel function's stack."""
_CO_GENERATOR = 0x20
"""`inspect.CO_GENERATOR`: importing that for one number takes longer than a command may."""


class Frame(NamedTuple):
    """One level of a running function's call stack."""

    function: str
    filename: str
    line: int
    locals: dict[str, Any]


def error_place(error: BaseException) -> str:
    """``function (file:line)`` of the frame in which an exception was raised.

    Frames of Python's own library are passed over; where it was raised in a function of this
    package that a person's own one called, that one is named as well.
    """
    frames = [(at.tb_frame.f_code, at.tb_lineno) for at in _levels(error)]
    while len(frames) > 1 and frames[-1][0].co_filename.startswith((_LIBRARY, _CONFINED)):
        frames.pop()
    if not frames:
        return "the function"
    own = next((frame for frame in reversed(frames) if is_own(frame[0].co_filename)), None)
    text = place_text(frames[-1][0].co_name, *_file_and_line(frames[-1]))
    if own is None or own is frames[-1]:
        return text
    return f"{text}, called by {place_text(own[0].co_name, *_file_and_line(own))},"


def _file_and_line(frame: tuple[CodeType, int]) -> tuple[str, int]:
    return frame[0].co_filename, frame[1]


def _levels(error: BaseException) -> Iterator[TracebackType]:
    at = error.__traceback__
    while at is not None:
        yield at
        at = at.tb_next


def place_text(function: str, filename: str, line: int) -> str:
    """A place as it is written in messages."""
    return f"{function} ({basename(filename)}:{line})"


def is_own(filename: str) -> bool:
    """Whether a file is a person's own: neither this package's nor Python's."""
    return not filename.startswith((_PACKAGE, _LIBRARY, "<"))


def not_a_generator(error: BaseException) -> str:
    """What to say of ``yield from self.f()`` where *f* is a plain function; else nothing."""
    import linecache  # only when something went wrong

    levels = list(_levels(error))
    if not isinstance(error, TypeError) or "is not iterable" not in str(error) or not levels:
        return ""
    frame, line = levels[-1].tb_frame, levels[-1].tb_lineno
    kernel = frame.f_locals.get("self")
    text = linecache.getline(frame.f_code.co_filename, line)
    for name in re.findall(r"(?:self|super\(\))\.(\w+)\(", text):
        code = getattr(getattr(type(kernel), name, None), "__code__", None)
        if code is not None and not code.co_flags & _CO_GENERATOR:
            place = place_text(name, code.co_filename, code.co_firstlineno)
            return f": {place} is no generator, it has no `yield`"
    return ""


def innermost(gen: Word) -> tuple[str, int, str]:
    """Function name, line and file of the innermost frame of a suspended generator."""
    while gen.gi_yieldfrom is not None and hasattr(gen.gi_yieldfrom, "gi_frame"):
        gen = gen.gi_yieldfrom
    frame = gen.gi_frame
    return gen.gi_code.co_name, frame.f_lineno, gen.gi_code.co_filename


def calls_of(gen: Word) -> Iterator[Word]:
    """The suspended generators of a running function, outermost first."""
    while gen is not None and hasattr(gen, "gi_frame") and gen.gi_frame is not None:
        if gen.gi_code not in PASSED_ON:
            yield gen
        gen = gen.gi_yieldfrom


def frames_of(gen: Word) -> Iterator[Frame]:
    """All frames of a suspended generator, outermost first."""
    for level in calls_of(gen):
        frame = level.gi_frame
        names = {k: v for k, v in frame.f_locals.items() if k != "self"}
        yield Frame(level.gi_code.co_name, level.gi_code.co_filename, frame.f_lineno, names)


def trace(gen: Word, answers: Iterable[Any], look: Callable[[Word], T]) -> Iterator[T]:
    """What *look* says of a fresh generator at each event that it yields when it is answered."""
    next(gen)
    yield look(gen)
    for answer in answers:
        gen.send(answer)
        yield look(gen)
    gen.close()


def called_after(gen: Word, answers: Iterable[Any]) -> int:
    """After how many answers the function that a generator is in at their end was called.

    The calls in progress are kept as generators, with the number of answers each began after: two
    calls of one function one after the other are two generators.
    """
    next(gen)
    calls = [(gen, 0)]
    count = 0
    _enter(calls, count)
    for answer in answers:
        gen.send(answer)
        count += 1
        top = calls[-1][0]
        if top.gi_frame is None or top.gi_yieldfrom is not None:
            while calls[-1][0].gi_frame is None:
                calls.pop()
            _enter(calls, count)
    gen.close()
    return calls[-1][1]


def _enter(calls: list[tuple[Word, int]], count: int) -> None:
    """Add the calls that the innermost one known has made."""
    inner = calls[-1][0].gi_yieldfrom
    while inner is not None and hasattr(inner, "gi_frame"):
        calls.append((inner, count))
        inner = inner.gi_yieldfrom
