"""The application: themes, screens, and the door in and out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from textual import constants
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.screen import Screen

from mmtui.ascii_filter import AsciiFilter
from mmtui.ending import Ending
from mmtui.exit_codes import ExitCode
from mmtui.model.looks import keep_theme, kept_theme
from mmtui.model.script import Source, open_named
from mmtui.safe_app import SafeApp
from mmtui.screens.library import LibraryScreen
from mmtui.screens.opening import OpeningScreen
from mmtui.terminal import Terminal
from mmtui.themes import THEMES, token_colours
from mmtui.views.glyphs import ASCII, Glyphs, choose, glyphs
from mmtui.views.lines import Line, plain, say
from mmtui.widgets.bars import Bar
from sandbox.errors import SandboxError, UsageError
from sandbox.printable import one_line
from sandbox.scenario.library import list_cards

if TYPE_CHECKING:
    from mmtui.model.bench import Bench
    from mmtui.screens.main import MainScreen
    from mmtui.screens.working import WorkingScreen

__all__ = ["MmtuiApp", "run_app"]


_IN_ASCII = AsciiFilter()


def _commands() -> type[Provider]:
    """Import the command palette when it is opened."""
    from mmtui.palette import CommandProvider

    return CommandProvider


class MmtuiApp(SafeApp):
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
        # The filter that leaves the terminal's own colours alone can only be chosen now.
        super().__init__(terminal, ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._source = open_named(target) if isinstance(target, str) else target
        self._kernel = kernel
        self.desk: MainScreen | None = None
        """The main screen, if a document is open."""
        self._asked = False
        if kernel is not None:
            from sandbox.kernels import must_be_named, name_kernel

            if must_be_named(kernel):
                name_kernel(kernel, again=False)  # whoever starts the application names it
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._first_theme()
        self.animation_level = "none"

    def _first_theme(self) -> str:
        """The theme that the environment names, else the one chosen last, else the dark one."""
        wanted = os.environ.get("MMTUI_THEME", "")
        if not wanted:
            kept = kept_theme()
            return kept if kept in self.available_themes else THEMES[0].name
        if wanted not in self.available_themes:
            names = ", ".join(theme.name for theme in THEMES)
            raise UsageError(f"MMTUI_THEME: there is no theme {wanted[:30]!r}", expected=names)
        return wanted

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
        self.catch_strays()
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """Open the document; in the library, import behind the screen what opening needs."""
        if self._source is not None:
            try:
                desk = self._main_screen(self._bench(self._source, self._kernel))
            except SandboxError as error:
                self.end_with(f"mmtui: {error}", ExitCode.USAGE)
                return
            except Exception as error:  # noqa: BLE001  # there is nothing to go back to
                self.die_of(error)
                return
            await self.push_screen(desk)
            if self._source.session is not None:
                desk.resume()
        else:
            self.run_worker(
                lambda: import_module("mmtui.screens.main"), thread=True, exit_on_error=False
            )
        self.typed.go_on_with(self.screen)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What all lines go through on their way to the terminal."""
        filters = super().get_line_filters()
        return [*filters, _IN_ASCII] if glyphs() is ASCII else filters

    def take_glyphs(self, chosen: Glyphs) -> None:
        """Draw everything with other shapes from now on."""
        choose(chosen)
        for widget in self.screen.walk_children():
            widget.refresh()

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
        desk = self.desk
        if not target or desk is None:
            at = "" if desk is None else desk.bench.source.number
            self.push_screen(LibraryScreen(list_cards(), over=desk is not None, at=at))
            return
        desk.keep(f"open {target}", left=True)
        desk.open_instead(target, None)

    def open_document(self, value: str) -> None:
        """Open what was chosen in the library."""
        library, desk = self.screen, self.desk
        try:
            if desk is None:
                source = open_named(value)
                desk = self._main_screen(self._bench(source, self._kernel))
                self.push_screen(desk)
                if source.session is not None:
                    desk.call_after_refresh(desk.resume)
                return
            desk.keep(f"open {value}", left=True)
        except SandboxError as error:
            if isinstance(library, LibraryScreen):
                library.say(say(f" {error}", "violation"))
            return
        library.dismiss()
        with desk.guard():
            desk.open_instead(value, self._kernel)

    # -- leaving and looks -----------------------------------------------------------------

    def next_theme(self) -> str:
        """Take the next of our themes; remembered."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.take_theme(names[(at + 1) % len(names)])
        return self.theme

    def take_theme(self, name: str) -> None:
        """Take a theme, and remember it for the next time."""
        self.theme = name
        keep_theme(name)

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
        self._say(say(" press ctrl+c again to leave; what was done is saved", "strong"))

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
        """Have what was done on file and end; what cannot be written has to be insisted on."""
        if (working := self._working()) is not None:
            working.stop_and_wait()
        desk = self.desk
        if desk is None:
            self.exit()
            return
        try:
            desk.keep("leave", left=True)
        except UsageError as error:
            self._say(say(f" {error}", "violation"))
            return
        self.exit(message=desk.keep_log())

    def _say(self, line: Line) -> None:
        """Show a message on whatever screen there is."""
        message = getattr(self.screen, "message", None)
        if isinstance(message, Bar):
            message.show(line)
        else:
            self.notify(plain(line).strip(), markup=False)

    def keep(self) -> str | None:
        """Save what was done, whatever is under way; what there is to say about it."""
        if (working := self._working()) is not None:
            working.stop_and_wait()
        return self.desk.keep_log() if self.desk is not None else None

    def action_command_palette(self) -> None:
        """Show every command, to be searched."""
        from mmtui.palette import Palette

        if self.use_command_palette and not isinstance(self.screen, Palette):
            self.push_screen(Palette())  # no id: one that was left may not be gone yet


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
                app.leaving = True
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
            app.die_of(error)
    if terminal.stuck and sys.stderr.isatty():
        return ending.finish(app.status)  # it would not take the words either
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
