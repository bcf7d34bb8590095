"""The script of a document: its story steps in order, and their actions one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmtui.headless.documents import read_target
from sandbox.errors import UsageError, Where
from sandbox.kernels import DEFAULT_KERNEL
from sandbox.reading import StopAsked
from sandbox.scenario.front_matter import Mail
from sandbox.scenario.language import Action, CpuBlock, Scenario
from sandbox.scenario.presets import Commands, KernelFilter, Preset, StoryStep

__all__ = ["Item", "Script", "Source", "empty_source", "open_source"]


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
    """Open a preset of the library, a preset document, or a scenario file.

    `commands` are words that might have been meant by an unknown name; `stop` is asked while a
    file is read, so that it can be read beside the screen and given up.

    Raises:
        SandboxError: no such thing, malformed, or no scenario of that name in the file.
        Cancelled: `stop` said so.
    """
    found = read_target(target, commands, stop=stop)
    if isinstance(found, list):
        return _source_of(target, found, scenario)
    if scenario not in (None, found.slug):
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {scenario!r}", where, f"{found.slug}, its only one")
    number = "" if found.number is None else f"{found.number}. "
    return Source(found.slug, f"{number}{found.title}", found.kernels, found)


def _source_of(target: str, scenarios: list[Scenario], name: str | None) -> Source:
    names = tuple(scenario.name for scenario in scenarios)
    if name is not None and name not in names:
        where = Where(target, 1, 1)
        raise UsageError(f"no scenario {name!r}", where, f"one of {', '.join(names)}")
    chosen = scenarios[0 if name is None else names.index(name)]
    title = f"{Path(target).name}: {chosen.name}"
    return Source(chosen.name, title, (DEFAULT_KERNEL,), scenario=chosen, others=names)


def empty_source() -> Source:
    """An empty machine, to play on."""
    return Source("machine", "an empty machine", (DEFAULT_KERNEL,))
