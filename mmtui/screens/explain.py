"""What the words of a pane mean; typing looks for any other."""

from __future__ import annotations

from mmtui.screens.searching import SearchScreen
from mmtui.views.explain import explain_doc
from mmtui.views.lines import Line, Lines, clip
from sandbox.explain import Term

__all__ = ["ExplainScreen"]


class ExplainScreen(SearchScreen):
    """The terms at the cursor, explained."""

    placeholder = "type to search: a word, a flag, a field, a rule"

    def __init__(self, terms: list[Term], word: str = "", above: tuple[Line, ...] = ()) -> None:
        super().__init__()
        self._above = above
        """What stands over the terms while nothing is looked for: an entry, field by field."""
        self._terms, self._word = terms, word

    def on_mount(self) -> None:
        """Begin with the word that was asked for."""
        super().on_mount()
        self._field.value = self._word

    def document(self, search: str, width: int) -> Lines:
        """The terms, narrowed by a search."""
        doc = explain_doc(self._terms, search, width)
        if not self._above or search.strip():
            return doc
        return Lines((*(clip(line, width) for line in self._above), *doc.lines))
