"""The help: every key, command and verb, and what the glyphs mean; searchable also by key."""

from __future__ import annotations

from mmtui.commands.help import help_doc
from mmtui.model.bench import Bench
from mmtui.screens.searching import SearchScreen
from mmtui.views.lines import Lines

__all__ = ["HelpScreen"]


class HelpScreen(SearchScreen):
    """Everything that can be done; a key alone finds what it does."""

    placeholder = "type to search: a word, or one key"

    def __init__(self, bench: Bench | None) -> None:
        super().__init__()
        self._bench = bench

    def document(self, search: str, width: int) -> Lines:
        """The help, narrowed by a search."""
        return help_doc(self._bench, search, width)
