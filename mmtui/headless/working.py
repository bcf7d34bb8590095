"""Progress on stderr while a scenario runs, and Ctrl+C between two events instead of anywhere."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from mmtui.streams import bare
from sandbox.long_move import LongMove
from sandbox.printable import printable
from sandbox.session import Session

__all__ = ["watched"]

_FIRST, _EVERY = 0.5, 0.1
"""Seconds until there is something worth saying, and between two lines of it."""


@contextmanager
def watched(session: Session) -> Iterator[None]:
    """Let what is done inside be followed, and stopped by Ctrl+C.

    Raises:
        Cancelled: Ctrl+C was pressed; the machine stands between two events.
    """
    screen = bare(sys.stderr)  # none of it is left where stderr was closed
    if screen is not None and not screen.isatty():
        screen = None
    meter = _meter(screen) if screen is not None else None
    move = LongMove(session, meter)
    with move, _ctrl_c(move):
        try:
            yield
        finally:
            if screen is not None:
                screen.write("\r\x1b[K")
                screen.flush()


def _meter(screen: TextIO) -> Callable[[str], None]:
    """Make what writes a line over the one before it, not too often."""
    due = time.monotonic() + _FIRST

    def show(text: str) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + _EVERY
            screen.write(f"\r{printable(text[:100])}\x1b[K")
            screen.flush()

    return show


@contextmanager
def _ctrl_c(move: LongMove) -> Iterator[None]:
    """Turn the first Ctrl+C into a request; the second one interrupts as ever."""

    def asked(_number: int, _frame: FrameType | None) -> None:
        move.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, asked)
    except ValueError:  # not in the main thread, which alone is told of Ctrl+C
        before = None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
