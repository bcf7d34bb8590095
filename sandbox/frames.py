"""Looking into suspended kernel functions: stack, lines, locals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sandbox.memory import Word


@dataclass(frozen=True, slots=True)
class Frame:
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
    return f"{code.co_name} ({PurePath(code.co_filename).name}:{trace.tb_lineno})"


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
