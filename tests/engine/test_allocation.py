"""Where what is allocated lies, and frames that are used again."""

from __future__ import annotations

from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.arch.arm64.pgtable import PTE_VALID, pte_pfn
from sandbox.errors import KernelBug
from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.machine.calls import Call
from sandbox.machine.fields import STRUCTS, Struct
from sandbox.machine.history import History
from sandbox.machine.machine import Machine
from sandbox.machine.memory import (
    ALLOC,
    Folio,
    Gen,
    Globals,
    MemoryImage,
    Page,
    alloc,
    bits,
    page_of_pfn,
    store,
)
from sandbox.machine.ranges import CLASSES, Group, alignment, stride
from sandbox.mm.flags import PG_buddy
from sandbox.run.model import Model
from sandbox.run.session import Session
from sandbox.truth.canonical import canonical
from tests.engine.support import act, as_json, begin, broken, put, run, snapshot

OBJECTS = st.sampled_from(
    [(struct, 0) for struct in (Struct.VMA, Struct.MM, Struct.PTE_TABLE, Struct.AVC)]
    + [(Struct.PAGE, order) for order in (0, 0, 0, 1, 4)]
    + [(Struct.XARRAY, order) for order in (0, 5)]
)
LIVES = st.lists(st.lists(OBJECTS, max_size=40), min_size=2, max_size=4)


def allocating(life: list[tuple[Struct, int]]) -> Any:  # noqa: ANN401  # a kernel
    """A kernel whose one function allocates these, and answers with the addresses."""

    def body() -> Gen[list[int]]:
        found = []
        for struct, order in life:
            found.append((yield alloc(struct, order)))
        return found

    return SimpleNamespace(body=body)


def machine_of(lives: list[list[tuple[Struct, int]]]) -> History:
    """CPUs that allocate, before their first event."""
    machine = History(len(lives))
    for cpu, life in enumerate(lives):
        if life:
            machine.spawn("allocates", Call("body"), allocating(life), cpu)
    return machine


def results(machine: History) -> dict[int, list[int]]:
    return {task.cpu: task.result for task in machine.tasks}


@settings(deadline=None, max_examples=60)
@given(LIVES, st.data())
def test_what_a_cpu_allocates_does_not_depend_on_the_order_of_others(
    lives: list[list[tuple[Struct, int]]], data: st.DataObject
) -> None:
    machine, other = machine_of(lives), machine_of(lives)
    while machine.enabled():
        machine.step(machine.enabled()[0])
    while other.enabled():
        other.step(data.draw(st.sampled_from(other.enabled())))
    assert results(machine) == results(other)
    assert machine.memory.cells == other.memory.cells
    assert machine.memory.objects == other.memory.objects
    assert machine.identity() == other.identity()


@settings(deadline=None, max_examples=60)
@given(LIVES, st.data())
def test_nothing_overlaps_and_going_back_takes_it_all_away(
    lives: list[list[tuple[Struct, int]]], data: st.DataObject
) -> None:
    machine = machine_of(lives)
    seen = []
    while machine.enabled():
        seen.append((list(machine.memory.cells), bytes(machine.memory.kinds)))
        machine.step(data.draw(st.sampled_from(machine.enabled())))
    end = 0
    memory, found = machine.memory, results(machine)
    for base, struct, order in memory.objects:
        assert base >= end
        end = base + (len(STRUCTS[struct].initial) << order)
        assert base % alignment(struct, order) == 0 or struct in (Struct.GLOBALS, Struct.CPU)
        assert memory.object_at(end - 1) == (base, struct, order)
    assert end == len(memory.cells) == len(memory.kinds)
    while seen:
        machine.undo()
        assert (machine.memory.cells, bytes(machine.memory.kinds)) == seen.pop()
    assert len(machine.memory.objects) == 1 + 4
    machine.goto(len(machine.future_cpus))
    assert results(machine) == found


def test_one_cpu_alone_wastes_nothing() -> None:
    machine = machine_of([[(Struct.PAGE, 0)] * 20 + [(Struct.VMA, 0)]])
    base, struct, order = machine.memory.objects[-1]
    end = base + stride(struct, order)
    machine.run()
    assert len(machine.memory.cells) == end + 20 * 16 + len(STRUCTS[Struct.VMA].initial)


