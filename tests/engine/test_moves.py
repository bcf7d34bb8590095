"""Moving and unmapping: page tables as wholes, several VMAs, locks and LRU batches meanwhile."""

from __future__ import annotations

import pytest

from sandbox.machine.memory import ADD
from sandbox.memory import Mm, PerCpu
from sandbox.mm.flags import PG_buddy, PG_lru, PG_unevictable
from sandbox.run.session import Session
from tests.engine.support import UPSTREAM, act, broken, explain, run

RECORDED = ("6.12", "7.2", "7.2-nopm", "7.3")
FOLDED = "mthp 64K madvise\nmmap A R 2M\nwrite A R 0 512\n"
UNFOLDED = FOLDED + "mprotect A R 7 8 r\nmprotect A R 7 8 rw\n"


def words_of(session: Session, addr: int) -> tuple[int, int]:
    """The PMD word of an address of process A and what it says, 0 without a PMD table."""
    cells = session.machine.memory.cells
    table = cells[Mm(session.ledger.processes()["A"]).pud(addr)]
    at = table + (addr >> 9 & 511) if table else 0
    return at, cells[at] if at else 0


def place(session: Session, region: str) -> int:
    return session.ledger.book.places[region]


def ret(session: Session) -> int:
    result = session.result_of(len(session.steps))
    assert result is not None
    return result.ret


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_whole_table_is_hung_at_its_new_place(kernel: str) -> None:
    session = run(kernel, UNFOLDED)
    table = words_of(session, place(session, "R"))[1]
    act(session, "mremap A R 0 512 S 512")
    assert words_of(session, place(session, "S") + 512)[1] == table
    entries = session.state()["procs"]["A"]["ptes"]
    assert {row[0] for row in entries} == {"S"}
    plain = [row for row in entries if "c" not in row[6]]
    assert [(row[1], row[2]) for row in plain] == [(512, 16)], "what was unfolded stays so"
    assert not broken(session), explain(session)
    act(session, "write A S 520 521\nmunmap A S 0 1024\nexit A")
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_table_that_lies_otherwise_in_the_target_is_moved_by_entries(kernel: str) -> None:
    session = run(kernel, UNFOLDED + "mremap A R 0 512 S 16")
    entries = session.state()["procs"]["A"]["ptes"]
    assert all("c" in row[6] for row in entries), "entries that are set anew are folded"
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_vma_that_starts_inside_a_table_takes_the_table_along(kernel: str) -> None:
    """Nothing lies before it, so the move starts at the table's first entry."""
    session = run(kernel, "mmap A R 512p at=100 nohuge\nwrite A R 100 612")
    table = words_of(session, place(session, "R"))[1]
    act(session, "mremap A R 100 612 S 100")
    assert words_of(session, place(session, "S"))[1] == table
    session = run(kernel, "mmap A R 512p at=100 nohuge\nwrite A R 100 612\nmmap A S 1p ro nohuge")
    table = words_of(session, place(session, "R"))[1]
    act(session, "mremap A R 100 612 S 100")
    assert words_of(session, place(session, "S"))[1] != table, "S has a neighbour there"
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_a_table_goes_with_the_last_vma_in_it(kernel: str) -> None:
    session = run(kernel, "mmap A R 8p nohuge\nwrite A R 0 8\nmunmap A R 0 4")
    assert words_of(session, place(session, "R"))[1]
    act(session, "munmap A R 4 8")
    assert not words_of(session, place(session, "R"))[1]
    act(session, "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1")
    assert session.state()["procs"]["A"]["ptes"][0][3] == "pmd", "the PMD is free for a huge page"
    assert not broken(session), explain(session)


THREE = (
    "mmap A R 8p nohuge\nwrite A R 0 8\nmprotect A R 3 8 r\nmunmap A R 4 6\n"
    "mmap A Q 8p nohuge\nwrite A Q 0 8\n"
)


def test_several_vmas_move_one_after_the_other_since_6_17() -> None:
    session = run("7.2", THREE + "mremap A R 1 8 Q 1")
    assert ret(session) == 0
    rows = session.state()["procs"]["A"]["ptes"]
    whose = {(row[0], row[1] + i): row[4] for row in rows for i in range(row[2])}
    # what lies in the target below the gap is not touched
    assert [whose.get(("Q", page)) for page in range(8)] == [
        "F9", "F2", "F3", "F4", "F13", "F14", "F7", "F8"
    ]  # fmt: skip
    assert ("R", 0) in whose
    assert ("R", 1) not in whose


