"""Making the calls that write files fail, one after the other, as SQLite's tests do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CALLS = ("open", "write", "fsync", "rename", "link", "ftruncate", "fchmod", "lseek")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


class Faults:
    """Counts the calls that are made while it is on, and lets one or all from one on fail."""

    def __init__(self) -> None:
        self.on = False
        self.calls = 0
        self.failed: list[str] = []
        self._from, self._error, self._forever = 0, 0, False

    @contextmanager
    def failing(self, at: int, error: int, *, forever: bool = False) -> Iterator[None]:
        """Fail the call number *at* (from 1), and all after it if it is to be *forever*."""
        self.calls, self.failed = 0, []
        self._from, self._error, self._forever = at, error, forever
        self.on = True
        try:
            yield
        finally:
            self.on = False

    def due(self, name: str) -> bool:
        """Whether this call is to fail."""
        if not self.on:
            return False
        self.calls += 1
        hit = self.calls == self._from or (self._forever and self.calls > self._from)
        if hit:
            self.failed.append(name)
        return hit

    @property
    def error(self) -> OSError:
        """What the call that fails raises."""
        return OSError(self._error, os.strerror(self._error))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Put the faults under the functions of `os` that write files."""
    plan = Faults()

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # any function of os
            if plan.due(name):
                if name == "write" and len(args[1]) > 1:  # a part of it gets there
                    real(args[0], args[1][: len(args[1]) // 2])
                raise plan.error
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped(name, getattr(os, name)))
    return plan
