"""The columns of a long history: the latest items as they are, what came before them packed.

A journal of millions of events is mostly repetition.  Pickled and deflated in chunks, an event
takes some 3 bytes with its old value and its answer, instead of some 200, and nothing is lost:
going back unpacks a chunk when it gets there.  A history that is not long never gets here,
and does not import what packs it either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["CHUNK", "KEEP", "Column", "Records", "Span", "pack"]

KEEP = 1 << 20
"""Events that are kept as they are: some 200 MB, and a PTL section is well within them."""
CHUNK = 1 << 16
"""Items packed together; going back past them unpacks so many at once."""


class Column:
    """A list that only grows and shrinks at its end, and whose beginning is packed.

    `append` is the bound method of the list at its end, so that growing costs what it costs a
    list; it stays the same for the column's life.
    """

    __slots__ = ("_base", "_chunks", "_size", "_tail", "_unpacked", "append")

    def __init__(self, items: list[Any], size: int) -> None:
        self._tail = items
        self._size = size
        self._base = 0
        self._chunks: list[bytes | list[Any]] = []
        self._unpacked: tuple[int, list[Any]] = (-1, [])
        self.append = items.append

    def __len__(self) -> int:
        return self._base + len(self._tail)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  # as a list's: a slice is a `Span`
        if index.__class__ is slice:
            start, stop, _step = index.indices(len(self))
            return Span(self, start, max(start, stop))
        tail = self._tail
        at = index - self._base if index >= 0 else index + len(tail)
        if at >= 0:
            return tail[at]
        if at + self._base < 0:
            raise IndexError(index)
        number, within = divmod(at + self._base, self._size)
        return self._chunk(number)[within]

    def __iter__(self) -> Iterator[Any]:
        return iter(Span(self, 0, len(self)))

    def pop(self) -> Any:  # noqa: ANN401  # as a list's
        """Take the last item off; unpacks a chunk when the plain ones are used up."""
        if not self._tail and self._chunks:
            self._tail.extend(self._chunk(len(self._chunks) - 1))
            self._chunks.pop()
            self._base -= self._size
            self._unpacked = (-1, [])
        return self._tail.pop()

    @property
    def plain(self) -> int:
        """How many items are not packed."""
        return len(self._tail)

    @property
    def packed_bytes(self) -> int:
        """What the packed items take."""
        return sum(len(chunk) for chunk in self._chunks if isinstance(chunk, bytes))

    def pack(self, keep: int) -> None:
        """Pack whole chunks from the front while at least *keep* items stay as they are."""
        while len(self._tail) - self._size >= keep:
            self._chunks.append(_deflated(self._tail[: self._size]))
            del self._tail[: self._size]
            self._base += self._size

    def _chunk(self, number: int) -> list[Any]:
        if self._unpacked[0] != number:
            chunk = self._chunks[number]
            if isinstance(chunk, bytes):  # written by `_deflated` in this process, nowhere else
                import pickle
                import zlib

                chunk = pickle.loads(zlib.decompress(chunk))
            self._unpacked = (number, chunk)
        return self._unpacked[1]

    def items(self, start: int, stop: int) -> Iterator[Any]:
        """Items [start, stop), a chunk at a time."""
        while start < min(stop, self._base):
            number, within = divmod(start, self._size)
            part = self._chunk(number)[within : within + stop - start]
            yield from part
            start += len(part)
        if start < stop:
            yield from self._tail[start - self._base : stop - self._base]


class Span:
    """A part of a column, unpacked as it is read: a slice of millions is never in memory."""

    __slots__ = ("column", "start", "stop")

    def __init__(self, column: Column, start: int, stop: int) -> None:
        self.column = column
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Any]:
        return self.column.items(self.start, self.stop)


Records = list[Any] | Column
"""A plain list, until it is long."""


def pack(items: Records, keep: int, size: int) -> Records:
    """Pack all but about *keep* items, in chunks of *size*; the same items, read the same way."""
    if len(items) < keep + size:
        return items
    column = items if isinstance(items, Column) else Column(items, size)
    column.pack(keep)
    return column


def _deflated(items: list[Any]) -> bytes | list[Any]:
    """Pack a chunk; what a kernel of one's own put in that cannot be pickled stays as it is."""
    import pickle
    import zlib

    try:
        return zlib.compress(pickle.dumps(items, pickle.HIGHEST_PROTOCOL), 1)
    except (pickle.PicklingError, TypeError, AttributeError):
        return items