def test_before_6_17_the_target_is_gone_when_the_range_turns_out_too_long() -> None:
    session = run("6.12", THREE + "mremap A R 1 8 Q 1")
    assert ret(session) == -14
    vmas = [row[:3] for row in session.state()["procs"]["A"]["vmas"]]
    assert vmas == [["R", 0, 3], ["R", 3, 4], ["R", 6, 8], ["Q", 0, 1]]


@pytest.mark.parametrize("kernel", RECORDED)
@pytest.mark.parametrize(("line", "error"), [
    ("mremap A R 4 8 Q 0", -14),  # starts in the gap
    ("mremap A R 0 3 R 2", -22),  # over itself
])  # fmt: skip
def test_a_move_that_cannot_be_leaves_everything_as_it_was(
    kernel: str, line: str, error: int
) -> None:
    session = run(kernel, THREE)
    before = session.state()
    act(session, line)
    assert ret(session) == error
    assert session.state() == before


@pytest.mark.parametrize("kernel", RECORDED)
def test_what_dontunmap_leaves_is_numbered_by_its_address(kernel: str) -> None:
    session = run(kernel, "mmap A R 4p\nwrite A R 0 4\nmremap A R 0 4 S 0\n"
                  "mremap A S 0 4 T 8 dontunmap\nwrite A S 1 2")  # fmt: skip
    state = session.state()
    name = next(row[4] for row in state["procs"]["A"]["ptes"] if row[0] == "S")
    assert state["folios"][name]["index"] == ["S", 1]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_a_folio_that_two_have_locked_stays_mlocked_until_both_are_done(kernel: str) -> None:
    session = run(kernel, "mmap A R 1p\nwrite A R 0 1\nmprotect A R 0 1 r\nmlock A R 0 1\n"
                  "fork A B\nmlock B R 0 1\nmunlock A R 0 1")  # fmt: skip
    assert "mlocked" in session.state()["folios"]["F1"]["flags"]
    act(session, "munmap B R 0 1")
    assert "mlocked" not in session.state()["folios"]["F1"]["flags"]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_mlock_takes_a_large_folio_only_where_its_entries_are_whole(kernel: str) -> None:
    base = "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\n"
    for before, locked in (("", True), ("dontneed A R 5 6\n", False)):
        session = run(kernel, f"{base}{before}mlock A R 0 16")
        assert ("mlocked" in session.state()["folios"]["F1"]["flags"]) is locked


@pytest.mark.parametrize("kernel", RECORDED)
@pytest.mark.parametrize("line", ["munmap A R 4 8", "dontneed A R 3 4", "exit B"])
def test_unmapping_drains_the_lru_batches_until_7_2(kernel: str, line: str) -> None:
    session = run(kernel, "autodrain off\nmmap A R 8p nohuge\nmmap B R 1p nohuge\nwrite A R 0 3")
    waiting = session.machine.peek(PerCpu.fbatch_nr(0, 0))
    assert waiting == 3
    act(session, line)
    left = session.machine.peek(PerCpu.fbatch_nr(0, 0))
    assert left == (0 if kernel == "6.12" else waiting)


@pytest.mark.parametrize("kernel", RECORDED)
@pytest.mark.parametrize("written", [(0, 12), (0, 4), (0, 0)])
def test_what_is_moved_back_becomes_one_with_its_neighbours(
    kernel: str, written: tuple[int, int]
) -> None:
    start, end = written
    before = f"write A R {start} {end}\n" if end else ""
    session = run(kernel, f"mmap A R 12p\n{before}mremap A R 4 8 Q 0\nmremap A Q 0 4 R 4")
    assert [row[:3] for row in session.state()["procs"]["A"]["vmas"]] == [["R", 0, 12]]
    act(session, "write A R 0 12\nfork A B\nexit A\nexit B")
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
def test_what_dontunmap_leaves_does_not_become_one_with_what_it_moved(kernel: str) -> None:
    session = run(kernel, "mmap A R 8p\nmremap A R 0 4 R 8 dontunmap")
    assert [row[:3] for row in session.state()["procs"]["A"]["vmas"]] == [
        ["R", 0, 8], ["R", 8, 12]
    ]  # fmt: skip
    session = run(kernel, "mmap A R 8p\nmremap A R 0 4 R 8")
    assert [row[:3] for row in session.state()["procs"]["A"]["vmas"]] == [["R", 4, 12]]


