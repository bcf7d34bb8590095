"""Lines typed at `:`, kept between sessions under the state directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mmtui.model.files import write_atomically

__all__ = ["History"]

_KEPT = 500


class History:
    """The lines typed before, the latest last; a file that cannot be used is done without."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""
        if path is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._lines = path.read_text(encoding="utf-8").splitlines()[-_KEPT:]
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
        if line and line not in self._lines[-1:]:
            self._lines = [*self._lines, line][-_KEPT:]
            if self._path is not None:
                with contextlib.suppress(OSError):
                    write_atomically(self._path, "\n".join(self._lines) + "\n")
        self.rewind()
