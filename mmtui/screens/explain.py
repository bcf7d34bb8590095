"""What the words of a pane mean; typing looks for any other."""

from __future__ import annotations

from mmtui.screens.searching import SearchScreen
from mmtui.views.explain import explain_doc
from mmtui.views.lines import Lines
from sandbox.explain import Term

__all__ = ["ExplainScreen"]


class ExplainScreen(SearchScreen):
    """The terms at the cursor, explained."""

    placeholder = "type to search: a word, a flag, a field, a rule"

    def __init__(self, terms: list[Term], word: str = "") -> None:
        super().__init__()
        self._terms, self._word = terms, word

    def on_mount(self) -> None:
        """Begin with the word that was asked for."""
        super().on_mount()
        self._field.value = self._word

    def document(self, search: str, width: int) -> Lines:
        """The terms, narrowed by a search."""
        return explain_doc(self._terms, search, width)
