"""`mmtui compare`: a scenario on two kernels, and where they part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mmtui.exit_codes import ExitCode
from mmtui.headless.run import choose
from mmtui.headless.working import WatchedRun
from mmtui.model.documents import Document, open_document
from sandbox.compare.runs import Comparison, Paired, Played, as_object, compare_runs
from sandbox.compare.text import comparison_lines, event_lines
from sandbox.errors import UsageError

__all__ = ["compare"]


def compare(
    target: str,
    kernels: Sequence[str],
    scenario: str | None = None,
    *,
    step: int | None = None,
    events: bool = False,
    as_json: bool = False,
) -> ExitCode:
    """Play what is named on two kernels and say where they part; FAILED if they do anywhere.

    Without two kernels they are the first ones that the preset is about.  With *step* only that
    action is told; *events* aligns every event of what is told, loads and locks among them.

    Raises:
        SandboxError: no such document, scenario or kernel, an action that both refuse, or one
            kernel alone.
    """
    document = open_document(target)
    left, right = _two(document, kernels)
    theirs = {each.name: each for each in document.scenarios(right)}
    status = ExitCode.OK
    for chosen in choose(document.name, document.scenarios(left), scenario):
        other = theirs.get(chosen.name, chosen)
        found = compare_runs(
            (WatchedRun(left, name=chosen.name, about=chosen.about), chosen),
            (WatchedRun(right, name=other.name, about=other.about), other),
        )
        told = _told(found, step)
        if any(not pair.same for pair in told):
            status = ExitCode.FAILED
        _write(found, told, (left, right), events=events, as_json=as_json)
    return status


def _two(document: Document, kernels: Sequence[str]) -> tuple[str, str]:
    """The kernels asked for, and those of the document where none are."""
    asked = list(dict.fromkeys((*kernels, *document.kernels)))[: max(2, len(kernels))]
    if len(kernels) > 2 or len(asked) != 2:
        raise UsageError(f"{len(kernels)} kernels to compare", expected="two: -k KERNEL -k KERNEL")
    return asked[0], asked[1]


def _told(found: Comparison, step: int | None) -> list[Paired]:
    if step is None:
        return found.steps
    if not 0 < step <= len(found.steps):
        raise UsageError(f"there is no step {step}", expected=f"1 to {len(found.steps)}")
    return [found.steps[step - 1]]


def _write(
    found: Comparison,
    told: Sequence[Paired],
    kernels: tuple[str, str],
    *,
    events: bool,
    as_json: bool,
) -> None:
    if as_json:
        import json

        lines: Iterator[str] = iter((json.dumps(_object(found, told, kernels)),))
    else:
        lines = comparison_lines(found, told, kernels)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    if events and not as_json:
        for pair in told:
            for line in event_lines(found, pair, kernels):
                sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _object(found: Comparison, told: Sequence[Paired], kernels: tuple[str, str]) -> dict[str, Any]:
    """One scenario as JSON has it."""
    return {
        "scenario": found.scenario,
        "kernels": list(kernels),
        "same": found.same,
        "steps": [_step(found, pair) for pair in told],
        "end": [as_object(cell) for cell in found.end],
        "cost": [dict(found.cost(side).items()) for side in (0, 1)],
        "only": [list(fields) for fields in found.only],
    }


def _step(found: Comparison, pair: Paired) -> dict[str, Any]:
    out: dict[str, Any] = {
        "action": pair.text,
        "steps": [side.number if side else None for side in (pair.left, pair.right)],
        "same": pair.same,
    }
    if pair.first is not None:
        out["alike"] = pair.first.at
        ends = (pair.first.left, pair.first.right)
        out["first"] = [
            found.place(side, change) if change else None for side, change in enumerate(ends)
        ]
    if pair.cells:
        out["cells"] = [as_object(cell) for cell in pair.cells]
    refused = [_error(side) for side in (pair.left, pair.right)]
    if any(refused):
        out["errors"] = refused
    out["cost"] = [dict(side.cost.items()) if side else None for side in (pair.left, pair.right)]
    return out


def _error(side: Played | None) -> str | None:
    return str(side.error) if side is not None and side.error is not None else None
