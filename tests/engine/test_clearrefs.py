"""clear_refs, drop_caches and fsync (fs/proc/task_mmu.c, mm/truncate.c, mm/rmap.c)."""

from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.memory import OP_NAMES
from sandbox.mm.flags import EINVAL
from sandbox.run.session import Session
from sandbox.syscalls import Result
from tests.engine.support import UPSTREAM, act, broken, explain, run, snapshot

MTHP = ("6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
BOTH = """\
file F 64K /x/f 16K
mmap A S 64K shared fd=F
read A S 0 16
mmap A R 16K nohuge
write A R 0 4"""
FILE = "file F 64K /x/f 16K\nmmap A R 64K shared fd=F\nread A R 0 1\nwrite A R 0 1\nwrite A R 5 6"


def young(session: Session, region: str) -> int:
    """Pages of a region whose entries have the access flag."""
    ptes = session.state()["procs"]["A"]["ptes"]
    return sum(pte[2] for pte in ptes if pte[0] == region and "y" in pte[6])


def last(session: Session) -> Result:
    result = session.result_of(len(session.steps))
    assert result is not None
    return result


@pytest.mark.parametrize("kernel", UPSTREAM)
@pytest.mark.parametrize(
    ("value", "anon", "file"), [(1, 0, 0), (2, 0, 16), (3, 4, 0), (4, 4, 16), (5, 4, 16)]
)
def test_which_entries_get_old(kernel: str, value: int, anon: int, file: int) -> None:
    session = run(kernel, BOTH)
    assert young(session, "R") == 4
    old = 16 - young(session, "S")
    before = session.state()
    act(session, f"clearrefs A {value}")
    assert young(session, "R") == anon
    assert young(session, "S") == max(file - old, 0)
    after = session.state()
    for name, folio in after["folios"].items():
        same = {k: v for k, v in folio.items() if k != "flags"}
        assert same == {k: v for k, v in before["folios"][name].items() if k != "flags"}
        if value in (1, 2 if folio["mapping"] == "anon" else 3):
            assert "referenced" not in folio["flags"]
    assert after["procs"]["A"]["rss"] == before["procs"]["A"]["rss"]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_other_numbers_are_einval(kernel: str) -> None:
    session = run(kernel, BOTH)
    for value in (0, 6, 7):
        before = session.state()
        act(session, f"clearrefs A {value}")
        assert last(session).ret == -EINVAL
        assert session.state() == before


@pytest.mark.parametrize("kernel", MTHP)
def test_a_contiguous_block_gets_old_and_young_as_a_whole(kernel: str) -> None:
    session = run(kernel, "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\nclearrefs A 1")
    assert young(session, "R") == 0
    (block,) = session.state()["procs"]["A"]["ptes"]
    assert "c" in block[6], "the access flag is not a reason to unfold"
    act(session, "read A R 3 4")
    assert young(session, "R") == 16
    assert not broken(session), explain(session)


def test_a_pmd_leaf_gets_old() -> None:
    session = run("7.2", "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1\nclearrefs A 2")
    (leaf,) = session.state()["procs"]["A"]["ptes"]
    assert (leaf[3], "y" in leaf[6]) == ("pmd", False)


def test_only_soft_dirty_flushes() -> None:
    session = run("7.2", BOTH)
    for value, flushes in ((1, 0), (4, 1)):
        start = session.position
        act(session, f"clearrefs A {value}")
        names = [OP_NAMES[event[0]] for event in session.machine.events[start:]]
        assert names.count("tlb_flush") == flushes


# -- the page cache --------------------------------------------------------------------------


def cached(session: Session) -> int:
    """Pages of file F that are in the cache."""
    mapping = session.ledger.book.files["F"].mapping
    return int(session.machine.peek(mapping.nrpages))


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_dirty_folios_stay(kernel: str) -> None:
    session = run(kernel, "file F 64K /x/f 16K\ndropcache")
    assert cached(session) == 16
    act(session, "fsync F\ndropcache")
    assert cached(session) == 0
    assert last(session).out is None
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_fsync_write_protects_and_cleans(kernel: str) -> None:
    session = run(kernel, FILE)
    assert any("w" in pte[6] and "d" in pte[6] for pte in session.state()["procs"]["A"]["ptes"])
    act(session, "fsync F")
    state = session.state()
    assert not any(set("wd") & set(pte[6]) for pte in state["procs"]["A"]["ptes"])
    assert not any("dirty" in folio["flags"] for folio in state["folios"].values())
    act(session, "write A R 5 6\nread A R 5 6")
    assert last(session).out == f"{len(session.steps) - 1}x1"
    dirty = [f for f in session.state()["folios"].values() if "dirty" in f["flags"]]
    assert len(dirty) == 1
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
@pytest.mark.parametrize("hold", ["", "get A R 0 1 1 -"])
def test_mapped_and_held_folios_stay(kernel: str, hold: str) -> None:
    session = run(kernel, f"{FILE}\nfsync F\n{hold}")
    mapped = session.state()["folios"]
    act(session, "dropcache")
    assert session.state()["folios"] == mapped
    act(session, "munmap A R 0 16\ndropcache")
    left = [f["refcount"] for f in session.state()["folios"].values()]
    # XFS's block state, the cache and the one who holds it
    assert left == ([6] if hold else [])
    assert not broken(session), explain(session)


def test_shared_memory_has_nowhere_to_go() -> None:
    session = run("7.2", "memfd F 64K\nmmap A R 64K shared fd=F\nwrite A R 0 3\nmunmap A R 0 16\n"
                  "fsync F\ndropcache")  # fmt: skip
    assert cached(session) == 3


def test_undo_and_a_file_that_is_not_there() -> None:
    session = run("7.2", FILE)
    before, position = snapshot(session), session.position
    with pytest.raises(UsageError, match="no file G"):
        act(session, "fsync G")
    assert snapshot(session) == before
    act(session, "clearrefs A 1\nfsync F\nmunmap A R 0 16\ndropcache")
    session.goto(position)
    assert snapshot(session)["cells"] == before["cells"]
    assert snapshot(session)["ledger"] == before["ledger"]
