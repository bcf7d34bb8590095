"""Recordings as files: `DIR/KERNEL/NAME.json`, with `-micro` or `-race` behind the kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rig.errors import RigError

__all__ = ["MICRO", "RACE", "dumps", "write"]

MICRO, RACE = "-micro", "-race"
_DEPTH = 5
"""Levels of objects that get lines of their own."""


def dumps(value: object) -> str:
    """Write JSON with a line for each member down to the leaves, so that differences are short."""
    return _spell(value, 0, _DEPTH) + "\n"


def _spell(value: object, indent: int, depth: int) -> str:
    pad = "\n" + " " * (indent + 1)
    end = "\n" + " " * indent
    if isinstance(value, dict) and value and depth > 0:
        members = (
            f"{json.dumps(key)}: {_spell(item, indent + 1, depth - 1)}"
            for key, item in value.items()
        )
        return "{" + pad + f",{pad}".join(members) + end + "}"
    if isinstance(value, list) and value and depth > 0 and isinstance(value[0], dict):
        items = (_spell(item, indent + 1, depth - 1) for item in value)
        return "[" + pad + f",{pad}".join(items) + end + "]"
    return json.dumps(value, separators=(",", ":"))


def write(directory: Path, kernel: str, recording: Mapping[str, Any]) -> Path:
    """Write a recording where it belongs, in one piece, and return its path.

    Raises:
        RigError: it cannot be written there.
    """
    file = directory / kernel / f"{recording['scenario']}.json"
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(dumps(recording), encoding="utf-8")
        half.replace(file)
    except OSError as error:
        raise RigError(f"{file} cannot be written: {error.strerror}") from error
    return file
