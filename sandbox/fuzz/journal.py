"""The journal of a run: a line for each thing that is known, on disk before the next is begun.

Lines are only ever added, each flushed to the disk; the last one may be torn by a kill, and is
then left out and written over.  Whatever else is in the folder is made from it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sandbox.errors import SandboxError, UsageError

__all__ = ["Journal", "opened", "write_whole"]

NAME = "journal.jsonl"


class Journal:
    """An open journal; what it had when it was opened is in `lines`."""

    def __init__(self, file: IO[bytes], lines: list[dict[str, Any]]) -> None:
        self._file = file
        self.lines = lines

    def add(self, *lines: Mapping[str, Any]) -> None:
        """Add lines, and return when they are on the disk."""
        for line in lines:
            self.lines.append(dict(line))
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened(folder: Path, command: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal of a folder, or begin one; `command` is what is asked for.

    Raises:
        UsageError: the folder's journal is of another command line, or is in use.
        SandboxError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / NAME, "a+b")  # noqa: SIM115  # closed below, once it is ours
    except OSError as error:
        raise SandboxError(f"{folder} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is at work in {folder}", expected="-o DIR") from error
        lines = _read(file)
        asked = json.loads(json.dumps(command))
        journal = Journal(file, lines)
        if not lines:
            journal.add({"command": asked})
        elif lines[0].get("command") != asked:
            raise UsageError(_otherwise(folder, lines[0].get("command"), asked),
                             expected="the same command again, or another folder")  # fmt: skip
        yield journal


def _read(file: IO[bytes]) -> list[dict[str, Any]]:
    """The whole lines of a journal; a torn one at its end is cut off."""
    file.seek(0)
    lines, whole = [], 0
    for raw in file:
        try:
            line = json.loads(raw) if raw.endswith(b"\n") else None
        except ValueError:
            line = None
        if not isinstance(line, dict):
            break
        lines.append(line)
        whole += len(raw)
    file.truncate(whole)
    return lines


def _otherwise(folder: Path, known: object, asked: Mapping[str, Any]) -> str:
    """Say in what a command line differs from the one that a folder is of."""
    before: Mapping[str, Any] = known if isinstance(known, dict) else {}
    differing = sorted(key for key in before.keys() | asked.keys()
                       if before.get(key) != asked.get(key))  # fmt: skip
    if not before or not differing:
        return f"{folder} has a journal of something else"
    key = differing[0]
    return f"{folder} is of another run: {key} is {before.get(key)!r} there"


def write_whole(file: Path, text: str) -> None:
    """Write a file in one piece: it is there whole, or as it was before.

    Raises:
        SandboxError: it cannot be written.
    """
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(half, "w", encoding="utf-8") as writing:
            writing.write(text)
            writing.flush()
            os.fsync(writing.fileno())
        half.replace(file)
    except OSError as error:
        raise SandboxError(f"{file} cannot be written: {error.strerror}") from error
