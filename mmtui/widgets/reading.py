"""The pane of the story: scrolled by its reader, not by what the machine does."""

from __future__ import annotations

from mmtui.views.lines import Doc
from mmtui.views.reading import Reader
from mmtui.views.story import StoryDoc
from mmtui.widgets.pane import Pane

__all__ = ["StoryPane"]


class StoryPane(Pane):
    """The story, which keeps what was read of it."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__(name, title)
        self.reader = Reader()
        self._measure = 60

    @property
    def measure(self) -> int:
        """The width the story is set for, or was when it was last on the screen."""
        return self._measure

    def show(self, doc: Doc, *, follow: bool = True, moved: bool = False) -> None:
        """Show the story where its reader left it."""
        if isinstance(doc, StoryDoc):
            self._doc, self._measure = doc, doc.width
            self._top = self.reader.settle(doc, self.rows)
            self._draw()
        else:
            super().show(doc, follow=follow, moved=moved)

    def turn_to(self, top: int) -> None:
        """Begin at a line."""
        self._top = max(0, min(top, self._doc.height - self.rows))
        self._draw()

    def _draw(self) -> None:
        if isinstance(self._doc, StoryDoc):
            self.reader.look(self._doc, self._top, self.rows)
        super()._draw()

    def _hint(self) -> None:
        """Say which lines these are, and what comes next."""
        doc = self._doc
        if not isinstance(doc, StoryDoc) or self.rows <= 0:
            super()._hint()
            return
        room = self.size.width - len(self.name_shown) - 6
        text = self.reader.hint(doc, self._top, self.rows, room)
        self.entitle(more=text and f" {text}")
