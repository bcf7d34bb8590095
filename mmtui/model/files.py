"""Files the application writes: where, and never half of one."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path

from mmtui.model.bench import Bench
from sandbox.errors import UsageError
from sandbox.scenario.language import format_step

__all__ = ["save_bench", "scenario_text", "session_path", "state_directory", "write_atomically"]


def state_directory() -> Path:
    """Where sessions and the history of commands are kept (XDG_STATE_HOME)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return root / "mmtui"


def session_path(name: str) -> Path:
    """A new file for the log of a session."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return state_directory() / "sessions" / f"{stamp}-{name}.scn"


def write_atomically(path: Path, text: str) -> None:
    """Write a file under another name first and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def scenario_text(bench: Bench) -> str:
    """Everything that was done, as a scenario file."""
    name = "-".join(
        part for part in bench.source.name.lower().split("-") if part.isalnum() and part.isascii()
    )
    lines = [
        f"# mmtui {bench.source.name} --kernel {bench.kernel}",
        f"scenario {name or 'session'}",
    ]
    lines += [format_step(bench.as_done(step)) for step in bench.session.steps]
    return "\n".join([*lines, "end", ""])


def save_bench(bench: Bench, path: Path) -> None:
    """Write what was done to a file.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_atomically(path, scenario_text(bench))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
