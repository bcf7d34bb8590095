"""When Python looks for cycles of garbage: seldom, and not in what a long action left behind.

The history of a machine is some objects for every event, all of them alive until the document is
closed, and none in a cycle.  A full collection visits every one of them: with 1 GiB mapped that is
half a second, in the middle of a step that takes six milliseconds.  All other garbage is either
freed at once, by its reference count, or small.  So this is the one place that touches `gc`.
"""

from __future__ import annotations

import gc

__all__ = ["keep_history", "relax", "renew"]

_THRESHOLDS = (20_000, 20, 20)
"""Python's own are (700, 10, 10): dozens of passes while the modules of a command are imported."""

_LONG = 5_000
"""Events of a move that leaves enough behind for a later pass to be felt."""

_LEAST = 100_000
"""Events of long moves, at least, after which what was kept is looked through."""


class _Since:
    """What happened since everything was looked through last."""

    moved = 0
    """Events of long moves."""


def relax() -> None:
    """Collect less often than Python does by itself; called once, before anything is imported."""
    gc.set_threshold(*_THRESHOLDS)


def keep_history(events: int, length: int) -> None:
    """After a move over so many events: never visit what exists now again, if that was a long one.

    It is a splice of lists inside the interpreter, whatever their length.  But what is garbage now,
    or will be, in cycles (the screen that showed the move's progress is a megabyte of them), is
    kept as well.  So once as much was moved as forth and back over a history of *length* events,
    all is looked through: a twentieth of the time that these moves took.
    """
    if events < _LONG:
        return
    _Since.moved += events
    if _Since.moved >= max(_LEAST, 2 * length):
        renew()
    else:
        gc.freeze()


def renew() -> None:
    """Forget what was kept, free what of it is garbage now, and keep the rest.

    For when a document was put aside; takes as long as its history is.
    """
    _Since.moved = 0
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
