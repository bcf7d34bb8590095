"""An action that makes no progress ends by itself and names its loop; none that does is stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from sandbox.arch.arm64.pgtable import pte_write
from sandbox.errors import DeadlockError, NoProgressError, UsageError
from sandbox.fields import Struct
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.machine import endless
from sandbox.machine.configuration import configuration
from sandbox.machine.history import History
from sandbox.memory import (
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    alloc,
    load,
    lock,
    store,
    trylock,
    unlock,
)
from sandbox.mm.flags import FOLL_WRITE
from sandbox.run.session import Session
from sandbox.scenario.library import list_presets
from tests.engine.support import FORK_64K, act, as_json, back_action, begin, put, run, snapshot

WORD, OTHER = 33, 34

FORCE_ZERO = """\
mthp 2M madvise
mmap A R 2M
read A R 0 1
mprotect A R 0 512 r
get A R 0 1 1 wf"""


class NeverForces(Linux72):
    """FOLL_FORCE never writes through a read-only entry: it faults again, and again."""

    def can_follow(self, vma: Vma, pte: int, flags: int) -> Gen[bool]:
        yield load(vma.vm_flags)
        return bool(pte_write(pte) or not flags & FOLL_WRITE)


def test_an_endless_action_of_a_kernel_ends_and_can_be_taken_back() -> None:
    *before, last = FORCE_ZERO.splitlines()
    function, file = "gup_one_slow", "mm/gup.py"
    session = run(NeverForces, "\n".join(before))
    there, text = snapshot(session), as_json(session)
    with pytest.raises(
        NoProgressError,
        match=rf"{last} makes no progress: {function} \({file}:\d+\) repeats \d+ events",
    ) as caught:
        act(session, last)
    assert (caught.value.function, caught.value.file) == (function, file)
    assert caught.value.line
    assert 2 <= len(caught.value.events) <= 12
    assert len(session.running) == 1
    back_action(session)
    assert snapshot(session) | {"running": there["running"]} == there
    assert as_json(session) == text
    act(session, "dontneed A R 0 1")


# -- loops of all kinds ----------------------------------------------------------------------


def waits() -> Gen[None]:
    while (yield load(WORD)) == 0:
        pass


def tries() -> Gen[None]:
    while not (yield trylock(WORD)):
        yield load(OTHER)


def takes_and_drops() -> Gen[None]:
    while True:
        yield lock(WORD)
        yield add(OTHER, 1)
        yield add(OTHER, -1)
        yield unlock(WORD)


def long_round() -> Gen[None]:
    while True:
        for i in range(700):
            yield load(WORD + i % 7)
            yield add(OTHER, 1 if i < 350 else -1)


def helper(word: int) -> Gen[int]:
    for _ in iter([0] * 5):
        yield load(word)
    return 0


def through_a_helper() -> Gen[None]:
    while not (yield from helper(WORD)):
        yield load(OTHER)


def counts_up() -> Gen[None]:
    while True:
        yield add(WORD, 1)


def looks_further() -> Gen[None]:
    index = 0
    while True:
        index += 1
        yield load(WORD + index % 1000)


def writes_further() -> Gen[None]:
    index = 0
    while True:
        index += 1
        yield store(WORD, index)


def allocates() -> Gen[None]:
    while True:
        yield alloc(Struct.VMA)


@pytest.mark.parametrize(
    ("body", "function", "period"),
    [
        (waits, "waits", 1),
        (takes_and_drops, "takes_and_drops", 4),
        (long_round, "long_round", 1400),
        (through_a_helper, "through_a_helper", 6),
    ],
)
def test_what_goes_round_is_proved_to(
    body: Callable[[], Gen[None]], function: str, period: int
) -> None:
    machine = History()
    put(machine, "body", body)
    with pytest.raises(NoProgressError, match="without changing memory") as caught:
        machine.run(0)
    assert caught.value.function == function
    assert f" {period} event" in str(caught.value)
    assert machine.position < 200_000
    while machine.position:
        machine.undo()


@pytest.mark.parametrize("body", [counts_up, looks_further, writes_further, allocates])
def test_what_goes_on_for_nothing_is_stopped_at_a_bound(
    body: Callable[[], Gen[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endless, "CIRCLES", 1 << 14)
    monkeypatch.setattr(endless, "IDLE", 1 << 14)
    machine = History()
    machine.memory.allocate(Struct.MM)
    machine.memory.allocate(Struct.PTE_TABLE)
    put(machine, "body", body)
    with pytest.raises(NoProgressError, match=rf"{body.__name__} \(test_endless.py:\d+\)"):
        machine.run(0)


@pytest.mark.parametrize("step", [True, False])
def test_stepping_finds_it_too(step: bool) -> None:
    machine = History()
    put(machine, "body", waits)

    def all_of_it() -> None:
        for _ in range(100_000):
            if step:
                machine.step(0)
            else:
                machine.run(0, limit=10_000)

    with pytest.raises(NoProgressError, match="waits"):
        all_of_it()


# -- what only looks like it -----------------------------------------------------------------


def hidden_iterator() -> Gen[int]:
    for zero in [0] * 60_000:
        yield load(WORD + zero)
    return 7


def generator_expression() -> Gen[int]:
    for zero in (0 for _ in range(60_000)):
        yield load(WORD + zero)
    return 7


def growing_list() -> Gen[int]:
    seen: list[int] = []
    while len(seen) < 60_000:
        seen.append((yield load(WORD)))
    return 7


def closure() -> Gen[int]:
    left = [60_000]

    def again() -> bool:
        left[0] -= 1
        return left[0] > 0

    while again():
        yield load(WORD)
    return 7


class Counter:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 60_000


def in_an_object() -> Gen[int]:
    counter = Counter()
    while counter.left:
        counter.left -= 1
        yield load(WORD)
    return 7


@pytest.mark.parametrize(
    "body", [hidden_iterator, generator_expression, growing_list, closure, in_an_object]
)
def test_a_long_loop_with_an_end_comes_to_it(body: Callable[[], Gen[int]]) -> None:
    machine = History()
    put(machine, "body", body)
    assert machine.run(0).result == 7
    assert machine.guard.suspicions


def test_configurations_tell_iterators_apart_and_nothing_else() -> None:
    def body() -> Gen[None]:
        for zero in [0] * 4:
            yield load(WORD + zero)
        while True:
            yield load(WORD)

    gen = body()
    next(gen)
    seen = [configuration(gen)]
    for _ in range(6):
        gen.send(0)
        seen.append(configuration(gen))
    assert None not in seen
    assert len(set(map(repr, seen[:5]))) == 5
    assert seen[4] == seen[5] == seen[6]


# -- two CPUs --------------------------------------------------------------------------------


class Spins(Linux69):
    """Fork waits for the first page's lock word with trylock; so does a write on another CPU."""

    id = "spins"

    def folio_try_dup_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        while not (yield trylock(OTHER)):
            pass
        ret: bool = yield from super().folio_try_dup_anon_rmap_ptes(
            folio, page, nr, dst_mm, src_vma
        )
        yield unlock(OTHER)
        return ret


