"""A terminal that starts a program and says when each of its frames was done.

The program must ask for synchronised updates (as Textual does): the end of such an update is the
end of a frame.  Times are seconds.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Frames", "Terminal"]

FRAME_END = b"\x1b[?2026l"
ASKS_FOR_SYNC = b"\x1b[?2026$p"
HAS_SYNC = b"\x1b[?2026;2$y"
ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|P.*?\x1b\\|[ -/]*[0-~])"
)
QUIET = 0.12
"""Silence after which a program's answer to a key is taken to be complete."""
SILENT = 3
READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Frames:
    """What a program wrote until it was quiet."""

    first: float
    """Time until the first painted cell; infinite if there was none."""
    settled: float
    """Time until the last frame was done; of all output if no frame ended."""
    bytes: int


class Terminal:
    """A running program with a terminal of its own; a context manager that ends it."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 120,
        rows: int = 40,
    ) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
            shape = {"COLUMNS": str(columns), "LINES": str(rows)}
            os.execvpe(argv[0], list(argv), {**environment, **terminal, **shape})
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)
        self.tail = b""
        self.alive = True

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the program."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def start_up(self, quiet: float = 0.5) -> Frames:
        """Wait for the program's first screen, at most 30 seconds for its first byte."""
        return self._collect(self.started, quiet, 30.0)

    def press(self, key: bytes, quiet: float = QUIET, patience: float = 2.0) -> Frames:
        """Write a key and wait for what it brings, *patience* seconds for the first byte."""
        start = time.perf_counter()
        os.write(self.fd, key)
        return self._collect(start, quiet, patience)

    def series(self, key: bytes, count: int) -> list[Frames]:
        """Press a key again and again; the third press that brings nothing is the last."""
        frames: list[Frames] = []
        silent = 0
        while len(frames) < count and silent < SILENT:
            frames.append(self.press(key))
            silent += not frames[-1].bytes
        return frames

    def _collect(self, start: float, quiet: float, patience: float) -> Frames:
        """Read until *quiet* seconds brought nothing after something came."""
        first = settled = other = float("inf")
        count = 0
        while True:
            wait = quiet if count else max(0.0, start + patience - time.perf_counter())
            if not select.select([self.fd], [], [], wait)[0]:
                break
            chunk = self._read()
            if not chunk:
                break
            now = time.perf_counter() - start
            count += len(chunk)
            other = now
            if first == float("inf") and ESCAPE.sub(b"", chunk).strip(b"\r\n\x00"):
                first = now
            if FRAME_END in self.tail + chunk:
                settled = now
            self.tail = chunk[-len(FRAME_END) :]
        return Frames(first, settled if settled < float("inf") else other, count)

    def _read(self) -> bytes:
        """Read what there is, and answer what the program asks; nothing when it has ended."""
        try:
            chunk = os.read(self.fd, READ)
        except OSError:  # the other end of a pty is closed
            chunk = b""
        self.alive = bool(chunk)
        if ASKS_FOR_SYNC in chunk:
            os.write(self.fd, HAS_SYNC)
        return chunk
