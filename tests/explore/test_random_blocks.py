"""Random blocks: what the explorer finds is what a search on the machine itself finds.

Such a search is slow, so that it begins in the middle: a random schedule is played until few events
are left, and from there on every interleaving is walked, on the machine by words and whole answers,
by the explorer with its tables.
"""

from __future__ import annotations

import os
import random

import pytest

from sandbox.errors import DeadlockError, KernelBug, UsageError
from sandbox.explore.compiled import library
from sandbox.explore.core import Core
from sandbox.explore.fallback import Fallback
from sandbox.explore.reference import explore_machine
from sandbox.run.model import Model
from tests.explore.support import Outcome, begun, outcome, reduced, walked

SETUPS = {
    "small": "mmap A R 8K nohuge\ntouch A R 0 2 w\ndrain",
    "shared": "mmap A R 8K nohuge\ntouch A R 0 2 w\ndrain\nfork A B",
    "large": "mthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\ndrain",
    "large shared": "mthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\ndrain\nfork A B",
    "swap": "swap on\nmmap A R 8K nohuge\ntouch A R 0 2 w\ndrain",
    "reuse": "reuse on\nmmap A R 8K nohuge\ntouch A R 0 2 w\ndrain",
    "file": "file F 16K /f\nmmap A R 16K fd=F\nread A R 0 2\ndrain",
}
ACTIONS = {
    "small": "fork A B{i}|pin A R 0 1 p{i} w|get A R 0 1 p{i} -|write A R 0 1|dontneed A R 0 1"
    "|munmap A R 0 2|mprotect A R 0 2 r|read A R 0 1|mlock A R 0 1|mremap A R 0 1 R 1"
    "|clearrefs A 1",
    "shared": "fork B D{i}|pin A R 0 1 p{i} -|get B R 0 1 p{i} -|write A R 0 1|write B R 1 2"
    "|dontneed B R 0 1|exit B|munmap A R 0 1",
    "large": "fork A B{i}|pin A R 1 2 p{i} w|write A R 1 3|dontneed A R 1 2|munmap A R 2 4"
    "|get A R 0 1 p{i} -|split A R 0 4",
    "large shared": "pin A R 1 2 p{i} -|write A R 0 1|dontneed B R 0 2|exit B|munmap B R 0 4"
    "|get B R 1 2 p{i} -",
    "swap": "pageout A R 0 1|pin A R 0 1 p{i} -|write A R 0 1|fork A B{i}|dontneed A R 0 1",
    "reuse": "write A R 0 1|dontneed A R 0 1|pin A R 0 1 p{i} w|fork A B{i}|munmap A R 0 2",
    "file": "read A R 2 3|write A R 0 1|dontneed A R 0 1|munmap A R 0 2|fork A B{i}",
}
KERNELS = ("7.2", "7.3", "6.6", "6.12", "ryan-v2", "no-seqcount", "barry-entire", "7.2-nopm")
LEFT = 26
"""Events that are left, more or less."""
MOST = 500
SEEDS = range(300 if "MMTUI_ALL" in os.environ else 16)


def middle(seed: int) -> Model | None:
    """Somewhere in a random block; None if it is refused, or comes to no end by one schedule."""
    rnd = random.Random(seed)
    setup = rnd.choice(list(SETUPS))
    own = [rnd.choice(ACTIONS[setup].split("|")).format(i=i) for i in range(rnd.choice((2, 2, 3)))]
    block = "\n".join(f"cpu{cpu}: {action}" for cpu, action in enumerate(own))
    if rnd.random() < 0.3:
        block += f"\ncpu0: {rnd.choice(ACTIONS[setup].split('|')).format(i=7)}"
    try:
        start = begun(rnd.choice(KERNELS), SETUPS[setup], block)
        schedule = []
        model = start.clone()
        while model.enabled() and len(schedule) < 3_000:
            cpu = rnd.choice(model.enabled())
            for _ in range(int(rnd.expovariate(1 / rnd.choice((2, 20, 60)))) + 1):
                if cpu in model.enabled():
                    model.apply(cpu)
                    schedule.append(cpu)
        if not model.resting:
            return None
        for cpu in schedule[: max(0, len(schedule) - rnd.randrange(8, LEFT))]:
            start.apply(cpu)
    except (UsageError, KernelBug, DeadlockError):
        return None
    return start if sum(task is not None for task in start.machine.running) > 1 else None


@pytest.mark.parametrize("seed", SEEDS)
def test_the_explorer_finds_what_the_machine_itself_does(seed: int) -> None:
    start = next(found for at in range(seed * 1_000, seed * 1_000 + 999) if (found := middle(at)))
    reached = explore_machine(start, MOST)
    if not reached.complete:
        pytest.skip("more states than a search on the machine can walk in a test")
    expected = Outcome(frozenset(reached.broken), frozenset(reached.finals), reached.deadlocks > 0)
    for walker in (Fallback, Core) if library() is not None else (Fallback,):
        assert outcome(start, walked(start, walker)) == expected
        assert outcome(start, reduced(start, walker)) == expected
