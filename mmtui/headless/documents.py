"""What a person names on the command line: a preset of the library, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import PresetError, SandboxError, Where
from sandbox.kernels import DEFAULT_KERNEL
from sandbox.scenario.language import Scenario, parse_scenarios

if TYPE_CHECKING:
    from sandbox.scenario.presets import Preset

__all__ = ["Document", "open_document", "open_preset"]


@dataclass(frozen=True, slots=True)
class Document:
    """Something that can be run: the scenarios of a file, or a preset's story."""

    name: str
    """As the person named it."""
    kernels: tuple[str, ...]
    """The kernels it is meant for, the one to start with first; at least one."""
    scenarios: Callable[[str], list[Scenario]]
    """Its scenarios on a kernel, given the kernel's id."""


def open_document(target: str, commands: tuple[str, ...] = ()) -> Document:
    """Open a scenario file, a preset document (`.md`), or a preset of the library.

    `commands` are words that might have been meant by an unknown name.

    Raises:
        SandboxError: there is no such thing, or it is malformed (with the place).
    """
    path = Path(target)
    if path.suffix != ".md" and path.is_file():
        scenarios = parse_scenarios(_read(path), target)
        if not scenarios:
            raise SandboxError("no scenario in it", Where(target, 1, 1), "scenario NAME ... end")
        return Document(target, (DEFAULT_KERNEL,), lambda _kernel: scenarios)
    preset = open_preset(target, commands)
    return Document(target, preset.kernels, lambda kernel: [preset.scenario(kernel)])


def open_preset(target: str, commands: tuple[str, ...] = ()) -> Preset:
    """Open a preset document by its path, or a preset of the library by name or number.

    Raises:
        SandboxError: as `open_document`.
    """
    # Imported here: a scenario file needs neither presets nor expectations.
    from sandbox.scenario.presets import find_preset, load_preset

    path = Path(target)
    if path.is_file() or path.suffix == ".md" or len(path.parts) > 1:
        return load_preset(path)
    try:
        return find_preset(target)
    except PresetError as error:
        from difflib import get_close_matches

        if error.where is None and (near := get_close_matches(target, commands, n=1)):
            message = f"neither a preset nor a file: {target!r} (did you mean `mmtui {near[0]}`?)"
            raise PresetError(message) from error
        raise


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SandboxError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SandboxError(
            "not UTF-8 text", Where(str(path), line, 1), "a scenario file"
        ) from error
