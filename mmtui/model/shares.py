"""How the panes share the screen, where a person has said so: kept from one run to the next."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from mmtui.model.files import state_directory, write_atomically

__all__ = ["Shares", "shares_file"]

_LINE = re.compile(r"([a-z0-9/]{1,20}) ([0-9]{1,3})")
_LARGEST = 1 << 16


def shares_file() -> Path:
    """Where they are kept."""
    return state_directory() / "layout"


class Shares:
    """Shares by name, as `mmtui.views.layout` takes them; read when they are first asked for."""

    def __init__(self) -> None:
        self._all: dict[str, int] | None = None

    @property
    def all(self) -> Mapping[str, int]:
        """Every share that was set."""
        return self._read()

    def _read(self) -> dict[str, int]:
        if self._all is None:
            text = ""
            with contextlib.suppress(OSError), open(shares_file(), "rb") as file:
                text = file.read(_LARGEST).decode("utf-8", "replace")
            self._all = {name: max(1, int(share)) for name, share in _LINE.findall(text)}
        return self._all

    def put(self, name: str, share: int) -> None:
        """Set a share."""
        self._read()[name] = min(max(share, 1), 999)

    def clear(self) -> None:
        """Forget all that was set."""
        self._all = {}
        self.save()

    def save(self) -> None:
        """Keep them; what cannot be written is gone with the program."""
        lines = (f"{name} {share}\n" for name, share in sorted(self._read().items()))
        with contextlib.suppress(OSError):
            write_atomically(shares_file(), "".join(lines))
