"""What is derived from a list that grows and shrinks at its end, kept up with it.

The tasks of a machine, the steps of a session and the broken rules are such lists: going back
takes the last ones off, going forth puts some on.  Who wants to know something about all of them
at every look follows the list, which costs what changed since the last look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Follower"]

T = TypeVar("T")


class Follower(Generic[T]):
    """Told of the items that a list gained and lost since the last look, one by one.

    An item must always stand on the same ones: what is at the end of both lists, at the same
    place, says that all before it are the same.  That is so where history is a tree, as here: an
    item that comes back does so on top of what it was taken from.
    """

    def __init__(self) -> None:
        self._seen: list[T] = []

    def __len__(self) -> int:
        return len(self._seen)

    def follow(self, items: Sequence[T]) -> None:
        """Catch up with the list."""
        seen = self._seen
        while len(seen) > len(items) or (seen and seen[-1] is not items[len(seen) - 1]):
            self._drop_last()
        for at in range(len(seen), len(items)):
            seen.append(items[at])
            self.added(items[at], at)

    def forget(self, item: T, at: int) -> None:
        """Let *item* be added again at the next look, if it is at this place."""
        if at < len(self._seen) and self._seen[at] is item:
            while len(self._seen) > at:
                self._drop_last()

    def _drop_last(self) -> None:
        item = self._seen.pop()
        self.dropped(item, len(self._seen))

    def added(self, item: T, at: int) -> None:
        """Take in an item that the list gained, at its place from 0."""
        raise NotImplementedError

    def dropped(self, item: T, at: int) -> None:
        """Undo what `added` did: the last item is gone."""
        raise NotImplementedError
