"""The application: themes, screens, and the door in and out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import constants, events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.driver import Driver
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen

from mmtui.crash import brief, one_line, write_report
from mmtui.driver import MmtuiDriver
from mmtui.ending import Ending
from mmtui.exit_codes import ExitCode
from mmtui.model.script import Source, empty_source, open_source
from mmtui.screens.library import LibraryScreen
from mmtui.screens.opening import OpeningScreen
from mmtui.terminal import Terminal
from mmtui.themes import THEMES, token_colours
from mmtui.views.lines import pure_text, say
from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import Contained
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.presets import list_cards

if TYPE_CHECKING:
    from mmtui.model.bench import Bench
    from mmtui.screens.main import MainScreen
    from mmtui.screens.working import WorkingScreen

__all__ = ["MmtuiApp", "run_app"]


def _commands() -> type[Provider]:
    """Import the command palette when it is opened."""
    from mmtui.palette import CommandProvider

    return CommandProvider


_REPORTS = 20
"""Reports that one run of the application writes at most: an error may come with every frame."""


class MmtuiApp(Contained, App[None]):
    """mmtui on the screen.

    `target` is a document, or the name of a preset or a file, None for the library; `kernel`
    overrides the document's.

    The engine and the screen that shows it are not imported here, but when the first screen has
    been painted: half of the time until something can be seen would go into that.
    """

    TITLE = "mmtui"
    # Of the screens: the first screen's own style sheet would not be read.
    CSS_PATH = ["screens/main.tcss", "screens/library.tcss"]  # noqa: RUF012  # textual declares it so
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "ask_to_quit", "Quit", show=False, priority=True, id="app.ask"),
        Binding("ctrl+q", "leave", "Quit", show=False, id="app.quit"),
    ]

    def __init__(
        self,
        target: Source | str | None = None,
        kernel: str | None = None,
        terminal: Terminal | None = None,
    ) -> None:
        self.terminal = terminal
        """What the driver draws on; None: it looks for one itself."""
        # The filter that leaves the terminal's own colours alone can only be chosen now.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._source = open_source(*_split(target)) if isinstance(target, str) else target
        self._kernel = kernel
        self.desk: MainScreen | None = None
        """The main screen, if a document is open."""
        self._asked = False
        self.last_words: list[str] = []
        """Lines for stderr when the screen is gone."""
        self._status = ExitCode.OK
        self._saved = False
        self._reports: dict[tuple[object, ...], str] = {}
        for theme in THEMES:
            self.register_theme(theme)
        wanted = os.environ.get("MMTUI_THEME", "") or THEMES[0].name
        if wanted not in self.available_themes:
            names = ", ".join(theme.name for theme in THEMES)
            raise UsageError(f"MMTUI_THEME: there is no theme {wanted[:30]!r}", expected=names)
        self.theme = wanted
        self.animation_level = "none"

    def get_driver_class(self) -> type[Driver]:
        """Our driver of terminals, or what TEXTUAL_DRIVER names, e.g. that of a web server.

        Raises:
            UsageError: it names no driver.
        """
        if constants.DRIVER is None:
            return MmtuiDriver
        try:
            return super().get_driver_class()
        except (ImportError, AttributeError, ValueError, TypeError, RuntimeError) as error:
            text = f"TEXTUAL_DRIVER: no driver {constants.DRIVER[:60]!r}: {brief(error)}"
            raise UsageError(text, expected="MODULE:CLASS") from error

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of the tokens for themes that do not name them."""
        return token_colours(self.current_theme)

    def get_default_screen(self) -> Screen[None]:
        """The library, or what is shown until the document is open."""
        if self._source is None:
            return LibraryScreen(list_cards(), over=False)
        return OpeningScreen(self._source.title)

    def on_mount(self) -> None:
        """Paint first, then get ready for what comes next."""
        asyncio.get_running_loop().set_exception_handler(self._stray)
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """Open the document; in the library, import behind the screen what opening needs."""
        opening = self.screen
        if self._source is not None:
            try:
                screen = self._main_screen(self._bench(self._source, self._kernel))
            except SandboxError as error:
                self._end(f"mmtui: {error}", ExitCode.USAGE)
                return
            except Exception as error:  # noqa: BLE001  # there is nothing to go back to
                self._die_of(error)
                return
            await self.push_screen(screen)
        else:
            self.run_worker(
                lambda: import_module("mmtui.screens.main"), thread=True, exit_on_error=False
            )
        if isinstance(opening, OpeningScreen):
            for key in opening.typed:  # before those that wait in the queue
                await self.on_event(key)

    # -- documents -----------------------------------------------------------------------

    def _bench(self, source: Source, kernel: str | None) -> Bench:
        from mmtui.model.bench import Bench

        return Bench(source, kernel)

    def _main_screen(self, bench: Bench) -> MainScreen:
        from mmtui.screens.main import MainScreen

        self.desk = MainScreen(bench)
        return self.desk

    def open_target(self, target: str) -> None:
        """Open a document in place of the one that is open; nothing is the library.

        Raises:
            SandboxError: there is no such document; the open one stays.
        """
        if not target:
            self.push_screen(LibraryScreen(list_cards(), over=self.desk is not None))
            return
        bench = self._bench(open_source(*_split(target)), None)
        desk = self.desk
        if desk is not None:
            desk.keep_log()
            desk.put_aside(bench, f"{bench.source.title} on {bench.kernel}")

    def open_document(self, value: str) -> None:
        """Open what was chosen in the library."""
        library = self.screen
        try:
            source = open_source(value) if value else empty_source()
            bench = self._bench(source, self._kernel)
        except SandboxError as error:
            if isinstance(library, LibraryScreen):
                library.say(say(f" {error}", "violation"))
            return
        desk = self.desk
        if desk is None:
            self.push_screen(self._main_screen(bench))
        else:
            desk.keep_log()
            library.dismiss()
            desk.put_aside(bench, f"{source.title} on {bench.kernel}")

    # -- leaving and looks -----------------------------------------------------------------

    def next_theme(self) -> str:
        """Take the next of our themes."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        return self.theme

    def action_ask_to_quit(self) -> None:
        """Quit at the second press in a row; while something takes long, stop that."""
        if (working := self._working()) is not None:
            working.action_stop()
            return
        if self._asked:
            self.leave()
            return
        self._asked = True
        self.set_timer(3, self._forget)
        question = " press ctrl+c again to leave; what was done is saved"
        message = getattr(self.screen, "message", None)
        if isinstance(message, Bar):
            message.show(say(question, "strong"))
        else:
            self.notify(question.strip(), markup=False)

    def _working(self) -> WorkingScreen | None:
        """The screen over a move that takes long, if there is one."""
        if self.desk is None:
            return None
        from mmtui.screens.working import WorkingScreen

        return self.screen if isinstance(self.screen, WorkingScreen) else None

    def _forget(self) -> None:
        self._asked = False

    def action_leave(self) -> None:
        """Leave."""
        self.leave()

    def leave(self) -> None:
        """Save what was done and end."""
        if (working := self._working()) is not None:
            working.stop_and_wait()
        desk = self.desk
        message = desk.keep_log() if desk is not None else None
        self.exit(message=message)

    def leave_at_once(self) -> None:
        """Save what was done and end, whatever stands in the way.

        For when nobody can be asked: a signal came, or the terminal is gone.
        """
        if not self._exit:
            self.exit(message=self._keep())

    def _keep(self) -> str | None:
        """Save what was done, though anything may be broken; what there is to say about it."""
        if self._saved:
            return None
        self._saved = True
        try:
            if (working := self._working()) is not None:
                working.stop_and_wait()
            return self.desk.keep_log() if self.desk is not None else None
        except BaseException as error:  # noqa: BLE001  # the end must not be kept up by it
            return f"the session was not saved: {brief(error)}; {write_report(error)}"

    # -- errors that nobody foresaw --------------------------------------------------------

    @property
    def status(self) -> int:
        """The exit status of the process."""
        return int(self._status)

    def may_contain(self, message: Message) -> bool:
        """Without its first messages there is no application to go on with."""
        return not isinstance(message, (events.Load, events.Compose, events.Mount))

    def contain(self, error: BaseException, *, drawing: bool = False) -> None:
        """Tell of an error in our own code: a report on file, a message on the screen, and go on.

        `drawing` is for what happens with every frame: it is told of once.
        """
        told, place = self._report(error)
        if told and drawing:
            return
        text = f"internal error: {brief(error)}; {place}"
        if self._exit:
            self.last_words.append(f"mmtui: {text}")
            return
        line = say(f" {text}", "violation")
        try:
            bars = [getattr(screen, "message", None) for screen in reversed(self.screen_stack)]
            for bar in bars:
                if isinstance(bar, Bar):
                    bar.show(line)
                    break
            if not isinstance(bars[0], Bar):
                self.notify(text, severity="error")
        except Exception as again:  # noqa: BLE001  # what is broken may be this
            self.last_words.append(f"mmtui: {text} ({brief(again)})")

    def _stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error in a task or a callback of the event loop that nobody waits for."""
        error = context.get("exception")
        if self._running and isinstance(error, BaseException):
            self.contain(error)
        else:
            loop.default_exception_handler(context)

    def _report(self, error: BaseException) -> tuple[bool, str]:
        """Whether an error of this kind and place was reported before, and where it is."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        code = None if trace is None else trace.tb_frame.f_code
        key = (type(error), code, None if trace is None else trace.tb_lineno)
        told = key in self._reports
        if not told:
            full = len(self._reports) >= _REPORTS
            self._reports[key] = (
                f"no more than {_REPORTS} reports are written" if full else write_report(error)
            )
        return told, self._reports[key]

    def _handle_exception(self, error: Exception) -> None:
        # Textual's way to end after an error outside of what is contained.  Its own prints the
        # traceback over the terminal, and leaves with status 1 and without what was done.
        if self._exception is None:
            self._exception = error  # for tests, which get it raised
            self._exception_event.set()
        self._die_of(error)

    def _die_of(self, error: BaseException) -> None:
        """Save what was done and end with `ExitCode.INTERNAL`."""
        told, place = self._report(error)
        if not told:
            self._end(f"mmtui: internal error: {brief(error)}; {place}", ExitCode.INTERNAL)

    def _end(self, words: str, status: ExitCode) -> None:
        if (kept := self._keep()) is not None:
            self.last_words.append(kept)
        self.last_words.append(words)
        self._status = status
        self._exit = True
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        # Textual's wraps what is to be copied, and prints a first error of several.
        self.last_words += [str(words) for words in self._exit_renderables]
        self._exit_renderables.clear()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message over the screen, as it is: no markup, no control characters."""
        super().notify(
            pure_text(message),
            title=pure_text(title),
            severity=severity,
            timeout=timeout,
            markup=markup,
        )

    def action_command_palette(self) -> None:
        """Show every command, to be searched."""
        from mmtui.palette import Palette

        if self.use_command_palette and not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))


