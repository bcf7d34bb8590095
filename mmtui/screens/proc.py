"""What a file of /proc would show of the present state."""

from __future__ import annotations

from collections.abc import Sequence

from mmtui.screens.searching import SearchScreen
from mmtui.views.lines import Lines, say

__all__ = ["ProcScreen"]


class ProcScreen(SearchScreen):
    """The lines of a file; a search keeps those with all its words."""

    placeholder = "type to search: only lines with every word stay"

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self._lines = lines

    def document(self, search: str, width: int) -> Lines:
        """The lines with every word of the search."""
        words = search.casefold().split()
        found = [line for line in self._lines if all(w in line.casefold() for w in words)]
        tokens = (
            ("dim" if line.startswith("#") else "strong" if line[:1] == "/" else "", line)
            for line in found
        )
        shown = tuple(say(f" {line}", token) for token, line in tokens)
        return Lines(shown or (say(" nothing found", "dim"),))
