"""Signals that end the application: what was done is kept, the terminal is left clean.

A handler of Python's runs between any two instructions of the main thread, so it may take no
lock: it only leaves word, to the event loop and, through a pipe, to a thread that watches whether
the end really comes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

from mmtui.exit_codes import ExitCode
from mmtui.terminal import Terminal

__all__ = ["Ending"]

_SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM",
        "SIGPROF", "SIGXCPU", "SIGIO", "SIGPWR",
    )
    if hasattr(signal, name)
)  # fmt: skip
"""The signals that end a process by default and can be caught, those of defects apart."""
_LIMIT = 10.0
"""Seconds that leaving may take after a signal: saving does, and stopping a move."""
_IMPATIENT = 2.0
"""Seconds after which another signal is heard: whoever sends it has waited."""


class Ending:
    """A context in which signals make the application leave properly.

    After it, `finish` ends the process as the signal does by convention.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.leave: Callable[[], bool] | None = None
        """Asks the application to leave, without waiting; False when there is none yet or any
        more."""
        self.signal: int | None = None
        """The signal that ended it, if one did."""
        self._since = 0.0
        self._before: dict[int, Any] = {}
        self._read, self._write = os.pipe()

    def __enter__(self) -> Ending:
        threading.Thread(target=self._watch, name="ending", daemon=True).start()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:  # as nohup and shells without job control want it
                self._before[number] = before
                signal.signal(number, self._caught)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            if number != self.signal:  # Python's own handler of SIGINT prints a traceback
                signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else before)

    def begin(self, number: int) -> None:
        """Leave as that signal would have it: the terminal was closed, say."""
        self._caught(number, None)

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            if monotonic() - self._since > _IMPATIENT:
                self._give_up()
            return
        if self.leave is None or not self.leave():  # nothing is on the screen, nothing to save
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            die_of(number)
        self.signal, self._since = number, monotonic()
        self._terminal.hurry()
        with contextlib.suppress(OSError):
            os.write(self._write, b"!")

    def _watch(self) -> None:
        """Wait for a signal, then for the end; when that does not come, bring it about."""
        select.select([self._read], [], [])
        threading.Event().wait(_LIMIT)
        self._give_up()

    def _give_up(self) -> None:
        """End at once: the application does not come to an end by itself."""
        self._terminal.restore()
        os._exit(128 + (self.signal or signal.SIGTERM))

    def finish(self, status: int) -> int:
        """The exit status; a signal other than SIGINT ends the process here, by itself."""
        if self.signal is None:
            return status
        if self.signal == signal.SIGINT:
            return ExitCode.INTERRUPTED
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        die_of(self.signal)
        return 128 + self.signal


def die_of(number: int) -> None:
    """End this process by a signal, so that its parent sees which; without a core dump."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
