"""Lists kept in one word (processes, holds, regions): changed so that no CPU's change is lost.

They stand for what the kernel keeps in lists and trees under locks of their own; here a reader
takes the whole tuple and a writer exchanges it, starting over when another CPU was faster.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.memory import Gen, Word, cas, load


def change(addr: int, new: Callable[[Word], Word]) -> Gen[Word]:
    """Replace the word at *addr* by *new* of it; the value it replaced."""
    while True:
        old = yield load(addr)
        if (yield cas(addr, old, new(old))):
            return old


def append_item(addr: int, item: Word) -> Gen[None]:
    """Add *item* at the end of the tuple at *addr*."""
    yield from change(addr, lambda items: (*items, item))


def remove_items(addr: int, gone: Callable[[Word], bool]) -> Gen[list[Word]]:
    """Take the items *gone* says out of the tuple at *addr*; they are returned."""
    old = yield from change(addr, lambda items: tuple(i for i in items if not gone(i)))
    return [item for item in old if gone(item)]
