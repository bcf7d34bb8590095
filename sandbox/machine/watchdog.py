"""Ends a kernel function that comes to no event: ``while True: pass``, a sum without an end.

A thread looks, while a person's own function runs, whether there has been an event since it looked
last.  After `PATIENCE` seconds without one, an exception is raised in the function's thread, and
the function becomes a `NoEventError` like any other that misbehaves.  If the thread does not
come back even then - it is blocked in the system, or swallows exceptions - `on_stuck` is called
`GRACE` seconds later, which ends the process.  Time is counted in looks, so a process that was
stopped (Ctrl+Z) or a machine that slept has not been waiting.

Where C code keeps the interpreter to itself no thread can look; then `faulthandler` writes where
it is and ends the process with status 1.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import ref

from sandbox.errors import NoEventError
from sandbox.machine.frames import is_own, place_text

if TYPE_CHECKING:
    from sandbox.machine.machine import Machine

__all__ = ["GRACE", "PATIENCE", "NoEvent", "Watch", "end_process"]


def _seconds(text: str, default: float) -> float:
    """A number of seconds that the environment may set; nonsense is the default."""
    try:
        seconds = float(text)
    except ValueError:
        return default
    return seconds if seconds > 0 else default


PATIENCE = _seconds(os.environ.get("MMTUI_WATCHDOG", ""), 3.0)
"""Seconds without an event after which a function is ended; the environment may say otherwise."""
LOADING = 10 / 3 * PATIENCE
"""Seconds after which the loading of a person's file is ended: what it imports may be large."""
GRACE = 1.0
"""Seconds that its thread then has to come back."""
HURRIED = 0.5
"""`PATIENCE` when a person has asked to stop."""
DEEP = 100
"""Levels of its stack that are looked at for a function of a person's own."""
LOOK = 0.1
"""Seconds between two looks."""
NO_PROGRESS = 1
"""Exit status when it cannot be ended by an exception: that of an action without progress."""


class NoEvent(BaseException):
    """Raised in a function's thread from outside; `Exception` would be swallowed more often."""


def end_process(text: str) -> None:
    """Say why in one line on stderr and end the process at once, whatever its threads do."""
    os.write(2, f"mmtui: {text}\n".encode(errors="backslashreplace"))
    os._exit(NO_PROGRESS)


on_stuck: Callable[[str], None] = end_process
"""What ends the process when a function's thread cannot be had back; the screen has its own."""