def test_a_cpu_waits_for_a_lock_that_another_one_drops() -> None:
    session = Session(Spins)
    act(session, FORK_64K + "\nmmap C Z 64K\ntouch C Z 0 16 w")
    begin(session, "cpu0: fork A D\ncpu1: fork C E")
    while session.machine.peek(OTHER) != -2:
        session.machine.step(1)
    session.finish()
    assert {"D", "E"} <= set(session.ledger.processes())


def test_cpus_that_wait_for_each_other_make_no_progress() -> None:
    session = Session(Spins)
    act(session, "mmap A R 64K\ntouch A R 0 16 w\nmmap C Z 64K\ntouch C Z 0 16 w")
    session.machine.memory.cells[OTHER] = -3  # as if a CPU held it that is not there
    begin(session, "cpu0: fork A D\ncpu1: fork C E")
    with pytest.raises(NoProgressError, match=r"Spins|folio_try_dup.*nor does CPU [01]"):
        session.finish()
    assert len(session.running) == 2
    session.machine.goto(session.position - 4000)


def test_one_cpu_that_is_run_on_while_another_holds_the_lock_says_so() -> None:
    machine = History()

    def holds() -> Gen[None]:
        yield lock(WORD)
        yield unlock(WORD)

    put(machine, "holds", holds, 1)
    machine.step(1)
    put(machine, "tries", tries, 0)
    with pytest.raises(NoProgressError, match="unless CPU 1 goes on"):
        machine.run(0)
    machine.run(1)
    assert machine.run(0).end == machine.position


def test_a_deadlock_is_still_a_deadlock() -> None:
    machine = History()

    def holds() -> Gen[None]:
        yield lock(WORD)
        yield lock(WORD)

    put(machine, "holds", holds)
    with pytest.raises(DeadlockError):
        machine.run(0)


def test_doing_again_what_waited_for_long_is_no_loop() -> None:
    machine = History()

    def holds() -> Gen[None]:
        yield lock(WORD)
        yield unlock(WORD)

    put(machine, "holds", holds, 1)
    machine.step(1)
    put(machine, "tries", tries, 0)
    with machine.guard.off():
        machine.run(0, limit=50_000)
    machine.step(1)
    machine.run(0)
    end = machine.position
    machine.goto(0)
    machine.goto(end)
    assert machine.position == end


# -- no false alarm --------------------------------------------------------------------------


def test_no_preset_looks_as_if_it_made_no_progress() -> None:
    suspicions = 0
    for preset in list_presets()[::3]:  # all of them run in their own tests, and would say so
        session = Session(preset.kernels[0])
        for step in preset.scenario(preset.kernels[0]).steps:
            with suppress(UsageError):  # a refusal, which the presets' own tests know
                session.do(step)
        suspicions += session.machine.guard.suspicions
    assert not suspicions


def test_no_large_action_looks_as_if_it_made_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endless, "IDLE", 1 << 12)
    session = run("7.2", "mthp 64K madvise\nmmap A R 4M\npopulate_read A R 0 1024")
    act(session, "populate_read A R 0 1024\nmmap A Z 256M\ndontneed A Z 0 65536\nfree A Z 0 65536")
    act(session, "touch A R 0 256 w\nfork A B\nmlock A R 0 1024\nclearrefs A 1\nexit B")
    assert session.machine.guard.suspicions <= 2
