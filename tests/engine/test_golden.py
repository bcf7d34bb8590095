"""Known values: golden vectors of a 64K folio, the MM slots, the counts of presets 1 and 3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.fields import Struct
from sandbox.kernels.linux_6_15 import Linux615
from sandbox.machine.history import History
from sandbox.memory import Folio, Gen, Mm, add
from sandbox.mm.flags import MM_ID_LOCK, MM_ID_MASK, MM_ID_SHARED, PG_anon_exclusive
from sandbox.run.runner import BrokenCount, ScenarioRun
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines
from tests.engine.support import act, begin, broken, explain, put, run

BATCHED = ("6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
LARGE = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w"
FORKED = f"{LARGE}\nfork A B"


@dataclass(frozen=True)
class Facts:
    """What the golden table lists for one folio; None where the kernel has no such word."""

    refcount: int
    mapcounts: list[int] | None
    """Logical, by page."""
    entire: int
    nr_pages_mapped: int | None
    large: int | None
    slots: dict[str, int] | None
    shared: bool | None
    exclusive: set[int]


def facts(session: Session, name: str = "F1") -> Facts:
    """Read the words of a folio."""
    peek, kernel = session.machine.peek, session.kernel
    head = next(h for h, n in session.ledger.names.items() if n == name)
    folio = session.ledger.folio(head)
    pages = [folio.page(i) for i in range(folio.nr_pages)]
    ids = {peek(mm.mm_id): proc for proc, mm in session.ledger.processes().items()}
    slots = {
        ids[peek(folio._mm_id(k)) & MM_ID_MASK]: peek(folio._mm_id_mapcount(k)) + 1
        for k in (0, 1)
        if kernel.has_mm_id and peek(folio._mm_id(k)) & MM_ID_MASK
    }
    paged = kernel.has_page_mapcount
    return Facts(
        refcount=peek(folio._refcount),
        mapcounts=[peek(p._mapcount) + 1 for p in pages] if paged else None,
        entire=peek(folio._entire_mapcount) + 1,
        nr_pages_mapped=peek(folio._nr_pages_mapped) if paged else None,
        large=peek(folio._large_mapcount) + 1 if kernel.has_large_mapcount else None,
        slots=slots if kernel.has_mm_id else None,
        shared=bool(peek(folio._mm_id(1)) & MM_ID_SHARED) if kernel.has_mm_id else None,
        exclusive={i for i, p in enumerate(pages) if peek(p.flags) & PG_anon_exclusive},
    )


def expect(
    session: Session,
    *,
    refcount: int,
    mapcounts: list[int],
    large: int,
    slots: dict[str, int],
    shared: bool,
    exclusive: Iterable[int] = (),
    entire: int = 0,
    nr_pages_mapped: int = 16,
) -> None:
    """Hold the first folio against a row, as far as the kernel has the words."""
    kernel = session.kernel
    assert facts(session) == Facts(
        refcount,
        mapcounts if kernel.has_page_mapcount else None,
        entire,
        nr_pages_mapped if kernel.has_page_mapcount else None,
        large if kernel.has_large_mapcount else None,
        slots if kernel.has_mm_id else None,
        shared if kernel.has_mm_id else None,
        set(exclusive),
    )
    assert not broken(session), explain(session)


def entries(session: Session, proc: str) -> list[list[Any]]:
    """Runs of entries: [first page, count, folio, page in folio, flags]."""
    runs = session.state()["procs"][proc]["ptes"]
    return [[r[1], r[2], r[4], r[5], r[6]] for r in runs]


def anon_rss(session: Session) -> dict[str, int]:
    """Anonymous pages by process."""
    return {name: proc["rss"]["anon"] for name, proc in session.state()["procs"].items()}


def but(value: int, pages: Iterable[int], other: int) -> list[int]:
    """Sixteen values, *other* at *pages*."""
    pages = set(pages)
    return [other if i in pages else value for i in range(16)]


# -- the golden table: rows 1 to 8 and 10 ------------------------------------------------


@pytest.mark.parametrize("kernel", [*BATCHED, "ryan-v2", "ryan-v3", "david-batch"])
def test_row_1_a_write_fault_maps_a_fresh_folio(kernel: str) -> None:
    session = run(kernel, LARGE)
    expect(session, refcount=16, mapcounts=[1] * 16, large=16, slots={"A": 16}, shared=False,
           exclusive=range(16))  # fmt: skip
    assert entries(session, "A") == [[0, 16, "F1", 0, "wdyc"]]
    assert anon_rss(session) == {"A": 16}


@pytest.mark.parametrize("kernel", [*BATCHED, "ryan-v3", "david-batch"])
def test_row_2_fork(kernel: str) -> None:
    session = run(kernel, FORKED)
    expect(
        session, refcount=32, mapcounts=[2] * 16, large=32, slots={"A": 16, "B": 16}, shared=True
    )
    assert entries(session, "A") == [[0, 16, "F1", 0, "odyc"]]
    assert entries(session, "B") == [[0, 16, "F1", 0, "odc"]]
    assert anon_rss(session) == {"A": 16, "B": 16}


def test_row_2v_just_before_v2_takes_the_references() -> None:
    session = run("ryan-v2", LARGE)
    begin(session, "fork A B")
    head = next(iter(session.ledger.names))
    reference = add(session.ledger.folio(head)._refcount, 16)
    while session.running[0].pending != reference:
        session.step_event()
    now = facts(session)
    assert (now.refcount, now.mapcounts, now.entire) == (16, [2] * 16, 0)
    assert (now.nr_pages_mapped, now.exclusive) == (16, set())
    assert entries(session, "A") == [[0, 16, "F1", 0, "wdyc"]]
    (violation,) = session.rules.broken.values()
    assert (violation.rule, violation.deficit) == ("I-05", 16)
    session.finish()
    assert facts(session).refcount == 32


def test_row_2b_fork_of_an_entirely_mapped_folio() -> None:
    session = run("barry-entire", FORKED)
    assert facts(session) == Facts(2, [0] * 16, 2, 0x800000, None, None, None, set())
    assert entries(session, "A") == [[0, 16, "F1", 0, "odyc"]]
    assert entries(session, "B") == [[0, 16, "F1", 0, "odc"]]


@pytest.mark.parametrize("kernel", BATCHED)
def test_row_3_the_child_drops_a_page(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\ndontneed B R 2 3")
    expect(session, refcount=31, mapcounts=but(2, [2], 1), large=31, slots={"A": 16, "B": 15},
           shared=True)  # fmt: skip
    assert entries(session, "B") == [[0, 2, "F1", 0, "od"], [3, 13, "F1", 3, "od"]]
    assert anon_rss(session) == {"A": 16, "B": 15}


def test_row_3_the_reference_goes_with_the_gather() -> None:
    session = run("7.2", FORKED)
    begin(session, "dontneed B R 2 3")
    while session.running and session.ledger.mapcounts[next(iter(session.ledger.names))] == 32:
        session.step_event()
    assert facts(session).refcount == 32
    session.finish()
    assert facts(session).refcount == 31


def test_row_3b_the_child_drops_a_page_of_an_entire_mapping() -> None:
    session = run("barry-entire", FORKED)
    head = next(iter(session.ledger.names))
    begin(session, "dontneed B R 2 3")
    seen = [facts(session).refcount]
    while session.running:
        session.step_event()
        if session.machine.events[-1][1] == session.ledger.folio(head)._refcount:
            seen.append(facts(session).refcount)
    assert seen == [2, 17, 16]
    assert facts(session) == Facts(16, but(1, [2], 0), 1, 0x80000F, None, None, None, set())
    assert entries(session, "A") == [[0, 16, "F1", 0, "odyc"]]


@pytest.mark.parametrize("kernel", BATCHED)
def test_row_4_the_parent_drops_the_page_too(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\ndontneed B R 2 3\ndontneed A R 2 3")
    expect(session, refcount=30, mapcounts=but(2, [2], 0), large=30, slots={"A": 15, "B": 15},
           shared=True, nr_pages_mapped=15)  # fmt: skip
    assert entries(session, "A") == [[0, 2, "F1", 0, "ody"], [3, 13, "F1", 3, "ody"]]
    folio = session.state()["folios"]["F1"]
    # without page mapcounts nobody can tell before the total is below the number of pages
    assert folio["deferred"] is (kernel != "7.2-nopm")
    assert ("partially_mapped" in folio["flags"]) is (kernel not in ("6.9", "7.2-nopm"))


@pytest.mark.parametrize("kernel", BATCHED)
def test_row_5_the_child_writes_a_page(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nwrite B R 5 6")
    expect(session, refcount=31, mapcounts=but(2, [5], 1), large=31, slots={"A": 16, "B": 15},
           shared=True)  # fmt: skip
    assert entries(session, "B") == [
        [0, 5, "F1", 0, "od"],
        [5, 1, "F2", 0, "wdy"],
        [6, 10, "F1", 6, "od"],
    ]
    assert session.state()["folios"]["F2"]["exclusive"] == [[1, 1]]
    assert anon_rss(session) == {"A": 16, "B": 16}


@pytest.mark.parametrize("kernel", BATCHED)
def test_row_6_the_child_exits(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nexit B")
    expect(session, refcount=16, mapcounts=[1] * 16, large=16, slots={"A": 16}, shared=False)
    assert entries(session, "A") == [[0, 16, "F1", 0, "odyc"]]


@pytest.mark.parametrize("kernel", ["6.9", "6.12"])
def test_row_7a_before_6_15_the_survivor_copies(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nexit B\nwrite A R 0 1")
    expect(session, refcount=15, mapcounts=but(1, [0], 0), large=15, slots={}, shared=False,
           nr_pages_mapped=15)  # fmt: skip
    assert entries(session, "A") == [[0, 1, "F2", 0, "wdy"], [1, 15, "F1", 1, "ody"]]
    assert session.state()["folios"]["F2"]["exclusive"] == [[1, 1]]
    assert session.state()["folios"]["F1"]["deferred"] is True
    assert anon_rss(session) == {"A": 16}


@pytest.mark.parametrize("kernel", ["6.15", "7.2", "7.2-nopm", "7.3"])
def test_row_7b_from_6_15_on_the_survivor_reuses(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nexit B\nwrite A R 0 1")
    expect(session, refcount=16, mapcounts=[1] * 16, large=16, slots={"A": 16}, shared=False,
           exclusive=[0])  # fmt: skip
    assert entries(session, "A") == [[0, 1, "F1", 0, "wdy"], [1, 15, "F1", 1, "ody"]]


@pytest.mark.parametrize("kernel", [*BATCHED, "ryan-v3", "david-batch"])
def test_row_8_a_pinned_folio_is_copied_page_by_page(kernel: str) -> None:
    session = run(kernel, f"{LARGE}\npin A R 3 4 p w\nfork A B")
    expect(session, refcount=17, mapcounts=[1] * 16, large=16, slots={"A": 16}, shared=False,
           exclusive=range(16))  # fmt: skip
    assert session.state()["folios"]["F1"]["pincount"] == 1
    assert entries(session, "A") == [[0, 16, "F1", 0, "wdyc"]]
    copies = {f"F{i}" for i in range(2, 18)}
    assert {run[2] for run in entries(session, "B")} == copies
    for name, folio in session.state()["folios"].items():
        if name in copies:
            assert (folio["order"], folio["refcount"]) == (0, 1)
            assert (folio["mapcount"], folio["exclusive"]) == ([[0, 1]], [[1, 1]])
    assert anon_rss(session) == {"A": 16, "B": 16}


@pytest.mark.parametrize("kernel", ["6.6", *BATCHED])
def test_row_10_an_order_0_fault_keeps_a_batch_reference(kernel: str) -> None:
    session = run(kernel, "autodrain off\nmmap A R 4K nohuge\nwrite A R 0 1")
    folio = session.state()["folios"]["F1"]
    assert (folio["refcount"], folio["mapcount"], folio["exclusive"]) == (2, [[0, 1]], [[1, 1]])
    assert anon_rss(session) == {"A": 1}
    act(session, "drain")
    assert session.state()["folios"]["F1"]["refcount"] == 1


# -- MM slots ----------------------------------------------------------------------------

SLOT_VECTORS = (
    ("", 3, [1, 0], [3, -1], 0),
    ("+2:4", 7, [1, 2], [3, 3], 1),
    ("+2:4 -2:4", 3, [1, 0], [3, -1], 0),
    ("+2:4 +3:4 -1:4 -2:4", 3, [0, 0], [-1, -1], 1),
    ("+2:4 +3:4 -3:4 -2:4", 3, [1, 0], [3, -1], 0),
    ("+2:4 -2:3 -1:4", 0, [0, 2], [-1, 0], 0),
    ("+2:4 +3:2 -1:4 +3:2 -3:3", 4, [0, 2], [-1, 3], 1),
)
"""Raw values after a fresh order-2 folio of mm 1 and the changes: total, ids, counts, shared."""


@pytest.mark.parametrize(("changes", "total", "ids", "counts", "shared"), SLOT_VECTORS)
def test_slots(changes: str, total: int, ids: list[int], counts: list[int], shared: int) -> None:
    machine, kernel = History(), Linux615()
    memory = machine.memory
    mms = [Mm(memory.allocate(Struct.MM)) for _ in range(4)]
    for number, mm in enumerate(mms):
        memory.cells[mm.mm_id] = number
    folio = Folio(memory.allocate(Struct.PAGE, 2) | 2)

    def body() -> Gen[None]:
        yield from kernel.folio_set_large_mapcount(folio, 4, mms[1])
        for change in changes.split():
            who, _, count = change[1:].partition(":")
            account = (
                kernel.folio_add_large_mapcount
                if change[0] == "+"
                else kernel.folio_sub_large_mapcount
            )
            yield from account(folio, int(count), mms[int(who)])

    put(machine, "slots", body)
    machine.run()
    peek = machine.peek
    assert peek(folio._large_mapcount) == total
    assert [peek(folio._mm_id(k)) & MM_ID_MASK for k in (0, 1)] == ids
    assert [peek(folio._mm_id_mapcount(k)) for k in (0, 1)] == counts
    assert bool(peek(folio._mm_id(1)) & MM_ID_SHARED) is bool(shared)
    assert not peek(folio._mm_id(0)) & MM_ID_LOCK


def test_three_sharers_leave_the_bit_stuck_and_the_survivor_copies() -> None:
    session = run("7.2", f"{FORKED}\nfork B C\nexit B\nexit A\nwrite C R 0 1")
    assert facts(session).shared
    assert facts(session).refcount == 15
    assert not broken(session), explain(session)


# -- presets 1 and 3 ---------------------------------------------------------------------

PRESET_3 = f"""{LARGE}
dontfork A R 5 6
fork A C
exit C
dofork A R 5 6
pin A R 5 6 1 w"""


def scenario(kernel: str, lines: str) -> ScenarioRun:
    """A headless run of *lines*."""
    out = ScenarioRun(kernel)
    for step in parse_lines(lines, "<test>"):
        out.do(step)
    return out


def test_preset_1_breaks_v2_in_sixteen_states_in_a_row() -> None:
    assert scenario("ryan-v2", FORKED).broken("I-05") == BrokenCount(16, 16, 16)


@pytest.mark.parametrize("kernel", ["ryan-v3", "david-batch", *BATCHED])
def test_preset_1_breaks_nothing_elsewhere(kernel: str) -> None:
    out = scenario(kernel, FORKED)
    assert out.broken("I-05") == BrokenCount(0, 0, 0)
    assert not out.violations()


def test_preset_3_breaks_v2_in_thirteen_states_of_its_last_fork() -> None:
    out = scenario("ryan-v2", f"{PRESET_3}\nmprotect A R 0 16 r")
    before = len([v for v in out.violations() if v.rule == "I-05"])
    action = len(out.session.steps)
    out.do(parse_lines("fork A B", "<test>")[0])
    last = [v for v in out.violations() if v.rule == "I-05"][before:]
    assert len(last) == 13
    assert {v.action for v in last} == {action}
    assert [v.deficit for v in last] == [*range(1, 5), *range(1, 10)]
    assert max(v.run for v in last) == 9


@pytest.mark.parametrize("kernel", ["ryan-v3", "david-batch", *BATCHED])
def test_preset_3_breaks_nothing_elsewhere(kernel: str) -> None:
    out = scenario(kernel, f"{PRESET_3}\nfork A B")
    assert out.broken("I-05") == BrokenCount(0, 0, 0)
    assert not out.violations()
    now = facts(out.session)
    assert (now.refcount, now.exclusive) == (32, {5})
    assert now.mapcounts in (None, but(2, [5], 1))
    assert now.slots in (None, {"A": 16, "B": 15})