class Watch:
    """Watches the functions of one machine, while it is entered; enters may be nested.

    `on` is false for a machine of the modelled kernels, which are trusted to come to an event.
    Without a machine it watches a person's file while it is loaded.
    """

    def __init__(self, machine: Machine | None, *, on: bool = True) -> None:
        # A machine is freed as soon as nobody has it any more.
        self._ref: Callable[[], Machine | None] = (
            (lambda: None) if machine is None else ref(machine)
        )
        self.on = on
        self.patience = LOADING if machine is None else PATIENCE
        self._missed = "no end" if machine is None else "no event"
        self.depth = 0
        self.thread = 0
        self.beats = 0
        self.hurried = False
        self.paused = False
        """The engine's own work is under way, which may take what it takes."""
        self.text = ""
        """Where it was ended, in words."""
        self.seen: tuple[int, int] = (0, 0)
        self.idle = 0.0
        self.struck = False

    def __enter__(self) -> None:
        if self.on:
            self.depth += 1
            self.beats += 1
            if self.depth == 1:
                _dog().let_in(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.on:
            self.depth -= 1
            self.beats += 1
            if self.depth == 0:
                _dog().let_out(self)

    def beat(self) -> None:
        """There was progress that is no event of the machine's: an answer given again."""
        self.beats += 1

    def hurry(self) -> None:
        """A person wants it to end: be less patient until it has."""
        self.hurried = True

    def progress(self) -> tuple[int, int]:
        """Something that changes as long as it goes on."""
        machine = self._ref()
        self.beats += self.paused
        return self.beats, machine.position if machine is not None else 0

    def ended(self, name: str) -> NoEventError:
        """The error for a function that was ended."""
        error = NoEventError(f"{name}: {self.text}")
        error.function, error.file, error.line = self.place
        return error

    def found_at(self, frame: FrameType | None, seconds: float) -> None:
        """Note where it is: in a person's own function if there is one on the stack."""
        levels = [("the function", "", 0)] if frame is None else []
        while frame is not None and len(levels) < DEEP:
            levels.append((frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back
        self.place = next((at for at in levels if is_own(at[1])), levels[0])
        self.text = f"{self._missed} for {seconds:g} s at {place_text(*self.place)}"

    place: tuple[str, str, int] = ("", "", 0)


class _Dog:
    """The thread that looks; there is one, from the first person's own kernel on."""

    def __init__(self) -> None:
        import threading

        self._watches: set[Watch] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ident: Callable[[], int] = threading.get_ident
        self._fuse = _Fuse()
        thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        start = threading.Thread.start
        getattr(start, "__wrapped__", start)(thread)  # a kernel may not start one (`confined`)

    def let_in(self, watch: Watch) -> None:
        watch.thread, watch.idle, watch.struck, watch.hurried = self._ident(), 0.0, False, False
        with self._lock:
            self._watches.add(watch)
            self._fuse.light(PATIENCE + GRACE + 3)  # it may never give the interpreter away
        if not self._wake.is_set():
            self._wake.set()

    def let_out(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)
            if watch.struck:  # it came back by itself in the meantime: nothing to raise any more
                _raise_in(watch.thread, None)
                _settle(self._ident())

    def _run(self) -> None:
        before = time.monotonic()
        while True:
            if not self._watches:
                with self._lock:
                    if not self._watches:
                        self._fuse.out()
                self._wake.clear()
                if not self._watches:
                    self._wake.wait()
                before = time.monotonic()
            self._fuse.light(PATIENCE + GRACE + 3)
            time.sleep(LOOK)
            now = time.monotonic()
            passed, before = min(now - before, 2 * LOOK), now
            for watch in tuple(self._watches):
                self._look(watch, passed)

    def _look(self, watch: Watch, passed: float) -> None:
        seen = watch.progress()
        if seen != watch.seen:
            watch.seen, watch.idle = seen, 0.0
            return
        watch.idle += passed
        patience = HURRIED if watch.hurried else watch.patience
        if watch.idle < patience:
            return
        if not watch.struck:
            with self._lock:
                if watch not in self._watches or watch.progress() != seen:
                    return
                watch.found_at(sys._current_frames().get(watch.thread), patience)
                watch.struck, watch.idle = True, patience
                _raise_in(watch.thread, NoEvent)
        elif watch.idle >= patience + GRACE:
            watch.idle = patience
            on_stuck(f"{watch.text}, and it cannot be ended")


class _Fuse:
    """Ends the process if it is not lit again in time; burns without the interpreter."""

    def __init__(self) -> None:
        self._lit = 0.0

    def light(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._lit < 1:
            return
        self._lit = now
        import faulthandler

        try:
            faulthandler.dump_traceback_later(seconds, exit=True, file=2)
        except (OSError, RuntimeError, ValueError):  # no stderr: there is nowhere to say where
            self._lit = 0.0

    def out(self) -> None:
        if self._lit:
            import faulthandler

            faulthandler.cancel_dump_traceback_later()
            self._lit = 0.0


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an exception in a thread when it next runs Python code; None takes that back."""
    import ctypes

    what: Any = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


def _settle(thread: int) -> None:
    """Raise an exception in this thread, and catch it.

    CPython 3.11 takes note for the whole interpreter that an exception is to be raised in some
    thread, also when one is taken back, and forgets it only when one has been raised.  Until
    then every thread stops to look at each turn, and one that is traced or profiled never gets on.
    """
    try:
        _raise_in(thread, NoEvent)
        while True:
            pass
    except NoEvent:
        return


_the_dog: list[_Dog] = []


def _dog() -> _Dog:
    if not _the_dog:
        _the_dog.append(_Dog())
    return _the_dog[0]
