"""userfaultfd write-protection, UFFDIO_COPY and UFFDIO_MOVE (mm/userfaultfd.c)."""

from __future__ import annotations

import pytest

from sandbox.arch.arm64.pgtable import PTE_MARKER, PTE_UFFD_WP, PTE_WRITE, UFFD_WP_MARKER
from sandbox.errors import UsageError
from sandbox.memory import LOCK, OP_NAMES
from sandbox.mm.flags import EEXIST, EFAULT, EINVAL, ENOENT, EOWNERDEAD
from sandbox.run.session import Session
from tests.engine.support import act, broken, explain, run, snapshot

KERNELS = ("6.12", "6.15", "7.2", "7.2-nopm", "7.3")
SMALL = "mmap A R 32K nohuge\nwrite A R 0 4"
LARGE = "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16"


def values(session: Session, proc: str = "A") -> dict[int, int]:
    """Raw entries by page of their region."""
    ledger = session.ledger
    found = ledger.leaf_entries(ledger.processes()[proc])
    return {ledger.region_of(addr)[1]: pte for addr, _, pte in found}


def ret(session: Session) -> int:
    result = session.result_of(len(session.steps))
    assert result is not None
    return result.ret


def anon(session: Session) -> int:
    return int(session.state()["procs"]["A"]["rss"]["anon"])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("memory", [SMALL, LARGE])
