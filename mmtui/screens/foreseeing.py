"""Looks ahead while nobody presses a key, a few milliseconds at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.timer import Timer

from mmtui.model.foresight import Outlook, pending
from mmtui.views.panes import FORESEEING

if TYPE_CHECKING:
    from mmtui.screens.showing import ShowingScreen

__all__ = ["Foreseer"]


class Foreseer:
    """Gives the outlook that a pane has asked for its time, and shows what came of it.

    A key that is pressed meanwhile waits for one piece at most, and what it changes makes the
    bench ask for another outlook, or for none.
    """

    def __init__(self, screen: ShowingScreen) -> None:
        self._screen = screen
        self._timer: Timer | None = None
        self.patience = 0.3
        """Seconds of rest before it begins."""
        self.pause = 0.02
        """Seconds between two pieces of work."""
        self.piece = 0.003
        """Seconds of work at a time."""

    def rest(self) -> None:
        """The bench is shown and at rest: begin some time later, if anything is to be found."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if pending(self._screen.bench) is not None:
            self._timer = self._screen.set_timer(self.patience, self._work)

    def _work(self) -> None:
        self._timer = None
        screen = self._screen
        seen = pending(screen.bench)
        if seen is None or screen.mover.busy or not screen.is_attached:
            return
        before = _found(seen)
        seen.advance(self.piece)
        if _found(seen) != before:
            screen.show_again(FORESEEING)
        if not seen.done:
            self._timer = screen.set_timer(self.pause, self._work)


def _found(seen: Outlook) -> tuple[object, ...]:
    """What is known so far, to see whether there is more of it."""
    names = len(seen.holds), len(seen.breaks)
    return seen.again, seen.since, *names, seen.unasked, seen.done
