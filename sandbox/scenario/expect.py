"""Expectations: assertions about a machine state, written the way people write mails.

One expectation per line, `#` starts a comment.  Page ranges are *inclusive* here,
as in mails (`pages 0-15`), while the actions' ranges are half-open.

    refcount = 32                   the only large folio, or F1
    F1.refcount >= 16               = != < <= > >=
    page2.mapcount = 0              raw, so -1 is unmapped; F1.page2.mapcount too
    pages 0-4,6-15 mapcount = 1
    large = 32                      logical; large_mapcount, entire_mapcount are raw
    nr_pages_mapped = 0x80000f
    mapcount absent                 this kernel has no such field
    exclusive = {5}                 also {} and {0-4, 7}
    slots A:15 B:14                 MM-id slots, raw; - is a free one
    A.rss.anon = 16                 A.has_pinned = true, B.folios = 12
    A.R 0-15 = F1 RO D Y C          exactly these flags; F1.0 names the first page
    A.R 5 = none                    or zero, swap, migration; . is none
    A.R 0-15 has C                  lacks C
    A.R cont = 16                   present, writable
    A.R 5 folio != F1
    B.R 0-15 folio.refcount = 1     of every folio mapped there
    B.R 5 page.exclusive = true     of the very page mapped there
    freed F1                        exited B
    hold 1 = pin F1.5
    ret = -EAGAIN                   out = "3x16"
    error "outside the region"      the action before is refused
    I-05 broken 16 consecutive 16 worst 16      over the whole run
    I-05 broken 13 worst 9 in this step         by the last action
    rules ok                        known windows apart
    count copy = 16                 events of the last step
    peak refcount = 33              highest value in the last step
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.errors import SandboxError, Where
from sandbox.scenario.expect_grammar import parse_line
from sandbox.scenario.expect_state import Check, Refusal
from sandbox.truth.observed import Missing, Observed, RunFacts

__all__ = ["ExpectResult", "Expectation", "evaluate", "evaluate_all", "parse_expectations"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of expectations, ready to be evaluated."""

    text: str
    where: Where
    check: Check


@dataclass(frozen=True, slots=True)
class ExpectResult:
    """Whether an expectation holds in a state; `got` is what was found there."""

    ok: bool
    text: str
    got: str
    where: Where

    def __str__(self) -> str:
        return f"{self.where}: {self.text}: {'ok' if self.ok else 'got ' + self.got}"


def parse_expectations(text: str, filename: str, first_line: int = 1) -> list[Expectation]:
    """Read expectations, one per line.

    Raises `ExpectationError`; its line counts from `first_line`.
    """
    expectations = []
    for number, line in enumerate(text.split("\n"), first_line):
        parsed = parse_line(line.rstrip("\r"), filename, number)
        if parsed is not None:
            expectations.append(Expectation(parsed.text, parsed.where, parsed.check))
    return expectations


def evaluate(
    expectation: Expectation,
    state: Mapping[str, Any],
    run: RunFacts | None = None,
    error: SandboxError | None = None,
) -> ExpectResult:
    """Hold an expectation against a state (a step object of FORMAT.md).

    `run` answers what only the whole run knows, `error` is what refused the
    action before, if anything did.  An expectation about something that the state
    does not have fails and says so.
    """
    try:
        ok, got = expectation.check.check(Observed(state, run, error))
    except Missing as missing:
        ok, got = False, str(missing)
    return ExpectResult(ok, expectation.text, got, expectation.where)


def evaluate_all(
    expectations: Iterable[Expectation],
    state: Mapping[str, Any],
    run: RunFacts | None = None,
    error: SandboxError | None = None,
) -> list[ExpectResult]:
    """Hold a block of expectations against a state.

    An error that no line of the block expects is a failing result of its own.
    """
    block = list(expectations)
    results = [evaluate(expectation, state, run, error) for expectation in block]
    if error is not None and not any(isinstance(e.check, Refusal) for e in block):
        where = error.where or (block[0].where if block else Where("<expect>", 1, 1))
        results.append(ExpectResult(False, "no error", str(error), where))
    return results
