"""The process's own streams: what a terminal would act upon is spelled out, failures are named.

While a command runs, `sys.stdout` and `sys.stderr` are wrapped.  Whatever is written passes
`printable`, so that no field of a document reaches a terminal raw.  What cannot be written to
stdout (closed, full) is an `OutputError`; what cannot be written to stderr is left out, for the
data and the status do not depend on it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO, cast

from sandbox.errors import SandboxError
from sandbox.printable import printable

__all__ = ["OutputError", "bare", "replace_bare", "unwrapped", "wrapped"]


class OutputError(SandboxError):
    """The data could not be written: stdout is closed or full."""


class _Printable:
    """A stream of text for a terminal, or for a file that may be shown on one."""

    def __init__(self, stream: TextIO | None, number: int) -> None:
        self.stream = stream
        """The stream itself, None if it was closed when the process began."""
        self._number = number

    @property
    def encoding(self) -> str:
        """What the stream itself encodes with."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # somebody closed it
            return False

    def fileno(self) -> int:
        """The descriptor of the stream."""
        return self._number if self.stream is None else self.stream.fileno()

    def forget(self) -> None:
        """Write to nothing from now on, so that the interpreter's last flush does not fail."""
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)


class _Data(_Printable):
    """stdout: what cannot be written is an error, and stays one.

    The parser of the command line swallows errors of its own writing, so that the last flush has
    to raise them again.
    """

    failure: BrokenPipeError | OutputError | None = None

    def write(self, text: str) -> int:
        """Write a text.

        Raises:
            OutputError: it cannot be written.
            BrokenPipeError: its reader went away.
        """
        if self.stream is None:
            self.failure = OutputError("cannot write the output: stdout is closed")
            raise self.failure
        if self.failure is not None:
            raise self.failure
        try:
            self.stream.write(printable(text))
        except (OSError, ValueError) as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Write what is waiting; raises as `write`."""
        if self.failure is not None:
            raise self.failure
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: OSError | ValueError) -> NoReturn:
        self.forget()
        if isinstance(error, BrokenPipeError):
            self.failure = error
        else:
            reason = error.strerror if isinstance(error, OSError) else "stdout is closed"
            self.failure = OutputError(f"cannot write the output: {reason}")
        raise self.failure


class _Narration(_Printable):
    """stderr: what cannot be written is left out."""

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        if self.stream is not None:
            try:
                self.stream.write(printable(text))
            except (OSError, ValueError):
                self.forget()
                self.stream = None
        return len(text)

    def flush(self) -> None:
        """Write what is waiting, if that is possible."""
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError):
                self.forget()
                self.stream = None


@contextmanager
def wrapped() -> Iterator[None]:
    """Wrap the two streams, and leave nothing behind that the interpreter could stumble over."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a title with an accent in an ASCII locale
            with contextlib.suppress(OSError, ValueError):  # it writes what waits; told of below
                stream.reconfigure(errors="backslashreplace")
    data, narration = _Data(before[0], 1), _Narration(before[1], 2)
    sys.stdout, sys.stderr = cast("TextIO", data), cast("TextIO", narration)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        with contextlib.suppress(OutputError, BrokenPipeError):
            data.flush()
        narration.flush()


@contextmanager
def unwrapped() -> Iterator[None]:
    """Give the streams back for a while, to an application that draws on them."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", bare(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def bare(stream: TextIO) -> TextIO | None:
    """The stream itself, for control sequences of our own; None if it is closed."""
    return stream.stream if isinstance(stream, _Printable) else stream


def replace_bare(name: str, stream: TextIO) -> None:
    """Put a stream in place of `sys.NAME`, or of what that wraps: somebody closed it."""
    outer = getattr(sys, name)
    if isinstance(outer, _Printable):
        outer.stream = stream
    else:
        setattr(sys, name, stream)
