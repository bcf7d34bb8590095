"""The streams of a command while a person's own kernel runs.

Its input is empty, its prints are notes on stderr, and what it does to the descriptors is found
out and put right.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from mmtui.streams import bare, replace_bare
from sandbox.errors import KernelBug

__all__ = ["own_streams"]

MOST = 1 << 16
"""Characters of prints that are passed on for an action; the rest is dropped."""
_STREAMS = ("stdin", "stdout", "stderr")
_PRIVATE = 100
"""Descriptors from here on are ours: nobody closes them by counting up from 3."""


class _Notes(io.TextIOBase):
    """Passes on what is printed, a line at a time, with nothing that a terminal would obey."""

    def __init__(self) -> None:
        self._line = ""
        self._left = MOST

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Keep what is not a whole line yet; returns how much was taken, which is all."""
        *lines, self._line = (self._line + str(text)).split("\n")
        for line in lines:
            self._pass_on(line)
        self._line = self._line[:MOST]
        return len(text)

    def finish(self) -> None:
        """Pass on what is left without the end of its line."""
        if self._line:
            self._pass_on(self._line)

    def _pass_on(self, line: str) -> None:
        if self._left > 0:
            shown = line[: self._left]
            self._left -= len(line) + 1
            plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
            os.write(2, f"kernel: {plain}\n".encode(errors="backslashreplace"))


class _Descriptors:
    """Standard input, output and error as they were, and private duplicates of them."""

    def __init__(self) -> None:
        import fcntl

        self._kept: dict[int, int] = {}
        for number in range(3):
            with suppress(OSError):
                self._kept[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _PRIVATE)

    def put_right(self) -> list[str]:
        """Restore those that are closed or lead elsewhere now; their names."""
        wrong = []
        for number, kept in self._kept.items():
            if not _same(number, kept):
                os.dup2(kept, number)
                wrong.append(_STREAMS[number])
            os.close(kept)
        return wrong


def _same(number: int, kept: int) -> bool:
    try:
        return os.path.samestat(os.fstat(number), os.fstat(kept))
    except OSError:
        return False


@contextmanager
def own_streams(what: str) -> Iterator[None]:
    """Keep a kernel's hands off the streams of the command.

    Raises:
        KernelBug: *what* closed or replaced one of them; they are as before.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, full or missing: not ours
            stream.flush()
    before = {name: getattr(sys, name) for name in _STREAMS}
    descriptors, notes = _Descriptors(), _Notes()
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(""), notes, notes
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        with suppress(OSError, ValueError):  # nobody reads stderr, or the kernel closed the notes
            notes.finish()
        wrong = descriptors.put_right()
        for name, stream in before.items():
            setattr(sys, name, stream)
            if getattr(bare(stream), "closed", False):
                wrong.append(f"sys.__{name}__")
                replace_bare(name, _reopened(name))
        if wrong and error is None:
            raise KernelBug(f"{what}: the kernel closed or replaced {', '.join(wrong)}")


def _reopened(name: str) -> TextIO:
    """A new file object on a descriptor whose own one was closed."""
    number = _STREAMS.index(name)
    mode = "r" if name == "stdin" else "w"
    binary = open(number, mode + "b", closefd=False)  # noqa: SIM115  # for the rest of the command
    stream = io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace")
    setattr(sys, f"__{name}__", stream)
    return stream
