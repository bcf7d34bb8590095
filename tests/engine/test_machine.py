"""The machine under a kernel: locks, CPUs, pure functions, GUP-fast against fork, allocation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.errors import DeadlockError, KernelBug, SandboxError
from sandbox.fields import STRUCTS, Struct
from sandbox.kernels import kernel_by_name
from sandbox.machine.history import History
from sandbox.memory import (
    ADDR_MASK,
    READ,
    WRITE,
    Folio,
    Gen,
    Globals,
    MemoryImage,
    Page,
    add,
    alloc,
    bits,
    cas,
    load,
    lock,
    lock_bit,
    store,
    try_add,
    trylock,
    unlock,
    xchg,
)  # fmt: skip
from sandbox.run.session import Session
from tests.engine.support import act, put

MMAP_LOCK, PTL, WORD = Globals.split_queue_lock, Globals.swap_on, Globals.nr_file_mapped
"""Three words that start at 0 and that no test below uses for what they are."""

Body = Callable[[], Gen[Any]]


def machine_with(*bodies: Body, cpus: int = 2) -> History:
    """A machine whose CPU n runs body n."""
    machine = History(cpus)
    for cpu, body in enumerate(bodies):
        put(machine, f"task{cpu}", body, cpu)
    return machine


def hold(*locks: int, mode: int = WRITE) -> Body:
    """Take locks in order, then release them in reverse order."""

    def body() -> Gen[Any]:
        for addr in locks:
            yield lock(addr, mode)
        for addr in reversed(locks):
            yield unlock(addr)

    return body


# -- locks -------------------------------------------------------------------------------


def test_a_lock_held_by_another_cpu_blocks() -> None:
    machine = machine_with(hold(PTL), hold(PTL))
    machine.step(0)
    assert machine.enabled() == [0]
    assert machine.blocked(1) == "waits for a lock held by CPU 0"
    with pytest.raises(DeadlockError, match=r"CPU 1 \(task1\) waits for .* held by CPU 0"):
        machine.step(1)
    machine.step(0)
    assert machine.blocked(1) is None
    machine.run(1)
    assert machine.peek(PTL) == 0


def test_readers_share_and_keep_writers_out() -> None:
    machine = machine_with(hold(PTL, mode=READ), hold(PTL, mode=READ), hold(PTL), cpus=3)
    machine.step(0)
    machine.step(1)
    assert machine.blocked(2) is not None
    machine.step(0)
    assert machine.blocked(2) is not None
    machine.step(1)
    assert machine.blocked(2) is None


def test_a_writer_keeps_readers_out() -> None:
    machine = machine_with(hold(PTL), hold(PTL, mode=READ))
    machine.step(0)
    assert machine.enabled() == [0]


def test_a_lock_bit_blocks_and_names_its_owner() -> None:
    def body() -> Gen[Any]:
        yield lock_bit(WORD, 8)
        yield bits(WORD, 0, 8)

    machine = machine_with(body, body)
    machine.memory.cells[WORD] = 1
    machine.step(1)
    assert machine.peek(WORD) == 9
    assert machine.blocked(0) == "waits for a lock held by CPU 1"
    machine.step(1)
    machine.run(0)
    assert machine.peek(WORD) == 1


def test_a_deadlock_names_the_cycle_and_changes_nothing() -> None:
    machine = machine_with(hold(MMAP_LOCK, PTL), hold(PTL, MMAP_LOCK))
    machine.step(0)
    machine.step(1)
    assert machine.enabled() == []
    cells, position = list(machine.memory.cells), machine.position
    for move in (machine.step, machine.run):
        with pytest.raises(DeadlockError) as caught:
            move(0)
        text = str(caught.value)
        assert text.startswith("deadlock: ")
        assert "CPU 0 (task0) waits for swap_on held by CPU 1" in text
        assert "CPU 1 (task1) waits for split_queue_lock held by CPU 0" in text
    assert (machine.memory.cells, machine.position) == (cells, position)
    machine.undo()
    assert machine.enabled() == [0, 1]
    machine.run(0)
    machine.run(1)


def test_waiting_for_oneself_is_a_deadlock() -> None:
    machine = machine_with(hold(PTL, PTL))
    machine.step(0)
    with pytest.raises(DeadlockError, match="held by CPU 0"):
        machine.run(0)


def test_three_cpus_in_a_circle() -> None:
    machine = machine_with(hold(PTL, WORD), hold(WORD, MMAP_LOCK), hold(MMAP_LOCK, PTL), cpus=3)
    for cpu in range(3):
        machine.step(cpu)
    with pytest.raises(DeadlockError) as caught:
        machine.step(1)
    assert str(caught.value).count("waits for") == 3


def test_trylock_does_not_wait() -> None:
    def body() -> Gen[Any]:
        got = yield trylock(PTL)
        if got:
            yield unlock(PTL)
        return got

    machine = machine_with(hold(PTL), body)
    machine.step(0)
    assert machine.run(1).result is False
    assert machine.peek(PTL) == -1
    put(machine, "again", body, 1)
    machine.step(0)
    assert machine.run(1).result is True
    assert machine.peek(PTL) == 0


def test_trylock_for_reading_shares() -> None:
    def body() -> Gen[Any]:
        return (yield trylock(PTL, READ))

    machine = machine_with(hold(PTL, mode=READ), body)
    machine.step(0)
    assert machine.run(1).result is True
    assert machine.peek(PTL) == 0b11


@pytest.mark.parametrize("held", [True, False])
def test_unlock_of_a_foreign_lock_is_a_kernel_bug(held: bool) -> None:
    def body() -> Gen[Any]:
        yield unlock(PTL)

    machine = machine_with(hold(PTL), body)
    if held:
        machine.step(0)
    cells, position = list(machine.memory.cells), machine.position
    for move in (machine.step, machine.run):
        with pytest.raises(KernelBug, match=r"CPU 1 unlocks .*, which it does not hold"):
            move(1)
    assert (machine.memory.cells, machine.position) == (cells, position)


def test_a_kernel_bug_in_the_middle_of_a_run_leaves_a_machine_that_goes_back() -> None:
    def body() -> Gen[Any]:
        yield add(WORD, 1)
        yield add(WORD, 1)
        yield unlock(PTL)

    machine = History()
    put(machine, "body", body)
    with pytest.raises(KernelBug):
        machine.run(0)
    assert machine.peek(WORD) == 2
    task = machine.running[0]
    assert task is not None
    assert task.pending == unlock(PTL)
    machine.undo()
    machine.undo()
    assert machine.peek(WORD) == 0


# -- operations --------------------------------------------------------------------------


def test_what_operations_answer_and_do() -> None:
    def body() -> Gen[Any]:
        out = [(yield load(WORD)), (yield add(WORD, 5)), (yield try_add(WORD, -5))]
        out += [(yield try_add(WORD, 1)), (yield cas(WORD, 1, 2)), (yield cas(WORD, 0, 2))]
        out += [(yield bits(WORD, 5, 2)), (yield xchg(WORD, 7))]
        out += [(yield load(WORD)), (yield store(WORD, 0))]
        return out

    machine = History()
    put(machine, "body", body)
    task = machine.run()
    assert task.result == [0, 5, True, False, False, True, 2, 5, 7, None]
    while machine.position:
        machine.undo()
    assert machine.peek(WORD) == 0


# -- CPUs --------------------------------------------------------------------------------


def test_a_busy_cpu_takes_no_second_function() -> None:
    machine = machine_with(hold(PTL))
    with pytest.raises(SandboxError, match="CPU 0 is still running task0"):
        put(machine, "other", hold(WORD))


@pytest.mark.parametrize("move", ["step", "run"])
def test_an_idle_cpu_has_nothing_to_step(move: str) -> None:
    with pytest.raises(SandboxError, match="CPU 1 is idle"):
        getattr(machine_with(hold(PTL)), move)(1)


# -- pure functions ----------------------------------------------------------------------


def test_a_function_with_a_memory_of_its_own_is_found_out() -> None:
    secret: list[int] = []

    def body() -> Gen[Any]:
        secret.append(0)
        for _ in range(len(secret)):
            yield add(WORD, len(secret))
        yield add(WORD, 100)
        yield add(WORD, 100)

    machine = History()
    put(machine, "body", body)
    machine.step(0)
    machine.step(0)
    machine.undo()
    with pytest.raises(KernelBug, match="body: the function is not a pure function of its answers"):
        machine.step(0)


def test_a_function_that_ends_early_when_rebuilt_is_found_out() -> None:
    calls: list[int] = []

    def body() -> Gen[Any]:
        calls.append(0)
        for _ in range(4 - len(calls)):
            yield add(WORD, 1)

    machine = History()
    put(machine, "body", body)
    machine.step(0)
    machine.step(0)
    machine.undo()
    machine.redo()
    machine.undo()
    with pytest.raises(KernelBug, match="not a pure function"):
        machine.step(0)


# -- memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(10))
def test_folios_are_aligned_to_their_size(order: int) -> None:
    memory = MemoryImage()
    for before in range(4):
        for _ in range(before):
            memory.allocate(Struct.VMA)
        base = memory.allocate(Struct.PAGE, order)
        folio = Folio(base | order)
        assert folio.pfn % folio.nr_pages == 0
        assert base & ADDR_MASK == base
        for i in (0, folio.nr_pages - 1):
            assert memory.cells[folio.page(i).compound_head] == folio
            assert folio.index_of(folio.page(i)) == i
            assert Page(folio.page(i)).pfn == folio.pfn + i
        assert memory.cells[folio._refcount] == 1
        assert memory.object_at(base + 3) == (base, Struct.PAGE, order)


@pytest.mark.parametrize("struct", [Struct.PTE_TABLE, Struct.PMD_TABLE])
def test_tables_are_aligned_so_that_an_entry_finds_its_table(struct: Struct) -> None:
    memory = MemoryImage()
    for _ in range(3):
        memory.allocate(Struct.ANON_VMA)
        assert memory.allocate(struct) % 512 == 0


def test_no_two_allocations_overlap() -> None:
    memory = MemoryImage()
    chance = random.Random(1)
    for _ in range(200):
        memory.allocate(chance.choice(list(Struct)), chance.randrange(5))
    ends = 0
    for base, struct, order in memory.objects:
        assert base >= ends
        ends = base + (len(STRUCTS[struct].initial) << order)
        for word in (base, ends - 1):
            assert memory.object_at(word) == (base, struct, order)
            assert memory.field_at(word).struct is struct
    assert ends == len(memory.cells)


def test_undoing_an_allocation_cuts_memory_back() -> None:
    def body() -> Gen[Any]:
        first = yield alloc(Struct.PAGE, 4)
        second = yield alloc(Struct.PTE_TABLE)
        return first, second

    machine = machine_with(body)
    sizes = [len(machine.memory.cells)]
    machine.step(0)
    sizes.append(len(machine.memory.cells))
    task = machine.run()
    first = task.result
    machine.undo()
    assert len(machine.memory.cells) == sizes[1]
    machine.undo()
    assert len(machine.memory.cells) == len(machine.memory.kinds) == sizes[0]
    machine.redo()
    machine.redo()
    assert task.result == first


def test_every_release_boots_with_a_zero_page_nobody_counts() -> None:
    session = Session(kernel_by_name("7.2"))
    zero = session.machine.peek(Globals.zero_page)
    act(session, "mmap A R 16K\ntouch A R 0 4 r\nfork A B\nexit A\nexit B")
    assert session.machine.peek(zero + 1) == 1
    assert session.machine.peek(zero + 2) == -1
