"""Two runs of a scenario, action by action: the first change that differs, and the end states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from sandbox.compare.changes import Change, Cost, changes, cost_of, told
from sandbox.errors import Cancelled, SandboxError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Scenario
from sandbox.truth.compare import Cell, FolioNames, compare

__all__ = ["Comparison", "Differ", "Paired", "Played", "as_object", "compare_runs", "play"]


@dataclass(slots=True)
class Played:
    """One action as one kernel did it."""

    number: int
    """From 1."""
    text: str
    start: int
    end: int
    """Its events, [start, end)."""
    state: dict[str, Any] = field(default_factory=dict)
    """The state after it; empty if it was refused."""
    changes: list[Change] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    error: SandboxError | None = None
    """Why it was not done; then it is the last one."""


@dataclass(frozen=True, slots=True)
class Differ:
    """A change of one kernel that the other does not make there; None where it makes no more."""

    at: int
    """How many changes of the action were the same before it."""
    left: Change | None
    right: Change | None


@dataclass(slots=True)
class Paired:
    """An action of both runs, or of one alone."""

    left: Played | None
    right: Played | None
    first: Differ | None = None
    """Where they part; None if they do not, or one of them has no such action."""
    cells: list[Cell] = field(default_factory=list)
    """Cells of the states after it that differ: `expected` is the left one's."""

    @property
    def same(self) -> bool:
        """Whether both did it, changed the same in the same order, and end in the same state."""
        both = self.left is not None and self.right is not None
        return both and self.first is None and not self.cells and not self.refused

    @property
    def refused(self) -> bool:
        """Whether one of them alone did not do it."""
        errors = [side.error for side in (self.left, self.right) if side is not None]
        return len({error is None for error in errors}) > 1

    @property
    def text(self) -> str:
        """The action as it is written."""
        side = self.left or self.right
        return "" if side is None else side.text


@dataclass(slots=True)
class Comparison:
    """Two runs of a scenario beside each other."""

    scenario: str
    runs: tuple[ScenarioRun, ScenarioRun]
    steps: list[Paired]
    only: tuple[list[str], list[str]]
    """Fields that one of them alone ever changes: they are no part of what is compared in order."""

    @property
    def first(self) -> Paired | None:
        """The first action that is not the same."""
        return next((pair for pair in self.steps if not pair.same), None)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    @property
    def end(self) -> list[Cell]:
        """What differs after the last action that both did."""
        both = [p for p in self.steps if p.left and p.right and p.left.state and p.right.state]
        return both[-1].cells if both else []

    def cost(self, side: int) -> Cost:
        """What a run cost in all."""
        played = (pair.left if side == 0 else pair.right for pair in self.steps)
        return sum((each.cost for each in played if each is not None), Cost())

    def place(self, side: int, change: Change) -> dict[str, Any]:
        """The event of a change: kernel function, file, line."""
        return told(self.runs[side].session, change.n)


def as_object(cell: Cell) -> dict[str, Any]:
    """A cell that differs as JSON has it."""
    return {"object": cell.object, "field": cell.field, "values": [cell.expected, cell.got]}


def play(run: ScenarioRun, scenario: Scenario) -> Iterator[Played]:
    """Do the actions of a scenario; one that is refused or makes no progress is the last."""
    for number, step in enumerate(scenario.steps, 1):
        start = run.session.position
        played = Played(number, step.text, start, start)
        try:
            played.state = run.do(step)
        except Cancelled:
            raise
        except SandboxError as error:
            played.error = error
        played.end = run.session.position
        played.changes = list(changes(run.session, start, played.end))
        played.cost = cost_of(run.session, start, played.end)
        yield played
        if played.error is not None:
            return


def compare_runs(
    left: tuple[ScenarioRun, Scenario], right: tuple[ScenarioRun, Scenario]
) -> Comparison:
    """Play a scenario on two kernels (their texts of it may differ) and hold the runs together.

    Raises:
        SandboxError: both refuse the same action: there is nothing to compare it with.
    """
    played = [list(play(run, scenario)) for run, scenario in (left, right)]
    _refuse_both(played)
    only, shared = _only(*played), _folio_fields(played[0]) & _folio_fields(played[1])
    names, pairs = FolioNames(), []
    for pair in _paired(*played):
        if pair.left is not None and pair.right is not None:
            pair.first = _first(_seen(pair.left, only[0]), _seen(pair.right, only[1]))
            if pair.left.state and pair.right.state:
                cells = compare(pair.left.state, pair.right.state, names)
                pair.cells = [cell for cell in cells if not cell.ok and _counts(cell, shared)]
        pairs.append(pair)
    return Comparison(left[1].name, (left[0], right[0]), pairs, (sorted(only[0]), sorted(only[1])))


def _folio_fields(played: Sequence[Played]) -> set[str]:
    """Fields that a release's folios have: `mm_ids` since 6.15, say."""
    folios = (folio for each in played for folio in each.state.get("folios", {}).values())
    return {name for folio in folios for name in folio}


def _counts(cell: Cell, shared: set[str]) -> bool:
    """Leave out what one of the releases does not have, and what the text of a step says."""
    if cell.expected is None or cell.got is None:
        of_folio = cell.object.startswith("F")
        return not of_folio or cell.field.partition("[")[0] in shared
    return cell.field not in ("step", "action")


def _refuse_both(played: Sequence[list[Played]]) -> None:
    left, right = (steps[-1] if steps else None for steps in played)
    if left and right and left.error and right.error and left.text == right.text:
        raise left.error


def _only(left: Sequence[Played], right: Sequence[Played]) -> tuple[set[str], set[str]]:
    """Fields that one of them alone changes."""
    ours, theirs = ({c.field for each in side for c in each.changes} for side in (left, right))
    return ours - theirs, theirs - ours


def _seen(played: Played, without: set[str]) -> list[Change]:
    return [change for change in played.changes if change.field not in without]


def _first(left: Sequence[Change], right: Sequence[Change]) -> Differ | None:
    for at, (ours, theirs) in enumerate(zip_longest(left, right)):
        if ours is None or theirs is None or ours.same != theirs.same:
            return Differ(at, ours, theirs)
    return None


def _paired(left: Sequence[Played], right: Sequence[Played]) -> Iterator[Paired]:
    """Actions that are written alike beside each other, in order."""
    ours, theirs = ([each.text for each in side] for side in (left, right))
    if ours == theirs:
        yield from map(Paired, left, right)
        return
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, i, end_i, j, end_j in matcher.get_opcodes():
        if tag == "equal":
            yield from map(Paired, left[i:end_i], right[j:end_j])
        else:
            yield from (Paired(each, None) for each in left[i:end_i])
            yield from (Paired(None, each) for each in right[j:end_j])
