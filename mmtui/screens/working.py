"""What is shown while a move takes long: how far it is, and how to stop it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual._context import active_app
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mmtui.exit_codes import ExitCode
from mmtui.key_queue import HoldsKeys
from mmtui.views.lines import say
from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import ContainedScreen
from sandbox.errors import UsageError
from sandbox.machine import watchdog
from sandbox.machine.confined import confined
from sandbox.run.long_move import LongMove
from sandbox.run.session import Session

if TYPE_CHECKING:
    from mmtui.app import MmtuiApp

__all__ = ["Mover", "WorkingScreen"]

T = TypeVar("T")


class Mover:
    """Does moves in a thread of their own, one at a time, so that the screen stays responsive."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "move")
        self._future: Future[Any] | None = None
        self.patience = 0.2
        """Seconds that a move may take before its progress is shown."""
        self.app: App[Any] | None = None
        """The application that moves were started from last."""
        self.on_stuck: Callable[[str], None] = self.save_and_end
        """Called, in a thread of its own, when a person's own kernel cannot be ended: it ends the
        process after saving.  Its argument says where the kernel is."""
        watchdog.on_stuck = self._stuck

    @property
    def busy(self) -> bool:
        """Whether a move is under way: what it changes must not be looked at."""
        return self._future is not None and not self._future.done()

    def start(self, session: Session, job: Callable[[], T]) -> tuple[LongMove, Future[T]]:
        """Start a move and wait a little: most are over then.

        Raises:
            UsageError: another one is under way.
        """
        return self.start_watched(session, lambda _move: job())

    def start_watched(
        self, session: Session, job: Callable[[LongMove], T]
    ) -> tuple[LongMove, Future[T]]:
        """As `start`, of a job that is given its watcher, to turn it to another session.

        Raises:
            UsageError: another one is under way.
        """
        if self.busy:
            raise UsageError("the last move is still under way")
        move = LongMove(session)
        self.app = active_app.get(None)

        def watched() -> T:
            try:
                with move, _apart(session):
                    return job(move)
            finally:  # going back leaves functions to be rebuilt: here, not when they are drawn
                moved = move.session
                with _apart(moved):
                    for task in moved.running:
                        moved.stack(task.cpu)

        self._future = future = self._worker.submit(watched)
        wait([future], self.patience)
        return move, future

    def _stuck(self, text: str) -> None:
        self.on_stuck(text)

    def save_and_end(self, text: str) -> None:
        """Save what was done, give the terminal back, say why, and end with status 70."""
        told: list[str] = [f"mmtui: {text}"]
        app, places = self.app, [2]
        if app is not None:
            keep = getattr(getattr(app, "desk", None), "keep_log", None)
            with suppress(Exception):  # whatever fails now must not keep the rest from being done
                told += [kept] if keep is not None and (kept := keep()) else []
            with suppress(Exception):
                if (terminal := getattr(app, "terminal", None)) is not None:
                    terminal.restore()
                    places.append(terminal.output)  # stderr, if a terminal, leads nowhere now
        for place in places:
            with suppress(OSError):
                os.write(place, ("\r\n".join(told) + "\r\n").encode(errors="backslashreplace"))
        os._exit(ExitCode.INTERNAL)


def _apart(session: Session) -> AbstractContextManager[None]:
    """Confine a person's own kernel; the models need none of it at every key."""
    return confined() if session.machine.checked else nullcontext()


class WorkingScreen(HoldsKeys, ContainedScreen, Screen[None]):
    """Over the panes, which must not be drawn while another thread changes what they show."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "stop", "Stop", show=False)]

    app: MmtuiApp

    def __init__(self, move: LongMove, future: Future[Any], ended: Callable[[], None]) -> None:
        super().__init__()
        self._move, self._future, self._ended = move, future, ended
        self.progress = Bar("progress")
        self._keys = Bar("working-keys")

    def compose(self) -> ComposeResult:
        """The line of progress, and the key."""
        yield self.progress
        yield self._keys

    def on_mount(self) -> None:
        """Look again ten times a second."""
        self._keys.show(((" esc", "key"), (" stop where it is", "")))
        self.set_interval(0.1, self._look)
        self._look()

    def _look(self) -> None:
        if self._future.done():
            if self.is_current:
                self.dismiss()
                self._ended()
            return
        self.progress.show(say(f" {self._move.text or 'working'}", "strong"))

    def answers(self, key: str, *, first: bool) -> bool:
        """What stops it, too; `q` may be a letter of a line that is typed ahead."""
        stops = key == "escape" or (key == "q" and first)
        return stops or super().answers(key, first=first)

    def action_stop(self) -> None:
        """Ask it to stop, and forget what was typed ahead; the screen goes when it has."""
        self.app.typed.clear()
        self._move.stop()

    def stop_and_wait(self) -> None:
        """Stop it now: the application ends."""
        self._move.stop()
        self._future.exception()  # the watchdog sees to it that it comes to an end
