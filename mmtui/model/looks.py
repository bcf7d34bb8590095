"""The theme that a person chose, kept from one run to the next."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from mmtui.model.files import state_directory, write_atomically

__all__ = ["keep_theme", "kept_theme", "theme_file"]

_NAME = re.compile(r"[a-z0-9-]{1,40}")


def theme_file() -> Path:
    """Where its name is kept."""
    return state_directory() / "theme"


def kept_theme() -> str:
    """The name of the theme that was chosen last, empty if none was or the file is no such."""
    text = ""
    with contextlib.suppress(OSError), open(theme_file(), "rb") as file:
        text = file.read(80).decode("ascii", "replace").strip()
    return text if _NAME.fullmatch(text) else ""


def keep_theme(name: str) -> None:
    """Keep the choice; where it cannot be written it is gone with the program."""
    with contextlib.suppress(OSError):
        write_atomically(theme_file(), f"{name}\n")
