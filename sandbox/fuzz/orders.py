"""The order of stores of a scenario whose states agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbox.conform.stores import conform_micro
from sandbox.fuzz.judge import Verdict
from sandbox.scenario.language import Action, Scenario

__all__ = ["judge_stores"]

_WHAT = re.compile(r"(?:expected|got|first extra \w+:) \('([^']+)'")
_FLAG = re.compile(r"'[+-](\w+)'")
_EXTRA = "first extra "


def judge_stores(log: Mapping[str, Any], scenario: Scenario, kernel: str) -> Verdict:
    """Hold the order of the model's stores against a log, action by action."""
    actions = [step for step in scenario.steps if isinstance(step, Action)]
    for step, report in zip(log["steps"], conform_micro(log, actions, kernel), strict=False):
        if report.mismatch is not None:
            action = actions[step["step"] - 1]
            return Verdict(
                "differs",
                step["step"],
                action.verb,
                _field(report.mismatch),
                _change(report.mismatch),
                action.text,
                (report.mismatch,),
            )
    return Verdict("same")


def _field(mismatch: str) -> str:
    """What kind of store comes at another place, or on one side alone."""
    what = _WHAT.search(mismatch)
    name = what[1] if what else "?"
    if _EXTRA in mismatch:
        side = "there" if f"{_EXTRA}expected" in mismatch else "in the model"
        return f"stores: {name} only {side}"
    return f"stores: {name}"


def _change(mismatch: str) -> str:
    """The kinds of store on both sides, with the flag that a store of flags changes."""
    kinds = _WHAT.findall(mismatch)
    flags = _FLAG.findall(mismatch)
    return " not ".join(kinds) + (f" ({' '.join(flags)})" if flags else "")
