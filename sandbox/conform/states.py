"""The engine against recordings of real kernels.

A recording is one JSON object of the state format (see `sandbox.truth.compare` for
what is compared).  Its actions are run on the modelled kernel of the same
name, and every recorded state is held against the engine's, cell by cell.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.conform.packed import beside, recordings_in
from sandbox.conform.recordings import action_of, read_log, read_race, read_recording
from sandbox.errors import Cancelled, SandboxError
from sandbox.scenario.language import Action, CpuBlock
from sandbox.truth.compare import Cell, FolioNames, State, compare, count_cells

if TYPE_CHECKING:
    from sandbox.conform.races import RaceReport
    from sandbox.conform.stores import MicroReport

__all__ = [
    "MICRO",
    "RACE",
    "ConformReport",
    "KernelReport",
    "Mismatch",
    "Run",
    "RunFactory",
    "ScenarioReport",
    "conform_paths",
    "conform_recording",
]


class Run(Protocol):
    """What conformance asks of a run of a scenario: one step after the other."""

    def do(self, step: Action | CpuBlock, /) -> State:
        """Run one action to its end and returns the step object of the state format."""


RunFactory = Callable[[str], Run]
"""Start an empty machine of a kernel, given its id."""

MAX_MISMATCHES = 10_000
"""Cells that differ of which each is kept; of the others only the number."""

MICRO, RACE = "-micro", "-race"
"""Folders of recordings that hold the order of stores, or races, instead of states."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A cell that differs, and the scenario and action where it does."""

    scenario: str
    action: str
    cell: Cell


@dataclass(slots=True)
class ScenarioReport:
    """The result of one recording."""

    scenario: str
    states: int = 0
    """Recorded states."""
    states_matching: int = 0
    """States with no differing cell."""
    cells: int = 0
    """Cells compared."""
    cells_matching: int = 0
    """Cells that agree."""
    mismatches: list[Mismatch] = field(default_factory=list)
    """The first `MAX_MISMATCHES` cells that differ."""

    def differs(self, mismatch: Mismatch) -> None:
        """Keep a cell that differs."""
        if len(self.mismatches) < MAX_MISMATCHES:
            self.mismatches.append(mismatch)

    @property
    def ok(self) -> bool:
        """Whether there are states, and every recorded cell of every one agrees."""
        return self.states > 0 and self.cells == self.cells_matching


@dataclass(slots=True)
class KernelReport:
    """The results of one kernel's recordings, in the order they were read."""

    kernel: str
    scenarios: list[ScenarioReport] = field(default_factory=list)

    def total(self, count: str) -> int:
        """Add up a count of the scenarios: `states`, `states_matching`, `cells` ..."""
        return sum(int(getattr(scenario, count)) for scenario in self.scenarios)

    @property
    def scenarios_matching(self) -> int:
        """How many scenarios agree in every cell."""
        return sum(scenario.ok for scenario in self.scenarios)

    @property
    def mismatches(self) -> Iterator[Mismatch]:
        """Every cell that differs, scenario by scenario."""
        for scenario in self.scenarios:
            yield from scenario.mismatches


@dataclass(slots=True)
class ConformReport:
    """The results of a set of recordings, by kernel."""

    kernels: dict[str, KernelReport] = field(default_factory=dict)
    orders: dict[str, list[MicroReport]] = field(default_factory=dict)
    """By kernel, each traced action: whether its stores come in the recorded order."""
    races: dict[str, list[RaceReport]] = field(default_factory=dict)
    """By kernel, the races of each block: whether the model has their outcomes."""
    skipped: list[str] = field(default_factory=list)
    """A line for each folder that was not compared, with the reason."""

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        reports = [scenario for kernel in self.kernels.values() for scenario in kernel.scenarios]
        orders = [order for kernel in self.orders.values() for order in kernel]
        races = [race for kernel in self.races.values() for race in kernel]
        agree = all(report.ok for report in reports)
        agree = agree and all(order.mismatch is None for order in orders)
        agree = agree and all(race.mismatch is None for race in races)
        return bool(reports or orders or races) and agree


def conform_paths(
    paths: Iterable[str | Path],
    *,
    start: RunFactory | None = None,
    known: Callable[[str], bool] | None = None,
    progress: Callable[[str], None] | None = None,
) -> ConformReport:
    """Compare the recordings found at the paths with the engine.

    A path is a recording, a folder of recordings, or a folder of such folders;
    the folder that holds a recording is named after its kernel.  `start` and
    `known` replace the engine, for tests; `progress` is told each kernel that
    begins.

    Raises:
        SandboxError: a path does not exist or is no recording.
    """
    begin = start or _start_engine
    is_known = known or _is_modelled
    report = ConformReport()
    for kernel, files in _by_kernel(paths).items():
        kind = next((k for k in (MICRO, RACE) if kernel.endswith(k) and start is None), "")
        name = kernel.removesuffix(kind)
        reason = _why_skipped(name, is_known)
        if reason:
            for file in files:  # what is no recording is refused, whatever its folder
                _READERS[kind](str(file))
            report.skipped.append(f"{kernel}: {len(files)} recordings left out, {reason}")
            continue
        if kind == MICRO:
            report.orders[name] = list(_orders(kernel, files, progress))
            continue
        if kind == RACE:
            report.races[name] = list(_races(name, files, progress))
            continue
        results = report.kernels.setdefault(kernel, KernelReport(kernel))
        for file in files:
            recording = read_recording(str(file))
            if progress is not None and file is files[0]:  # an error is the only line, if it is one
                progress(f"{kernel}: {len(files)} recordings")
            results.scenarios.append(conform_recording(recording, kernel, begin, str(file)))
    return report