def test_a_cpu_that_joins_gets_ranges_behind_all_there_is_and_leaves_none() -> None:
    machine = History(3)
    lives = [[(Struct.PAGE, 0)] * 3] * 3
    for cpu in (0, 1):
        machine.spawn("allocates", Call("body"), allocating(lives[cpu]), cpu)
    machine.step(0)
    before, size = machine.identity(), len(machine.memory.cells)
    machine.spawn("allocates", Call("body"), allocating(lives[2]), 2)
    machine.step(2)
    assert machine.memory.objects[-1][0] >= size
    machine.undo()
    assert machine.identity() == before
    while machine.enabled():
        machine.step(machine.enabled()[-1])
    assert sorted(map(len, results(machine).values())) == [3, 3]


def test_ranges_of_the_largest_workloads_stay_in_memory() -> None:
    """A GiB of page tables, or of small pages, in a block: the holes are bounded."""
    for kind, number, most in (
        ((Struct.PAGE, 0), 1 << 18, 1 << 27),
        ((Struct.PTE_TABLE, 0), 512, 1 << 24),
        ((Struct.PAGE, 9), 512, 1 << 27),
    ):
        group = Group().joined(0, 4096).joined(1, 4096)
        group.counts[1, *kind] = number - 1
        assert 0 < group.place(1, *kind) < most


def test_no_two_ranges_share_a_word() -> None:
    group = Group().joined(0, 100).joined(2, 100).joined(3, 100)
    spans = []
    for struct, order in CLASSES:
        if stride(struct, order) > 1 << 14:
            continue
        for cpu in (0, 2, 3):
            for _ in range(5):
                start = group.place(cpu, struct, order)
                spans.append((start, start + stride(struct, order)))
    spans.sort()
    ends = list(accumulate((end for _, end in spans), max))
    assert all(start >= end for end, (start, _) in zip(ends, spans[1:], strict=False))
    assert spans[0][0] >= 100


def test_what_has_no_range_is_refused() -> None:
    machine = machine_of([[(Struct.VMA, 3)], [(Struct.PAGE, 0)]])
    with pytest.raises(KernelBug, match="vma of order 3 has no range"):
        machine.step(0)
    assert machine.position == 0
    machine.step(1)


# -- frames that are used again -----------------------------------------------------------

TWO = "reuse on\nmmap A R 16K nohuge\ntouch A R 0 2 w"


def free(session: Session) -> dict[int, list[int]]:
    return {key: frames for key, frames in session.machine.frames.frames.items() if frames}


def allocations(session: Session) -> list[int]:
    """Addresses of the pages allocated so far, in order."""
    machine = session.machine
    return [
        answer
        for task in machine.tasks
        for event, answer in zip(machine.own_events(task), task.answers, strict=True)
        if event[0] == ALLOC and event[2] is Struct.PAGE
    ]


def test_frames_are_used_again_the_last_freed_first_and_only_where_that_is_asked_for() -> None:
    lines = "dontneed A R 0 2\nwrite A R 0 1\nwrite A R 1 2\nwrite A R 2 3"
    session = run("7.2", f"{TWO}\n{lines}")
    first, second, *again = allocations(session)
    assert again[:2] == [second, first]
    assert again[2] not in (first, second)
    plain = allocations(run("7.2", f"{TWO.removeprefix('reuse on')}\n{lines}"))
    assert len(set(plain)) == len(plain) == 5
    act(session, "reuse off\ndontneed A R 0 2\nwrite A R 0 1")
    assert allocations(session)[-1] not in (first, second)


def test_each_cpu_has_frames_of_its_own() -> None:
    session = run("7.2", f"{TWO}\ncpu1: dontneed A R 0 1\ncpu0: dontneed A R 1 2")
    first, second = allocations(session)
    act(session, "cpu1: write A R 2 3\ncpu0: write A R 3 4")
    got = dict(zip("23", allocations(session)[2:], strict=True))
    assert set(got.values()) == {first, second}
    found = {name: page for page, name in session.ledger.names.items()}
    assert len(found) == 2


def test_an_order_has_frames_of_its_own() -> None:
    session = run("7.2", "reuse on\nmthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\nmmap A S 4K")
    (large,) = allocations(session)
    act(session, "dontneed A R 0 4\nwrite A S 0 1")
    assert allocations(session)[-1] != large
    act(session, "write A R 0 1")
    assert allocations(session)[-1] == large
    assert session.ledger.folio(large).order == 2
    assert not broken(session)


