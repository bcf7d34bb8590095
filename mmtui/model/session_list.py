"""The sessions that are on file: what each is of, and which to go on with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmtui.model.files import state_directory
from mmtui.model.session_mark import is_session

__all__ = ["Kept", "forget_leftovers", "list_sessions", "session_folder", "session_to_continue"]

_NAMED = re.compile(rb"^scenario ([a-z0-9-]+)$", re.MULTILINE)
_KERNEL = re.compile(rb'^#@ kernel "([^"\\\n]+)"$', re.MULTILINE)
_ACTION = re.compile(rb"^(?!#|scenario |schedule |end$|$)", re.MULTILINE)
_LEFT = re.compile(rb"^#@ at [0-9]+ \+[0-9]+ left *\nend\s*\Z", re.MULTILINE)
_LARGEST = 16 << 20
_OLD = 3600.0
"""Seconds after which what was being written when a program was killed is swept away."""


class Kept(NamedTuple):
    """A session on file."""

    path: str
    name: str
    kernel: str
    actions: int
    when: float
    left: bool
    """Whether it was left, or ended in the middle of things."""
    busy: bool
    """Whether a program has it open."""


def session_folder() -> Path:
    """Where sessions are kept."""
    return state_directory() / "sessions"


def list_sessions(limit: int = 20) -> list[Kept]:
    """The latest sessions, the last one first; what cannot be read is none."""
    found = [(entry.stat().st_mtime, entry.path) for entry in _files() if _is_named(entry.name)]
    kept = (_kept(path, when) for when, path in sorted(found, reverse=True))
    return [session for session, _ in zip((k for k in kept if k), range(limit), strict=False)]


def session_to_continue() -> Kept | None:
    """The latest session that nobody has open; one that was not left goes first."""
    free = [session for session in list_sessions() if not session.busy]
    return next((session for session in free if not session.left), next(iter(free), None))


def forget_leftovers() -> None:
    """Remove what programs that were killed had begun to write and nobody has open."""
    for entry in _files():
        old = entry.name.startswith(".") and time.time() - entry.stat().st_mtime > _OLD
        if old and not _busy(entry.path):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _files() -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(session_folder()) as entries:
            yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return


def _is_named(name: str) -> bool:
    return name.endswith(".scn") and not name.startswith(".")


def _kept(path: str, when: float) -> Kept | None:
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST)
    except OSError:
        return None
    if not is_session(text[:80].decode("utf-8", "replace")) or not (names := _NAMED.findall(text)):
        return None
    last = text.rindex(b"\nscenario ")
    kernels = _KERNEL.findall(text, last)
    actions = len(_ACTION.findall(text, last))
    return Kept(
        path, names[0].decode(), kernels[-1].decode("utf-8", "replace") if kernels else "?",
        actions, when, _LEFT.search(text) is not None, _busy(path),
    )  # fmt: skip


def _busy(path: str) -> bool:
    """Whether a program holds a session's lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
