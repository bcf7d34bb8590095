"""What the tests of exploration share: blocks, begun; what a walker found of one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import pytest

from sandbox.explore.block import Block, broken_rules
from sandbox.explore.compiled import library
from sandbox.explore.core import Core
from sandbox.explore.fallback import Fallback
from sandbox.explore.reduction import alone
from sandbox.explore.reference import replayed
from sandbox.explore.tables import Tables
from sandbox.explore.walker import Stopped, Walker
from sandbox.run.model import Model
from tests.engine.support import begin, run

ONE_PAGE = "mmap A R 4K\nwrite A R 0 1\ndrain"
FOLIO_16K = "mthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\ndrain"

compiled = pytest.mark.skipif(library() is None, reason="there is no C compiler")


def begun(kernel: str, setup: str, block: str) -> Model:
    """The state in which the CPUs of a block stand before their first events."""
    session = run(kernel, setup)
    begin(session, block)
    return Model.of(session)


def reduced(start: Model, walker: type[Fallback] | type[Core]) -> Walker:
    """The same, in which events go first where they may."""
    tables = Tables(Block(start))
    while True:
        learned = tables.learned
        search = walker(tables)
        search.let_go_first(alone(tables))
        assert search.run(1 << 40) is Stopped.DONE
        if tables.learned == learned:
            return search
        search.close()


class Outcome(NamedTuple):
    """What there is to know of all interleavings, however they were walked."""

    broken: frozenset[str]
    finals: frozenset[Hashable]
    hangs: bool


def walked(start: Model, walker: type[Fallback] | type[Core]) -> Walker:
    """A search that has come to its end."""
    search = walker(Tables(Block(start)))
    assert search.run(1 << 40) is Stopped.DONE
    return search


def outcome(start: Model, search: Walker) -> Outcome:
    """What it found; rules at rest are looked at on the machine itself."""
    broken: set[str] = set()
    for hit in search.hits():
        broken |= broken_rules(search.tables.verdicts[hit.verdict])
    finals: set[Hashable] = set()
    for state in search.finals:
        end = replayed(start, search.schedule(state))
        assert end.resting
        finals.add(end.canonical())
        broken |= {own.rule for own in end.rules.violations if own.known_window is None}
    rules = frozenset(rule for rule in broken if rule.startswith("I-"))
    return Outcome(rules, frozenset(finals), search.deadlocks > 0)
