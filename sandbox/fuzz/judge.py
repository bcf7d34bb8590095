"""What came of one scenario on two sides: the first action after which they differ, and in what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sandbox.errors import Cancelled, SandboxError, UsageError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Scenario
from sandbox.truth.compare import Cell, FolioNames, State, compare

__all__ = ["REFUSED", "Reason", "Verdict", "judge", "of_cells", "refused_at", "wrong_cells"]

REFUSED = "refused"
"""The field of a difference that is the model's refusal begins with it."""
MOST_EVENTS = 3_000_000
"""Events after which the model is not asked any further: some 20 seconds."""
SHOWN = 6
"""Cells of the first difference that are told."""

_NAMED = ("action", "step")
_OF_RELEASES = frozenset({"mm_ids", "maybe_shared", "nr_pages_mapped", "large_mapcount",
                          "entire_mapcount"})  # fmt: skip
"""Words of a folio that only some releases have.  On those that have one it is of every large
folio, so nothing is overlooked: where only one side has it, the order of the folio differs too."""

_FOLIO = re.compile(r"F\d+(\(engine\))?")
_NUMBER = re.compile(r"\[[^\]]*\]")
_WORD = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
_NAME = re.compile(r"\bF\d+(\.\d+)?(\(engine\))?|-?\b\d+\b")


class Reason(NamedTuple):
    """What two differences must have in common to be one."""

    verb: str
    field: str

    def __str__(self) -> str:
        return f"{self.verb}: {self.field}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one scenario."""

    kind: str
    """`same`, `differs`, `lost` (the other side came to no end), `long` (the model would), or
    `refused`: the same as far as both go, and then both refuse an action."""
    step: int = 0
    """The first action after which the states differ, from 1."""
    verb: str = ""
    field: str = ""
    """What differs first: a kind of field, without the number of its page."""
    change: str = ""
    """How: what the other side says, and what the model says, without names and numbers."""
    action: str = ""
    cells: tuple[str, ...] = ()
    """The first cells that differ, as text."""
    why: str = ""
    """Of what is lost."""

    @property
    def reason(self) -> Reason | None:
        """Why it differs; None if it does not."""
        return Reason(self.verb, self.field) if self.kind == "differs" else None

    def to_json(self) -> dict[str, Any]:
        """The verdict as a journal has it."""
        return {key: value for key, value in asdict(self).items() if value}

    @staticmethod
    def of_json(said: Mapping[str, Any]) -> Verdict:
        """The verdict of a journal's line."""
        known = {key: said[key] for key in Verdict.__slots__ if key in said}
        return Verdict(**{**known, "cells": tuple(known.get("cells", ()))})


def judge(recording: Mapping[str, Any], scenario: Scenario, kernel: str) -> Verdict:
    """Play a scenario on a modelled kernel until its states differ from the recorded ones.

    What an action only reports (`out`) is told if nothing else differs.
    """
    run, names = ScenarioRun(kernel, rig=True), FolioNames()
    reported: Verdict | None = None
    states = recording["steps"]
    for index, step in enumerate(scenario.steps):
        expected = states[index] if index < len(states) else None
        try:
            got = run.do(step)
        except Cancelled:
            raise
        except SandboxError as error:
            if expected is None:
                return reported or Verdict("refused", index + 1, why=error.message)
            return _refusal(scenario, index, expected, error)
        if expected is None:
            return Verdict("lost", index + 1, why=recording["refused"])
        wrong = wrong_cells(expected, got, names)
        if any(cell.field != "out" for cell in wrong):
            return of_cells(step.text, index + 1, wrong)
        if wrong and reported is None:
            reported = of_cells(step.text, index + 1, wrong)
        if run.session.position > MOST_EVENTS:
            return reported or Verdict("long", step=index + 1)
    return reported or Verdict("same")


def refused_at(scenario: Scenario, kernel: str) -> tuple[int, str] | None:
    """Which action the model refuses as one that cannot be meant, from 1, and the field of it."""
    run = ScenarioRun(kernel, rig=True)
    for index, step in enumerate(scenario.steps):
        try:
            run.do(step)
        except Cancelled:
            raise
        except UsageError as error:
            return index + 1, refusal(error)
        except SandboxError:
            return None
    return None


def wrong_cells(expected: State, got: State, names: FolioNames) -> list[Cell]:
    """The cells that differ; a field of a folio that one release does not have is none."""
    cells = [cell for cell in compare(expected, got, names) if cell.field not in _NAMED]
    both = {cell.object for cell in cells if cell.expected is not None and cell.got is not None}
    wrong = [
        cell
        for cell in cells
        if not cell.ok and not (cell.object in both and _NUMBER.sub("", cell.field) in _OF_RELEASES)
    ]
    return sorted(wrong, key=_rank)


def _rank(cell: Cell) -> int:
    """What is told first: what the action returned, then processes, holds, folios."""
    if cell.object == "step":
        return 0 if cell.field == "ret" else 1
    if _FOLIO.fullmatch(cell.object):
        return 4
    return 3 if cell.object.startswith("hold ") else 2


def _refusal(scenario: Scenario, index: int, expected: State, error: SandboxError) -> Verdict:
    """What it is that the model does not do."""
    step = scenario.steps[index]
    cells = (f"ret {expected['ret']} there; {error.message}",)
    verb = step.text.split()[0]
    change = f"ret {expected['ret']} not refused"
    return Verdict("differs", index + 1, verb, refusal(error), change, step.text, cells)


def refusal(error: SandboxError) -> str:
    """The field of a refusal: what it is about, without names and numbers."""
    said = _WORD.sub("#", _NAME.sub("#", error.message))
    return f"{REFUSED}: {said}" if isinstance(error, UsageError) else f"{type(error).__name__}"


def of_cells(action: str, step: int, wrong: Sequence[Cell]) -> Verdict:
    """The verdict on an action after which some cells differ."""
    first = wrong[0]
    change = f"{_masked(first.expected)} not {_masked(first.got)}"
    cells = tuple(_shown(wrong))
    return Verdict(
        "differs", step, action.split(maxsplit=1)[0], kind_of(first), change, action, cells
    )


def kind_of(cell: Cell) -> str:
    """The kind of a cell's field: of a page-table entry, a VMA, a folio, without numbers."""
    field = _NUMBER.sub("", cell.field)
    if cell.object == "step":
        return field
    if cell.object.startswith("hold "):
        return f"hold {field}"
    if _FOLIO.fullmatch(cell.object):
        if field == "order" and cell.expected is None:
            return "folio that only the model has"
        if field == "order" and cell.got is None:
            return "folio that only the other has"
        return f"folio {field}"
    if field.startswith("vma"):
        return "vma " + field.rpartition(".")[2]
    if field.startswith("rss.") or field == "has_pinned":
        return field
    return "entry"


def _masked(value: object) -> str:
    """A value without names and numbers; what is a number alone stays."""
    if isinstance(value, str):
        return _NAME.sub("#", value)
    return "none" if value is None else str(value)


def _shown(wrong: Sequence[Cell]) -> Iterator[str]:
    for cell in wrong[:SHOWN]:
        values = ("none" if value is None else str(value) for value in (cell.expected, cell.got))
        yield f"{cell.object} {cell.field}: " + ", not ".join(values)
    if len(wrong) > SHOWN:
        yield f"and {len(wrong) - SHOWN} more"
