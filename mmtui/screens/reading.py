"""The part of the main screen that reads the story."""

from __future__ import annotations

from mmtui.model.course import Stage, note
from mmtui.screens.showing import ShowingScreen
from mmtui.views.story import StoryDoc, view

__all__ = ["ReadingScreen"]


class ReadingScreen(ShowingScreen):
    """A screen on which a story is read."""

    def read(self, *, step: bool) -> bool:
        """Show more of the story, if something is to be read before what is done next.

        That is an action, or all of a story step.  Returns whether there was something.
        """
        pane = self.frame.story
        doc = self._story()
        if not pane.reader.unread(doc, step=step):
            self._note_end(doc)
            return False
        if pane.doc is doc:
            pane.turn_to(pane.reader.next_page(doc, pane.rows))
            self.say("")
            self._note_end(doc)
        else:
            self.frame.go_to("story")
            self.call_after_refresh(self.refresh_panes)
        return True

    def read_on(self) -> None:
        """Bring into sight what the story has to say of what was just done."""
        doc = self._story()
        if self.frame.story.doc is doc:
            self.frame.story.turn_to(self.frame.story.reader.after(doc, self.frame.story.rows))
        self._note_end(doc)

    def to_story(self) -> None:
        """Go to where the story stands."""
        pane = self.frame.story
        doc = self._story()
        top = pane.reader.go_there(doc, pane.rows)
        if pane.doc is doc:
            pane.turn_to(top)
        else:
            self.frame.go_to("story")
            self.call_after_refresh(self.refresh_panes)

    def _note_end(self, doc: StoryDoc) -> None:
        """Note in the course that a story was read and done to its end, if it was."""
        bench = self.bench
        over = bench.next_item is None and bench.idle and not bench.can_redo
        if over and bench.session.steps and not self.frame.story.reader.unread(doc, step=False):
            note(bench.source, Stage.FINISHED)

    def _story(self) -> StoryDoc:
        """The story as it is on the screen, or would be."""
        pane = self.frame.story
        if isinstance(pane.doc, StoryDoc) and pane.rows > 0 and pane in set(self.frame.shown()):
            return pane.doc
        return view(self.bench, pane.measure)
