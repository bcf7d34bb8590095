"""The driver between the application and a terminal: Textual's own, with its faults mended.

Of Textual 8.2.8, which is pinned; each fault is described where it is mended.
"""

from __future__ import annotations

import os
import re
import select
import signal
from codecs import getincrementaldecoder
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message

from mmtui.terminal import Terminal, clamp_size

if TYPE_CHECKING:
    from textual.app import App

__all__ = ["MmtuiDriver"]

_PIECE = re.compile("\x1b?[^\x1b]*", re.DOTALL)
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_TOGETHER = 0.005
"""Seconds within which two signals are taken to have come together."""
_PASTE_ENDS = 2.0
"""Seconds of silence after which a paste that nobody ended is taken to be over."""


class MmtuiDriver(LinuxDriver):
    """Textual's driver for a terminal, such that neither bytes nor signals can end or hang it."""

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        # It writes to stderr and reads descriptor 0, and dies with them; ours are private.
        terminal = getattr(app, "terminal", None)
        self._terminal: Terminal = Terminal() if terminal is None else terminal
        self._on = self._suspended = self._stop_wanted = False
        self._resume_wanted = False
        self._continued = 0.0
        self._keyboards = 0
        """How often the keyboard protocol may be switched on: terminals keep a stack of it."""
        super().__init__(app, debug=debug, mouse=mouse, size=size or self._terminal.size())
        self._file: Any = self._terminal
        self.fileno = self._terminal.input
        self.input_tty = os.isatty(self.fileno)

    def _get_terminal_size(self) -> tuple[int, int]:
        # Its own believes whatever COLUMNS and LINES say: a million by a million is a hang.
        return self._terminal.size()

    # -- modes ---------------------------------------------------------------------------

    def start_application_mode(self) -> None:
        """Take the terminal; in the background, be stopped until it is there to be taken."""
        self._writer_thread = None
        self._terminal.hurry(None)
        self._terminal.dirty = True
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's has none
        self._on = self._writer_thread is not None  # it gives up when the terminal is not ours
        self._keyboards += self._on
        self._suspended = not self._on and not self._terminal.gone

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was; a second time nothing happens."""
        if not self._on:
            return
        self._terminal.hurry()
        # Its own takes back one; a terminal that took nothing at an earlier stop has more.
        for _ in range(1, self._keyboards):
            self.write("\x1b[<u")
        super().stop_application_mode()
        self._on = False

    def close(self) -> None:
        """Wait until everything is written."""
        super().close()
        if not self._on:
            self._terminal.dirty = self._terminal.stuck
            self._keyboards = self._keyboards if self._terminal.stuck else 0

    def write(self, data: str) -> None:
        """Write, if the terminal is ours.

        Its own waits for ever when the queue is full and its thread has ended.
        """
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def _disable_mouse_support(self) -> None:
        # Its own leaves reports in pixels on.
        super()._disable_mouse_support()
        if self._mouse and self._mouse_pixels:
            self.write("\x1b[?1016l")

    # -- job control ---------------------------------------------------------------------

    def _sigtstp_application(self, *_: object) -> None:
        # Its own stops from within the signal handler, which takes the lock of the writer's
        # queue: a frame that is being written in the same thread holds it, and that is a
        # deadlock.  Here the event loop does it, between two of its callbacks.
        # Python runs handlers in the order of the signals' numbers: of a stop and a continuation
        # that came together the stop would seem the later one, and nobody would continue it.
        self._stop_wanted = monotonic() - self._continued > _TOGETHER
        self._soon(self._suspend)

    def _sigcont_application(self, *_: object) -> None:
        self._continued = monotonic()
        self._resume_wanted = True
        self._stop_wanted = False  # as the kernel forgets a stop that is still to come
        self._soon(self._resume)

    def _soon(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: there is no screen to care for
            if callback == self._suspend:
                os.kill(os.getpid(), signal.SIGSTOP)

    def _suspend(self) -> None:
        """Give the terminal back and stop this process."""
        if self._on and self._auto_restart and self._stop_wanted:
            self.suspend_application_mode()
            self._suspended = self._must_signal_resume = True
        if self._stop_wanted:
            self._stop_wanted = False
            os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        """Take the terminal again.

        Its own does so at every SIGCONT, also when it has it: two threads then read the keys.
        After SIGSTOP, which no handler sees, the shell has changed the modes: they are set anew.
        """
        wanted, self._resume_wanted = self._resume_wanted, False
        if self._app._exit or not self._auto_restart or not wanted:
            return
        if self._on and self._terminal.foreground:
            self.suspend_application_mode()
            self._suspended = True
        if self._suspended:
            self.resume_application_mode()
            self._app.call_later(self._app.refresh, layout=True)

    # -- reading -------------------------------------------------------------------------

    def _run_input_thread(self) -> None:
        # Its own ends the application with a traceback at any error: at bytes that are no UTF-8,
        # at `ESC [ 1114112 u`, which is no character, at a terminal that was closed.
        self.run_input_thread()

    def run_input_thread(self) -> None:
        """Read keys and hand them on, until told to stop or the terminal is gone."""
        reader = _Reader(self._debug, self.process_message)
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        while not (self.exit_event.is_set() or self._terminal.over):
            found = poll.poll(100)
            hung_up = any(what & (select.POLLHUP | select.POLLERR) for _, what in found)
            data: bytes | None = None
            if found:
                try:
                    data = os.read(self.fileno, 4096)
                except (BlockingIOError, InterruptedError):
                    pass  # somebody else took it
                except OSError:
                    hung_up = True
            if data:
                reader.feed(data)
            elif hung_up:
                self._terminal.lose()
                return
            elif data is not None:  # an end of file that is none: do not spin
                self.exit_event.wait(0.05)
            reader.tick()

    def process_message(self, message: Message) -> None:
        """Hand a message on; a size that nobody asked to be told in band is none."""
        if isinstance(message, events.Resize):
            if not self._in_band_window_resize:
                return
            size = Size(*clamp_size(*message.size))
            message = events.Resize(size, size, pixel_size=message.pixel_size)
        super().process_message(message)


class _Reader:
    """Makes events of bytes; whatever they are, the next ones are read as well."""

    def __init__(self, debug: bool, handle: Callable[[Message], None]) -> None:
        self._debug = debug
        self._handle = handle
        self._parser = XTermParser(debug)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._tail = ""
        self._pasting: float | None = None
        """When the last bytes of a paste came that is not over."""

    def feed(self, data: bytes) -> None:
        """Read some bytes; a character may be in parts."""
        text = self._decode(data)
        seen = self._tail + text
        self._tail = seen[1 - len(_PASTE) :]
        begun, ended = seen.rfind(_PASTE), seen.rfind(_PASTED)
        if begun > ended or (self._pasting is not None and ended < 0):
            self._pasting = monotonic()
        elif ended >= 0:
            self._pasting = None
        for piece in _PIECE.findall(text):
            if piece:
                self._parse(piece)

    def tick(self) -> None:
        """Called ten times a second: end what was begun and is waited for in vain."""
        if self._pasting is not None and monotonic() - self._pasting > _PASTE_ENDS:
            self._pasting = None
            self._parse(_PASTED)
        try:
            for event in self._parser.tick():
                self._handle(event)
        except Exception:  # noqa: BLE001  # as in `_parse`
            self._begin_anew()

    def _parse(self, text: str) -> None:
        try:
            for event in self._parser.feed(text):
                self._handle(event)
        except Exception:  # noqa: BLE001  # a parser that raised is of no use any more
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._parser = XTermParser(self._debug)
        self._pasting = None
