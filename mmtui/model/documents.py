"""What a person names: a preset of the library, or a file, pipe or FIFO with a document in it."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from mmtui.model.session_mark import is_any_session
from sandbox.errors import PresetError
from sandbox.kernels import DEFAULT_KERNEL, is_known
from sandbox.reading import StopAsked, read_text
from sandbox.scenario.language import Scenario, parse_scenarios

if TYPE_CHECKING:
    from sandbox.scenario.presets import Preset

__all__ = ["Document", "SessionText", "open_document", "open_preset", "read_target"]


class SessionText(NamedTuple):
    """The text of a session, which says more than its scenarios."""

    text: str

    @property
    def kernel(self) -> str:
        """The kernel of its present section, if that is one that a document may name."""
        named = _KERNEL.findall(self.text)
        return named[-1] if named and is_known(named[-1]) else DEFAULT_KERNEL


_KERNEL = re.compile(r'^#@ kernel "([^"\\\n]+)"$', re.MULTILINE)


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
    found = read_target(target, strict=False)
    kernel = DEFAULT_KERNEL
    if isinstance(found, SessionText):
        kernel = found.kernel
        found = parse_scenarios(found.text, target)
    if isinstance(found, list):
        scenarios = found
        return Document(target, (kernel,), lambda _kernel: scenarios)
    return Document(target, found.kernels, lambda kernel: [found.scenario(kernel)])


def read_target(
    target: str,
    commands: tuple[str, ...] = (),
    *,
    strict: bool = True,
    stop: StopAsked | None = None,
) -> Preset | list[Scenario] | SessionText:
    """Read a preset, the scenarios of a file, or a session as text.

    What begins with `+++` is a preset document.

    `commands` are words that might have been meant by an unknown name; unless it is to be
    `strict`, expectations are read only when something asks for them.  `stop` is asked while a
    file is read: see `sandbox.reading`.

    Raises:
        SandboxError: there is no such thing, or it is malformed (with the place).
        Cancelled: `stop` said so.
    """
    document = target.endswith(".md")
    if not (document or _is_file(target)):
        return open_preset(target, commands, strict=strict, stop=stop)
    text = read_text(target, "a preset document" if document else "a scenario file", stop)
    if is_any_session(text):
        return SessionText(text)
    if document or text.startswith(("+++", "\ufeff+++")):
        from sandbox.scenario.presets import open_preset_text

        return open_preset_text(text, target, strict=strict)
    return parse_scenarios(text, target)


def open_preset(
    target: str,
    commands: tuple[str, ...] = (),
    *,
    strict: bool = True,
    stop: StopAsked | None = None,
) -> Preset:
    """Open a preset document by its path, or a preset of the library by name or number.

    Arguments are those of `read_target`.

    Raises:
        SandboxError: as `read_target`.
    """
    # Imported here: a scenario file needs no presets.
    from sandbox.scenario.library import find_preset
    from sandbox.scenario.presets import load_preset

    if _is_file(target) or target.endswith(".md"):
        return load_preset(target, strict=strict, stop=stop)
    try:
        return find_preset(target, strict=strict)
    except PresetError as error:
        if error.where is None and os.path.isdir(target):
            return load_preset(target)  # refused as a folder is
        from difflib import get_close_matches

        if error.where is None and (near := get_close_matches(target[:40], commands, n=1)):
            message = f"neither a preset nor a file: {target!r} (did you mean `mmtui {near[0]}`?)"
            raise PresetError(message) from error
        raise


def _is_file(target: str) -> bool:
    """Tell what is to be read from what is to be looked up in the library."""
    return bool(os.path.dirname(target)) or (os.path.exists(target) and not os.path.isdir(target))
