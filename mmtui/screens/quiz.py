"""The quiz over the whole screen, so that nothing gives the answers away."""

from __future__ import annotations

from textual import on
from textual.widgets import Input

from mmtui.model.quiz import Quiz
from mmtui.screens.searching import SearchScreen
from mmtui.views.lines import Lines
from mmtui.views.quiz import quiz_doc
from sandbox.errors import SandboxError

__all__ = ["QuizScreen"]


class QuizScreen(SearchScreen):
    """Asks, reveals event by event, and counts; Enter goes on, escape leaves."""

    placeholder = "the value, then Enter"

    def __init__(self, quiz: Quiz) -> None:
        super().__init__()
        self.quiz = quiz
        self._said = ""

    def on_mount(self) -> None:
        """Say which keys there are."""
        self._keys.show(((" enter", "key"), (" on  ", ""), ("esc", "key"), (" leave", "")))

    def document(self, search: str, width: int) -> Lines:
        """The quiz as it stands, with what is being typed."""
        return quiz_doc(self.quiz, search, self._said, width)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._said = ""
        try:
            self.quiz.go_on(event.value)
        except SandboxError as error:
            self._said = str(error)
        self._field.value = ""
        self._show()
