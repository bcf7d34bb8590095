"""The script of a document: its story steps in order, and their actions one by one."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.headless.documents import open_preset, read_text, scenario_document
from sandbox.errors import SandboxError, Where
from sandbox.kernels import DEFAULT_KERNEL
from sandbox.scenario.front_matter import Mail
from sandbox.scenario.language import Action, CpuBlock, Scenario
from sandbox.scenario.presets import Commands, KernelFilter, Preset, StoryStep

if TYPE_CHECKING:
    from mmtui.model.session_text import SavedSession

__all__ = ["Item", "Script", "Source", "empty_source", "open_named", "open_source"]


@dataclass(frozen=True, slots=True)
class Item:
    """One action of the story and the number of the story step it belongs to, from 0."""

    step: int
    action: Action | CpuBlock


@dataclass(frozen=True, slots=True)
class Script:
    """A story as it is told on one kernel."""

    steps: tuple[StoryStep, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What was opened: a preset, a scenario of a file, or nothing at all."""

    name: str
    """As a file name would have it, e.g. `seed-pin-middle`."""
    title: str
    kernels: tuple[str, ...]
    """The kernels it is meant for, the first one to start with."""
    preset: Preset | None = None
    scenario: Scenario | None = None
    others: tuple[str, ...] = ()
    """Names of the scenarios of the same file."""
    target: str = ""
    """What to open to have it again; empty for nothing at all."""
    session: SavedSession | None = None
    """What was done on it, if a session was opened."""

    @property
    def scenario_name(self) -> str:
        """Which of the file's scenarios it is; empty for a preset."""
        return "" if self.scenario is None else self.scenario.name

    @property
    def mails(self) -> tuple[Mail, ...]:
        """The mails a preset tells of."""
        return self.preset.mails if self.preset else ()

    def script(self, kernel: str) -> Script:
        """The story on a kernel: of a scenario, every action is a step of its own."""
        if self.preset is not None:
            steps = self.preset.story(kernel)
        elif self.scenario is not None:
            steps = _steps_of(self.scenario)
        else:
            steps = ()
        items = [
            Item(number, action)
            for number, step in enumerate(steps)
            if step.commands is not None
            for action in step.commands.steps
        ]
        return Script(steps, tuple(items))


def _steps_of(scenario: Scenario) -> tuple[StoryStep, ...]:
    prose = scenario.about
    steps = []
    for action in scenario.steps:
        commands = Commands((action,), action.source, KernelFilter(), action.where)
        steps.append(StoryStep(prose, commands))
        prose = ""
    return tuple(steps)


def open_source(target: str, scenario: str | None = None, commands: tuple[str, ...] = ()) -> Source:
    """Open a preset of the library, a preset document, a scenario file, or a session.

    `commands` are words that might have been meant by an unknown name.

    Raises:
        SandboxError: no such thing, malformed, or no scenario of that name in the file.
    """
    path = Path(target)
    if path.suffix != ".md" and path.is_file():
        return _open_file(target, scenario)
    preset = open_preset(target, commands)
    number = "" if preset.number is None else f"{preset.number}. "
    name = os.path.abspath(target) if path.is_file() else preset.slug
    return Source(preset.slug, f"{number}{preset.title}", preset.kernels, preset, target=name)


def open_named(target: str) -> Source:
    """Open `FILE SCENARIO`, a preset or a file by what was typed; nothing is an empty machine.

    Raises:
        SandboxError: there is no such thing, or it is malformed.
    """
    return open_source(*_split(target)) if target else empty_source()


def _split(target: str) -> tuple[str, str | None]:
    """`FILE SCENARIO` as two words; a path that exists is one word."""
    name, _, scenario = target.rpartition(" ")
    if name and not Path(target).exists():
        return name.strip(), scenario
    return target, None


def _open_file(target: str, name: str | None, *, resume: bool = True) -> Source:
    from sandbox.errors import UsageError

    text = read_text(target)
    if resume and text.startswith("# mmtui session "):
        from mmtui.model.session_text import is_session

        if is_session(text):
            return _open_session(target, text, name)
    document = scenario_document(text, target)
    scenarios = document.scenarios(DEFAULT_KERNEL)
    names = tuple(scenario.name for scenario in scenarios)
    if name is not None and name not in names:
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {name!r}", where, f"one of {', '.join(names)}")
    chosen = scenarios[0 if name is None else names.index(name)]
    title = f"{Path(target).name}: {chosen.name}"
    whole = os.path.abspath(target)
    return Source(chosen.name, title, document.kernels, scenario=chosen, others=names, target=whole)


def _open_session(target: str, text: str, name: str | None) -> Source:
    """Open a session with the document that it was begun on, or without if that is gone."""
    from mmtui.model.session_text import SavedSession, parse_session
    from sandbox.errors import UsageError

    sections = parse_session(text, target)
    names = tuple(section.name for section in sections)
    if name is not None and name not in names:
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {name!r}", where, f"one of {', '.join(names)}")
    chosen = sections[-1] if name is None else sections[names.index(name)]
    others = tuple(section for section in sections if section is not chosen)
    found = os.stat(target)
    saved = SavedSession(
        os.path.abspath(target), (found.st_ino, found.st_mtime_ns), (*others, chosen)
    )
    source = _document_of(chosen.head.document, chosen.head.scenario)
    kernel = chosen.head.kernel or source.kernels[0]
    kernels = (kernel, *(other for other in source.kernels if other != kernel))
    return replace(source, kernels=kernels, others=names, session=saved)


def _document_of(target: str, scenario: str) -> Source:
    """The document of a session; an empty machine if it is gone or was one."""
    if not target:
        return empty_source()
    try:
        if not target.endswith(".md") and os.path.isfile(target):
            return _open_file(target, scenario or None, resume=False)
        return open_source(target)
    except SandboxError:
        name = os.path.splitext(os.path.basename(target))[0]
        return replace(empty_source(), name=name, title=f"{name} (its document is gone)")


def empty_source() -> Source:
    """An empty machine, to play on."""
    return Source("machine", "an empty machine", (DEFAULT_KERNEL,))
