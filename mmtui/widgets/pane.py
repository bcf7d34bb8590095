"""A pane: draws the lines of a document, and only those that differ from the last ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset, Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from mmtui.themes import TOKEN_CSS
from mmtui.views.glyphs import glyphs
from mmtui.views.lines import EMPTY, TOKENS, Changing, Doc, Line, Lines, pure_text
from mmtui.widgets.contained import ContainedWidget

__all__ = ["Painted", "Pane"]

_MARKUP = re.compile(r"\[/?[a-z]*\]")
_HERE = {"cursor", "current"}
"""Tokens of where one is in a line."""
_KEPT = 2048
"""Strips that a widget keeps; more than it shows at a time."""


class Painted(ContainedWidget, Widget):
    """A widget that draws lines of tokens, with one component class per token."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"pane--{token}" for token in TOKENS}
    DEFAULT_CSS = "Painted {" + TOKEN_CSS + "}"
    ALLOW_SELECT = False

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._styles: dict[str, Style] = {}
        self._strips: dict[tuple[Line, int], Strip] = {}

    def paint(self, line: Line, width: int) -> Strip:
        """A line as a strip of exactly *width* cells.

        Whatever a document's text holds, nothing that a terminal acts upon comes through here.
        """
        key = (line, width)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) > _KEPT:
                self._strips.clear()
            spans = [(pure_text(text), token) for text, token in line]
            segments = [Segment(text, self.token_style(token)) for text, token in spans]
            strip = Strip(segments, sum(len(text) for text, _ in spans))
            strip = strip.adjust_cell_length(width, self.token_style(""))
            self._strips[key] = strip
        return strip

    def token_style(self, token: str) -> Style:
        """The style of a token, or of several joined by `+`."""
        style = self._styles.get(token)
        if style is None:
            style = self.rich_style
            for part in filter(None, token.split("+")):
                style += self.get_component_rich_style(f"pane--{part}", partial=True)
            self._styles[token] = style
        return style

    def notify_style_update(self) -> None:
        """The theme or the focus changed: paint anew."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()


class Pane(Painted, can_focus=True):
    """A titled pane that shows a document; the document's focus stays in sight.

    Scrolling is the pane's own: the height of a document may change with every step,
    and that must not cost a layout.

    A document makes its lines from the machine as it is when they are asked for.  So it is asked
    only while it is sure to be of the present state: when it is shown, and when the pane scrolls.
    Painting takes the lines that were made then.  Who moves the machine shows a new document, or
    lets the old one go.
    """

    DEFAULT_CSS = """
    Pane {
        height: 1fr;
        background: $background;
        color: $foreground;
        border-top: solid $mm-rule;
        border-title-color: $mm-dim;
        &:focus {
            border-top: heavy $primary;
            border-title-color: $mm-strong;
            border-title-style: bold;
        }
    }
    """

    @dataclass
    class Resized(Message):
        """The pane has another size: its document does not fit any more."""

        pane: Pane

    @dataclass
    class Clicked(Message):
        """A row of the pane was clicked."""

        pane: Pane
        line: int
        """Line of the document, from 0."""
        column: int

    def __init__(self, name: str, title: str) -> None:
        super().__init__(name)
        self._title, self._more = title, ""
        self.border_title = title
        self._doc: Doc = Lines(())
        self._changed: Sequence[int] = ()
        self._top = 0
        self._shown: list[Line] = []
        self._size_drawn = (0, 0)

    @property
    def doc(self) -> Doc:
        """What is shown."""
        return self._doc

    @property
    def room(self) -> tuple[int, int]:
        """Width and height that a document may fill."""
        return self.content_size.width, self.content_size.height

    @property
    def rows(self) -> int:
        """Rows that scroll."""
        return max(0, self.room[1] - len(self._doc.head) - len(self._doc.foot))

    @property
    def name_shown(self) -> str:
        """The title as it is read."""
        return _MARKUP.sub("", self._title)

    def entitle(self, title: str = "", more: str | None = None) -> None:
        """Give the pane a title, or say at the right of it what there is more.

        What is more goes first where there is no room for both.  A title may have markup.
        """
        self._title = title or self._title
        self._more = self._more if more is None else more
        fill = self.size.width - len(self.name_shown) - len(self._more) - 4
        whole = self._title
        if self._more and fill > 0:
            whole += f" {glyphs().rule * fill}{self._more} "
        if self.border_title != whole:
            self.border_title = whole

    # -- showing -----------------------------------------------------------------------

    def show(self, doc: Doc, *, follow: bool = True, moved: bool = False) -> None:
        """Show a document, drawing the lines that differ; `follow` keeps its focus in sight.

        After the machine was *moved*, what changed is brought into sight instead.
        """
        self._doc = doc
        self._changed = doc.changed if isinstance(doc, Changing) else ()
        self._top = max(0, min(self._top, doc.height - self.rows))
        if follow and moved and isinstance(doc, Changing):
            for line in doc.goals:
                self._follow(line)
        elif follow and doc.focus is not None:
            self._follow(doc.focus)
        self._draw()

    def let_go(self) -> None:
        """Forget the document: it is going to be old, and nobody sees it."""
        if self._shown or self._doc.height:
            self._doc, self._shown, self._changed = Lines(()), [], ()
            self._hint()
            self.refresh()

    def _draw(self) -> None:
        """Refresh the rows that are not what they were."""
        room = width, height = self.room  # asking for it costs as much as a line
        lines = [self._line(y, height) for y in range(height)]
        old, self._shown = self._shown, lines
        size, self._size_drawn = self._size_drawn, room
        self._hint()
        if self.has_focus:
            self.stand()
        if len(old) != len(lines) or size != room:
            self.refresh()
            return
        changed = [y for y, line in enumerate(lines) if line != old[y]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def stand(self) -> None:
        """Have the terminal's own cursor at the line that matters, for what reads the screen.

        In it at what is under the cursor or is next, else where the text begins.
        """
        head = len(self._doc.head)
        at = (self._doc.focus or 0) - self._top
        row = head + at if 0 <= at < self.rows else min(head, len(self._shown) - 1)
        if not 0 <= row < len(self._shown):
            return
        text = pure_text("".join(part for part, _ in self._shown[row]))
        column = len(text) - len(text.lstrip())
        place = 0
        for part, token in self._shown[row]:
            if _HERE.intersection(token.split("+")):
                column = place + len(part) - len(part.lstrip())
                break
            place += len(part)
        self.app.cursor_position = self.content_region.offset + Offset(column, row)

    def on_focus(self) -> None:
        """The keys go here now."""
        self.stand()

    def _hint(self) -> None:
        """Say at the edge whether there is more above or below."""
        end = self._top + self.rows
        more = [("above", self._top > 0), ("below", end < self._doc.height)]
        text = " and ".join(word for word, there in more if there)
        text = f"more {text}" if text else ""
        above = sum(line < self._top for line in self._changed)
        below = sum(line >= end for line in self._changed)
        counts = [(glyphs().above, above), (glyphs().below, below)]
        edges = "  ".join(f"{shape} {count}" for shape, count in counts if count)
        text = "  ".join(part for part in (edges, text) if part)
        self.entitle(more=text and f" {text}")

    def _follow(self, line: int) -> None:
        """Bring a line into sight with a margin, moving no more than needed."""
        rows, top = self.rows, self._top
        margin = 0 if self._doc.leaps else min(2, max(0, (rows - 1) // 2))
        if top + margin <= line < top + rows - margin:
            return
        if self._doc.leaps:
            target = line - rows * 4 // 5
        else:
            target = line - margin if line < top + margin else line - rows + 1 + margin
        self._top = max(0, min(target, self._doc.height - rows))

    def _line(self, y: int, height: int) -> Line:
        """The line at row *y* of the pane, of so many."""
        doc = self._doc
        if y < len(doc.head):
            return doc.head[y]
        if y >= height - len(doc.foot):
            return doc.foot[y - (height - len(doc.foot))]
        at = y - len(doc.head) + self._top
        return doc.line(at) if at < doc.height else EMPTY

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        line = self._shown[y] if y < len(self._shown) else EMPTY
        return self.paint(line, self.room[0])

    # -- scrolling ---------------------------------------------------------------------

    def scroll_lines(self, lines: float) -> None:
        """Scroll by lines; infinity is an end of the document."""
        last = max(0, self._doc.height - self.rows)
        self._top = round(max(0, min(self._top + lines, last)))
        self._draw()

    def find(self, text: str) -> bool:
        """Scroll to the next line below the topmost one that contains a text; wraps around."""
        wanted, height = text.casefold(), min(self._doc.height, 20_000)
        for step in range(1, height + 1):
            at = (self._top + step) % height
            if wanted in "".join(part for part, _ in self._doc.line(at)).casefold():
                self._top = at
                self._draw()
                return True
        return False

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll_lines(-3)

    def on_click(self, event: events.Click) -> None:
        """Tell which line was clicked."""
        row = event.y - self.gutter.top - len(self._doc.head)
        if 0 <= row < self.rows:
            self.post_message(self.Clicked(self, row + self._top, event.x))

    def on_resize(self) -> None:
        """Ask for a document that fits; what is drawn stays until it is there."""
        self.post_message(self.Resized(self))
