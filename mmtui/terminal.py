"""The terminal that the application draws on, held apart from the standard streams.

A kernel of one's own runs in this process: it may print, read, or close descriptors 0, 1 and 2.
None of that may reach the screen or end the application, so it works on descriptors of its own,
and the standard ones point at nothing while it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import termios
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

__all__ = ["FALLBACK_SIZE", "MOST", "RESET", "Terminal", "clamp_size"]

FALLBACK_SIZE = (80, 24)
"""Columns and rows of a terminal that does not know its size."""
MOST = (768, 256)
"""Columns and rows beyond which a size is taken for a mistake: a frame would take seconds."""
RESET = (
    "\x1b[?2026l"  # synchronised update
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # bracketed paste, line wrap, resizes told in band
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # the mouse, in all its forms
    "\x1b[<99u"  # the keyboard protocol, however often; the alternate screen has a stack of its own
    "\x1b[?1049l\x1b[?25h\x1b[?1004l"  # alternate screen, cursor, focus events
)
"""Takes back every mode that the application asks of a terminal."""
_HIGH = 64
"""Private descriptors are at least this: code that closes "all" seldom goes further."""
_BLOCK = 256
"""Bytes that a terminal takes without making a writer wait, once it says that it is ready."""


def clamp_size(columns: int, rows: int) -> tuple[int, int]:
    """A size that can be drawn: at least one cell, at most `MOST`; 0 is what is usual."""
    columns, rows = columns or FALLBACK_SIZE[0], rows or FALLBACK_SIZE[1]
    return max(1, min(columns, MOST[0])), max(1, min(rows, MOST[1]))


class Terminal:
    """Private descriptors of the terminal on stdin and stdout, and what it was like before.

    It is also the file that Textual's writer thread writes to: a terminal that is gone, or does
    not take anything any more when the application is to end, swallows what is written.
    """

    def __init__(self) -> None:
        self.input = _private(0, os.O_RDONLY)
        self.output = _private(1, os.O_WRONLY)
        self.encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
        self.on_gone: Callable[[], None] = lambda: None
        """Called once, from any thread, when the terminal was closed."""
        self.gone = False
        """The terminal was closed: nothing can be read or written."""
        self.over = False
        """The application is over: whoever reads shall stop."""
        self.dirty = False
        """Modes are set that have to be taken back."""
        self._attributes = _attributes(self.input)
        self.stuck = False
        """It took nothing for longer than there was patience for; what is written is dropped."""
        self._patience: float | None = None

    def size(self) -> tuple[int, int]:
        """Columns and rows, as the environment says (COLUMNS, LINES) or the terminal itself.

        Of a terminal that knows its size the environment can ask for a part only: what is written
        beyond an edge would be wrapped or scrolled over the rest.
        """
        said = [os.environ.get(name, "") for name in ("COLUMNS", "LINES")]
        asked = [int(t[:9]) if t.isascii() and t.isdigit() else 0 for t in said]
        try:
            there: tuple[int, int] = os.get_terminal_size(self.output)
        except OSError:
            there = (0, 0)
        columns, rows = (
            min(wanted or real, real) if real else wanted or usual
            for wanted, real, usual in zip(asked, there, FALLBACK_SIZE, strict=True)
        )
        return clamp_size(columns, rows)

    @property
    def foreground(self) -> bool:
        """Whether the terminal is this process's to draw on now."""
        try:
            return os.tcgetpgrp(self.input) == os.getpgrp()
        except OSError:
            return True  # not the controlling terminal: there is no job control on it

    # -- writing -----------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Write, waiting as long as it takes; nothing is raised."""
        left = memoryview(text.encode(self.encoding, "replace"))
        since = monotonic()
        while left and not (self.gone or self.stuck):
            try:
                if self._ready():
                    left = left[os.write(self.output, left[:_BLOCK]) :]
                    since = monotonic()
                    continue
            except BlockingIOError:
                pass
            except OSError:  # EIO, EPIPE: nobody is there
                self.lose()
            self.stuck = self._patience is not None and monotonic() - since > self._patience
        return len(text)

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self.output, select.POLLOUT)
        return bool(poll.poll(100))

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self.output

    def isatty(self) -> bool:
        """It is one."""
        return True

    def hurry(self, patience: float | None = 1.0) -> None:
        """Wait no longer than so many seconds for a terminal that takes nothing; None: for ever."""
        self._patience = patience
        self.stuck = self.stuck and patience is not None

    def lose(self) -> None:
        """The terminal was found closed; from any thread."""
        if not self.gone:
            self.gone = True
            self.on_gone()

    # -- leaving ------------------------------------------------------------------------

    def restore(self) -> None:
        """Take back every mode at once, whatever state the application is in."""
        if self._attributes is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.input, termios.TCSANOW, self._attributes)
        if self.dirty and not self.gone:
            with contextlib.suppress(OSError):
                if self._ready():
                    os.write(self.output, RESET.encode())
        self.dirty = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Point those standard streams that are a terminal at nothing, and back at the end."""
        saved: dict[int, int] = {}
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for stream in (0, 1, 2):
                if os.isatty(stream):
                    saved[stream] = fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _HIGH)
                    os.dup2(null, stream)
            yield
        finally:
            self.over = True
            if self.dirty:
                self.restore()
            for file in (sys.__stdout__, sys.__stderr__):
                with contextlib.suppress(OSError, ValueError):
                    if file is not None:
                        file.flush()  # what was printed and is not out yet goes nowhere, too
            for stream, kept in saved.items():
                with contextlib.suppress(OSError):
                    os.dup2(kept, stream)
                    os.close(kept)
            with contextlib.suppress(OSError):
                os.close(null)


def _private(stream: int, how: int) -> int:
    """A descriptor of one's own for the terminal behind a standard stream.

    The terminal is opened anew where that is possible: only so is `O_NONBLOCK` not shared with
    the shell that has the terminal before and after.
    """
    found = -1
    try:
        found = os.open(os.ttyname(stream), how | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        if os.fstat(found).st_rdev == os.fstat(stream).st_rdev:
            return fcntl.fcntl(found, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # no name in this mount namespace, or another user's
        pass
    finally:
        if found >= 0:
            os.close(found)
    return fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _HIGH)


def _attributes(descriptor: int) -> list[Any] | None:
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:
        return None