def test_a_used_frame_is_another_folio_with_another_name() -> None:
    session = run("7.2", f"{TWO}\ndontneed A R 0 1\nwrite A R 0 1")
    first, second, again = allocations(session)
    assert again == first
    ledger, log = session.ledger, list(session.event_log())
    assert (ledger.name_of(second), ledger.name_of(first)) == ("F2", "F3")
    life = ledger.head_of("F1"), ledger.head_of("F3")
    assert life[0] is not None
    assert life[1] is not None
    assert life[0] == (first, range(life[1][1].start))
    assert set(session.state()["folios"]) == {"F2", "F3"}
    of_frame = [
        (event["n"], event["object"]) for event in log if event.get("object") in ("F1", "F3")
    ]
    assert [name for _, name in of_frame] == sorted(name for _, name in of_frame)
    assert all((n in life[0][1]) == (name == "F1") for n, name in of_frame)
    assert {name for _, name in of_frame} == {"F1", "F3"}


@pytest.mark.parametrize("kernel", ["6.6", "7.2"])
def test_going_back_and_another_way_with_frames_used_again(kernel: str) -> None:
    lines = ("dontneed A R 0 2", "write A R 2 3", "fork A B", "write A R 2 3", "exit B",
             "cpu0: write A R 0 1\ncpu1: dontneed A R 2 3")  # fmt: skip
    session = run(kernel, TWO)
    seen = [(session.position, snapshot(session))]
    for line in lines:
        act(session, line)
        seen.append((session.position, snapshot(session)))
    end, text = session.position, as_json(session)
    for position, before in reversed(seen):
        session.goto(position)
        assert snapshot(session) == before
    session.goto(end)
    assert as_json(session) == text
    session.goto(seen[2][0])
    act(session, "dontneed A R 2 3\nwrite A R 1 2\nwrite A R 0 1")
    other = run(
        kernel, "\n".join((TWO, *lines[:2], "dontneed A R 2 3\nwrite A R 1 2\nwrite A R 0 1"))
    )
    assert session.state() == other.state()
    assert free(session) == free(other)
    session.machine.switch_branch(session.machine.branches[-1])
    session.goto(end)
    assert as_json(session) == text


def test_a_split_and_freed_folio_is_used_again_in_pieces() -> None:
    lines = (
        "reuse on\nmthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\nsplit A R 0 4\ndontneed A R 0 4"
    )
    session = run("7.2", f"{lines}\nmmap A S 16K nohuge\ntouch A S 0 4 w")
    head, *pieces = allocations(session)
    assert sorted(pieces) == [head + 16 * i for i in range(4)]
    assert not broken(session)
    position, before = session.position, snapshot(session)
    session.goto(0)
    session.goto(position)
    assert snapshot(session) == before


class SkipsRecheck(Linux72):
    """GUP-fast does not look whether the entry still leads to the page that it took hold of."""

    def gup_fast_pte_range(self, at: tuple[int, int, int], flags: int) -> Gen[Page | None]:
        pte = yield from self.ptep_get_lockless(at[0])
        if not pte & PTE_VALID:
            return None
        page = page_of_pfn(pte_pfn(pte))
        folio = yield from self.try_grab_folio_fast(page, 1, flags)
        return None if folio is None else page


RACE = """\
mmap A R 4K nohuge
mmap B Q 4K nohuge
write A R 0 1
"""


def raced(kernel: type[Kernel], reuse: str) -> set[str]:
    """Rules broken when CPU 1 stops once, anywhere, and CPU 0 does both of its actions then."""
    found: set[str] = set()
    session = run(kernel, f"reuse {reuse}\n{RACE}")
    start = session.position
    for count in range(60):
        begin(session, "cpu0: dontneed A R 0 1\ncpu0: write B Q 0 1\ncpu1: get A R 0 1 g -")
        for _ in range(count):
            if session.machine.running[1] is not None:
                session.machine.step(1)
        ended = session.machine.running[1] is None
        session.finish()
        act(session, "write B Q 0 1")
        found |= broken(session)
        if ended:
            assert count > 5
            return found
        session.goto(start)
        session.machine.discard_begun()
        session.machine.forget_future()
    raise AssertionError("longer than that")


def test_a_use_after_free_is_seen_where_frames_are_used_again() -> None:
    """A page that is freed and is another process's by the time that it is taken hold of."""
    assert raced(SkipsRecheck, "off") == set()
    assert raced(Linux72, "on") == set()
    assert "I-21" in raced(SkipsRecheck, "on")


