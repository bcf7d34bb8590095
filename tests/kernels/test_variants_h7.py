"""The variant kernels of presets 34 to 48: each shows what it differs in."""

from __future__ import annotations

import pytest

from sandbox.arch.arm64.pgtable import PTRS_PER_PTE
from sandbox.fields import Struct
from sandbox.memory import NOTE, Folio
from sandbox.run.session import Session
from tests.engine.support import act, run

BLOCK = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n"
PAGE = "mmap A R 4K\nwrite A R 0 1\n"
HUGE = "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w\n"


def folio(session: Session, name: str = "F1") -> Folio:
    """The folio that the sandbox calls *name*."""
    head = next(h for h, n in session.ledger.names.items() if n == name)
    return session.ledger.folio(head)


def refcount(session: Session, name: str = "F1") -> int:
    """Its reference count."""
    return int(session.machine.peek(folio(session, name)._refcount))


def rules(session: Session) -> set[str]:
    """Rules broken anywhere in the run, known windows left out."""
    return {v.rule for v in session.rules.violations if v.known_window is None}


def warnings(session: Session) -> list[str]:
    """What the kernel warned about."""
    return [e[3] for e in session.machine.events if e[0] == NOTE and e[2] == "warn"]


# -- 34 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "warned"), [("6.15-rc1", True), ("6.15", False)])
def test_the_inverted_assertion_warns_of_a_reference_too_many(kernel: str, warned: bool) -> None:
    session = run(kernel, BLOCK.replace("64K", "32K").replace("16", "8") + "fork A B\nexit B\n")
    act(session, "cpu0: write A R 0 1\ncpu1: get A R 0 1 g -\nschedule 0x28 1x12\n")
    assert bool(warnings(session)) is warned
    assert not rules(session)


@pytest.mark.parametrize("kernel", ["6.15-rc1", "6.15"])
def test_neither_assertion_warns_of_a_plain_reuse(kernel: str) -> None:
    session = run(kernel, BLOCK + "fork A B\nexit B\nwrite A R 0 1\n")
    assert not warnings(session)


# -- 35 ------------------------------------------------------------------------------------


def test_total_mapped_pages_counts_what_each_leaf_maps() -> None:
    session = run("rfc26", HUGE + "fork A B\nfork A C\ndontneed C R 1 512\n")
    thp, peek = folio(session), session.machine.peek
    assert peek(thp._large_mapcount) + 1 == refcount(session) == 3
    assert peek(thp._nr_pages_mapped) == 1025
    assert peek(thp._entire_mapcount) == -1
    act(session, "exit A\nexit B\nexit C\n")
    assert peek(thp._nr_pages_mapped) == 0
    assert not rules(session)


def test_total_mapped_pages_of_entries_is_the_mapcount() -> None:
    session = run("rfc26", BLOCK + "fork A B\ndontneed A R 3 7\npin B R 9 10 p w\nfork B C\n")
    block = folio(session)
    peek = session.machine.peek
    assert peek(block._nr_pages_mapped) == peek(block._large_mapcount) + 1
    assert not rules(session)


# -- 37 to 39 ------------------------------------------------------------------------------

HALF = BLOCK + "dontfork A R 0 8\nfork A B\ndofork A R 0 8\nfree A R 0 16\nwrite A R 0 1\n"
LAZYFREE = ("lazyfree-batch", "lazyfree-restore", "stale-nr-pages", "past-page-table")


def writable(session: Session, proc: str = "A") -> int:
    """How many entries of a process are writable."""
    return sum(run[2] for run in session.state()["procs"][proc]["ptes"] if "w" in run[6])


@pytest.mark.parametrize("kernel", LAZYFREE)
def test_a_batch_put_back_keeps_its_permissions(kernel: str) -> None:
    session = run(kernel, HALF + "reclaim A R 0 16\n")
    buggy = kernel in ("lazyfree-restore", "past-page-table")  # the latter is the code as merged
    assert writable(session) == (16 if buggy else 8)
    assert rules(session) == ({"I-18", "I-20"} if buggy else set())
    assert refcount(session) == 24


@pytest.mark.parametrize("kernel", LAZYFREE)
def test_a_device_exclusive_entry_is_unmapped_alone(kernel: str) -> None:
    lines = (
        "mthp 64K madvise\nmmap A R 128K\ntouch A R 0 32 w\nfree A R 0 16\nexclusive A R 15 16\n"
    )
    session = run(kernel, lines)
    first, peek = folio(session, "F1"), session.machine.peek
    act(session, "reclaim A R 0 16\n")
    if kernel != "stale-nr-pages":
        assert peek(first._refcount) == 0
        assert not rules(session)
        return
    assert peek(first._refcount) == peek(first._large_mapcount) + 1 == -14
    second = folio(session, "F2")
    assert [peek(second.page(i)._mapcount) for i in range(16)] == [-1] * 14 + [0] * 2
    assert {"I-01", "I-04", "I-05", "I-11", "I-12"} <= rules(session)


