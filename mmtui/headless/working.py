"""Progress on stderr while a scenario runs, and Ctrl+C between two events instead of anywhere."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from mmtui.streams import bare
from sandbox.printable import printable
from sandbox.run.long_move import LongMove
from sandbox.run.runner import ScenarioRun
from sandbox.run.scheduling import Seen
from sandbox.run.session import Session
from sandbox.scenario.language import Action, CpuBlock

__all__ = ["WatchedRun", "kept_apart", "watched"]

_FIRST, _EVERY = 0.5, 0.1
"""Seconds until there is something worth saying, and between two lines of it."""


@contextmanager
def watched(session: Session, what: str = "the kernel") -> Iterator[None]:
    """Let what is done inside be followed, and stopped by Ctrl+C.

    A person's own kernel can neither read the command's input nor write its output meanwhile.

    Raises:
        Cancelled: Ctrl+C was pressed; the machine stands between two events.
        KernelBug: *what* was done to the streams of the command.
    """
    screen = bare(sys.stderr)  # none of it is left where stderr was closed
    if screen is not None and not screen.isatty():
        screen = None
    meter = _meter(screen) if screen is not None else None
    move = LongMove(session, meter)
    with move, _ctrl_c(move), kept_apart(session, what):
        try:
            yield
        finally:
            if screen is not None:
                screen.write("\r\x1b[K")
                screen.flush()


@contextmanager
def kept_apart(session: Session, what: str) -> Iterator[None]:
    """Confine a person's own kernel."""
    if not session.machine.checked:
        yield
        return
    # Imported here: the models need neither, and start-up time counts.
    from mmtui.headless.streams import own_streams
    from sandbox.machine.confined import confined

    with own_streams(what), confined():
        yield


class WatchedRun(ScenarioRun):
    """A run whose actions are `watched`."""

    def __init__(self, kernel: str, *, name: str = "", about: str = "") -> None:
        if ":" not in kernel:
            super().__init__(kernel, name=name, about=about)
            return
        # Imported here: the models need neither, and start-up time counts.
        from mmtui.headless.streams import own_streams
        from sandbox.machine.confined import confined

        with own_streams(f"loading {kernel}"), confined():
            super().__init__(kernel, name=name, about=about)

    def do(self, step: Action | CpuBlock, seen: Seen | None = None) -> dict[str, Any]:
        """Do a step, which Ctrl+C ends between two events."""
        with watched(self.session, step.text):
            return super().do(step, seen)


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
    presses = 0

    def asked(_number: int, _frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        move.stop()
        if presses > 1:
            error = KeyboardInterrupt()
            move.interrupt(error)
            raise error

    try:
        before = signal.signal(signal.SIGINT, asked)
    except ValueError:  # not in the main thread, which alone is told of Ctrl+C
        before = None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
