"""Recordings of real kernels as files: read, and checked once for all that reads them.

A recording has the states after each action, a log (in the folders `KERNEL-micro`) the stores of
some actions in order; `CONTRIBUTING.md` and `truth.compare` say what their fields are.  What is
read here has the right types and sizes, so that nothing behind it has to look again.  Keys that
nobody reads may be there and hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sandbox.conform.packed import read_packed
from sandbox.conform.shapes import (
    Check,
    Misshapen,
    boolean,
    each,
    either,
    mapping,
    nullable,
    read_json,
    record,
    row,
    scalar,
    text,
    whole,
)
from sandbox.errors import SandboxError, ScenarioError, Where
from sandbox.scenario.language import Action, parse_action

__all__ = ["MAX_CELLS", "action_of", "read_log", "read_race", "read_recording"]

MAX_CELLS = 1 << 17
"""Pages that the runs of one recording may have in all its states: a number can name any count."""

_NAME = text(200)
_WORD = text(200, 1, word=True)
_LINE = text(10_000)
_COUNT = whole(1, MAX_CELLS)
_PAGE = whole(0, 1 << 52)
_NUMBER = whole()

_RUNS = each(row(_NUMBER, _COUNT))
_FOLIO = record(
    {},
    {
        "order": whole(0, 64),
        **dict.fromkeys(("refcount", "pincount", "large_mapcount", "entire_mapcount"), _NUMBER),
        "nr_pages_mapped": _NUMBER,
        "mapping": _NAME,
        "flags": each(_NAME),
        "mapcount": _RUNS,
        "exclusive": _RUNS,
        "data": _RUNS,
        "page_ref": _RUNS,
        "mm_ids": each(row(nullable(_NAME), _NUMBER)),
    },
    either(scalar, each(scalar)),
)
_PROCESS = record(
    {
        "vmas": each(row(_NAME, _PAGE, _PAGE, _NAME, _NAME, boolean)),
        "ptes": each(row(_NAME, _PAGE, _COUNT, _NAME, nullable(_NAME), _PAGE, _NAME)),
        "rss": mapping(_NAME, _NUMBER),
        "has_pinned": scalar,
    },
    {
        "pinned_vm": whole(0),
        "locked_vm": whole(0),
        "uffd_wp": each(row(_NAME, _PAGE, _COUNT)),
    },
)
_HOLD = record({"kind": _NAME, "pages": each(_NAME)})
_STATE = record(
    {
        "step": whole(0),
        "action": _LINE,
        "ret": _NUMBER,
        "procs": mapping(_NAME, _PROCESS),
        "folios": mapping(_NAME, _FOLIO),
    },
    {"out": nullable(text(100_000)), "holds": nullable(mapping(_NAME, _HOLD))},
)
_RECORDING = record({"scenario": _NAME, "source": each(_LINE), "steps": each(_STATE)})

_PTE = nullable(row(_WORD, _NAME))
_STORE: dict[str, Check] = {
    "pte": record({"at_page": row(_NAME, _PAGE), "old": _PTE, "new": _PTE}),
    "flags": record({"folio": _WORD, "page": _PAGE, "change": each(text(200, 1))}),
    "rss": record({"member": _NAME, "add": _NUMBER}),
    "deferred list": record({"folio": _WORD}, {"page": _PAGE}),
    "_mapcount": record({"folio": _WORD, "page": _PAGE, "old": _NUMBER, "new": _NUMBER}),
}
_COUNTER = record({"folio": _WORD, "old": _NUMBER, "new": _NUMBER}, {"page": _PAGE})
_EVENT = record({"what": _NAME, "at": each(_NAME)})


def _store(value: object) -> None:
    """Stand for an event of a log, whose other keys depend on what it is about."""
    _EVENT(value)
    what = cast("dict[str, str]", value)["what"]
    check = _STORE.get(what, _COUNTER if what.startswith("_") else None)
    if check is not None:
        check(value)


_LOG = record(
    {"scenario": _NAME, "steps": each(record({"step": whole(0), "events": each(_store)}))}
)


_SWITCH = record(
    {
        "cpu": whole(0, 1),
        "why": _NAME,
        "stores": whole(0),
        "ptes": mapping(_NAME, each(row(_NAME, _PAGE, _NAME, _NAME))),
        "folios": mapping(
            _NAME,
            record(
                {"refcount": _NUMBER, "flags": each(_NAME)},
                {"mapcount": _RUNS, "exclusive": _RUNS},
            ),
        ),
    }
)


def _raced(value: object) -> None:
    """Stand for a store of a race: as in a log, with its CPU and its number there."""
    record({"cpu": whole(0, 1), "n": whole(0)})(value)
    _store(value)


_RACE = record(
    {
        "scenario": _NAME,
        "source": each(_LINE),
        "step": whole(1),
        "before": record({}),
        "outcomes": each(
            record({"schedules": each(_LINE, 1), "state": _STATE}, {"dead": each(_NAME)})
        ),
        "races": each(
            record(
                {"schedule": _LINE, "outcome": whole(1)},
                {"switches": each(_SWITCH), "stores": each(_raced)},
            )
        ),
    }
)


def read_race(file: str) -> dict[str, Any]:
    """Read the races of a block (`KERNEL-race`).

    Raises:
        SandboxError: the file cannot be read or has no races, with the place or JSON path.
    """
    found = _read(file, ("scenario", "source", "step", "outcomes", "races"))
    _check(_RACE, found, file)
    if found["step"] > 1:  # an empty machine has no state of its own
        _check(record({"before": _STATE}), found, file)
    left = MAX_CELLS
    for index, one in enumerate(found["outcomes"]):
        left -= _cells(one["state"])
        if left < 0:
            expected = f"at most {MAX_CELLS} pages in the runs of all states"
            raise Misshapen(None, expected, "too large").at(index).at("outcomes").error(file)
    return found


def read_recording(file: str) -> dict[str, Any]:
    """Read a recording of states.

    Raises:
        SandboxError: the file cannot be read or is no recording, with the place or JSON path.
    """
    found = _read(file, ("scenario", "source", "steps"))
    source, steps = found["source"], found["steps"]
    if isinstance(source, list) and isinstance(steps, list) and len(source) < len(steps):
        message = f"{len(steps)} states but {len(source)} actions"
        raise SandboxError(message, Where(file, 1, 1), "an action for each state")
    _check(_RECORDING, found, file)
    for index in range(len(steps)):
        action_of(source, index, file)
    left = MAX_CELLS
    for index, state in enumerate(steps):
        left -= _cells(state)
        if left < 0:
            expected = f"at most {MAX_CELLS} pages in the runs of all states"
            raise Misshapen(None, expected, "too large").at(index).at("steps").error(file)
    return found


def action_of(source: Sequence[str], index: int, file: str) -> Action:
    """Read one line of a recording's source.

    Raises:
        SandboxError: it is no action; the JSON path says which line it is.
    """
    try:
        return parse_action(source[index], file, index + 1)
    except ScenarioError as error:
        message = f"{file}: source[{index}]: {error.message}"
        raise SandboxError(message, expected=error.expected) from error


def _cells(state: dict[str, Any]) -> int:
    """Count the pages that the runs of a state stand for."""
    total = sum(run[2] for process in state["procs"].values() for run in process["ptes"])
    for folio in state["folios"].values():
        for name in ("mapcount", "exclusive", "data", "page_ref"):
            total += sum(run[1] for run in folio.get(name, ()))
    return int(total)


def read_log(file: str) -> dict[str, Any]:
    """Read a log of stores.

    Raises:
        SandboxError: the file cannot be read or is no log, with the place or JSON path.
    """
    found = _read(file, ("scenario", "steps"))
    _check(_LOG, found, file)
    return found


def _read(file: str, keys: tuple[str, ...]) -> dict[str, Any]:
    found = read_json(read_packed(file, "a recording in JSON"), file, "a recording")
    if not isinstance(found, dict) or any(key not in found for key in keys):
        expected = "an object with " + ", ".join(keys)
        raise SandboxError("not a recording", Where(file, 1, 1), expected)
    return cast("dict[str, Any]", found)


def _check(check: Check, value: object, file: str) -> None:
    try:
        check(value)
    except Misshapen as fault:
        raise fault.error(file) from None