def conform_recording(
    recording: dict[str, Any], kernel: str, start: RunFactory, filename: str = "<recording>"
) -> ScenarioReport:
    """Run the actions of one recording on a kernel and compares every state.

    An error of the engine is one mismatch (`engine`, `error`); the states from
    there on count as compared and not matching.

    Raises:
        SandboxError: a line of its source is no action, with its JSON path.
    """
    result = ScenarioReport(recording["scenario"])
    run = start(kernel)
    names = FolioNames()
    states: Sequence[State] = recording["steps"]
    for index, expected in enumerate(states):
        action = action_of(recording["source"], index, filename)
        try:
            got = run.do(action)
        except Cancelled:
            raise
        except SandboxError as error:
            _give_up(result, action.text, states[index:], error)
            break
        _hold_against(result, action.text, expected, got, names)
    return result


def _hold_against(
    result: ScenarioReport, action: str, expected: State, got: State, names: FolioNames
) -> None:
    """Compare one state and adds its cells to the result."""
    wrong = 0
    for cell in compare(expected, got, names):
        result.cells += 1
        if not cell.ok:
            wrong += 1
            result.differs(Mismatch(result.scenario, action, cell))
        else:
            result.cells_matching += 1
    result.states += 1
    result.states_matching += wrong == 0


def _give_up(
    result: ScenarioReport, action: str, unreached: Sequence[State], error: SandboxError
) -> None:
    """Count the states that an error kept the engine from reaching."""
    result.states += len(unreached)
    result.cells += sum(count_cells(state) for state in unreached)
    cell = Cell(
        step=int(unreached[0]["step"]),
        object="engine",
        field="error",
        expected=f"ret {unreached[0]['ret']}",
        got=f"{type(error).__name__}: {error}",
        ok=False,
    )
    result.differs(Mismatch(result.scenario, action, cell))


def _by_kernel(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Sort the recordings at the paths by kernel, the name of the folder that holds them."""
    found: dict[str, dict[Path, None]] = {}
    for path in map(Path, paths):
        files = list(_recordings(path))
        if not files:
            raise SandboxError(
                f"no recordings at {path}", expected="FILE.json, FILE.json.xz or a folder of them"
            )
        for file in files:
            kernel = os.path.basename(os.path.dirname(os.path.realpath(file)))
            found.setdefault(kernel, {})[file] = None
    return {kernel: list(files) for kernel, files in found.items()}


def _recordings(path: Path) -> Iterator[Path]:
    """Yield the recordings at a path, or in a folder and the folders right below it."""
    # os.path answers for names that are no names as well: too long, with a NUL.
    if os.path.isdir(path):
        yield from recordings_in(path)
        for folder in sorted(path.glob("*/")):
            yield from recordings_in(folder)
    elif os.path.exists(path):
        yield path


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "": read_recording,
    MICRO: read_log,
    RACE: read_race,
}


def _races(
    kernel: str, files: list[Path], progress: Callable[[str], None] | None
) -> Iterator[RaceReport]:
    """Play the schedules of a folder of races on the model."""
    from sandbox.conform.races import conform_race

    for file in files:
        race = read_race(str(file))
        if progress is not None and file is files[0]:
            progress(f"{kernel}: {len(files)} blocks that were raced")
        yield conform_race(race, kernel, str(file))


def _orders(
    kernel: str, files: list[Path], progress: Callable[[str], None] | None
) -> Iterator[MicroReport]:
    """Compare the logs of a folder; the actions come from the states recorded beside it."""
    from sandbox.conform.stores import conform_micro

    for file in files:
        log = read_log(str(file))
        states = beside(file, kernel.removesuffix(MICRO))
        recording = read_recording(str(states))
        source = [
            action_of(recording["source"], index, str(states))
            for index in range(len(recording["source"]))
        ]
        if progress is not None and file is files[0]:
            progress(f"{kernel}: {len(files)} logs of stores")
        yield from conform_micro(log, source, kernel.removesuffix(MICRO))


def _why_skipped(kernel: str, is_known: Callable[[str], bool]) -> str:
    """Say why a folder's recordings cannot be compared; empty if they can."""
    return "" if is_known(kernel) else "no kernel of that name is modelled"


def _is_modelled(kernel: str) -> bool:
    from sandbox.kernels import HWAF, KERNEL_IDS

    return kernel.removesuffix(HWAF) in KERNEL_IDS


def _start_engine(kernel: str) -> Run:
    from sandbox.run.runner import ScenarioRun

    return ScenarioRun(kernel, rig=True)