def reads_past_tables(session: Session) -> list[str]:
    """Functions whose batch scans read a word of a page table that is no entry."""
    out = []
    machine = session.machine
    for task in machine.tasks:
        for (function, _, _), i in zip(
            machine.trace_functions(task), range(task.start, machine.position), strict=False
        ):
            address = machine.events[i][1]
            base, struct, _ = machine.memory.object_at(address) if address else (0, None, 0)
            inside = struct is Struct.PTE_TABLE and address - base < PTRS_PER_PTE
            if function in ("ptep_get", "contpte_ptep_get") and not inside:
                out.append(function)
    return out


@pytest.mark.parametrize("kernel", LAZYFREE)
def test_only_one_kernel_scans_past_the_page_table(kernel: str) -> None:
    session = run(kernel, BLOCK + "free A R 0 16\nmremap A R 0 16 Q 504\n")
    act(session, "reclaim A Q 504 520\n")
    assert bool(reads_past_tables(session)) is (kernel == "past-page-table")
    assert session.state()["procs"]["A"]["rss"]["anon"] == 0
    assert not rules(session)


# -- 40 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["xen-overbatch", "6.15"])
def test_a_batch_ends_with_the_folio(kernel: str) -> None:
    lines = "file F 20K /x/f 16K\nmmap A R 20K at=453 fd=F ro\ntouch A R 453 457 r\n"
    session = run(kernel, lines + "mmap B R 16K at=453 fd=F ro\ntouch B R 453 457 r\n")
    act(session, "dontneed A R 457 458\ndontneed A R 453 458\n")
    buggy = kernel == "xen-overbatch"
    assert refcount(session) == (7 if buggy else 8)
    assert ("I-16" in rules(session)) is buggy


# -- 42 to 44 ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "leak"), [("cow-5.7", True), ("cow-5.9", False)])
def test_reuse_by_mapcount_writes_under_a_reader(kernel: str, leak: bool) -> None:
    session = run(kernel, PAGE + "fork A B\nget B R 0 1 g -\nmunmap B R 0 1\nwrite A R 0 1\n")
    assert ("I-21" in rules(session)) is leak


@pytest.mark.parametrize(("kernel", "lost"), [("cow-5.7", True), ("cow-5.9", False)])
def test_fork_shares_or_copies_a_pinned_page(kernel: str, lost: bool) -> None:
    session = run(kernel, PAGE + "pin A R 0 1 p w\nfork A B\nwrite A R 0 1\n")
    assert bool({"I-23", "I-24"} & rules(session)) is lost
    assert refcount(session) == 1025


@pytest.mark.parametrize(("kernel", "copied"), [("cow-5.7", 0), ("cow-5.9", 1), ("6.6", 0)])
def test_reuse_by_refcount_copies_under_direct_io(kernel: str, copied: int) -> None:
    lines = "get A R 0 1 g w\nmprotect A R 0 1 r\nmprotect A R 0 1 rw\nwrite A R 0 1\n"
    session = run(kernel, PAGE + lines)
    assert refcount(session) == 2 - copied


@pytest.mark.parametrize("kernel", ["cow-5.7", "cow-5.9"])
def test_old_kernels_have_no_exclusive_pages(kernel: str) -> None:
    session = run(kernel, "swap on\n" + PAGE + "pageout A R 0 1\nwrite A R 0 1\nfork A B\nexit B\n")
    act(session, "write A R 0 1\n")
    assert all(e[0] != NOTE or e[2] != "warn" for e in session.machine.events)
    assert all(f["exclusive"] == [[0, 1]] for f in session.state()["folios"].values())


# -- 45 and 48 -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "lost"), [("no-seqcount", True), ("7.2", False)])
def test_a_fast_pin_during_fork(kernel: str, lost: bool) -> None:
    session = run(kernel, PAGE + "cpu0: fork A B\ncpu1: pin A R 0 1 p w\nschedule 0x102 1x40\n")
    assert ({"I-22", "I-24"} <= rules(session)) is lost
    assert bool(rules(session)) is lost


def test_pins_of_sixteen_come_and_go() -> None:
    session = run("pin-bias-16", PAGE + "pin A R 0 1 p w\nfork A B\n")
    assert refcount(session) == 17
    assert refcount(session, "F2") == 1
    act(session, "unpin p\nfork A C\n")
    assert refcount(session) == 2
    assert not rules(session)


def test_a_thousand_processes_look_like_a_pin_and_fork_shares_all_the_same() -> None:
    forks = "".join(f"fork A B{i}\n" for i in range(1023))
    session = run("7.2", "mmap A R 8K\ntouch A R 0 2 w\npin A R 1 2 p w\nunpin p\n" + forks)
    assert refcount(session) == 1024
    act(session, "fork A C\n")
    assert refcount(session) == 1025
    assert not rules(session)