def test_protect_and_resolve(kernel: str, memory: str) -> None:
    session = run(kernel, f"{memory}\nuffd A R 0 4 sigbus")
    before = values(session)
    act(session, "uffdwp A R 1 3 on")
    now = values(session)
    for page in (1, 2):
        assert now[page] & (PTE_UFFD_WP | PTE_WRITE) == PTE_UFFD_WP
    for page in (0, 3):
        assert now[page] & (PTE_UFFD_WP | PTE_WRITE) == PTE_WRITE
    assert 5 not in now or not now[5] & PTE_UFFD_WP
    act(session, "uffdwp A R 1 3 off")
    again = values(session)
    assert {p: v & ~32 for p, v in again.items()} == {p: v & ~32 for p, v in before.items()}, (
        "exclusive pages are writable again without a fault"
    )
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_write_is_delivered_and_a_read_is_not(kernel: str) -> None:
    session = run(kernel, f"{SMALL}\nuffd A R 0 8 sigbus\nuffdwp A R 0 8 on\nread A R 0 4")
    assert ret(session) == 0
    act(session, "write A R 6 7")
    assert ret(session) == 0, "without WP_UNPOPULATED an empty place is not tracked"
    protected = session.position
    act(session, "write A R 2 3")
    assert ret(session) == -EOWNERDEAD, "SIGBUS, and nobody handles it"
    assert not session.state()["procs"]
    assert not broken(session), explain(session)
    session.goto(protected)
    act(session, "uffdwp A R 0 8 off\nwrite A R 2 3")
    assert ret(session) == 0
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("line", ["populate_write A R 0 4", "pin A R 0 4 1 wl", "get A R 2 3 1 w"])
def test_the_kernel_itself_gets_efault(kernel: str, line: str) -> None:
    session = run(kernel, f"{SMALL}\nuffd A R 0 8 sigbus\nuffdwp A R 0 4 on")
    before = session.state()["procs"]["A"]["ptes"]
    act(session, line)
    assert ret(session) == -EFAULT
    assert session.state()["procs"]["A"]["ptes"] == before
    act(session, "mlock A R 0 4")
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_async_resolves_the_fault_in_the_kernel(kernel: str) -> None:
    session = run(kernel, f"{SMALL}\nuffd A R 0 8 async\nuffdwp A R 0 8 on")
    assert values(session)[6] == PTE_MARKER | PTE_UFFD_WP, "also what is not there yet is tracked"
    assert anon(session) == 4, "a marker is no page"
    assert session.state()["procs"]["A"]["ptes"][-1][:5] == ["R", 4, 4, "special", None]
    act(session, "write A R 2 3\nwrite A R 6 7\nread A R 7 8")
    now = values(session)
    assert [page for page in range(8) if now[page] & PTE_UFFD_WP] == [0, 1, 3, 4, 5, 7]
    for page in (2, 6):
        assert now[page] & PTE_WRITE
    assert anon(session) == 5
    assert not broken(session), explain(session)
    act(session, "dontneed A R 4 6")
    assert not {4, 5} & values(session).keys(), "zap drops markers of anonymous memory"
    act(session, "uffd A R 0 8 off")
    assert not any(pte & PTE_UFFD_WP for pte in values(session).values())
    act(session, "exit A")
    assert session.state() == {"procs": {}, "folios": {}}
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_child_is_not_tracked_but_stays_read_only(kernel: str) -> None:
    session = run(kernel, f"{SMALL}\nuffd A R 0 8 async\nuffdwp A R 0 8 on\nfork A B")
    mine, child = values(session), values(session, "B")
    assert all(mine[page] & PTE_UFFD_WP for page in range(8))
    assert child.keys() == {0, 1, 2, 3}, "markers stay with the parent"
    assert not any(pte & (PTE_UFFD_WP | PTE_WRITE) for pte in child.values())
    act(session, "write B R 0 1\nwrite A R 0 1")
    assert not values(session)[0] & PTE_UFFD_WP
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mprotect_does_not_make_a_tracked_page_writable(kernel: str) -> None:
    session = run(kernel, f"{LARGE}\nuffd A R 0 16 sigbus\nuffdwp A R 0 8 on\n"
                  "mprotect A R 0 16 r\nmprotect A R 0 16 rw")  # fmt: skip
    now = values(session)
    assert all(now[page] & (PTE_UFFD_WP | PTE_WRITE) == PTE_UFFD_WP for page in range(8))
    assert all(now[page] & (PTE_UFFD_WP | PTE_WRITE) == PTE_WRITE for page in range(8, 16))
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_split_keeps_the_bit_and_a_move_drops_it(kernel: str) -> None:
    session = run(kernel, f"{LARGE}\nuffd A R 0 16 async\nuffdwp A R 0 8 on\nsplit A R 0 16")
    now = values(session)
    assert [page for page in range(16) if now[page] & PTE_UFFD_WP] == list(range(8))
    act(session, "mremap A R 0 16 S 0")
    assert not any(pte & PTE_UFFD_WP for pte in values(session).values())
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_copy_fills_empty_places_only(kernel: str) -> None:
    session = run(kernel, "mmap A R 32K nohuge\nuffd A R 0 8 sigbus\nuffdcopy A R 0 2")
    folio = session.state()["folios"]["F1"]
    assert (folio["refcount"], folio["mapcount"], folio["exclusive"]) == (1, [[0, 1]], [[1, 1]])
    assert folio["data"] == [[3, 1]]
    assert values(session)[0] & PTE_WRITE
    act(session, "uffdcopy A R 1 3")
    assert ret(session) == -EEXIST
    assert anon(session) == 2
    act(session, "uffdcopy A R 4 5 wp")
    assert values(session)[4] & (PTE_UFFD_WP | PTE_WRITE) == PTE_UFFD_WP
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_move_takes_the_page_itself(kernel: str) -> None:
    session = run(kernel, f"{SMALL}\nmmap A S 32K nohuge\nuffd A S 0 8 sigbus")
    act(session, "uffdmove A R 0 2 S 4")
    assert ret(session) == 0
    moved = session.state()["folios"]["F1"]
    assert moved["index"] == ["S", 4]
    assert (moved["refcount"], moved["mapcount"], moved["exclusive"]) == (1, [[0, 1]], [[1, 1]])
    ptes = session.state()["procs"]["A"]["ptes"]
    assert [(p[0], p[1], p[4]) for p in ptes if p[4] in ("F1", "F2")] == [
        ("S", 4, "F1"), ("S", 5, "F2")]  # fmt: skip
    assert anon(session) == 4
    act(session, "read A S 4 6")
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("why", ["pin A R 0 1 1 wl", "fork A B"])
def test_what_is_pinned_or_shared_is_not_moved(kernel: str, why: str) -> None:
    session = run(kernel, f"{SMALL}\nmmap A S 32K nohuge\nuffd A S 0 8 sigbus\n{why}")
    if why.startswith("pin"):
        # many references on a small folio are taken for pins; one pin is enough
        assert session.state()["folios"]["F1"]["refcount"] == 1025
    before = session.state()["procs"]["A"]["ptes"]
    act(session, "uffdmove A R 0 1 S 0")
    assert ret(session) == -16
    assert session.state()["procs"]["A"]["ptes"] == before
    assert not broken(session), explain(session)


