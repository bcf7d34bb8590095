"""Presets held against the expectations written in them, on the kernels they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.errors import Cancelled, KernelBug, SandboxError, Where
from sandbox.scenario.expect import ExpectResult, evaluate_all
from sandbox.scenario.expect_state import Refusal
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.presets import Commands, Preset
from sandbox.truth.observed import RunFacts

__all__ = ["CheckedRun", "PresetCheck", "check_preset", "start_engine"]

State = Mapping[str, Any]

_NOWHERE = Where("<preset>", 1, 1)
_NOTHING_YET: State = {"step": 0, "action": "", "ret": 0, "procs": {}, "folios": {}}


class CheckedRun(RunFacts, Protocol):
    """A run that can be stepped, and asked for the rules it broke."""

    def do(self, step: Action | CpuBlock, /) -> State:
        """Run one step to its end and return its step object of the state format."""


@dataclass(frozen=True, slots=True)
class PresetCheck:
    """What became of one preset on one kernel."""

    preset: str
    """Its slug."""
    path: str
    kernel: str
    results: tuple[ExpectResult, ...]
    """Every expectation for this kernel, in the order of the document."""

    @property
    def failures(self) -> tuple[ExpectResult, ...]:
        """The expectations that do not hold."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def ok(self) -> bool:
        """Whether there are expectations for this kernel, and every one holds."""
        return bool(self.results) and not self.failures


def check_preset(
    preset: Preset, kernel: str, start: Callable[[str], CheckedRun] | None = None
) -> PresetCheck:
    """Run the story of a preset on a kernel and evaluate each expectation where it stands.

    A refused action ends its block of commands; unless the expectations after
    the block say `error`, the refusal is a failing result of its own.  `start`
    replaces the engine, for tests.

    Raises:
        UnknownKernelError: no such kernel is modelled.
    """
    run = (start or start_engine)(kernel)
    results = tuple(_story_results(preset, kernel, run))
    return PresetCheck(preset.slug, preset.path, kernel, results)


def start_engine(kernel: str) -> CheckedRun:
    """Start an empty machine of a kernel, by its id or `FILE.py:CLASS`."""
    from sandbox.run.runner import ScenarioRun

    return ScenarioRun(kernel)


def _story_results(preset: Preset, kernel: str, run: CheckedRun) -> Iterator[ExpectResult]:
    """Yield the results of the story's steps, each evaluated right after its commands."""
    state = _NOTHING_YET
    for step in preset.story(kernel):
        error: SandboxError | None = None
        if step.commands is not None:
            state, error = _do(step.commands, run, state)
        expected = [e for block in step.expects for e in block.expectations]
        yield from evaluate_all(expected, state, run, error)
        if isinstance(error, KernelBug):  # no refusal that a story may expect, and its end
            if any(isinstance(e.check, Refusal) for e in expected):
                yield ExpectResult(False, "no error", str(error), error.where or _NOWHERE)
            return


def _do(commands: Commands, run: CheckedRun, state: State) -> tuple[State, SandboxError | None]:
    """Run a block; return the last state reached, and what refused the rest of it if anything."""
    steps: Sequence[Action | CpuBlock] = commands.steps
    for step in steps:
        try:
            state = run.do(step)
        except Cancelled:
            raise
        except SandboxError as error:
            error.where = error.where or step.where
            return state, error
    return state, None
