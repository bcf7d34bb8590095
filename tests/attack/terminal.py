"""A terminal of one's own with the program in it: a pty, and what xterm would answer.

Nothing here sleeps for a fixed time: a wait ends as soon as what is waited for is there, and
fails after `PATIENCE` seconds, which only has to be longer than a loaded machine needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pyte

from tests.attack.escapes import (
    ESCAPE,
    PRIVATE,
    UNFINISHED,
    Modes,
    Standing,
    known,
    plain,
    standing_in,
)
from tests.attack.homes import Home, command

__all__ = ["PATIENCE", "NoAnswer", "Terminal"]

T = TypeVar("T")

PATIENCE = float(os.environ.get("MMTUI_PATIENCE", "60"))
"""Seconds after which what is waited for is taken never to come."""

_KEPT = 1 << 22
"""Bytes of output that are kept; older ones are forgotten."""
_FRAME = b"\x1b[?2026h"
_BEGUN = re.compile(rb"\x1b(?:\[[0-9;:<=>?]*)?\Z")
"""An escape sequence of which the rest has not come yet."""
_BROKEN_OFF = re.compile(rb"\x1b\[[0-9;:<=>?]*(?=\x1b)")
"""One that the next ends, as where a frame was cut by a stop: terminals pass over it."""
_LEAVE_SCREEN = b"\x1b[?1049l"

_LEADER = """\
import fcntl, os, signal, sys, termios
for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.nice(int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Run in the child, which leads a session: take the terminal, then become the program.

What the attack itself was told to ignore (`nohup`, `&`) is not ignored by the program.  A fork
with code of ours in it would not do: the tests run several terminals in threads.
"""


class NoAnswer(AssertionError):
    """What was waited for did not come in time."""


class Terminal:
    """A running mmtui and its terminal; leaving the `with` block ends it if it has not ended."""

    def __init__(
        self,
        home: Home,
        *arguments: str,
        size: tuple[int, int] = (120, 40),
        program: Sequence[str] = (),
        extra: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        self.home, self.size = home, size
        self.output = bytearray()
        self.total = 0
        self._modes = Modes({})
        self._rest = b""
        self._pending = bytearray()
        self._rows: list[str] = []
        self._pyte = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._pyte)
        self._fd, self._slave = os.openpty()
        os.set_blocking(self._fd, False)
        self.resize(*size)
        self._before = termios.tcgetattr(self._slave)
        argv = [*(program or command()), *arguments]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LEADER, str(nice), *argv],
            stdin=self._slave, stdout=self._slave, stderr=self._slave, cwd=home.path,
            env=home.environment | dict(extra or {}), start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the program if it still runs, and give the terminal back."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for fd in (self._fd, self._slave):
            if fd >= 0:
                os.close(fd)
        self._fd = self._slave = -1

    # -- doing ---------------------------------------------------------------------------

    def send(self, data: bytes, seconds: float = PATIENCE) -> None:
        """Write bytes as keys, reading meanwhile so that neither side waits for the other.

        Raises:
            NoAnswer: they were not taken in time, and the program is still there.
        """
        view, end = memoryview(data), time.monotonic() + seconds
        while view and self.alive():
            readable, writable, _ = select.select([self._fd], [self._fd], [], 0.2)
            if readable:
                self._read()
            if writable:
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._fd, view[:4096]) :]
            if view and time.monotonic() > end:
                raise NoAnswer(f"{len(view)} of {len(data)} bytes were not taken")

    def line(self, text: str) -> None:
        """Type a line at `:`."""
        self.send(b":" + text.encode() + b"\r")

    def paste(self, data: bytes) -> None:
        """Paste, as a terminal in bracketed paste mode does."""
        self.send(b"\x1b[200~" + data + b"\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; the kernel tells the program (SIGWINCH)."""
        self.size = (columns, rows)
        self._pyte.resize(rows, columns)
        self._rows = [""] * rows
        self._pyte.dirty.update(range(rows))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Send a signal if the program still runs."""
        if self.alive():
            os.kill(self.pid, number)

    def stop(self, seconds: float = 2.0) -> bool:
        """Suspend it as Ctrl+Z in a shell does; whether it stopped in time."""
        self.signal(signal.SIGTSTP)
        return self.wait(lambda: self._state() in "TtZ", seconds)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self._slave)
        os.close(self._fd)
        self._fd = self._slave = -1

    # -- waiting -------------------------------------------------------------------------

    def read(self, seconds: float) -> bool:
        """Read what comes within some seconds; whether anything did."""
        if self._fd < 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return False
        return bool(select.select([self._fd], [], [], seconds)[0]) and self._read()

    def wait(self, there: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Read until something is the case; whether it is in time.  An end ends the wait."""
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                return False
            if not self.read(0.02) and not self.alive() and not self._drained():
                return bool(there())
        return True

    def expect(self, there: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Wait for something and return it.

        Raises:
            NoAnswer: it did not come; the message shows the screen.
        """
        if not self.wait(there, seconds):
            ended = "" if self.alive() else f" (it ended with {self.status})"
            raise NoAnswer(f"no {what} within {seconds:.0f} s{ended}:\n" + self.shown())
        return there()

    def frame(self, seconds: float = PATIENCE) -> bool:
        """Wait for the end of another frame; whether there was one in time."""
        before = self._modes.frames
        return self.wait(lambda: self._modes.frames > before, seconds)

    def answers(self, seconds: float) -> bool:
        """Wait for a frame; whether there is one in time, not counting what others took of it."""
        started, before, frames = time.monotonic(), self.delayed(), self.frames

        def over() -> bool:
            spent = time.monotonic() - started - (self.delayed() - before)
            return self.frames > frames or spent > seconds

        self.wait(over, max(PATIENCE, seconds))
        return self.frames > frames

    def text(self, wanted: str, seconds: float = PATIENCE) -> None:
        """Wait until a text stands on the screen."""
        self.expect(lambda: any(wanted in row for row in self.screen), repr(wanted), seconds)

    def ready(self, seconds: float = PATIENCE) -> Standing:
        """Wait for the main screen."""
        standing = self.expect(lambda: self.standing, "status line", seconds)
        assert standing is not None
        return standing

    def stand(self, wanted: Standing, seconds: float = PATIENCE) -> None:
        """Wait until the status line says that we are somewhere."""
        self.expect(lambda: self.standing == wanted, f"{wanted}", seconds)

    def settle(self, quiet: float = 0.15, seconds: float = PATIENCE) -> None:
        """Read until nothing more comes for a moment: only for looking, a test waits for a text."""
        end = time.monotonic() + seconds
        while self.read(quiet) and time.monotonic() < end:
            pass

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait for the end; the exit status, negative for a signal.

        Raises:
            NoAnswer: it did not end.
        """
        self.expect(lambda: not self.alive(), "end", seconds)
        self._drained()
        assert self.status is not None
        return self.status

    # -- looking -------------------------------------------------------------------------

    def alive(self) -> bool:
        """Whether the program runs (or is stopped)."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status once it has ended, negative for a signal."""
        return self._process.poll()

    @property
    def screen(self) -> list[str]:
        """The rows of the screen as text, without the part of a frame that is being written."""
        begun = self._pending.rfind(_FRAME) if self._modes.values.get(2026) else -1
        whole = len(self._pending) if begun < 0 else begun
        begun = _BEGUN.search(self._pending, 0, whole)
        whole = begun.start() if begun else whole
        pending = _BROKEN_OFF.sub(b"", bytes(self._pending[:whole]))
        del self._pending[:whole]
        if pending:
            self._stream.feed(ESCAPE.sub(known, pending))
        columns = range(self._pyte.columns)
        for number in self._pyte.dirty:  # the others are as they were
            if number < len(self._rows):
                cells = self._pyte.buffer[number]
                self._rows[number] = "".join([cells[x].data for x in columns]).rstrip()
        self._pyte.dirty.clear()
        return self._rows

    def shown(self) -> str:
        """The screen as one text, for a message."""
        return "\n".join(row for row in self.screen if row)

    @property
    def standing(self) -> Standing | None:
        """Where the status line says we are; None while there is none that can be read."""
        return standing_in(self.screen[0])

    @property
    def frames(self) -> int:
        """Frames done so far."""
        return self._modes.frames

    @property
    def drawing(self) -> bool:
        """Whether the program has the alternate screen, as it has until it leaves."""
        return self._modes.values.get(1049, False)

    @property
    def after(self) -> str:
        """What was written after the screen was left, without escape sequences."""
        at = self.output.rfind(_LEAVE_SCREEN)
        return plain(self.output[at:]) if at >= 0 else ""

    @property
    def written(self) -> str:
        """All that is kept of the output, without escape sequences."""
        return plain(self.output)

    def residue(self) -> list[str]:
        """What the terminal is left in that a shell would suffer from."""
        bad = self._modes.left()
        if self._slave >= 0 and termios.tcgetattr(self._slave)[:4] != self._before[:4]:
            bad.append("terminal flags changed")
        return bad

    def memory(self, peak: bool = False) -> float:
        """Resident memory in MiB, now or at its highest; 0 when it has ended."""
        name = "VmHWM:" if peak else "VmRSS:"
        with contextlib.suppress(OSError):
            for row in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if row.startswith(name):
                    return int(row.split()[1]) / 1024
        return 0.0

    def cpu(self) -> float:
        """Processor time used, in seconds."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def delayed(self) -> float:
        """Seconds for which it could have run, but other programs had the processors."""
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        return 0.0

    # -- inside --------------------------------------------------------------------------

    def _state(self) -> str:
        """The process's state as /proc names it; Z when it is gone."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "Z"

    def _drained(self) -> bool:
        """Read what an ended program left in the pty; whether there was anything."""
        there = False
        while self.read(0):
            there = True
        return there

    def _read(self) -> bool:
        """Read once, note modes and answer questions; whether there was anything."""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # nothing there, or the other end is closed
            return False
        self.total += len(data)
        self.output += data
        del self.output[: max(0, len(self.output) - _KEPT)]
        data, self._rest = self._rest + data, b""
        unfinished = UNFINISHED.search(data)
        if unfinished:
            data, self._rest = data[: unfinished.start()], unfinished[0]
        self._pending += data
        for private, numbers, between, final in PRIVATE.findall(data):
            if private == b"?" and between == b"$" and final == b"p":
                self._answer(int(numbers or b"0"))
            elif not between:
                self._modes.take(private, numbers, final)
        return True

    def _answer(self, mode: int) -> None:
        """Say as xterm does whether a mode is known: synchronised updates are, others are not."""
        reply = f"\x1b[?{mode};{2 if mode == 2026 else 0}$y".encode()
        with contextlib.suppress(OSError):
            os.write(self._fd, reply)