@pytest.mark.parametrize(("kernel", "merged"), [("6.12", False), ("7.2", True), ("7.3", False)])
def test_copies_of_a_file_join_a_mapping_of_none_where_releases_let_them(
    kernel: str, merged: bool
) -> None:
    """6.12 asks the neighbour for an anon_vma, 7.3 for how the copies are numbered."""
    session = run(kernel, "file F 8p /x/f\nmmap A R 4p fd=F nomadv pgoff=4\n"
                  "mmap A Q 4p fd=F nomadv\nwrite A R 0 4\nmremap A R 0 4 Q 4")  # fmt: skip
    vmas = [row[:3] for row in session.state()["procs"]["A"]["vmas"]]
    assert (vmas == [["Q", 0, 8]]) is merged
    act(session, "write A Q 0 8")
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", RECORDED)
@pytest.mark.parametrize("line", ["fsync F", "swap off", "populate_read A R 0 1", "cold A R 0 1"])
def test_who_drains_the_lru_batches(kernel: str, line: str) -> None:
    session = run(
        kernel, "swap on\nfile F 1p /x/f\nautodrain off\nmmap A R 2p nohuge\nwrite A R 0 1"
    )
    assert session.machine.peek(PerCpu.fbatch_nr(0, 0)) == 1
    act(session, line)
    assert session.machine.peek(PerCpu.fbatch_nr(0, 0)) == 0


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_an_anon_vma_is_shared_only_with_a_vma_of_the_same_kind(kernel: str) -> None:
    """Locking and writing one part first keeps the two apart when both are locked."""
    session = run(kernel, "mmap A R 4p nohuge\nmlock A R 0 1\nwrite A R 3 4\nmlock A R 0 4")
    assert [row[:3] for row in session.state()["procs"]["A"]["vmas"]] == [
        ["R", 0, 1], ["R", 1, 4]
    ]  # fmt: skip
    session = run(kernel, "mmap A R 4p nohuge\nwrite A R 0 1\nmlock A R 0 1\nmlock A R 0 4")
    assert [row[:3] for row in session.state()["procs"]["A"]["vmas"]] == [["R", 0, 4]]


@pytest.mark.parametrize("kernel", RECORDED)
def test_what_is_mlocked_goes_to_the_unevictable_list_at_once(kernel: str) -> None:
    """A folio that is mlocked while it waits for the LRU is on no other list for a moment."""
    session = run(kernel, "mmap A R 1p shared nomadv\nmlock A R 0 1")
    (folio,) = session.ledger.live_folios()
    assert session.state()["folios"]["F1"]["refcount"] == 2
    flags = [e for e in session.machine.events if len(e) > 2 and e[1] == folio.flags]
    lru = next(i for i, e in enumerate(flags) if e[2] == PG_lru)
    assert any(e[2] == PG_unevictable for e in flags[:lru])


@pytest.mark.parametrize(("kernel", "first"), [("6.6", 8), ("6.9", 7), ("6.12", 7), ("7.2", 7)])
def test_the_first_pages_that_a_gather_holds_are_freed_by_themselves(
    kernel: str, first: int
) -> None:
    """Its own room is eight slots; a page and its number take two since 6.9."""
    session = run(kernel, "mmap A R 12p nohuge\nwrite A R 0 12")
    folios = session.ledger.live_folios()
    start = session.position
    act(session, "dontneed A R 0 12")
    events = session.machine.events[start:]
    at = {e[1]: i for i, e in enumerate(events) if len(e) > 2 and e[0] == ADD and e[2] == -1}
    freed = [at[folio._refcount] for folio in folios]
    buddy = next(i for i, e in enumerate(events) if len(e) > 2 and e[2] == PG_buddy)
    assert sum(i < buddy for i in freed) == first
