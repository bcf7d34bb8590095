"""Looking into suspended kernel functions: stack, lines, locals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os.path import basename
from typing import Any, NamedTuple

from sandbox.memory import Word


class Frame(NamedTuple):
    """One level of a running function's call stack."""

    function: str
    filename: str
    line: int
    locals: dict[str, Any]


def error_place(error: BaseException) -> str:
    """``function (file:line)`` of the frame in which an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "the function"
    code = trace.tb_frame.f_code
    return f"{code.co_name} ({basename(code.co_filename)}:{trace.tb_lineno})"


def innermost(gen: Word) -> tuple[str, int, str]:
    """Function name, line and file of the innermost frame of a suspended generator."""
    while gen.gi_yieldfrom is not None and hasattr(gen.gi_yieldfrom, "gi_frame"):
        gen = gen.gi_yieldfrom
    frame = gen.gi_frame
    return gen.gi_code.co_name, frame.f_lineno, gen.gi_code.co_filename


def frames_of(gen: Word) -> Iterator[Frame]:
    """All frames of a suspended generator, outermost first."""
    while gen is not None and hasattr(gen, "gi_frame") and gen.gi_frame is not None:
        frame = gen.gi_frame
        names = {k: v for k, v in frame.f_locals.items() if k != "self"}
        yield Frame(gen.gi_code.co_name, gen.gi_code.co_filename, frame.f_lineno, names)
        gen = gen.gi_yieldfrom


def trace(gen: Word, answers: Iterable[Any]) -> Iterator[tuple[str, int, str]]:
    """(function, line, file) of each event that a fresh generator yields when it is answered."""
    next(gen)
    yield innermost(gen)
    for answer in answers:
        gen.send(answer)
        yield innermost(gen)
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
