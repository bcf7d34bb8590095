"""Watched containers: they tell which of their places are read and written while an event happens.

What an event does depends on nothing but what it read, so that its effect has to be found out only
once for each combination of values.  A word is a place named by its address, an entry of a table
by (table, key); that a whole table was looked at is a place, too, `Whole`.
"""

from __future__ import annotations

from collections.abc import (
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    MutableMapping,
    MutableSequence,
)
from typing import Any, Final, NamedTuple

__all__ = ["MISSING", "Recorder", "WatchedDict", "WatchedList", "WatchedQueue", "Whole"]


class _Missing:
    """The type of the value of an entry that is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
Name = Hashable
"""Of a table; of one inside another it is (that one's name, key)."""


class Whole(NamedTuple):
    """The place that stands for every entry of a table, present or not."""

    table: Name


class Recorder:
    """Places read (with the value found first) and written since `start`."""

    __slots__ = ("on", "reads", "writes")

    def __init__(self) -> None:
        self.on = False
        self.reads: dict[Hashable, Any] = {}
        self.writes: dict[Hashable, Any] = {}

    def start(self) -> None:
        """Begin with nothing read and nothing written."""
        self.reads, self.writes = {}, {}
        self.on = True

    def stop(self) -> None:
        """Look at nothing more; places that were written their own value are not written."""
        self.on = False
        reads = self.reads
        self.writes = {
            place: value for place, value in self.writes.items() if not _same(reads[place], value)
        }


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401  # words
    """Equal, and of one type: a truth value is no number."""
    return one is other or (one.__class__ is other.__class__ and bool(one == other))


class WatchedList(list[Any]):
    """A list of fixed places, such as the words of memory; *name* is that of a table, if it is one.

    What is read by other methods than subscripts is not recorded.
    """

    __slots__ = ("_name", "_recorder")

    def __init__(self, recorder: Recorder, items: Iterable[Any], name: Name = None) -> None:
        super().__init__(items)
        self._recorder, self._name = recorder, name

    def _place(self, index: int) -> Hashable:
        return int(index) if self._name is None else (self._name, int(index))

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  # a number or a slice
        value = list.__getitem__(self, index)
        if self._recorder.on:
            if index.__class__ is slice:
                for at in range(*index.indices(len(self))):
                    self._recorder.reads.setdefault(self._place(at), list.__getitem__(self, at))
            else:
                self._recorder.reads.setdefault(self._place(index), value)
        return value

    def __setitem__(self, index: Any, value: Any) -> None:  # noqa: ANN401  # a number or a slice
        recorder = self._recorder
        if recorder.on:
            if index.__class__ is slice:
                for at, item in zip(range(*index.indices(len(self))), value, strict=True):
                    self[at] = item
                return
            place = self._place(index)
            recorder.reads.setdefault(place, list.__getitem__(self, index))
            recorder.writes[place] = value
        list.__setitem__(self, index, value)

    def __iter__(self) -> Iterator[Any]:
        for at in range(len(self)):
            yield self[at]

    def put(self, index: int, value: Any) -> None:  # noqa: ANN401  # a word
        """Set a place without being watched."""
        list.__setitem__(self, index, value)

    def present(self, index: int) -> Any:  # noqa: ANN401  # a word
        """The value of a place, read without being watched."""
        return list.__getitem__(self, index)


class WatchedQueue(MutableSequence[Any]):
    """A list that counts as one value."""

    __slots__ = ("_place", "_recorder", "items")

    def __init__(self, recorder: Recorder, place: Hashable, items: Iterable[Any] = ()) -> None:
        self._recorder, self._place = recorder, place
        self.items = list(items)

    def _read(self) -> list[Any]:
        if self._recorder.on:
            self._recorder.reads.setdefault(self._place, tuple(self.items))
        return self.items

    def _written(self) -> None:
        if self._recorder.on:
            self._recorder.writes[self._place] = tuple(self.items)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  # a number or a slice
        return self._read()[index]

    def __setitem__(self, index: Any, value: Any) -> None:  # noqa: ANN401  # a number or a slice
        self._read()[index] = value
        self._written()

    def __delitem__(self, index: Any) -> None:  # noqa: ANN401  # a number or a slice
        del self._read()[index]
        self._written()

    def __len__(self) -> int:
        return len(self._read())

    def insert(self, index: int, value: Any) -> None:  # noqa: ANN401  # of any kind
        """Put an item before that of an index."""
        self._read().insert(index, value)
        self._written()


class _Items(ItemsView[Any, Any]):
    """The entries of a table, backwards as well."""

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        yield from reversed(list(self))


class WatchedDict(MutableMapping[Any, Any]):
    """A table of which every entry is a place; it is gone through in the order of its keys.

    With a *default* an entry that is not there is as good as one with that value.  A table whose
    values are *nested* has tables or queues in it that are always there, and maybe empty.  Values
    are kept no higher than *cap*, a function.
    """

    __slots__ = ("_cap", "_default", "_nested", "_recorder", "items_", "name")

    def __init__(
        self,
        recorder: Recorder,
        name: Name,
        items: MutableMapping[Any, Any],
        *,
        default: Any = MISSING,  # noqa: ANN401  # a word
        nested: type[WatchedDict] | type[WatchedQueue] | None = None,
        cap: Any = None,  # noqa: ANN401  # a function of a value
    ) -> None:
        self._recorder, self.name = recorder, name
        self._default, self._nested, self._cap = default, nested, cap
        self.items_: dict[Any, Any] = {}
        for key, value in items.items():
            self[key] = value

    def _inner(self, key: Any) -> Any:  # noqa: ANN401  # a table or a queue
        inner = self.items_.get(key)
        if inner is None:
            if self._nested is WatchedQueue:
                inner = WatchedQueue(self._recorder, (self.name, key))
            else:
                inner = WatchedDict(self._recorder, (self.name, key), {})
            self.items_[key] = inner
        return inner

    def _found(self, key: Any) -> Any:  # noqa: ANN401  # a value, or MISSING
        value = self.items_.get(key, MISSING)
        if self._recorder.on:
            self._recorder.reads.setdefault((self.name, key), value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401  # of any kind
        """The value of a key, or *default*."""
        if self._nested is not None:
            return self._inner(key)
        value = self._found(key)
        return default if value is MISSING else value

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401  # of any kind
        if self._nested is not None:
            return self._inner(key)
        value = self._found(key)
        if value is MISSING:
            if self._default is MISSING:
                raise KeyError(key)
            return self._default
        return value

    def __contains__(self, key: object) -> bool:
        if self._nested is not None:
            return bool(self._inner(key))
        return self._found(key) is not MISSING

    def __setitem__(self, key: Any, value: Any) -> None:  # noqa: ANN401  # of any kind
        if self._nested is WatchedQueue:
            self._inner(key)[:] = list(value)
            return
        if self._nested is not None:
            inner = self._inner(key)
            if inner is not value:
                inner.clear()
                inner.update(value)
            return
        self._store(key, MISSING if value == self._default else value)

    def _store(self, key: Any, value: Any) -> None:  # noqa: ANN401  # a value, or MISSING
        if self._cap is not None and value is not MISSING:
            value = self._cap(value)
        if self._recorder.on:
            self._recorder.reads.setdefault((self.name, key), self.items_.get(key, MISSING))
            self._recorder.writes[self.name, key] = value
        self.put(key, value)

    def put(self, key: Any, value: Any) -> None:  # noqa: ANN401  # a value, or MISSING
        """Set an entry, or take it out, without being watched."""
        if value is MISSING:
            self.items_.pop(key, None)
        else:
            self.items_[key] = value

    def __delitem__(self, key: Any) -> None:  # noqa: ANN401  # of any kind
        if self._nested is not None:
            self._inner(key).clear()
        elif self._found(key) is MISSING:
            raise KeyError(key)
        else:
            self._store(key, MISSING)

    def _keys(self) -> list[Any]:
        """Keys in order, after every entry was looked at."""
        recorder = self._recorder
        if recorder.on:
            recorder.reads.setdefault(Whole(self.name), None)
            if self._nested is None:
                for key, value in self.items_.items():
                    recorder.reads.setdefault((self.name, key), value)
        if self._nested is not None:
            return sorted(key for key, inner in self.items_.items() if len(inner))
        return sorted(self.items_)

    def __iter__(self) -> Iterator[Any]:
        yield from self._keys()

    def __reversed__(self) -> Iterator[Any]:
        yield from reversed(self._keys())

    def items(self) -> _Items:
        """Every entry, in the order of the keys."""
        return _Items(self)

    def __len__(self) -> int:
        return len(self._keys())

    def __bool__(self) -> bool:
        if self._nested is None and self.items_:
            key = next(iter(self.items_))
            self._found(key)  # one that is there is enough to know
            return True
        return bool(self._keys())

    def clear(self) -> None:
        """Take every entry out."""
        for key in self._keys():
            del self[key]
