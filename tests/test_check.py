"""Presets held against their expectations, with a machine that replays a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sandbox.errors import UsageError, Where
from sandbox.run.check import PresetCheck, check_preset
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.presets import parse_preset
from sandbox.truth.observed import ViolationFacts
from tests.conftest import read, recorded

HEAD = """+++
title = "Fork"
kernels = ["7.2", "6.12"]
tags = []
summary = "A fork."
mails = []
+++
Words.
"""


class Count(NamedTuple):
    micro_states: int = 0
    consecutive: int = 0
    worst: int = 0


class Replay:
    """A run that answers with recorded states, and refuses an exit."""

    def __init__(self, kernel: str) -> None:
        self._states = iter(read(recorded(kernel, "seed-fork-64k"))["steps"])

    def do(self, step: Action | CpuBlock) -> dict[str, Any]:
        if step.text == "exit C":
            raise UsageError("no process C", Where("x.md", 20, 6))
        state: dict[str, Any] = next(self._states)
        return state

    def broken(self, rule: str) -> Count:
        return Count()

    def violations(self) -> Sequence[ViolationFacts]:
        return ()

    def watches(self, rule: str) -> bool:
        return rule.startswith("I-")


def check(story: str, kernel: str = "7.2") -> PresetCheck:
    return check_preset(parse_preset(HEAD + story, "x.md"), kernel, Replay)


FORK = "```mm\nmthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\nfork A B\n```\n"


def test_expectations_are_evaluated_where_they_stand() -> None:
    result = check(
        FORK + "```expect\nrefcount = 32\n```\n```mm\nexit B\n```\n```expect\nrefcount = 16\n```\n"
    )
    assert result.ok
    assert len(result.results) == 2


def test_a_failure_has_its_line_and_what_was_found() -> None:
    result = check(FORK + "```expect\nrefcount = 32\nrefcount = 31\n```\n")
    (failure,) = result.failures
    assert (failure.where.line, failure.text, failure.got) == (17, "refcount = 31", "32")


def test_expectations_of_other_kernels_are_left_out() -> None:
    story = FORK + "```expect 6.12\nrefcount = 0\n```\n```expect !6.12\nrefcount = 32\n```\n"
    assert check(story).ok
    assert not check(story, "6.12").ok


def test_a_refusal_that_nobody_expects_fails_with_its_place() -> None:
    result = check(FORK + "```mm\nexit C\n```\n")
    (failure,) = result.failures
    assert (failure.where, failure.text) == (Where("x.md", 20, 6), "no error")
    assert "no process C" in failure.got


def test_a_refusal_can_be_expected() -> None:
    assert check(FORK + '```mm\nexit C\n```\n```expect\nerror "no process"\n```\n').ok
