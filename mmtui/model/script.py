"""The script of a document: its story steps in order, and their actions one by one."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.model.documents import SessionText, read_target
from sandbox.errors import SandboxError, UsageError, Where
from sandbox.kernels import DEFAULT_KERNEL
from sandbox.reading import StopAsked
from sandbox.scenario.front_matter import Mail
from sandbox.scenario.language import Action, CpuBlock, Scenario, parse_scenarios
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
    def number(self) -> str:
        """What opens a preset of the library: its number, or its name; else empty."""
        if self.preset is None or self.target != self.preset.slug:
            return ""
        return self.preset.slug if self.preset.number is None else str(self.preset.number)

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


def open_source(
    target: str,
    scenario: str | None = None,
    commands: tuple[str, ...] = (),
    stop: StopAsked | None = None,
) -> Source:
    """Open a preset of the library, a preset document, a scenario file, or a session.

    `commands` are words that might have been meant by an unknown name; `stop` is asked while a
    file is read, so that it can be read beside the screen and given up.

    Raises:
        SandboxError: no such thing, malformed, or no scenario of that name in the file.
        Cancelled: `stop` said so.
    """
    found = read_target(target, commands, stop=stop)
    if isinstance(found, SessionText):
        from mmtui.model.session_mark import is_session

        if is_session(found.text):
            return _open_session(target, found.text, scenario)
        found = parse_scenarios(found.text, target)
    return _source_of(target, found, scenario)


def _source_of(target: str, found: Preset | list[Scenario], name: str | None) -> Source:
    if isinstance(found, list):
        return _scenario_of(target, found, name)
    if name not in (None, found.slug):
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {name!r}", where, f"{found.slug}, its only one")
    number = "" if found.number is None else f"{found.number}. "
    title, whole = f"{number}{found.title}", _absolute(target) or found.slug
    return Source(found.slug, title, found.kernels, found, target=whole)


def _scenario_of(target: str, scenarios: list[Scenario], name: str | None) -> Source:
    names = tuple(scenario.name for scenario in scenarios)
    if name is not None and name not in names:
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {name!r}", where, f"one of {', '.join(names)}")
    chosen = scenarios[0 if name is None else names.index(name)]
    return Source(
        chosen.name,
        f"{Path(target).name}: {chosen.name}",
        (DEFAULT_KERNEL,),
        scenario=chosen,
        others=names,
        target=_absolute(target),
    )


def _absolute(target: str) -> str:
    """Where a file can be found from everywhere; empty for what the library has."""
    return os.path.abspath(target) if os.path.isfile(target) else ""


def open_named(target: str, stop: StopAsked | None = None) -> Source:
    """Open `FILE SCENARIO`, a preset or a file by what was typed; nothing is an empty machine.

    Raises:
        SandboxError: there is no such thing, or it is malformed.
        Cancelled: `stop` said so.
    """
    if not target:
        return empty_source()
    return open_source(*_split(target), stop=stop)


def _split(target: str) -> tuple[str, str | None]:
    """`FILE SCENARIO` as two words; a path that exists is one word."""
    name, _, scenario = target.rpartition(" ")
    if name and not Path(target).exists():
        return name.strip(), scenario
    return target, None


def _open_session(target: str, text: str, name: str | None) -> Source:
    """Open a session with the document that it was begun on, or without if that is gone."""
    from mmtui.model.session_text import SavedSession, parse_session

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
        found = read_target(target)
        if isinstance(found, SessionText):  # one that was opened as a scenario once
            found = parse_scenarios(found.text, target)
        return _source_of(target, found, scenario or None)
    except SandboxError:
        name = os.path.splitext(os.path.basename(target))[0]
        return replace(empty_source(), name=name, title=f"{name} (its document is gone)")


def empty_source() -> Source:
    """An empty machine, to play on."""
    return Source("machine", "an empty machine", (DEFAULT_KERNEL,))