def test_a_move_flushes_once_in_7_2() -> None:
    counts = {}
    for kernel in ("6.12", "7.2"):
        session = run(kernel, f"{SMALL}\nmmap A S 32K nohuge\nuffd A S 0 8 sigbus")
        start = session.position
        act(session, "uffdmove A R 0 3 S 0")
        events = session.machine.events[start:]
        names = [OP_NAMES[event[0]] for event in events]
        locks = [session.machine.memory.field_at(e[1]).name for e in events if e[0] == LOCK]
        counts[kernel] = (names.count("tlb_flush"), locks.count("rwsem"))
    # one lock is anon_vma_prepare()'s for the target
    assert counts == {"6.12": (3, 4), "7.2": (1, 1)}


def test_errors_of_the_kernel() -> None:
    session = run("7.2", f"{SMALL}\nmmap A S 32K nohuge")
    for line, error in (
        ("uffdwp A R 0 1 on", ENOENT),
        ("uffdcopy A R 5 6", ENOENT),
        ("uffdmove A R 0 1 S 0", EINVAL),
    ):
        act(session, line)
        assert ret(session) == -error, line


def test_undo_takes_everything_back() -> None:
    session = run("7.2", f"{LARGE}\nmmap A S 32K nohuge")
    before, position = snapshot(session), session.position
    act(session, "uffd A R 0 16 async\nuffdwp A R 0 16 on\nwrite A R 3 4\nuffd A S 0 8 async\n"
        "uffdcopy A S 0 1\nuffdmove A R 3 4 S 1\nuffd A R 0 16 off")  # fmt: skip
    session.goto(position)
    after = snapshot(session)
    for key in ("cells", "objects", "ledger"):
        assert after[key] == before[key]


@pytest.mark.parametrize(
    ("kernel", "lines", "message"),
    [
        ("6.9", "uffd A R 0 4 async", "no userfaultfd write-protection on arm64"),
        ("7.2", "uffdmove A R 0 2 R 1", "overlap"),
        ("7.2", "uffdmove A R 0 2 Q 1", "no region Q"),
    ],
)
def test_what_cannot_be_meant_is_refused(kernel: str, lines: str, message: str) -> None:
    session = run(kernel, SMALL)
    before = snapshot(session)
    with pytest.raises(UsageError, match=message):
        act(session, lines)
    assert snapshot(session) == before


