"""How far a story was read: what of it has been on the screen, and where its reader looks.

Nothing but the reader's own keys takes the text away that is being read.  Where the story stands
stays in sight as long as it was, and as long as that skips nothing unread.
"""

from __future__ import annotations

from mmtui.model.bench import Bench
from mmtui.views.story import Place, StoryDoc

__all__ = ["Reader"]

_TOP = Place(-1)


class Reader:
    """The reader of a story; who shows it says what came on the screen (`look`)."""

    def __init__(self) -> None:
        self._bench: Bench | None = None
        self._names: dict[str, int] = {}
        """The parts of the story by name, to find them again on another kernel."""
        self._top = _TOP
        """Where the window begins."""
        self._unread = _TOP
        """The first line that has not been on the screen; all above it has."""
        self._in_sight = False
        """Whether the place where the story stands was on the screen."""
        self._judged: object = None
        """The last results that were looked at."""

    # -- what was read -----------------------------------------------------------------

    def look(self, doc: StoryDoc, top: int, rows: int) -> None:
        """Note what is on the screen: *rows* lines from *top* on."""
        if rows <= 0:
            return
        self._top = doc.place(top)
        if top <= doc.line_of(self._unread) < top + rows:
            self._unread = doc.place(min(top + rows, doc.height))
        self._in_sight = doc.focus is not None and top <= doc.focus < top + rows

    def unread(self, doc: StoryDoc, *, step: bool) -> bool:
        """Whether something is to be read before the next action, or all of the next step."""
        self._take(doc)
        return doc.line_of(self._unread) < doc.due(step=step)

    def hint(self, doc: StoryDoc, top: int, rows: int, room: int = 200) -> str:
        """What the reader's key does, where the story stands, which lines are seen: what fits."""
        unread = self.unread(doc, step=False)
        over = self._bench is None or self._bench.next_item is None
        parts = ["space reads on" if unread else "" if over else "space does the next"]
        if doc.focus is not None and not top <= doc.focus < top + rows:
            parts.append(f"J: it stands {'above' if doc.focus < top else 'below'}")
        parts.append(f"{top + 1}-{min(top + rows, doc.height)} of {doc.height}")
        while len("  ".join(filter(None, parts))) > room and parts:
            parts.pop()
        return "  ".join(filter(None, parts))

    # -- where to look -----------------------------------------------------------------

    def settle(self, doc: StoryDoc, rows: int) -> int:
        """The line to begin the window at after anything may have changed, the reader apart."""
        self._take(doc)
        top, focus = doc.line_of(self._top), doc.focus
        last = max(doc.height - rows, 0)
        read = focus is not None and focus < doc.line_of(self._unread)
        if focus is not None and read and self._in_sight and not top <= focus < top + rows:
            top = focus - (rows - 1) // 2 if focus < top else focus - rows + 2
        return max(0, min(top, last))

    def next_page(self, doc: StoryDoc, rows: int) -> int:
        """The line at which the next screenful begins: what was read last stays above it."""
        overlap = 1 if rows > _SMALL else 0
        return self._within(doc, doc.line_of(self._unread) - overlap, rows)

    def after(self, doc: StoryDoc, rows: int) -> int:
        """The line to begin at after an action: what it brought comes into sight."""
        self._take(doc)
        top, unread = doc.line_of(self._top), doc.line_of(self._unread)
        if unread < top + rows or not self.unread(doc, step=False):
            return self.settle(doc, rows)
        return self._within(doc, max(top, unread - 2 if rows > _SMALL else unread), rows)

    def go_there(self, doc: StoryDoc, rows: int) -> int:
        """The line to begin at to see where the story stands; what is above counts as read."""
        self._take(doc)
        focus = doc.focus or 0
        top = self._within(doc, focus - max(rows, _SMALL) // 3, rows)
        if doc.line_of(self._unread) < top:
            self._unread = doc.place(top)
        self._top = doc.place(top)
        return top

    def _within(self, doc: StoryDoc, top: int, rows: int) -> int:
        return max(0, min(top, doc.height - rows))

    # -- other documents ---------------------------------------------------------------

    def _take(self, doc: StoryDoc) -> None:
        """Go on with a document as it is now."""
        if doc.bench is not self._bench:
            old, self._bench = self._bench, doc.bench
            names, self._names = self._names, {n: i for i, n in enumerate(doc.layout.names())}
            if old is not None and old.source is doc.bench.source:
                known = list(names)
                self._top, self._unread = (
                    self._found(known, self._top),
                    self._found(known, self._unread),
                )
            else:
                self._top = self._unread = _TOP
                self._in_sight = False
                if doc.bench.session.steps and doc.focus is not None:  # gone on with
                    self._top = self._unread = doc.place(doc.focus)
            self._judged = doc.bench.checked
        if doc.bench.checked is not self._judged:
            self._judged = doc.bench.checked
            line = doc.judged(doc.bench.checked)
            if doc.bench.checked and line < doc.line_of(self._unread):
                self._unread = doc.place(line)  # it says something now that it did not

    def _found(self, known: list[str], place: Place) -> Place:
        """A place of another kernel's story in this one, or the one after the last known."""
        for number in range(min(place.part, len(known) - 1), -1, -1):
            here = self._names.get(known[number])
            if here is not None:
                return place._replace(part=here) if number == place.part else Place(here + 1)
        return _TOP if place.part >= 0 else place


_SMALL = 6
"""Rows of a window in which no line is shown twice."""
