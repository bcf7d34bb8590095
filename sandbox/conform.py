"""The engine against recordings of real kernels.

A recording is one JSON object of the state format (see `sandbox.compare` for
what is compared).  Its actions are run on the modelled kernel of the same
name, and every recorded state is held against the engine's, cell by cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.compare import Cell, FolioNames, State, compare, count_cells
from sandbox.errors import SandboxError, Where
from sandbox.scenario.language import Action, CpuBlock, parse_action

if TYPE_CHECKING:
    from sandbox.conform_micro import MicroReport

__all__ = [
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

MICRO = "-micro"
"""Folders of recordings that hold the order of stores instead of states."""


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

    @property
    def ok(self) -> bool:
        """Whether every recorded cell of every state agrees."""
        return self.cells == self.cells_matching


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
    skipped: list[str] = field(default_factory=list)
    """A line for each folder that was not compared, with the reason."""

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        reports = [scenario for kernel in self.kernels.values() for scenario in kernel.scenarios]
        orders = [order for kernel in self.orders.values() for order in kernel]
        agree = all(report.ok for report in reports)
        return bool(reports or orders) and agree and all(o.mismatch is None for o in orders)


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
        if kernel.endswith(MICRO) and start is None:
            if progress is not None:
                progress(f"{kernel}: {len(files)} logs of stores")
            report.orders[kernel.removesuffix(MICRO)] = list(_orders(kernel, files))
            continue
        reason = _why_skipped(kernel, is_known)
        if reason:
            for file in files:
                _load(file)  # a file that is no recording is refused, whatever its folder
            report.skipped.append(f"{kernel}: {len(files)} recordings left out, {reason}")
            continue
        if progress is not None:
            progress(f"{kernel}: {len(files)} recordings")
        results = report.kernels.setdefault(kernel, KernelReport(kernel))
        for file in files:
            results.scenarios.append(conform_recording(_load(file), kernel, begin, str(file)))
    return report


def conform_recording(
    recording: dict[str, Any], kernel: str, start: RunFactory, filename: str = "<recording>"
) -> ScenarioReport:
    """Run the actions of one recording on a kernel and compares every state.

    An error of the engine is one mismatch (`engine`, `error`); the states from
    there on count as compared and not matching.
    """
    result = ScenarioReport(recording["scenario"])
    run = start(kernel)
    names = FolioNames()
    states: Sequence[State] = recording["steps"]
    for index, expected in enumerate(states):
        action = parse_action(recording["source"][index], filename, index + 1)
        try:
            got = run.do(action)
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
            result.mismatches.append(Mismatch(result.scenario, action, cell))
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
    result.mismatches.append(Mismatch(result.scenario, action, cell))


def _by_kernel(paths: Iterable[str | Path]) -> dict[str, list[Path]]:
    """Sort the recordings at the paths by kernel, the name of the folder that holds them."""
    found: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        files = list(_recordings(path))
        if not files:
            raise SandboxError(f"no recordings at {path}", expected="FILE.json or a folder of them")
        for file in files:
            kernel = file.resolve().parent.name
            if file not in found.setdefault(kernel, []):
                found[kernel].append(file)
    return found


def _recordings(path: Path) -> Iterator[Path]:
    """Yield the recordings at a path, or in a folder and the folders right below it."""
    if path.is_dir():
        yield from sorted(path.glob("*.json"))
        yield from sorted(path.glob("*/*.json"))
    elif path.is_file():
        yield path


def _load(file: Path) -> dict[str, Any]:
    """Read one recording; a file that is none is refused with the place that shows it."""
    try:
        recording = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SandboxError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SandboxError(f"{file} is not UTF-8 text", expected="a recording in JSON") from error
    except json.JSONDecodeError as error:
        place = Where(str(file), error.lineno, error.colno)
        raise SandboxError(f"not JSON: {error.msg}", place, "a recording") from error
    wanted = ("scenario", "source", "steps")
    if not isinstance(recording, dict) or any(key not in recording for key in wanted):
        message = "not a recording"
        raise SandboxError(message, Where(str(file), 1, 1), "an object with " + ", ".join(wanted))
    if len(recording["source"]) < len(recording["steps"]):
        message = f"{len(recording['steps'])} states but {len(recording['source'])} actions"
        raise SandboxError(message, Where(str(file), 1, 1), "an action for each state")
    return recording


def _orders(kernel: str, files: list[Path]) -> Iterator[MicroReport]:
    """Compare the logs of a folder; the actions come from the states recorded beside it."""
    from sandbox.conform_micro import conform_micro

    for file in files:
        states = file.parent.with_name(kernel.removesuffix(MICRO)) / file.name
        yield from conform_micro(file, _load(states)["source"], kernel.removesuffix(MICRO))


def _why_skipped(kernel: str, is_known: Callable[[str], bool]) -> str:
    """Say why a folder's recordings cannot be compared; empty if they can."""
    return "" if is_known(kernel) else "no kernel of that name is modelled"


def _is_modelled(kernel: str) -> bool:
    from sandbox.kernels import HWAF, KERNEL_IDS

    return kernel.removesuffix(HWAF) in KERNEL_IDS


def _start_engine(kernel: str) -> Run:
    from sandbox.scenario.runner import ScenarioRun

    return ScenarioRun(kernel, rig=True)
