"""KSM: what is stored when pages are merged and unmerged (mm/ksm.c)."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import UsageError
from sandbox.memory import ADD, Folio, Globals
from sandbox.mm.flags import PG_ksm
from sandbox.run.session import Session
from tests.engine.support import UPSTREAM, act, explain, run, snapshot

MTHP = ("6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
EQUAL = "mmap A R 16K nohuge\nwrite A R 0 4\ndrain"


def folio(session: Session, name: str) -> dict[str, Any]:
    found: dict[str, Any] = session.state()["folios"][name]
    return found


def entries(session: Session, proc: str = "A") -> list[tuple[str, int, str]]:
    """(folio, page of it, flags) of each run, in address order."""
    ptes = session.state()["procs"][proc]["ptes"]
    return [(pte[4], pte[5], pte[6]) for pte in ptes]


def is_ksm(session: Session, name: str) -> bool:
    head = next(h for h, n in session.ledger.names.items() if n == name)
    return bool(session.machine.peek(Folio(head).flags) & PG_ksm)


def out(session: Session) -> str | None:
    result = session.result_of(len(session.steps))
    return result.out if result else None


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_two_pages_become_one(kernel: str) -> None:
    session = run(kernel, f"{EQUAL}\nksm A R 0 1 A R 1")
    assert out(session) == '{"merged":1}'
    assert [e for e in entries(session) if e[0] == "F2"] == [("F2", 0, "oy"), ("F2", 0, "oy")]
    assert "F1" not in session.state()["folios"], "the page that was replaced is free"
    merged = folio(session, "F2")
    assert (merged["refcount"], merged["mapcount"]) == (2, [[1, 1]])
    assert merged["exclusive"] == [[0, 1]]
    assert "dirty" in merged["flags"], "it must be swapped, not dropped"
    assert is_ksm(session, "F2")
    assert session.state()["procs"]["A"]["rss"]["anon"] == 4
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_a_write_gets_a_copy_even_when_it_is_the_last_user(kernel: str) -> None:
    session = run(kernel, f"{EQUAL}\nksm A R 0 1 A R 1\nwrite A R 0 1\nwrite A R 1 2")
    state = session.state()
    assert "F2" not in state["folios"], "no KSM page is ever reused"
    assert [e[2] for e in entries(session)][:2] == ["wdy", "wdy"]
    for name in (entries(session)[0][0], entries(session)[1][0]):
        copy = state["folios"][name]
        assert (copy["refcount"], copy["mapcount"], copy["exclusive"]) == (1, [[0, 1]], [[1, 1]])
        assert not is_ksm(session, name)
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_pages_of_two_processes_and_a_child(kernel: str) -> None:
    session = run(kernel, "mmap A R 4K nohuge\nmmap B R 4K nohuge\ncpu0: write A R 0 1\n"
                  "cpu1: write B R 0 1\ndrain\nksm A R 0 1 B R 0\nfork A C")  # fmt: skip
    (name, _, _) = entries(session)[0]
    assert {entries(session, proc)[0][0] for proc in "ABC"} == {name}
    assert (folio(session, name)["refcount"], folio(session, name)["mapcount"]) == (3, [[2, 1]])
    act(session, "exit A\nexit B\nexit C")
    assert session.state() == {"procs": {}, "folios": {}}
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
@pytest.mark.parametrize("hold", ["pin A R 0 1 1 wl", "get A R 0 1 1 w"])
def test_a_page_in_use_is_put_back_as_it_was(kernel: str, hold: str) -> None:
    """`folio_mapcount + 1 + swapped != folio_ref_count`: O_DIRECT may be writing to it."""
    session = run(kernel, f"{EQUAL}\n{hold}")
    before = session.state()
    act(session, "ksm A R 0 1 A R 1")
    assert out(session) == '{"merged":0}'
    after = session.state()
    assert after["procs"]["A"]["ptes"][0] == before["procs"]["A"]["ptes"][0]
    assert after["folios"]["F1"] == before["folios"]["F1"]
    assert not is_ksm(session, entries(session)[1][0]), "the KSM page with one user was broken"
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_unmerge_gives_every_place_an_exclusive_read_only_page(kernel: str) -> None:
    session = run(kernel, f"{EQUAL}\nksm A R 0 2 A R 2\nunmerge A R 0 4")
    assert len({e[0] for e in entries(session)}) == 4
    for name, _, flags in entries(session):
        assert flags == "oy"
        assert folio(session, name)["exclusive"] == [[1, 1]]
        assert folio(session, name)["data"] == [[2, 1]]
    assert session.state()["procs"]["A"]["rss"]["anon"] == 4
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_a_read_only_pin_unshares_first(kernel: str) -> None:
    session = run(kernel, f"{EQUAL}\nksm A R 0 1 A R 1\npin A R 0 1 1 l")
    (page,) = session.state()["holds"]["1"]["pages"]
    name = page.partition(".")[0]
    assert not is_ksm(session, name)
    assert folio(session, name)["exclusive"] == [[1, 1]]
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", MTHP)
def test_a_large_folio_is_split_first(kernel: str) -> None:
    session = run(kernel, "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\n"
                  "mmap A S 4K nohuge\ncpu0: write A S 0 1\nksm A R 5 6 A S 0")  # fmt: skip
    assert out(session) == '{"merged":0}', "the contents differ"
    act(session, "cpu0: write A S 0 1\ncpu1: write A R 5 6\ndrain\nksm A R 5 6 A S 0")
    assert out(session) == '{"merged":1}'
    orders = {f["order"] for f in session.state()["folios"].values()}
    assert orders == {0}
    assert not session.rules.violations, explain(session)


@pytest.mark.parametrize("kernel", MTHP)
def test_two_pages_of_one_large_folio_only_split_it(kernel: str) -> None:
    """Two references of ksmd's on one folio keep it from being split in time."""
    session = run(kernel, "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\nksm A R 0 1 A R 1")
    assert out(session) == '{"merged":0}'
    assert {f["order"] for f in session.state()["folios"].values()} == {0}
    act(session, "drain\nksm A R 0 1 A R 1")
    assert out(session) == '{"merged":1}'
    assert not session.rules.violations, explain(session)


