"""What every interleaving of a block costs: the compiled walker, and the one in plain Python.

*whole* is CPU time from a block that has begun to its last state, learning included; *walk* is that
of a second search, on tables that are learned and in states no larger than they must be.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.report import Section
from sandbox.explore.block import Block
from sandbox.explore.compiled import library, why_not
from sandbox.explore.core import Core
from sandbox.explore.fallback import Fallback
from sandbox.explore.golden import BASE, Golden, GoldenModel
from sandbox.explore.rehearsal import WALKS, rehearse
from sandbox.explore.tables import Engine, Tables
from sandbox.explore.walker import Walker
from sandbox.run.model import Model
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines

__all__ = ["BLOCKS", "MODELS", "interleavings"]

ONE_PAGE = "mmap A R 4K\nwrite A R 0 1\ndrain\n"
TWO_PAGES = "mmap A R 8K nohuge\ntouch A R 0 2 w\ndrain\n"
OF_16K = "mthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\ndrain\n"
OF_64K = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\ndrain\n"
SHARED_8K = TWO_PAGES + "fork A B\n"
SHARED_16K = OF_16K + "fork A B\n"
PLAIN_AT_MOST = 300_000
"""States of a block that plain Python walks, too."""


class Case(NamedTuple):
    """A block on a kernel."""

    kernel: str
    setup: str
    actions: tuple[str, ...]
    """One for each CPU."""


FORK, PIN = "fork A B", "pin A R 1 2 1 w"
BLOCKS: dict[str, Case] = {
    "gup-fast, fork": Case("7.2", ONE_PAGE, (FORK, "pin A R 0 1 1 w")),
    "gup-fast, fork, no sequence": Case("no-seqcount", ONE_PAGE, (FORK, "pin A R 0 1 1 w")),
    "pageout, pin": Case("7.2", "swap on\n" + ONE_PAGE, ("pageout A R 0 1", "pin A R 0 1 1 -")),
    "pageout, write": Case("7.2", "swap on\n" + ONE_PAGE, ("pageout A R 0 1", "write A R 0 1")),
    "two faults": Case("7.2", SHARED_8K, ("write A R 0 1", "write B R 0 1")),
    "fork, pin 16K": Case("7.2", OF_16K, (FORK, PIN)),
    "fork, pin 16K ryan-v2": Case("ryan-v2", OF_16K, (FORK, PIN)),
    "fork, write 16K": Case("7.2", OF_16K, (FORK, "write A R 1 2")),
    "zap, pin 16K": Case("7.2", SHARED_16K, ("dontneed A R 0 4", PIN)),
    "munmap, write 16K": Case("7.2", SHARED_16K, ("munmap B R 0 4", "write A R 0 1")),
    "fork, pin 64K": Case("7.2", OF_64K, (FORK, "pin A R 3 4 1 w")),
    "fork, pin, write 16K": Case("7.2", OF_16K, (FORK, PIN, "write A R 2 3")),
    "fork, pin, pin 16K": Case("7.2", OF_16K, (FORK, PIN, "pin A R 2 3 2 w")),
    "four CPUs 8K": Case(
        "7.2", TWO_PAGES, (FORK, "pin A R 0 1 1 w", "write A R 1 2", "dontneed A R 0 2")
    ),
}
MODELS = {
    "golden small": BASE.model,
    "golden middle": GoldenModel(),
    "golden large": GoldenModel(gups=2),
}


def begun(case: Case) -> Model:
    """The state from which a block is explored."""
    session = Session(case.kernel)
    for step in parse_lines(case.setup, "<setup>"):
        session.do(step)
    lines = "\n".join(f"cpu{cpu}: {action}" for cpu, action in enumerate(case.actions))
    (block,) = parse_lines(lines, "<block>")
    session.begin(block)
    return Model.of(session)


def interleavings(names: list[str]) -> Section:
    """Measure the blocks of these names, or all."""
    section = Section("every interleaving of a block")
    for name in names or [*MODELS, *BLOCKS]:
        if name in MODELS:
            model = MODELS[name]
            _measure(section, name, lambda model=model: Golden(model), False)  # type: ignore[misc]
        else:
            start = begun(BLOCKS[name])
            _measure(section, name, lambda start=start: Block(start), True)  # type: ignore[misc]
    if library() is None:
        section.notes.append(f"no compiled walker: {why_not()}")
    return section


def _measure(section: Section, name: str, engine: Callable[[], Engine], learn: bool) -> None:
    states = 0
    for walker in (Core, Fallback) if library() is not None else (Fallback,):
        if walker is Fallback and states > PLAIN_AT_MOST:
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        tables = Tables(engine())
        if learn:
            rehearse(tables, WALKS * (tables.count - 1))
        search = walker(tables)
        search.run(1 << 40)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        states = search.states
        walk = _again(tables) if walker is Core else cpu
        _add(section, f"{name}, {search.name}", search, (wall, cpu, walk))
        search.close()


def _again(tables: Tables) -> float:
    """CPU seconds of another search on tables that are known."""
    search = Core(tables, exact=True)
    search.run(1 << 40)
    search.close()
    return search.walking


def _add(section: Section, name: str, search: Walker, times: tuple[float, float, float]) -> None:
    wall, cpu, walk = times
    section.add(f"{name}: states", search.states, "")
    section.add(f"{name}: transitions", search.transitions, "")
    section.add(f"{name}: depth", search.depth, "events")
    section.add(f"{name}: learned", search.tables.learned, "leaves")
    section.add(f"{name}: whole, wall", wall, "s")
    section.add(f"{name}: whole, CPU", cpu, "s")
    section.add(f"{name}: walk", search.states / max(walk, 1e-6) / 1e6, "M states/CPU-s")
    section.add(f"{name}: memory", search.bytes_used / search.states, "bytes/state")
