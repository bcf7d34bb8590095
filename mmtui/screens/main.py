"""The main screen: a document on a machine, in seven panes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from shlex import quote
from typing import ClassVar, TypeVar

from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mmtui import collector
from mmtui.commands.registry import COMMANDS, execute, invoke
from mmtui.keys import textual_key
from mmtui.model.bench import Bench
from mmtui.model.course import Stage, note
from mmtui.model.script import open_named
from mmtui.model.session_list import list_sessions
from mmtui.model.workbook import Workbook
from mmtui.screens.doors import DoorsScreen
from mmtui.screens.prompting import PromptingScreen
from mmtui.screens.reading import ReadingScreen
from mmtui.screens.working import WorkingScreen
from mmtui.views import status
from mmtui.views.lines import join, say
from mmtui.views.panes import PANES
from mmtui.widgets.prompt import Asking
from sandbox.errors import UsageError
from sandbox.run.long_move import LongMove

__all__ = ["MainScreen"]

T = TypeVar("T")


def _bindings() -> list[BindingType]:
    """The key bindings of all commands.

    They have priority: a pane that has the focus does not see them first.
    """
    return [
        Binding(
            textual_key(key), f"give('{command.name}')", command.title, show=False, priority=True,
            tooltip=command.help, id=command.name if not number else f"{command.name}.{number}",
        )
        for command in COMMANDS.values()
        for number, key in enumerate(command.keys)
    ]  # fmt: skip


class MainScreen(PromptingScreen, ReadingScreen, DoorsScreen):
    """The workbench on the screen; it is the `Desk` that commands work at."""

    BINDINGS: ClassVar[list[BindingType]] = _bindings()
    AUTO_FOCUS = f"#{next(iter(PANES))}"

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._paused = False
        self._insisted = ""
        """What was refused last because the session could not be written."""

    def compose(self) -> ComposeResult:
        """Status, panes, message or prompt, keys."""
        yield self.status
        yield self.frame
        with Asking():
            yield self.line
            yield self.message
        yield self.keys

    def on_mount(self) -> None:
        """Say how to begin."""
        hint = "space reads on and does the story's next action, s one event, ? lists every key"
        if any(not (kept.left or kept.busy) for kept in list_sessions(5)):
            hint = (
                "a session ended in the middle: L lists it, or mmtui --continue; ? lists every key"
            )
        self.say(hint)
        self.call_after_refresh(note, self.bench.source, Stage.OPENED)

    # -- commands ----------------------------------------------------------------------

    def action_give(self, name: str) -> None:
        """Give a command by its key, unless the key belongs to a line being typed."""
        if self.line.is_open:
            raise SkipAction
        self.give(name)

    def give(self, name: str, text: str = "") -> None:
        """Give a command, with what would stand after its name."""
        with self.guard():
            self.need_rest()
            invoke(self, name, text)

    def entered(self, lead: str, text: str) -> None:
        """Do what was typed after `:` or `/`."""
        with self.guard():
            self.need_rest()
            if lead == "/":
                self.search(text)
            else:
                execute(self, text)

    @property
    def paused(self) -> bool:
        """Whether actions wait at their first event."""
        return self._paused

    def work(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do a move in a thread of its own; show how far it is when it takes long."""
        self.make(lambda _: job(), done)

    def make(self, job: Callable[[LongMove], T], done: Callable[[T], None]) -> None:
        """As `work`, for what makes another bench: the job tells its watcher of it."""
        move, future = self.mover.start_watched(self.bench.session, job)
        if future.done():
            done(future.result())
            return

        async def ended() -> None:
            with self.guard():
                done(future.result())
            await self.app.typed.go_on()

        for pane in self.frame.panes.values():
            pane.let_go()  # what they would read is being changed
        self.app.push_screen(WorkingScreen(move, future, partial(self.call_next, ended)))

    def moved(self, message: str = "") -> None:
        """Show the bench after a move, with a message or what the move brought."""
        self._insisted = ""
        line = say(message) if message else status.news(self.bench)
        if (error := self.book.log.error) is not None:
            reason = f" not on file: {error.strerror or error}: :save FILE elsewhere "
            line = join(say(reason, "alarm"), ((" ", ""),), line)
        self.tell(line)
        self.refresh_panes()  # afterwards: what it cannot show takes the message's place
        changes = self.bench.changes
        collector.keep_history(abs(changes.end - changes.start), self.bench.end)

    def toggle_hold(self) -> None:
        """Let panes stay where they are when the machine is moved, or go to what changed."""
        self.held = not self.held
        self.say("panes stay where they are" if self.held else "panes go to what changed")

    def looked(self) -> None:
        """Show the bench as it is looked at now."""
        self.refresh_panes()

    def put_aside(self, book: Workbook, message: str) -> None:
        """Go on with another document; what was done on this one is on file."""
        self.book.close()
        self.book = book
        collector.renew()
        note(book.bench.source, Stage.OPENED)
        self._opened(message)

    def go_on_with(self, bench: Bench, message: str) -> None:
        """Go on with the same on another kernel."""
        self.book.go_on_with(bench)
        self._opened(message)

    def _opened(self, message: str) -> None:
        refusal = self.bench.refusal
        self.moved(f"{message}, up to what was refused: {refusal}" if refusal else message)

    def replay_on(self, kernel: str) -> None:
        """Replay on another kernel; it can be stopped, and then nothing has changed."""
        self.keep(f"kernel {kernel}")

        def job(move: LongMove) -> Bench:
            return self.book.replay_on(kernel, lambda bench: move.turn_to(bench.session))

        self.make(job, lambda bench: self.go_on_with(bench, f"replayed on {kernel}"))

    def resume(self) -> None:
        """Do again what a session has, and go on with it; when stopped, with what was done."""
        with self.guard():
            self.make(lambda _: self.book.begin(), lambda _: self._opened("as it was left"))

    def quiz(self) -> None:
        """Ask what the next action does, on a copy."""
        from mmtui.model.quiz import Quiz
        from mmtui.screens.quiz import QuizScreen

        bench = self.bench

        def job(move: LongMove) -> Quiz:
            return Quiz(bench, lambda copy: move.turn_to(copy.session))

        self.make(job, lambda quiz: self._play(QuizScreen(quiz)))

    def _play(self, screen: Screen[None]) -> None:
        self.refresh_panes()
        self.app.push_screen(screen)

    def open_instead(self, target: str, kernel: str | None) -> None:
        """Open another document; it can be stopped, and then nothing has changed."""

        def job(move: LongMove) -> Workbook:
            bench = Bench(open_named(target, lambda: move.asked), kernel)
            move.turn_to(bench.session)
            book = Workbook(bench)
            book.begin()
            return book

        def done(book: Workbook) -> None:
            self.put_aside(book, f"{book.bench.source.title} on {book.bench.kernel}")

        self.make(job, done)

    # -- looking -----------------------------------------------------------------------

    def cursor(self, across: int, down: int) -> None:
        """Move the cursor of the focused pane, or scroll it."""
        pane = self.frame.current
        move = self.frame.spec.move
        width = self.frame.panes["tables"].room[0] or self.size.width
        if move is not None and move(self.bench, across, down, width):
            self.refresh_panes()
        else:
            pane.scroll_lines(down)

    def page(self, pages: float) -> None:
        """Scroll the focused pane by parts of its height."""
        pane = self.frame.current
        pane.scroll_lines(pages if math.isinf(pages) else round(pages * pane.rows))

    def focus_pane(self, number: int) -> None:
        """Go to a pane by its number, 0 for the next and -1 for the previous one."""
        if number > 0:
            self.frame.go_to(list(PANES)[number - 1])
        else:
            self.frame.go_to(self.frame.neighbour(1 if number == 0 else -1))
        self.call_after_refresh(self.refresh_panes)

    def zoom(self) -> None:
        """Give the whole screen to the focused pane, or share it again."""
        self.frame.zoom()

    def resize(self, wider: int, taller: int) -> None:
        """Give the focused pane more or less of the screen; remembered."""
        if not self.frame.resize(wider, taller):
            self.say("there is nothing here to take from")

    def share_anew(self) -> None:
        """Share the screen among the panes as at first."""
        self.frame.share_anew()

    def back_out(self) -> None:
        """Drop the marked range, the zoom, or the message."""
        if self.bench.selection.anchor is not None:
            invoke(self, "mark")
        else:
            self.frame.zoom(alone=False)
        self.say("")

    def pick(self) -> None:
        """Go to the event of the chosen rule, or explain what is at the cursor."""
        event = self.frame.spec.event
        if event is None and self.frame.spec.explains:
            self.explain("")
            return
        if event is None:
            invoke(self, "level")
            return
        position = event(self.bench)
        if position is None:
            self.say("no rule was broken so far")
            return
        self.bench.goto(position)
        self.moved()

    def search(self, text: str) -> None:
        """Go to the next line of the focused pane with a text in it."""
        if not self.frame.current.find(text):
            raise UsageError(f"{text[:30]!r} is not in this pane")

    def toggle_pause(self) -> None:
        """Let actions wait at their first event, or run to their end."""
        self._paused = not self._paused
        self.say(
            "actions wait at their first event" if self._paused else "actions run to their end"
        )

    # -- saving ------------------------------------------------------------------------

    def save(self, path: str, *, insist: bool = False) -> None:
        """Write what was done as a scenario."""
        if not path:
            raise UsageError("no file to write to", expected=":save FILE")
        self.book.save(path, insist=insist)
        self.say(f"saved to {path}: mmtui run {quote(path)}")

    def keep(self, intent: str, *, left: bool = False) -> None:
        """Have the session on file before something takes its place.

        Raises:
            UsageError: it cannot be written; the same intent again insists.
        """
        try:
            self.book.keep(left=left)
        except UsageError:
            if self._insisted != intent:
                self._insisted = intent
                raise

    def keep_log(self) -> str | None:
        """Close the session's file; what to say of it, if anything was done."""
        log = self.book.log
        self.book.close()
        if log.error is not None:
            return f"the session is not on file: {log.error.strerror or log.error}"
        if log.path is None:
            return None
        return f"the session is on file: mmtui --continue, or mmtui {quote(str(log.path))}"
