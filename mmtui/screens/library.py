"""The library: the presets with what they tell, and an empty machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mmtui.keys import textual_key
from mmtui.model.course import Stage, stages
from mmtui.model.session_list import list_sessions
from mmtui.screens.course import preset_choices, session_choices
from mmtui.views.lines import EMPTY, Line, join, say
from mmtui.widgets.bars import Bar
from mmtui.widgets.chooser import Chooser
from mmtui.widgets.contained import ContainedScreen
from mmtui.widgets.file_line import FileLine
from mmtui.widgets.filter import Filter
from sandbox.scenario.library import Card, recorded_presets

if TYPE_CHECKING:
    from mmtui.app import MmtuiApp

__all__ = ["LibraryScreen"]

_KEYS = (
    ("enter", "open"),
    ("/", "filter"),
    ("0-9", "number"),
    ("o", "open a file"),
    ("T", "theme"),
    ("?", "help"),
    ("q", "quit"),
)


class LibraryScreen(ContainedScreen, Screen[None]):
    """The sessions to go on with and the presets; Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(textual_key("/"), "filter", "Filter", show=False, id="library.filter"),
        Binding("o", "file", "Open a file", show=False, id="library.file"),
        *(
            Binding(digit, f"number({digit})", "Go to", show=False, id=f"library.{digit}")
            for digit in "0123456789"
        ),
        Binding("escape", "back", "Back", show=False, id="library.back"),
        Binding("T", "theme", "Theme", show=False, id="library.theme"),
        Binding(textual_key("?"), "help", "Help", show=False, id="library.help"),
        Binding("q", "leave", "Quit", show=False, id="library.quit"),
    ]
    AUTO_FOCUS = "Chooser"

    app: MmtuiApp

    def __init__(self, cards: list[Card], *, over: bool, at: str = "") -> None:
        super().__init__()
        self._over = over
        """Whether a document is open behind."""
        self._at = at
        """The preset that is open behind, by its number or slug."""
        self._typed = ""
        """Digits of a number that is being typed."""
        known = stages()
        self._finished = (sum(stage is Stage.FINISHED for stage in known.values()), len(cards))
        presets = preset_choices(cards, known, recorded_presets())
        choices = [*session_choices(list_sessions(5)), *presets]
        self.chooser = Chooser("library", "", choices)
        self._filter = Filter(
            self.chooser, "filter: words of title, summary, tags, authors, kernels"
        )
        self._file = FileLine()
        self._title = Bar("title")
        self.message = Bar("message")

    def compose(self) -> ComposeResult:
        """Title, filter, list, message, keys."""
        yield self._title
        yield self._filter
        yield self._file
        yield self.chooser
        yield self.message
        yield Bar("library-keys")

    def on_mount(self) -> None:
        """Draw the fixed lines."""
        title = (
            (" mmtui", "strong"),
            (f"  {self._finished[0]} of {self._finished[1]} finished", "ok"),
            ("  the accounting rules of Linux memory management", "dim"),
        )
        self._title.show(title)
        if self._at:
            self.call_after_refresh(self.chooser.go_to, self._at)
        spans = [span for key, name in _KEYS for span in ((key, "key"), (f" {name}  ", ""))]
        self.query_one("#library-keys", Bar).show(join(((" ", ""),), spans))

    def say(self, line: Line) -> None:
        """Show a message."""
        self.message.show(line)

    @on(Chooser.Chosen)
    def _chosen(self, event: Chooser.Chosen) -> None:
        event.stop()
        if self.on_top:  # Enter twice: the document is open by then
            self.say(EMPTY)
            self.app.open_document(event.value)

    @on(FileLine.Named)
    def _named(self, event: FileLine.Named) -> None:
        event.stop()
        if self.on_top:
            self.app.open_document(event.path)

    def action_file(self) -> None:
        """Type the name of a file to open: a preset document, a scenario, a session."""
        self._file.add_class("-open")
        self._file.focus()

    def action_number(self, digit: int) -> None:
        """Go to the preset of a number, as far as it is typed."""
        longer = f"{self._typed}{digit}"
        self._typed = longer if self.chooser.go_to(longer) else str(digit)
        if self._typed != longer:
            self.chooser.go_to(self._typed)

    def action_filter(self) -> None:
        """Type words that narrow the list."""
        self._filter.add_class("-open")
        self._filter.focus()

    def action_back(self) -> None:
        """Close the line for a file, empty the filter, then go back to the document behind."""
        if self._file.has_class("-open"):
            self._file.remove_class("-open")
            self.chooser.focus()
        elif self._filter.has_class("-open"):
            self._filter.value = ""
            self._filter.remove_class("-open")
            self.chooser.focus()
        elif self._over:
            self.dismiss()

    def action_theme(self) -> None:
        """Take the next theme."""
        self.say(say(f" theme {self.app.next_theme()}"))

    def action_help(self) -> None:
        """Show the help."""
        from mmtui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(None))

    def action_leave(self) -> None:
        """End."""
        self.app.leave()
