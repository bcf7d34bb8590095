"""The application in a pseudo-terminal: what is written to it, read from it, and left of it."""

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
from collections.abc import Callable
from time import monotonic
from types import TracebackType

__all__ = ["MODES", "PtyApp"]

LIMIT = 60.0
"""Seconds after which a test fails: for a machine that does ten other things."""
MODES = {
    "alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "cursor": (b"\x1b[?25l", b"\x1b[?25h"),
    "mouse": (b"\x1b[?1000h", b"\x1b[?1000l"),
    "mouse motion": (b"\x1b[?1003h", b"\x1b[?1003l"),
    "mouse (SGR)": (b"\x1b[?1006h", b"\x1b[?1006l"),
    "mouse (pixels)": (b"\x1b[?1016h", b"\x1b[?1016l"),
    "paste": (b"\x1b[?2004h", b"\x1b[?2004l"),
    "focus": (b"\x1b[?1004h", b"\x1b[?1004l"),
    "synchronised": (b"\x1b[?2026h", b"\x1b[?2026l"),
    "keyboard": (b"\x1b[>25u", b"\x1b[<u"),
}
"""What turns each mode on and off."""


def _as_a_shell_does() -> None:
    """Take the terminal; let signals work, also where the tests were started in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class PtyApp:
    """A running `mmtui` with a terminal of its own."""

    def __init__(self, *args: str, size: tuple[int, int] = (100, 30), **env: str) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self._before = termios.tcgetattr(self.slave)
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mmtui", *args], env={**os.environ, **env}, close_fds=True,
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=_as_a_shell_does,  # noqa: PLW1509  # no threads
        )  # fmt: skip

    def __enter__(self) -> PtyApp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def send(self, data: bytes) -> None:
        """Type something."""
        os.write(self.master, data)

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals, one right after the other."""
        for number in numbers:
            self.process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal."""
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def wait_for(self, text: bytes, after: int = 0) -> int:
        """Read until a text was written after a place of the output; returns where it ends."""
        end = monotonic() + LIMIT
        while (found := self.output.find(text, after)) < 0:
            assert self.process.poll() is None, self.output[-2000:]
            assert monotonic() < end, self.output[-2000:]
            self._read()
        return found + len(text)

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Read until something is true."""
        end = monotonic() + LIMIT
        while not true():
            assert monotonic() < end, self.output[-2000:]
            self._read()

    def _read(self) -> bool:
        if not select.select([self.master], [], [], 0.1)[0]:
            return False
        try:
            self.output += os.read(self.master, 1 << 16)
        except OSError:  # nobody has it open any more
            return False
        return True

    def end(self) -> int:
        """Read until it has ended; returns the exit status, negative for a signal."""
        end = monotonic() + LIMIT
        while self.process.poll() is None:
            assert monotonic() < end, self.output[-2000:]
            self._read()
        while self._read():
            pass
        return self.process.wait()

    def left_on(self) -> list[str]:
        """The modes that it left on."""
        found = [
            name
            for name, (on, off) in MODES.items()
            if self.output.rfind(on) > self.output.rfind(off)
        ]
        depth = 0
        for push, count in re.findall(rb"\x1b\[(?:(>)|<)(\d*)u", self.output):
            depth = depth + 1 if push else max(0, depth - int(count or b"1"))
        if depth and "keyboard" not in found:
            found.append("keyboard")
        if termios.tcgetattr(self.slave)[:4] != self._before[:4]:
            found.append("raw mode")
        return found

    @property
    def last_words(self) -> str:
        """What was written after the screen was left."""
        tail = self.output[self.output.rfind(MODES["alternate screen"][1]) :]
        return tail.decode()
