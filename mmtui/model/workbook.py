"""What is worked on: the present bench, the file it is kept in, and the benches put aside."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmtui.model.bench import Bench
from mmtui.model.files import read_back, save_text
from mmtui.model.session_list import session_folder
from mmtui.model.session_text import written_by_us
from mmtui.model.sessions import SessionLog, saved_text
from mmtui.model.tree import Tree
from sandbox.errors import UsageError
from sandbox.kernels import kernel_by_name

__all__ = ["Workbook"]

_KEPT = 3
"""Benches that stay in memory when they are put aside; the file has all of them."""


class _Aside(NamedTuple):
    """A bench that was put aside for another kernel."""

    bench: Bench
    section: str


class Workbook:
    """A document being worked on, with everything that was done on it, on every kernel.

    Nothing is lost by going on: another kernel puts the bench aside, in the file and (the last
    few) in memory, where going back finds it as it was.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        saved = bench.source.session
        sections = saved.sections[:-1] if saved else ()
        self.log = SessionLog(bench, tuple(section.text + "end\n" for section in sections))
        self._aside: list[_Aside] = []
        self._made: tuple[Bench, Tree] | None = None
        """The bench of which the present one is a replay, and what that was then."""
        self._saved = ""
        """What was saved by name last: it is safe, whatever becomes of the session's file."""

    def begin(self) -> None:
        """Do again what the session has that was opened, and go on with its file if it may be.

        Raises:
            Cancelled: it was stopped; what was done so far is there, and a new file will be.
        """
        saved, bench = self.bench.source.session, self.bench
        if saved is None:
            return
        section = saved.sections[-1]
        exact = bench.kernel == section.head.kernel
        bench.keeper = None
        try:
            bench.regrow(section.tree, section.place, exact=exact)
            whole = bench.refusal is None and exact
            if not whole:
                self.log.sections.append(section.text + "end\n")
        finally:
            bench.keeper = self.log.keep
        if whole and (handle := _claimed(saved.path, saved.stamp)) is not None:
            self.log.adopt(Path(saved.path), handle)

    # -- other kernels -----------------------------------------------------------------

    def replay_on(self, kernel: str, started: Callable[[Bench], None] | None = None) -> Bench:
        """The bench to go on with (`go_on_with`) on another kernel.

        It is the one that the present one came from, if nothing was done since and that kernel is
        still what it was, or a replay.
        """
        if self._made is not None:
            came_from, tree = self._made
            same = came_from.kernel == kernel and came_from.session.kernel is kernel_by_name(kernel)
            if same and tree == self.bench.tree():
                return came_from
        return self.bench.replay_on(kernel, started)

    def go_on_with(self, other: Bench) -> None:
        """Put the present bench aside and go on with a replay of it, or with what it came from."""
        sections, now = list(self.log.sections), self.bench
        back = next((aside for aside in self._aside if aside.bench is other), None)
        if back is not None:
            self._aside.remove(back)
            if back.section in sections:
                sections.remove(back.section)
        else:
            section = self.log.section()
            if now.session.machine.tasks or now.session.machine.future_tasks:
                sections.append(section)
            self._aside = [*self._aside, _Aside(now, section)][-_KEPT:]
        self.bench = other
        self.log.go_on_with(other, sections)
        self._made = None if back is not None else (now, other.tree())

    # -- leaving and saving ------------------------------------------------------------

    def keep(self, *, left: bool = False) -> None:
        """Have everything on file.

        Raises:
            UsageError: it cannot be written, and is not saved elsewhere; nothing is lost yet.
        """
        self.log.flush(left=left)
        error = self.log.error
        if error is not None and self._saved != saved_text(self.bench):
            raise UsageError(
                f"the session is not on file: {error.strerror or error}",
                expected=":save FILE in another place, or the same again to insist",
            )

    def save(self, path: str, *, insist: bool = False) -> None:
        """Write everything that was done to a file that a person named.

        Raises:
            UsageError: there is a file that mmtui did not write, or it cannot be written.
        """
        text = saved_text(self.bench)
        found = None if insist else read_back(path)
        save_text(path, text, ours=found is None or written_by_us(found), insist=insist)
        self._saved = text

    def close(self) -> None:
        """The session is over for this program; another one may go on with its file."""
        self.log.close()


def _claimed(path: str, stamp: tuple[int, int]) -> int | None:
    """A handle of a session's file with its lock, None if it is not to be written to.

    A session that somebody else has open, that was changed since it was read, or that was saved
    by name, is left alone: what is done now goes to a file of its own.
    """
    if Path(path).resolve().parent != session_folder().resolve():
        return None
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(handle)
        if (found.st_ino, found.st_mtime_ns) == stamp:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
