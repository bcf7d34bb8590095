"""The application: themes, screens, and the door in and out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import Screen

from mmtui.model.bench import Bench
from mmtui.model.script import empty_source, open_source
from mmtui.palette import CommandProvider
from mmtui.screens.library import LibraryScreen
from mmtui.screens.main import MainScreen
from mmtui.themes import THEMES, token_colours
from mmtui.views.lines import say
from sandbox.errors import SandboxError
from sandbox.scenario.presets import list_presets

__all__ = ["MmtuiApp", "run_app"]


class MmtuiApp(App[None]):
    """mmtui on the screen.

    `target` is a preset or a file, None for the library; `kernel` overrides the document's.
    """

    TITLE = "mmtui"
    # Of the screens: the first screen's own style sheet would not be read.
    CSS_PATH = ["screens/main.tcss", "screens/library.tcss"]  # noqa: RUF012  # textual declares it so
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandProvider}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "ask_to_quit", "Quit", show=False, priority=True, id="app.ask"),
        Binding("ctrl+q", "leave", "Quit", show=False, id="app.quit"),
    ]

    def __init__(self, target: str | None = None, kernel: str | None = None) -> None:
        # The filter that leaves the terminal's own colours alone can only be chosen now.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._target, self._kernel = target, kernel
        self._asked = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = os.environ.get("MMTUI_THEME", "") or THEMES[0].name
        self.animation_level = "none"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of the tokens for themes that do not name them."""
        return token_colours(self.current_theme)

    def get_default_screen(self) -> Screen[None]:
        """The document, or the library."""
        if self._target is None:
            return LibraryScreen(list_presets(), over=False)
        return MainScreen(Bench(open_source(*_split(self._target)), self._kernel))

    # -- documents -----------------------------------------------------------------------

    @property
    def desk(self) -> MainScreen | None:
        """The main screen, if a document is open."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, MainScreen)), None)

    def open_target(self, target: str) -> None:
        """Open a document in place of the one that is open; nothing is the library.

        Raises:
            SandboxError: there is no such document; the open one stays.
        """
        if not target:
            self.push_screen(LibraryScreen(list_presets(), over=self.desk is not None))
            return
        bench = Bench(open_source(*_split(target)), None)
        desk = self.desk
        if desk is not None:
            desk.keep_log()
            desk.put_aside(bench, f"{bench.source.title} on {bench.kernel}")

    def open_document(self, value: str) -> None:
        """Open what was chosen in the library."""
        library = self.screen
        try:
            source = open_source(value) if value else empty_source()
            bench = Bench(source, self._kernel)
        except SandboxError as error:
            if isinstance(library, LibraryScreen):
                library.say(say(f" {error}", "violation"))
            return
        desk = self.desk
        if desk is None:
            self.push_screen(MainScreen(bench))
        else:
            desk.keep_log()
            self.pop_screen()
            desk.put_aside(bench, f"{source.title} on {bench.kernel}")

    # -- leaving and looks -----------------------------------------------------------------

    def next_theme(self) -> str:
        """Take the next of our themes."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        return self.theme

    def action_ask_to_quit(self) -> None:
        """Quit at the second press in a row."""
        if self._asked:
            self.leave()
            return
        self._asked = True
        self.set_timer(3, self._forget)
        question = " press ctrl+c again to leave; what was done is saved"
        if isinstance(self.screen, MainScreen | LibraryScreen):
            self.screen.message.show(say(question, "strong"))
        else:
            self.notify(question.strip(), markup=False)

    def _forget(self) -> None:
        self._asked = False

    def action_leave(self) -> None:
        """Leave."""
        self.leave()

    def leave(self) -> None:
        """Save what was done and end."""
        desk = self.desk
        message = desk.keep_log() if desk is not None else None
        self.exit(message=message)


def _split(target: str) -> Iterator[str]:
    """`FILE SCENARIO` as two words; a path that exists is one word."""
    name, _, scenario = target.rpartition(" ")
    if name and not Path(target).exists():
        return iter((name.strip(), scenario))
    return iter((target,))


def run_app(target: str | None, kernel: str | None) -> int:
    """Open the application on the library, or on a preset or file; returns the exit status.

    Raises:
        SandboxError: there is no such document or kernel.
    """
    if target is not None:  # errors in it belong on the command line, not on a screen
        Bench(open_source(*_split(target)), kernel)
    app = MmtuiApp(target, kernel)
    app.run()
    return app.return_code or 0
