"""The frame of the main screen: which panes there are, which are shown, and their titles."""

from __future__ import annotations

from collections.abc import Iterator

from textual.app import ComposeResult
from textual.containers import Container

from mmtui.views.panes import COLUMNS, PANES, PaneSpec, titled
from mmtui.widgets.contained import ContainedWidget
from mmtui.widgets.pane import Pane
from mmtui.widgets.reading import StoryPane

__all__ = ["Frame"]

_COLUMNS = {
    column: tuple(spec.name for spec in PANES.values() if spec.column is column)
    for column in COLUMNS
}
_UPPER, _LOWER = (
    tuple(spec.name for spec in PANES.values() if spec.column.upper is upper)
    for upper in (True, False)
)


def _shares() -> str:
    """The shares of columns and panes where all are shown, as rules of a style sheet."""
    where = "MainScreen.-all.-tall"
    rules = [f"{where} #{column.name} {{ width: {column.share}fr; }}" for column in COLUMNS]
    rules += [f"{where} #{spec.name} {{ height: {spec.share}fr; }}" for spec in PANES.values()]
    return "\n".join(rules)


class Frame(ContainedWidget, Container):
    """The panes in their columns.

    On a small screen one pane of the left column is shown over one of the others, and
    on a tiny or zoomed one only the current pane; the style sheet does it by classes.
    """

    DEFAULT_CSS = _shares()
    SCOPED_CSS = False

    def __init__(self) -> None:
        super().__init__(id="columns")
        self.story = StoryPane("story", titled("story"))
        self.panes = {
            name: self.story if name == "story" else Pane(name, titled(name)) for name in PANES
        }
        self._chosen = {"upper": _UPPER[0], "lower": _LOWER[0]}
        self._current = next(iter(PANES))
        self._alarms: frozenset[str] = frozenset()

    def compose(self) -> ComposeResult:
        """The columns and their panes."""
        for column, names in _COLUMNS.items():
            with Container(id=column.name, classes="column"):
                for name in names:
                    yield self.panes[name]

    def on_mount(self) -> None:
        """Mark what is chosen first."""
        self._mark_classes()

    @property
    def current(self) -> Pane:
        """The pane the keys go to."""
        return self.panes[self._current]

    @property
    def spec(self) -> PaneSpec:
        """What the current pane is."""
        return PANES[self._current]

    def shown(self) -> Iterator[Pane]:
        """The panes that are on the screen."""
        for pane in self.panes.values():
            column = pane.parent
            if pane.display and isinstance(column, Container) and column.display:
                yield pane

    def go_to(self, name: str) -> None:
        """Make a pane the current one, bringing it on the screen."""
        self._current = name
        self._chosen["upper" if PANES[name].column.upper else "lower"] = name
        self._mark_classes()
        self.panes[name].focus()

    def neighbour(self, step: int) -> str:
        """The name of the next or previous pane on the screen, or of all if only one is."""
        names = [pane.id for pane in self.shown() if pane.id]
        if len(names) < 2:
            names = list(PANES)
        at = names.index(self._current) if self._current in names else 0
        return names[(at + step) % len(names)]

    def alarm(self, broken: bool) -> None:
        """Put a mark on the titles of panes that show what is broken, if something is."""
        names = frozenset(spec.name for spec in PANES.values() if broken and spec.alarms)
        if names != self._alarms:
            self._alarms = names
            self.titles()

    def _mark_classes(self) -> None:
        chosen = set(self._chosen.values())
        for column, names in _COLUMNS.items():
            box = self.query_one(f"#{column.name}")
            box.set_class(bool(chosen & set(names)), "-chosen")
            box.set_class(self._current in names, "-current")
        for name, pane in self.panes.items():
            pane.set_class(name in chosen, "-chosen")
            pane.set_class(name == self._current, "-current")
        self.titles()

    def titles(self) -> None:
        """Name each pane, and beside it those that stand behind it."""
        shown = {pane.id for pane in self.shown()}
        everything = len(shown) == len(PANES)
        for name, pane in self.panes.items():
            group = _UPPER if name in _UPPER else _LOWER
            if len(shown) == 1:
                group = tuple(PANES)
            names = (name,) if everything else group
            room = self.size.width - 4
            short = not everything and 0 < room < sum(len(titled(n)) + 4 for n in names)
            title = "  ".join(
                self._label(other, other == name and not everything, short and other != name)
                for other in names
            )
            pane.entitle(title)

    def _label(self, name: str, active: bool, short: bool) -> str:
        """The title in a row of titles; `short` leaves the number, which is its key."""
        text = titled(name).partition(" ")[0] if short else titled(name)
        text += ("!" if short else " !") if name in self._alarms else ""
        return f"[reverse] {text} [/]" if active else text
