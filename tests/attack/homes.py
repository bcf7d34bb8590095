"""What is attacked, and the home that it is given."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

__all__ = ["Home", "command", "why_no_terminal"]


def why_no_terminal() -> str:
    """Why there are no terminals here, for skipping; empty where there are."""
    try:
        master, slave = os.openpty()
    except OSError as error:
        return f"no pseudo-terminal to be had: {error.strerror}"
    os.close(master)
    os.close(slave)
    return "" if Path("/proc/self/stat").exists() else "no /proc to look at processes"


def command() -> list[str]:
    """The command line that is attacked."""
    named = os.environ.get("MMTUI")
    return shlex.split(named) if named else [sys.executable, "-m", "mmtui"]


class Home:
    """A person's home: all that a run reads and writes is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        for name in ("cache", "config", "data", "state", "tmp"):
            (path / name).mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a run."""
        xdg = {f"XDG_{n.upper()}_HOME": self._at(n) for n in ("cache", "config", "data", "state")}
        kept = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV") if name in os.environ}
        own = {"HOME": str(self.path), "TMPDIR": self._at("tmp"), "LANG": "C.UTF-8", "TZ": "UTC"}
        return {**own, **xdg, **kept, "TERM": "xterm-256color", "COLORTERM": "truecolor"}

    def _at(self, name: str) -> str:
        return str(self.path / name)

    def sessions(self) -> list[Path]:
        """The session files, the oldest first."""
        found = list((self.state / "mmtui" / "sessions").glob("*.scn"))
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