MEMORIES = {
    "shared": "mmap A R 64K shared nohuge",
    "memfd": "memfd F 64K\nmmap A R 64K shared fd=F nohuge",
    "private memfd": "memfd F 64K\nmmap A R 64K fd=F nohuge",
    "file": "file F 64K /x/f 1p\nmmap A R 64K shared fd=F nohuge",
    "private file": "file F 64K /x/f 1p\nmmap A R 64K fd=F nohuge",
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_file_on_a_disk_is_only_protected_asynchronously(kernel: str, memory: str) -> None:
    session = run(kernel, f"{MEMORIES[memory]}\nuffd A R 0 16 sigbus")
    refused = "file" in memory
    assert ret(session) == (-EINVAL if refused else 0)
    act(session, "uffdwp A R 0 4 on")
    assert ret(session) == (-ENOENT if refused else 0)
    act(session, "uffd A R 0 16 off")
    assert ret(session) == (-EINVAL if refused else 0)
    act(session, "uffd A R 0 16 async\nuffdwp A R 0 4 on")
    assert ret(session) == 0
    act(session, "uffdcopy A R 6 7")
    assert ret(session) == (-EINVAL if refused else 0)
    act(session, "uffd A R 0 16 off")
    assert ret(session) == 0
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_file_s_protection_outlives_its_pages(kernel: str, memory: str) -> None:
    session = run(kernel, f"{MEMORIES[memory]}\nuffd A R 0 16 async\ntouch A R 0 2 w\nread A R 2 4")
    act(session, "uffdwp A R 0 6 on")
    now = values(session)
    assert [now[page] & (PTE_UFFD_WP | PTE_WRITE) for page in range(4)] == [PTE_UFFD_WP] * 4
    assert [now[page] for page in (4, 5)] == [UFFD_WP_MARKER] * 2, "also of what is not there yet"
    act(session, "dontneed A R 1 5")
    assert [values(session)[page] for page in range(1, 6)] == [UFFD_WP_MARKER] * 5
    act(session, "read A R 3 4\nwrite A R 4 5")
    now = values(session)
    assert now[3] & (PTE_UFFD_WP | PTE_WRITE) == PTE_UFFD_WP
    assert now[4] & (PTE_UFFD_WP | PTE_WRITE) == PTE_WRITE
    act(session, "fork A B")
    child = values(session, "B")
    assert not any(entry & PTE_UFFD_WP for entry in child.values()), "a child is not watched"
    act(session, "munmap A R 0 3\nexit B\nexit A")
    assert not session.state()["procs"]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_hole_in_the_file_leaves_the_marks(kernel: str) -> None:
    session = run(kernel, f"{MEMORIES['memfd']}\nuffd A R 0 16 async\ntouch A R 0 4 w")
    act(session, "uffdwp A R 0 3 on\nremove A R 1 4")
    now = values(session)
    assert [now.get(page) for page in (1, 2, 3)] == [UFFD_WP_MARKER, UFFD_WP_MARKER, None]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_leaf_is_protected_whole_and_a_file_s_becomes_markers(kernel: str) -> None:
    session = run(kernel, "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1\nuffd A R 0 512 async")
    act(session, "uffdwp A R 0 512 on\nread A R 3 4")
    ((region, _, count, kind, *_rest),) = session.state()["procs"]["A"]["ptes"]
    assert (region, count, kind) == ("R", 512, "pmd")
    act(session, "fork A B")
    assert session.state()["procs"]["B"]["uffd_wp"] == []
    act(session, "write A R 3 4")
    assert session.state()["procs"]["A"]["uffd_wp"] == [["R", 0, 3], ["R", 4, 508]]
    assert not broken(session), explain(session)
    session = run(kernel, "shmem 2M always\nmmap A R 2M shared\nwrite A R 0 1")
    act(session, "uffd A R 0 512 async\nuffdwp A R 0 512 on")
    assert set(values(session).values()) == {UFFD_WP_MARKER}
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_write_to_a_protected_leaf_is_delivered(kernel: str) -> None:
    session = run(kernel, "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1\nuffd A R 0 512 sigbus")
    act(session, "uffdwp A R 0 512 on\nmprotect A R 0 512 r\nmprotect A R 0 512 rw")
    assert session.state()["procs"]["A"]["uffd_wp"] == [["R", 0, 512]]
    act(session, "populate_write A R 0 1")
    assert ret(session) == -EFAULT
    act(session, "write A R 5 6")
    assert ret(session) == -EOWNERDEAD
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
def test_nobody_protects_again_while_a_range_is_unregistered(kernel: str) -> None:
    block = "cpu0: uffdwp A R 0 2 on\ncpu1: uffd A R 0 4 off\n"
    for count in range(1, 70):
        session = run(kernel, "mmap A R 4p nohuge\nwrite A R 0 3\nuffd A R 0 4 async")
        act(session, f"{block}schedule cpu1 {count}, cpu0 all, cpu1 all")
        assert not broken(session), explain(session)
        assert not any(entry & PTE_UFFD_WP for entry in values(session).values())
