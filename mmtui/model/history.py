"""Lines typed at `:`, kept between sessions under the state directory."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from mmtui.model.files import write_atomically

__all__ = ["History"]

_KEPT = 500
_READ = 1 << 18
"""Bytes that are read, from the end of the file."""
_LEFT = 60.0
"""Seconds after which nobody is still writing a file that was not renamed."""
_LONGEST = 2_000
"""Characters of a line that is kept: a longer one was pasted by mistake."""


class History:
    """The lines typed before, the latest last; a file that cannot be used is done without."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""
        if path is not None:
            _sweep(path)
            try:
                self._lines = _read(path)[-_KEPT:]
            except FileNotFoundError:
                pass
            except OSError:
                self._path = None  # nor is it written: a FIFO, a device, a folder of another's
        self.rewind()

    def rewind(self) -> None:
        """Start again after the latest line."""
        self._at = len(self._lines)
        self._draft = ""

    def older(self, present: str) -> str:
        """The line before the one that is shown; the present one is kept for the way back."""
        if self._at == len(self._lines):
            self._draft = present
        self._at = max(0, self._at - 1)
        return self._lines[self._at] if self._lines else present

    def newer(self) -> str:
        """The line after the one that is shown."""
        self._at = min(len(self._lines), self._at + 1)
        return self._lines[self._at] if self._at < len(self._lines) else self._draft

    def add(self, line: str) -> None:
        """Keep a line."""
        line = line.strip()
        if line and line not in self._lines[-1:] and _is_line(line):
            self._lines = [*self._lines, line][-_KEPT:]
            if self._path is not None:
                with contextlib.suppress(OSError, UnicodeError):
                    write_atomically(self._path, "\n".join(self._lines) + "\n")
        self.rewind()


def _sweep(path: Path) -> None:
    """Take away what a kill has left between writing the file anew and renaming it."""
    with contextlib.suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*"):
            if time.time() - left.lstat().st_mtime > _LEFT:
                left.unlink()


def _read(path: Path) -> list[str]:
    """The lines at the end of a file; what is none of ours is left out.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    # Opening a FIFO waits for somebody who writes, and reading a device may never end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(f"{path} is no regular file")
        start = max(0, about.st_size - _READ)
        file.seek(start)
        lines = file.read(_READ).decode("utf-8", "replace").split("\n")
    return [line for line in lines[bool(start) :] if line and _is_line(line)]


def _is_line(line: str) -> bool:
    return len(line) <= _LONGEST and line.isprintable()