def test_the_reference_comes_before_the_mapping_and_goes_after_it() -> None:
    session = run("7.2", f"{EQUAL}")
    heads = {name: Folio(head) for head, name in session.ledger.names.items()}
    old, new, start = heads["F1"], heads["F2"], session.position
    act(session, "ksm A R 0 1 A R 1")
    adds = [(e[1], e[2]) for e in session.machine.events[start:] if e[0] == ADD]
    replaced = adds.index((new._mapcount, 1))
    assert adds[replaced - 1 : replaced + 4] == [
        (new._refcount, 1),
        (new._mapcount, 1),
        (old._mapcount, -1),
        (Globals.nr_anon_mapped, -1),
        (old._refcount, -1),
    ]


def test_shared_memory_and_empty_places_are_left_alone() -> None:
    session = run("7.2", "mmap A R 16K shared\nwrite A R 0 2\nmmap A S 16K nohuge\nread A S 0 1")
    before = session.state()
    act(session, "ksm A R 0 1 A R 1\nksm A S 0 1 A S 2")
    assert session.state() == before


def test_undo_takes_a_merge_back() -> None:
    session = run("7.2", EQUAL)
    before, position = snapshot(session), session.position
    act(session, "ksm A R 0 2 A R 2\nunmerge A R 0 4")
    session.goto(position)
    after = snapshot(session)
    assert {k: after[k] for k in ("cells", "ledger", "objects")} == {
        k: before[k] for k in ("cells", "ledger", "objects")
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ksm A R 0 1 A R 0", "cannot be merged with itself"),
        ("ksm A R 0 1 A Q 0", "no region Q"),
        ("ksm A R 0 1 B R 0", "no process B"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(line: str, message: str) -> None:
    session = run("7.2", EQUAL)
    before = snapshot(session)
    with pytest.raises(UsageError, match=message):
        act(session, line)
    assert snapshot(session) == before


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_a_merged_page_that_moves_is_a_page_of_its_own(kernel: str) -> None:
    session = run(kernel, f"{EQUAL}\nksm A R 0 1 A R 2")
    ((merged, *_), *_rest) = entries(session)
    assert is_ksm(session, merged)
    act(session, "mremap A R 0 1 S 0")
    moved = session.state()["procs"]["A"]["ptes"][-1]
    assert moved[0] == "S"
    assert not is_ksm(session, moved[4])
    assert session.state()["folios"][merged]["mapcount"] == [[0, 1]], "the other place keeps it"
    assert not session.rules.violations, explain(session)