def _split(target: str) -> tuple[str, str | None]:
    """`FILE SCENARIO` as two words; a path that exists is one word."""
    name, _, scenario = target.rpartition(" ")
    if name and not Path(target).exists():
        return name.strip(), scenario
    return target, None


def run_app(source: Source | None, kernel: str | None) -> int:
    """Open the application on the library, or on a document; returns the exit status.

    The kernel and those of the document are known to exist.  Where a signal ended it, other than
    SIGINT, the process ends here, by that signal.

    Raises:
        UsageError: the environment asks for a theme or a driver that there is not.
    """
    if constants.DRIVER is not None:  # what it draws on is its own affair
        app = MmtuiApp(source, kernel)
        app.run()
        _say_last(app)
        return app.status
    terminal = Terminal()
    app = MmtuiApp(source, kernel, terminal)
    ending = Ending(terminal)

    def leave() -> bool:
        loop = app._loop
        try:
            if loop is not None and loop.is_running():
                loop.call_soon_threadsafe(app.leave_at_once)
                return True
        except RuntimeError:  # closed in this moment
            pass
        return False

    ending.leave = leave

    def gone() -> None:  # in a thread that reads or writes
        loop = app._loop
        with contextlib.suppress(RuntimeError):
            if loop is not None:
                loop.call_soon_threadsafe(ending.begin, signal.SIGHUP)

    terminal.on_gone = gone
    with ending, terminal.alone():
        try:
            app.run()
        except BaseException as error:  # noqa: BLE001  # SystemExit within Textual, say
            app._die_of(error)
    _say_last(app)
    return ending.finish(app.status)


def _say_last(app: MmtuiApp) -> None:
    """Say on stderr what there is to say when the screen is gone; it may be gone as well."""
    try:
        for words in app.last_words:
            sys.stderr.write(f"{one_line(words)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
