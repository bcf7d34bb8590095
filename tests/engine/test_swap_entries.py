"""Every verb on every kind of entry that is not a page: answered without a mistake, or refused.

What is refused is refused before anything has happened.  What is answered breaks no rule, keeps
what the pages hold unless it is asked to change it, and leaks neither slots nor references.
"""

from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.machine.memory import Globals
from sandbox.machine.offsets import CLUSTER_COUNT, SWAP_CLUSTERS
from sandbox.run.session import Session
from tests.engine.support import act, run

OUT = "swap on\nmmap A R 64K nohuge\nwrite A R 0 16\npageout A R 0 16"
OUT_64K = "swap on\nmthp 64K madvise\nmmap A R 64K\nwrite A R 0 16\npageout A R 0 16"
WATCHED = "mmap A R 64K nohuge\nuffd A R 0 16 async"
KINDS = {
    "swapped, exclusive": OUT,
    "swapped, shared": f"{OUT}\nfork A B",
    "swapped in one piece": OUT_64K,
    "swapped in one piece, shared": f"{OUT_64K}\nfork A B",
    "in the swap cache": "swap on\nmmap A R 64K nohuge\nwrite A R 0 16\nget A R 0 8 g -\n"
    "pageout A R 0 16",
    "a shared page read by one": f"{OUT}\nfork A B\nread B R 3 9",
    "a copy of a file's page": "swap on\nfile F 16p /x/f\nmmap A R 64K fd=F\nwrite A R 0 16\n"
    "pageout A R 0 16",
    "zero page": "swap on\nmmap A R 64K nohuge\nread A R 0 16",
    "marker": f"swap on\n{WATCHED}\nuffdwp A R 0 16 on",
    "swapped, write-protected": f"swap on\n{WATCHED}\nwrite A R 0 16\nuffdwp A R 0 16 on\n"
    "pageout A R 0 16",
}
KEEP = (
    "read A R 2 9", "populate_read A R 2 9", "populate_write A R 2 9", "cold A R 2 9",
    "pageout A R 2 9", "mlock A R 2 9", "mprotect A R 2 9 r", "pin A R 2 9 p w", "pin A R 2 9 p wl",
    "get A R 2 9 q -", "fork A C", "collapse A R 0 16", "split A R 2 9", "softoffline A R 2 9",
    "clearrefs A 1", "clearrefs A 4", "dropcache", "uring A R 2 9", "swap off", "drain",
    "uffd A R 0 16 sigbus", "uffdwp A R 2 9 off", "dontfork A R 2 9",
    "wipeonfork A R 2 9", "ksm A R 2 4 A R 6", "fold A R 0 16", "unfold A R 0 16",
)  # fmt: skip
"""Verbs after which the process reads what it would have read before."""
CHANGE = (
    "write A R 2 9", "poke A R 2 9", "dontneed A R 2 9", "free A R 2 9", "munmap A R 2 9",
    "remove A R 2 9", "mremap A R 2 9 M 3", "mremap A R 2 9 M 3 dontunmap", "mprotect A R 2 9 -",
    "uffdcopy A R 2 9", "exit A", "exec A M",
    "mmap A M 64K nohuge\nuffd A M 0 16 async\nuffdmove A R 2 9 M 2",
)  # fmt: skip


def broken(session: Session) -> list[str]:
    """Rules that are broken now or were."""
    return [f"{v.rule}: {v.text}" for v in session.rules.violations]


def used_slots(session: Session) -> int:
    """Slots of the swap device that are not free, but for its header."""
    cells = session.ledger.cells
    device = cells[Globals.swap_device]
    if not device:
        return 0
    return sum(cells[device + CLUSTER_COUNT : device + CLUSTER_COUNT + SWAP_CLUSTERS]) - 1


def printed(session: Session) -> str | None:
    """What the last action printed."""
    step = session.last_step
    assert step is not None
    result = session.result_of(step.number)
    assert result is not None
    return result.out


def give_all_back(session: Session) -> None:
    """End everything that holds pages."""
    for id_ in ("g", "p", "q"):
        if session.book.held(id_):
            act(session, f"unpin {id_}")
    for name in sorted(session.ledger.processes()):
        act(session, f"exit {name}")
    act(session, "drain")


@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_verb_is_answered_without_a_mistake_or_refused_whole(kernel: str, kind: str) -> None:
    try:
        session = run(kernel, KINDS[kind])
    except UsageError:
        assert kernel == "6.6"  # without userfaultfd's protection
        assert "uffd" in KINDS[kind]
        return
    start, before = session.position, session.state()
    act(session, "read A R 0 16")
    seen = printed(session)
    for verb in (*KEEP, *CHANGE):
        session.goto(start)
        try:
            act(session, verb)
        except UsageError:
            if "\n" not in verb:
                assert (session.position, session.state()) == (start, before), verb
            continue
        assert not broken(session), verb
        if verb in KEEP:
            act(session, "read A R 0 16")
            assert printed(session) == seen, verb
        give_all_back(session)
        assert not broken(session), verb
        assert used_slots(session) == 0, verb


@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
@pytest.mark.parametrize("verb", ["write A R 3 4", "pin A R 3 4 p w", "fork A B", "free A R 0 16",
                                  "dontneed A R 0 16", "collapse A R 0 512"])  # fmt: skip
def test_a_verb_meets_migration_entries(kernel: str, verb: str) -> None:
    session = run(kernel, "mthp 64K madvise\nmmap A R 2M\nwrite A R 0 16")
    act(session, f"cpu0: split A R 0 1\ncpu1: {verb}\nschedule cpu0 until pte:20, cpu1 all")
    assert not broken(session)
    give_all_back(session)
    assert not broken(session)
