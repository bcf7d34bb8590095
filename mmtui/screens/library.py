"""The library: the presets with what they tell, and an empty machine."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from mmtui.keys import textual_key
from mmtui.model.session_list import Kept, list_sessions
from mmtui.views.lines import EMPTY, Line, join, say
from mmtui.widgets.bars import Bar
from mmtui.widgets.chooser import Choice, Chooser
from mmtui.widgets.contained import ContainedScreen
from mmtui.widgets.filter import Filter
from sandbox.scenario.library import Card

if TYPE_CHECKING:
    from mmtui.app import MmtuiApp

__all__ = ["LibraryScreen", "preset_choices"]

_KEYS = (
    ("enter", "open"),
    ("/", "filter"),
    ("j k", "move"),
    ("T", "theme"),
    ("?", "help"),
    ("q", "quit"),
)


def preset_choices(cards: list[Card]) -> list[Choice]:
    """A row for every preset, and one for an empty machine."""
    width = max((len(card.front.title) for card in cards), default=0) + 2
    rows = []
    for card in cards:
        front = card.front
        number = "" if front.number is None else str(front.number)
        columns = (
            (f"{number:>3} ", "dim"),
            (f"{front.title:<{width}}", "strong"),
            (" ".join(front.kernels), "dim"),
        )
        authors = {mail.author for mail in front.mails}
        keywords = " ".join([card.slug, *front.tags, *authors])
        part = f"{front.part}: " if front.part else ""
        about = f"{part}{front.summary} [{', '.join(front.tags)}]"
        rows.append(Choice(number or card.slug, columns, about, keywords))
    empty = (("  - ", "dim"), ("An empty machine", "strong"))
    about = "Map, write, fork, pin and unmap as you like, on any kernel."
    return [*rows, Choice("", empty, about, "play blank")]


def session_choices(sessions: list[Kept]) -> list[Choice]:
    """A row for every session on file that can be gone on with, those not left first."""
    rows = []
    for session in sorted(sessions, key=lambda kept: kept.left):
        if session.busy:
            continue
        when = datetime.fromtimestamp(session.when).strftime("%d %b %H:%M")
        count = f"{session.actions} action{'s' if session.actions != 1 else ''}"
        columns = (
            ("  > ", "key"),
            (f"{session.name}  ", "strong"),
            (f"{session.kernel}  {count}  {when}", "dim"),
            ("" if session.left else "  ended in the middle", "changed"),
        )
        about = "Go on with a session: its actions, branches and place come back."
        rows.append(Choice(session.path, columns, about, "session continue"))
    return rows


class LibraryScreen(ContainedScreen, Screen[None]):
    """The sessions to go on with and the presets; Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(textual_key("/"), "filter", "Filter", show=False, id="library.filter"),
        Binding("escape", "back", "Back", show=False, id="library.back"),
        Binding("T", "theme", "Theme", show=False, id="library.theme"),
        Binding(textual_key("?"), "help", "Help", show=False, id="library.help"),
        Binding("q", "leave", "Quit", show=False, id="library.quit"),
    ]
    AUTO_FOCUS = "Chooser"

    app: MmtuiApp

    def __init__(self, cards: list[Card], *, over: bool) -> None:
        super().__init__()
        self._over = over
        """Whether a document is open behind."""
        choices = [*session_choices(list_sessions(5)), *preset_choices(cards)]
        self.chooser = Chooser("library", "", choices)
        self._filter = Filter(
            self.chooser, "filter: words of title, summary, tags, authors, kernels"
        )
        self._title = Bar("title")
        self.message = Bar("message")

    def compose(self) -> ComposeResult:
        """Title, filter, list, message, keys."""
        yield self._title
        yield self._filter
        yield self.chooser
        yield self.message
        yield Bar("library-keys")

    def on_mount(self) -> None:
        """Draw the fixed lines."""
        title = (
            (" mmtui", "strong"),
            ("  the accounting rules of Linux memory management, event by event", "dim"),
        )
        self._title.show(title)
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

    def action_filter(self) -> None:
        """Type words that narrow the list."""
        self._filter.add_class("-open")
        self._filter.focus()

    def action_back(self) -> None:
        """Empty the filter, then go back to the document behind."""
        if self._filter.has_class("-open"):
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
