"""How far the course was followed: which presets were opened, and read to their end."""

from __future__ import annotations

import contextlib
import re
from enum import IntEnum
from pathlib import Path

from mmtui.model.files import state_directory, write_atomically
from mmtui.model.script import Source

__all__ = ["Stage", "course_file", "note", "stages"]

_LINE = re.compile(r"(opened|finished) ([a-z0-9][a-z0-9-]{0,99})")
_LARGEST = 1 << 20
"""Bytes that are read of the file; mmtui writes a line for each preset."""


class Stage(IntEnum):
    """How far a preset was followed."""

    OPENED = 1
    FINISHED = 2


def course_file() -> Path:
    """Where it is kept."""
    return state_directory() / "course"


def stages() -> dict[str, Stage]:
    """How far each preset was followed, by its slug; what cannot be read is nothing."""
    try:
        with open(course_file(), "rb") as file:
            text = file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, Stage] = {}
    for word, slug in _LINE.findall(text):
        stage = Stage[word.upper()]
        found[slug] = max(stage, found.get(slug, stage))
    return found


def note(source: Source, stage: Stage) -> None:
    """Note how far a document was followed, if it is one of the library.

    What cannot be written is not noted: nothing that a person did is lost by that.
    """
    if source.preset is None or not source.number:
        return
    found = stages()
    if found.get(source.preset.slug, 0) >= stage:
        return
    found[source.preset.slug] = stage
    lines = (f"{stage.name.lower()} {slug}\n" for slug, stage in sorted(found.items()))
    with contextlib.suppress(OSError):
        write_atomically(course_file(), "".join(lines))
