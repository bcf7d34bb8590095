"""A screen that shows a bench: its panes, the line of where it is, the message and the keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from textual import on
from textual.screen import Screen

from mmtui.commands.registry import COMMANDS
from mmtui.model.bench import Bench
from mmtui.model.workbook import Workbook
from mmtui.screens.foreseeing import Foreseer
from mmtui.screens.frame import Frame
from mmtui.screens.working import Mover
from mmtui.views import status
from mmtui.views.lines import Line, Lines, say, wrap_words
from mmtui.views.marks import Marks, marks_of
from mmtui.views.panes import clicked, document
from mmtui.widgets.bars import Bar, key_line
from mmtui.widgets.contained import ContainedScreen
from mmtui.widgets.pane import Pane
from sandbox.errors import SandboxError, UsageError

if TYPE_CHECKING:
    from mmtui.app import MmtuiApp

__all__ = ["ShowingScreen"]

_AT_PROMPT = re.compile(r"^<command>:\d+:\d+: ")
"""Where an error is in a line typed at `:`; there is only one line it can be in."""


class ShowingScreen(ContainedScreen, Screen[None]):
    """What is on the screen of a bench, and what becomes of errors in it."""

    app: MmtuiApp

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.book = Workbook(bench)
        self.mover = Mover()
        self.frame = Frame()
        self.status = Bar("status")
        self.message = Bar("message")
        self.keys = Bar("keys")
        self.foreseer = Foreseer(self)
        self.held = False
        """Whether panes stay where they are when the machine is moved."""
        self._seen: tuple[Bench, int] | None = None
        """The bench that was shown last, and how often it had been moved."""

    @property
    def bench(self) -> Bench:
        """The document that is open."""
        return self.book.bench

    def refresh_panes(self, *, follow: bool = True) -> None:
        """Show the present state in everything that is on the screen."""
        if self.mover.busy:
            return  # another thread is changing what would be shown
        marks = Marks()
        with self._contained():
            marks = marks_of(self.bench)
        shown = set(self.frame.shown())
        now = (self.bench, self.bench.moves)
        moved = self._seen is not None and self._seen[0] is now[0] and self._seen != now
        self._seen = now
        follow = follow and not (moved and self.held)
        for pane in self.frame.panes.values():
            if pane in shown and pane.room[0] > 0:
                self._show(pane, marks, follow=follow, moved=moved)
            else:
                pane.let_go()  # it would be old when it is seen
        broken = self.bench.session.rules.broken.values()
        self.frame.alarm(any(not v.known_window for v in broken))
        self.show_bars()
        self.foreseer.rest()

    def show_again(self, names: Collection[str]) -> None:
        """Show some panes of the present state once more, as far as they are on the screen."""
        if self.mover.busy:
            return
        marks = Marks()
        with self._contained():
            marks = marks_of(self.bench)
        for pane in self.frame.shown():
            if pane.id in names and pane.room[0] > 0:
                self._show(pane, marks, follow=False)

    def _show(self, pane: Pane, marks: Marks, *, follow: bool, moved: bool = False) -> None:
        try:
            doc = document(pane.id or "", self.bench, marks, *pane.room)
            pane.show(doc, follow=follow, moved=moved)
        except BaseException as error:  # noqa: BLE001  # of any class: views run kernel functions
            words = wrap_words(self.app.contain(error, drawing=True), pane.room[0], " ")
            pane.let_go()
            pane.show(Lines(tuple(say(text, "violation") for text in words)))

    def show_bars(self) -> None:
        """Show where the bench is, and what can be done."""
        if self.mover.busy:
            return
        with self._contained():
            self.status.show(status.render(status.view(self.bench), self.size.width))
            self.keys.show(key_line(COMMANDS.values(), self.bench, self.size.width))

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """Go on after an error in what only shows something."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # as in `_show`
            self.app.contain(error, drawing=True)

    @on(Pane.Resized)
    def _pane_resized(self, event: Pane.Resized) -> None:
        event.stop()
        self.frame.titles()
        self.refresh_panes()

    @on(Pane.Clicked)
    def _pane_clicked(self, event: Pane.Clicked) -> None:
        event.stop()
        if event.pane.id:
            self.frame.go_to(event.pane.id)
            if self.mover.busy:
                return
            if clicked(self.bench, event.pane.id, event.pane.doc, event.line, event.column):
                self.refresh_panes(follow=False)

    # -- messages ----------------------------------------------------------------------

    def say(self, message: str) -> None:
        """Show a message."""
        self.tell(say(message))

    def tell(self, line: Line) -> None:
        """Show a message with its tokens."""
        self.message.show(((" ", ""), *line))

    def need_rest(self) -> None:
        """Commands look at the machine, which another thread may be changing."""
        if self.mover.busy:
            raise UsageError("the last move is still under way")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what is refused into a message; the state is shown as it is then."""
        try:
            yield
        except SandboxError as error:
            self.refresh_panes()
            text = _AT_PROMPT.sub("", " ".join(str(error).split()))
            self.tell(say(text, "violation"))
        except BaseException as error:  # noqa: BLE001  # the outermost handler of commands
            self.refresh_panes()
            self.app.contain(error)
