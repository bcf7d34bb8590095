"""What a person names on the command line: a preset of the library, or a file."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sandbox.errors import PresetError, SandboxError, Where
from sandbox.kernels import DEFAULT_KERNEL
from sandbox.scenario.language import Scenario, parse_scenarios

if TYPE_CHECKING:
    from sandbox.scenario.presets import Preset

__all__ = ["Document", "open_document", "open_preset", "read_text", "scenario_document"]


class Document(NamedTuple):
    """Something that can be run: the scenarios of a file, or a preset's story."""

    name: str
    """As the person named it."""
    kernels: tuple[str, ...]
    """The kernels it is meant for, the one to start with first; at least one."""
    scenarios: Callable[[str], list[Scenario]]
    """Its scenarios on a kernel, given the kernel's id."""


def open_document(target: str) -> Document:
    """Open a scenario file, a preset document (`.md`), or a preset of the library, to run it.

    The expectations of a preset are not looked at.

    Raises:
        SandboxError: there is no such thing, or it is malformed (with the place).
    """
    if not target.endswith(".md") and os.path.isfile(target):
        return scenario_document(read_text(target), target)
    preset = open_preset(target, strict=False)
    return Document(target, preset.kernels, lambda kernel: [preset.scenario(kernel)])


def scenario_document(text: str, target: str) -> Document:
    """Make a document of the text of a scenario file.

    Raises:
        SandboxError: it is malformed (with the place).
    """
    scenarios = parse_scenarios(text, target)
    return Document(target, (DEFAULT_KERNEL,), lambda _kernel: scenarios)


def open_preset(target: str, commands: tuple[str, ...] = (), *, strict: bool = True) -> Preset:
    """Open a preset document by its path, or a preset of the library by name or number.

    `commands` are words that might have been meant by an unknown name; unless it is to be
    `strict`, expectations are read only when something asks for them.

    Raises:
        SandboxError: as `open_document`.
    """
    # Imported here: a scenario file needs no presets.
    from sandbox.scenario.presets import find_preset, load_preset

    if os.path.isfile(target) or target.endswith(".md") or os.path.dirname(target):
        return load_preset(target, strict=strict)
    try:
        return find_preset(target, strict=strict)
    except PresetError as error:
        from difflib import get_close_matches

        if error.where is None and (near := get_close_matches(target, commands, n=1)):
            message = f"neither a preset nor a file: {target!r} (did you mean `mmtui {near[0]}`?)"
            raise PresetError(message) from error
        raise


def read_text(path: str) -> str:
    """Read a text with lines ended by newlines alone.

    Raises:
        SandboxError: it cannot be read, or is no text in UTF-8 (with the place).
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        return data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise SandboxError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SandboxError("not UTF-8 text", Where(path, line, 1), "a scenario file") from error
