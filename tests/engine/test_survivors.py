"""Scenarios for mistakes that once went through all tests: what they change is asserted here.

They came out of a mutation run (`python -m tests.mutants`): each was in text of the kernel that
some scenario ran, and in none whose outcome depended on it.
"""

from __future__ import annotations

import pytest

from sandbox.arch.arm64.pgtable import PTE_WRITE
from sandbox.mm.flags import MM_SWAPENTS
from sandbox.run.session import Session
from tests.engine.support import LARGE, act, broken, explain, run

BATCHED = ("6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
ALL = ("6.6", *BATCHED)


def entries(session: Session, process: str) -> int:
    """How many entries a process has."""
    ledger = session.ledger
    return len(list(ledger.leaf_entries(ledger.processes()[process])))


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("verb", ["dontneed", "munmap"])
def test_zapping_clears_entries_of_the_zero_page(kernel: str, verb: str) -> None:
    session = run(kernel, "mmap A R 16K nohuge\nread A R 0 4")
    assert entries(session, "A") == 4
    session = run(kernel, f"mmap A R 16K nohuge\nread A R 0 4\n{verb} A R 1 3")
    assert entries(session, "A") == 2
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", ["6.12", "6.15", "7.2", "7.2-nopm", "7.3"])
@pytest.mark.parametrize("verb", ["dontneed", "munmap"])
def test_zapping_markers_is_not_zapping_swap_entries(kernel: str, verb: str) -> None:
    lines = "mmap A R 16K nohuge\nuffd A R 0 4 async\nuffdwp A R 0 4 on"
    session = run(kernel, lines)
    assert entries(session, "A") == 4, "markers"
    session = run(kernel, f"{lines}\n{verb} A R 0 4")
    mm = session.ledger.processes()["A"]
    assert session.machine.peek(mm.rss_stat(MM_SWAPENTS)) == 0
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", ["6.15", "7.2", "7.2-nopm", "7.3"])
def test_fork_write_protects_a_batch_whose_first_entry_is_read_only(kernel: str) -> None:
    session = run(kernel, f"{LARGE}\nfork A B\nexit B\nwrite A R 1 16")
    mm = session.ledger.processes()["A"]
    writable = [bool(pte & PTE_WRITE) for _, _, pte in session.ledger.leaf_entries(mm)]
    assert writable == [False] + [True] * 15, "reused, all but the first"
    act(session, "fork A C\nwrite A R 3 4\nread C R 3 4")
    assert not broken(session), explain(session)
    step = session.steps[-2].number
    out = session.result_of(session.steps[-1].number)
    assert out is not None
    assert out.out is not None
    assert f"{step}x" not in out.out


def test_a_zero_page_of_a_locked_vma_is_not_given_up_by_a_split() -> None:
    """`try_to_map_unused_to_zeropage`: it would fault again (recorded on 7.2, random scenario)."""
    text = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 1 w\n{}split A R 0 16"
    free, kept = Session("7.2"), Session("7.2")
    act(free, text.format(""))
    act(kept, text.format("mlock A R 0 16\n"))
    entries = [session.state()["procs"]["A"]["ptes"] for session in (free, kept)]
    assert any(run[3] == "zero" for run in entries[0])
    assert not any(run[3] == "zero" for run in entries[1])
