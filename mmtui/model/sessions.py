"""The file of a session: written while it is worked on, so that no end of the program loses it.

Each session has a file of its own from its first action on.  An action is in it as soon as it is
done, and on disk when the move is over that did it.  Where the cursor stands is written with the
next action, or at the end.  Only a fork of history, or another kernel, makes the file anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import RLock

from mmtui.model.bench import Bench
from mmtui.model.files import named, nameless, sync_folder, write_all
from mmtui.model.session_list import forget_leftovers, session_folder
from mmtui.model.session_mark import MARK
from mmtui.model.session_text import Head, done_lines, section_text, summed, tail
from mmtui.model.tree import Done, Place, place_of, root_steps, steps_of

__all__ = ["SessionLog", "saved_text"]

_SYNC = 0.5
"""Seconds after which a long move's actions are on disk, though it goes on."""


def section_name(bench: Bench, number: int = 1) -> str:
    """The name of a bench's scenario: that of its document, as the language wants it."""
    words = bench.source.name.lower()[:60].split("-")
    name = "-".join(part for part in words if part.isalnum() and part.isascii()) or "session"
    return name if number == 1 else f"{name}-{number}"


def head_of(bench: Bench) -> Head:
    """What a bench's session needs to be opened again."""
    return Head(bench.kernel, bench.source.target, bench.source.scenario_name)


def saved_text(bench: Bench) -> str:
    """Everything that was done on a bench, as a file to be saved."""
    text = section_text(section_name(bench), head_of(bench), bench.tree())
    return summed(text + tail(bench.place(), left=True))