def test_a_compare_and_exchange_is_fooled_by_a_frame_used_again() -> None:
    """ABA: an entry leads to the same address again, and to another folio."""
    session = run("7.2", TWO)
    _, entry, _ = next(session.ledger.leaf_entries(session.book.processes["A"]))
    before, name = session.machine.peek(entry), session.ledger.name_of(allocations(session)[0])
    act(session, "dontneed A R 0 1\nwrite A R 0 1")
    assert session.machine.peek(entry) == before
    assert session.ledger.name_of(allocations(session)[-1]) != name
    plain = run("7.2", TWO.replace("reuse on", "reuse off"))
    act(plain, "dontneed A R 0 1\nwrite A R 0 1")
    assert plain.machine.peek(entry) != before


# -- states in which addresses are names -----------------------------------------------------


def after(*lines: str) -> Any:  # noqa: ANN401  # a state
    return canonical(run("7.2", "\n".join((TWO, *lines))).machine)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dontneed A R 0 1", "dontneed A R 1 2"),
        ("cpu0: dontneed A R 0 1", "cpu1: dontneed A R 1 2"),
        ("read A R 2 3", "dontneed A R 1 2"),
        ("cpu1: split A R 0 2", "cpu0: dontneed A R 1 2"),
        ("mmap B Q 4K", "dontneed A R 1 2"),
    ],
)
def test_orders_that_commute_end_in_the_same_state(one: str, other: str) -> None:
    assert after(one, other) == after(other, one)


def test_free_frames_matter_as_far_as_something_leads_to_them() -> None:
    one, other = "dontneed A R 0 1", "dontneed A R 1 2"
    assert after(one, other) == after(other, one)
    assert after(one, other)[-1] == ()
    states = [with_a_free_page_mapped(which) for which in (0, 1)]
    assert states[0] != states[1]
    turns = [state[-1] for state in states]
    assert [len(turn) - 1 for (turn,) in turns] == [2, 1]  # it is the second to be used again


def with_a_free_page_mapped(which: int) -> Any:  # noqa: ANN401  # a state
    """Two pages are freed, and one of their entries is as it was before."""
    session = run("7.2", TWO)
    mm = session.book.processes["A"]
    entries = [(word, pte) for _, word, pte in session.ledger.leaf_entries(mm)]
    act(session, "dontneed A R 0 1\ndontneed A R 1 2")
    word, pte = entries[which]
    session.machine.memory.cells[word] = pte
    return canonical(session.machine)


def test_a_frame_that_a_function_thaws_by_itself_is_not_allocated() -> None:
    machine = History(2)
    machine.memory.cells[Globals.reuse] = 0

    def body() -> Gen[int]:
        yield store(Globals.reuse, 1)
        folio = Folio((yield alloc(Struct.PAGE)))
        other = Folio((yield alloc(Struct.PAGE)))
        yield bits(folio.flags, PG_buddy)
        yield bits(other.flags, PG_buddy)
        yield bits(folio.flags, 0, PG_buddy)
        assert (yield alloc(Struct.PAGE)) == other
        return (yield alloc(Struct.PAGE))

    put(machine, "thaws", body)
    states = []
    while machine.running[0] is not None:
        states.append(machine.identity()[:2])  # type: ignore[index]  # words and derived words
        machine.step(0)
    assert machine.tasks[0].result not in {base for base, _, _ in machine.memory.objects[:-1]}
    while states:
        machine.undo()
        assert machine.identity()[:2] == states.pop()  # type: ignore[index]


def test_clone_and_image_are_independent() -> None:
    image = MemoryImage()
    base = image.allocate(Struct.PAGE)
    other = image.copied()
    other.renew(base, 0)
    other.allocate(Struct.VMA)
    assert len(image.objects) == 1
    session = run("7.2", f"{TWO}\ndontneed A R 0 1")
    begin(session, "cpu0: write A R 0 1\ncpu1: write A R 2 3")
    model = Model.of(session)
    twin: Machine = model.clone().machine
    while twin.enabled():
        twin.apply(twin.enabled()[0])
    assert model.machine.frames.frames == {0: model.machine.frames.frames[0]}
    assert len(model.machine.frames.frames[0]) == 1
    assert twin.frames.frames[0] == []
