"""The frame of the main screen: which panes there are, which are shown, and their titles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.strip import Strip
from textual.widget import Widget

from mmtui.model.shares import Shares
from mmtui.views.glyphs import glyphs
from mmtui.views.layout import Plan, Rectangle, arrange, columns_of
from mmtui.views.panes import PANES, PaneSpec, titled
from mmtui.widgets.contained import ContainedWidget
from mmtui.widgets.pane import Pane
from mmtui.widgets.reading import StoryPane

__all__ = ["Frame"]


class _Places(Layout):
    """Puts panes where the plan of their frame says."""

    name = "places"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        """Place the children that are shown."""
        assert isinstance(parent, Frame)
        places = parent.plan(size).places
        return [
            WidgetPlacement(Region(*places[child.id]), NULL_OFFSET, NULL_SPACING, child)
            for child in children
            if child.id in places
        ]


class Frame(ContainedWidget, Container):
    """The panes, as many as there is room for (`mmtui.views.layout`), lines between columns."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"frame--side"}
    DEFAULT_CSS = "Frame > .frame--side { color: $mm-rule; }"

    def __init__(self) -> None:
        super().__init__(id="columns")
        self.story = StoryPane("story", titled("story"))
        self.panes = {
            name: self.story if name == "story" else Pane(name, titled(name)) for name in PANES
        }
        self._recent = [next(iter(PANES))]
        """The panes in the order in which they were last gone to, the current one first."""
        self._alone = False
        self._shares = Shares()
        self._alarms: frozenset[str] = frozenset()
        self._places = _Places()
        self._room = Size(0, 0)
        self._plan = Plan({}, {})

    def compose(self) -> ComposeResult:
        """All panes."""
        yield from self.panes.values()

    def render_line(self, y: int) -> Strip:
        """Draw what is seen between the panes: the lines between columns."""
        width, style = self.size.width, self.rich_style
        side = Segment(glyphs().side, style + self.get_component_rich_style("frame--side"))
        segments, at = [], 0
        for x in sorted({place.x for place in self._plan.places.values() if place.x}):
            segments += [Segment(" " * (x - 1 - at), style), side]
            at = x
        return Strip([*segments, Segment(" " * (width - at), style)], width)

    @property
    def layout(self) -> Layout:
        """How panes are placed: as planned, whatever a style sheet says."""
        return self._places

    def plan(self, size: Size) -> Plan:
        """Where the panes are in a room."""
        if size != self._room:
            self._room = size
            self._renew()
        return self._plan

    def _renew(self) -> None:
        """Plan anew."""
        self._plan = arrange(
            self._room.width, self._room.height, self._recent,
            alone=self._alone, shares=self._shares.all,
        )  # fmt: skip

    def _changed(self) -> None:
        self._renew()
        self.refresh()
        self.story.refresh(layout=True)  # a child's: its own would leave the places as they were
        self.titles()

    @property
    def current(self) -> Pane:
        """The pane the keys go to."""
        return self.panes[self._recent[0]]

    @property
    def spec(self) -> PaneSpec:
        """What the current pane is."""
        return PANES[self._recent[0]]

    def shown(self) -> Iterator[Pane]:
        """The panes that are on the screen."""
        return (pane for name, pane in self.panes.items() if name in self._plan.places)

    def go_to(self, name: str) -> None:
        """Make a pane the current one, bringing it on the screen."""
        self._recent = [name, *(other for other in self._recent if other != name)]
        self._changed()
        self.panes[name].focus()

    def neighbour(self, step: int) -> str:
        """The name of the next or previous pane on the screen, or of all if only one is."""
        names = [pane.id for pane in self.shown() if pane.id]
        if len(names) < 2:
            names = list(PANES)
        current = self._recent[0]
        at = names.index(current) if current in names else 0
        return names[(at + step) % len(names)]

    def zoom(self, *, alone: bool | None = None) -> None:
        """Give everything to the current pane, or share it again; None turns it over."""
        self._alone = not self._alone if alone is None else alone
        self._changed()

    # -- shares ------------------------------------------------------------------------

    def resize(self, wider: int, taller: int) -> bool:
        """Give the current pane more or less; whether there is something to share it with."""
        name = self._recent[0]
        place = self._plan.places.get(name)
        if place is None or len(self._plan.places) < 2:
            return False
        if wider:
            return self._widen(place, wider)
        column = [(n, its.height) for n, its in self._plan.places.items() if its.x == place.x]
        at = [other for other, _ in column].index(name)
        count = columns_of(self._room.width)
        return self._shift([(f"{count}/{n}", rows) for n, rows in column], at, taller, 3)

    def _widen(self, place: Rectangle, wider: int) -> bool:
        count = columns_of(self._room.width)
        edges = sorted({(its.x, its.width) for its in self._plan.places.values()})
        if len(edges) != count:
            return False
        at = [x for x, _ in edges].index(place.x)
        return self._shift([(f"{count}/{n}", w) for n, (_, w) in enumerate(edges)], at, wider, 12)

    def _shift(self, sizes: list[tuple[str, int]], at: int, more: int, least: int) -> bool:
        """Give one of several sizes more, and the one after (or before) it less."""
        other = at + 1 if at + 1 < len(sizes) else at - 1
        if other < 0 or min(sizes[at][1] + more, sizes[other][1] - more) < least:
            return False
        changes = {at: more, other: -more}
        for number, (name, size) in enumerate(sizes):
            self._shares.put(name, size + changes.get(number, 0))
        self._shares.save()
        self._changed()
        return True

    def share_anew(self) -> None:
        """Forget all shares that were set."""
        self._shares.clear()
        self._changed()

    # -- titles ------------------------------------------------------------------------

    def alarm(self, broken: bool) -> None:
        """Put a mark on the titles of panes that show what is broken, if something is."""
        names = frozenset(spec.name for spec in PANES.values() if broken and spec.alarms)
        if names != self._alarms:
            self._alarms = names
            self.titles()

    def titles(self) -> None:
        """Name each pane, and beside it those that stand behind it."""
        for name, place in self._plan.places.items():
            names = self._plan.behind.get(name, (name,))
            everything = len(names) == 1
            room = place.width - 4
            short = not everything and 0 < room < sum(len(titled(n)) + 4 for n in names)
            title = "  ".join(
                self._label(other, other == name and not everything, short and other != name)
                for other in names
            )
            self.panes[name].entitle(title)

    def _label(self, name: str, active: bool, short: bool) -> str:
        """The title in a row of titles; `short` leaves the number, which is its key."""
        text = titled(name).partition(" ")[0] if short else titled(name)
        text += ("!" if short else " !") if name in self._alarms else ""
        return f"[reverse] {text} [/]" if active else text