class SessionLog:
    """Keeps what is done on a bench in a file; `keep` is the bench's `keeper`.

    It is called by the thread that moves, `flush` and `close` by the screen's: each waits for
    the other.  What cannot be written stays to be written: `error` says why, and each call tries
    again.
    """

    def __init__(self, bench: Bench, sections: tuple[str, ...] = ()) -> None:
        self.path: Path | None = None
        self.error: OSError | None = None
        self.sections = list(sections)
        """The texts of the sections that were put aside."""
        self._lock = RLock()
        self._handle = -1
        self._dirty = self._open = False
        self._synced = time.monotonic()
        self._start(bench)

    def _start(self, bench: Bench) -> None:
        """Begin with a bench; nothing of it is in the file yet."""
        self._bench, self._machine = bench, bench.session.machine
        self._forks = -1
        self._tasks = 0
        self._starts: list[int] = []
        self._end, self._tail = 0, b""
        bench.keeper = self.keep

    # -- keeping -----------------------------------------------------------------------

    def keep(self, whole: bool) -> None:
        """Write the actions that are done and not in the file; *whole*: have them on disk."""
        with self._lock, self._failing():
            if self._forks != self._machine.forks or self.error is not None:
                if self.path is not None or root_steps(self._machine) or self._machine.branches:
                    self._write_anew()
            elif not self._machine.can_redo() and len(self._machine.tasks) > self._tasks:
                self._append()
            if self._dirty and (whole or time.monotonic() - self._synced > _SYNC):
                self._sync()

    def flush(self, *, left: bool = False) -> None:
        """Write everything, also an action that is not over, and where the cursor stands."""
        with self._lock, self._failing():
            if self.path is None and not root_steps(self._machine) and not self._machine.branches:
                return
            if self._forks != self._machine.forks or self.error is not None or self._unwritten():
                self._write_anew(left=left)
            else:
                self._write_end(tail(self._place(), left=left))
            self._sync()

    def close(self, *, left: bool = True) -> None:
        """Write everything, and that the session was left; another program may go on with it."""
        self.flush(left=left)
        with self._lock:
            self._bench.keeper = None
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Remember what could not be written, and forget it when everything was."""
        try:
            yield
        except OSError as error:
            self.error = error
        else:
            self.error = None

    # -- other benches -----------------------------------------------------------------

    def section(self, *, left: bool = False) -> str:
        """The present bench's section, to be put aside."""
        bench = self._bench
        text = section_text(self._name(), head_of(bench), bench.tree())
        return text + tail(bench.place(), left=left)

    def _name(self) -> str:
        """A name for the present section that no other one has."""
        taken = {section.partition("\n")[0] for section in self.sections}
        names = (section_name(self._bench, number) for number in count(1))
        return next(name for name in names if f"scenario {name}" not in taken)

    def go_on_with(self, bench: Bench, sections: list[str]) -> None:
        """Keep another bench from now on, and these sections before it."""
        with self._lock:
            self._bench.keeper = None
            self.sections = sections
            self._start(bench)
            self.keep(True)

    def adopt(self, path: Path, handle: int) -> None:
        """Go on with the file that the present bench was read from; its lock is held."""
        with self._lock:
            self.path, self._handle = path, handle

    # -- writing -----------------------------------------------------------------------

    def _append(self) -> None:
        """Write the actions that have been done since, over the place at the end."""
        machine = self._machine
        tasks = machine.tasks[self._tasks :]
        running = next((t.payload for t in tasks if t.running), None)
        done = [task for task in tasks if running is None or task.payload is not running]
        steps = steps_of(done, machine.position + 1)
        if not steps:
            return
        if self._open:  # the last one of the file has come to its end
            self._write_anew()
            return
        lines = "".join(
            done_lines(Done(self._bench.as_done(step), self._bench.line_of(step)))
            for step, _ in steps
        ).encode("utf-8", "surrogateescape")
        place = Place(len(self._starts) + len(steps))
        self._write_end(tail(place, left=False), lines)
        self._starts += (start for _, start in steps)
        self._tasks += len(done)

    def _write_end(self, end: str, lines: bytes = b"") -> None:
        """Write lines and the section's end where the end was; one call, so that all is there."""
        data = lines + end.encode()
        # What is left of a longer end would stand behind this one.
        data += b"\n" * (len(self._tail) - len(data))
        try:
            os.lseek(self._handle, self._end, os.SEEK_SET)
            write_all(self._handle, data)
        except OSError:
            with contextlib.suppress(OSError):  # no more room is needed for what was there
                os.lseek(self._handle, self._end, os.SEEK_SET)
                write_all(self._handle, self._tail)
                os.ftruncate(self._handle, self._end + len(self._tail))
            raise
        self._end += len(lines)
        self._tail = data[len(lines) :]
        self._dirty = True

    def _unwritten(self) -> bool:
        machine = self._machine
        return len(machine.tasks) + len(machine.future_tasks) != self._tasks

    def _place(self) -> Place:
        machine = self._machine
        end = machine.position + len(machine.future_cpus)
        return place_of(self._starts, machine.position, end)

    def _sync(self) -> None:
        if self._dirty and self._handle >= 0:
            os.fsync(self._handle)
            self._dirty = False
            self._synced = time.monotonic()

    def _write_anew(self, *, left: bool = False) -> None:
        """Write the whole file under another name, and give it its own."""
        bench, machine = self._bench, self._machine
        tree, steps = bench.tree(), root_steps(machine)
        body = section_text(self._name(), head_of(bench), tree)
        before = "".join([f"{MARK}\n", *self.sections, body]).encode("utf-8", "surrogateescape")
        place = bench.place()
        data = before + tail(place, left=left).encode()
        self._put(data)
        last = next((item for item in reversed(tree) if isinstance(item, Done)), None)
        self._open = last is not None and last.events is not None
        self._forks = machine.forks
        self._starts = [start for _, start in steps]
        self._tasks = len(machine.tasks) + len(machine.future_tasks)
        if self._open:  # to be written again when it is over
            tasks = [*machine.tasks, *machine.future_tasks]  # it may have been gone back over
            self._tasks -= sum(1 for task in tasks if task.payload is steps[-1][0])
        self._end, self._tail = len(before), data[len(before) :]
        self._dirty = False
        self._synced = time.monotonic()

    def _put(self, data: bytes) -> None:
        """Put a whole file in place, with its lock held from the beginning."""
        if self.path is None:
            session_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
            forget_leftovers()
        folder = session_folder() if self.path is None else self.path.parent
        place = str(self.path or folder / "session")
        handle, beside = nameless(place)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(handle, data)
            os.fsync(handle)
            beside = beside or named(handle, place)
            if self.path is None:
                self.path = _named(beside, folder, section_name(self._bench))
            else:
                os.rename(beside, self.path)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(OSError):
                if beside:
                    os.unlink(beside)
            raise
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = handle
        sync_folder(str(folder))


def _named(beside: str, folder: Path, name: str) -> Path:
    """Give a file a name that no session has: the time, and what it is of; it is whole at once."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 10_000):
        path = folder / f"{stamp}-{name}{f'-{number}' if number > 1 else ''}.scn"
        try:
            _link(beside, path)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / f"{stamp}-{name}"))


def _link(beside: str, path: Path) -> None:
    """Rename a file, but never over another one."""
    try:
        os.link(beside, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        os.rename(beside, path)  # a file system without links: the name is taken first
        return
    os.unlink(beside)
