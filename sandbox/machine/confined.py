"""What a kernel function must not call while it runs: it could end the process that models it.

No jail: a person may run what they like on their machine.  It is so that a mistake, or a kernel
from somebody else, is named with its line instead of ending, doubling or outliving the program.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Forbidden", "confined"]

_CALLS: tuple[tuple[Any, str], ...] = tuple(
    (module, name)
    for module, names in (
        (os, "_exit abort fork forkpty kill killpg execv execve system posix_spawn posix_spawnp"),
        (signal, "signal raise_signal pthread_kill setitimer alarm"),
        (sys, "setrecursionlimit settrace setprofile"),
        (atexit, "register"),
    )
    for name in names.split()
    if hasattr(module, name)
)
_THREADS = ("start_new_thread", "start_joinable_thread")


class Forbidden(RuntimeError):
    """A kernel function called what would end or outlive its action."""


@contextmanager
def confined() -> Iterator[None]:
    """Refuse such calls in this thread; what other threads do meanwhile is their own affair."""
    import _thread
    import threading

    mine = threading.get_ident()
    places = [*_CALLS, (threading.Thread, "start")]
    places += [(_thread, name) for name in _THREADS if hasattr(_thread, name)]
    before = [(module, name, getattr(module, name)) for module, name in places]
    for module, name, real in before:
        setattr(module, name, _refusing(name, real, mine))
    try:
        yield
    finally:
        for module, name, real in before:
            setattr(module, name, real)


def _refusing(name: str, real: Callable[..., Any], mine: int) -> Callable[..., Any]:
    import threading

    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the real one takes
        if threading.get_ident() == mine:
            raise Forbidden(f"a kernel function may not call {name}()")
        return real(*args, **kwargs)

    call.__wrapped__ = real  # type: ignore[attr-defined]  # a function takes any attribute
    return call
