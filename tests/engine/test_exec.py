"""execve: a fresh mm, a stack that moves, and the end of the old mm (fs/exec.c)."""

from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.fs.exec import STACK_EXPAND, STACK_SHIFT
from sandbox.memory import Folio, Vma
from sandbox.mm.flags import MMF_DEAD, VM_STACK_INCOMPLETE_SETUP
from tests.engine.support import UPSTREAM, act, begin, broken, explain, run, snapshot

FORKED = "mmap A R 64K\nwrite A R 0 16\nfork A B"
ARGUMENTS = 63 - STACK_SHIFT


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_what_is_left_is_a_stack_with_one_page(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nexec B STACK")
    b = session.state()["procs"]["B"]
    assert b["vmas"] == [["STACK", ARGUMENTS - STACK_EXPAND, ARGUMENTS + 1, "rw--", "", True]]
    ((region, page, count, kind, name, _, flags),) = b["ptes"]
    assert (region, page, count, kind, flags) == ("STACK", ARGUMENTS, 1, "present", "wdy")
    assert b["rss"] == {"anon": 1, "file": 0, "shmem": 0, "swap": 0}
    folio = session.state()["folios"][name]
    assert (folio["refcount"], folio["mapcount"], folio["exclusive"]) == (1, [[0, 1]], [[1, 1]])
    assert folio["data"] == [[4, 1]]
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_the_old_memory_goes(kernel: str) -> None:
    session = run(kernel, f"{FORKED}\nexec B STACK")
    pages = [f for n, f in session.state()["folios"].items() if f["index"][0] == "R"]
    assert all(f["refcount"] == 1 and f["mapcount"] == [[0, 1]] for f in pages)
    assert len(pages) == 16
    act(session, "write A R 0 16\nexit A\nexit B")
    assert session.state() == {"procs": {}, "folios": {}}
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_rmap_finds_the_stack_where_it_went(kernel: str) -> None:
    """vm_pgoff is left alone while the VMA grows and shrinks; it follows when the stack grows."""
    session = run(kernel, "proc A\nexec A STACK\nwrite A STACK 0 2\nswap on\n"
                  f"pageout A STACK 0 {ARGUMENTS + 1}")  # fmt: skip
    state = session.state()["procs"]["A"]
    assert state["rss"]["swap"] == 3
    assert {pte[3] for pte in state["ptes"]} == {"swap"}
    act(session, f"read A STACK {ARGUMENTS} {ARGUMENTS + 1}")
    result = session.result_of(len(session.steps))
    assert result is not None
    assert result.out == "2x1"
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_while_it_moves_the_stack_is_marked(kernel: str) -> None:
    """`vma_is_temporary_stack`: from its first page to after its last entry has moved."""
    session = run(kernel, "proc A")
    begin(session, "exec A STACK")
    marked = moved = False
    while session.running:
        function = session.stack()[-1].function
        if function == "move_ptes":
            mm = session.ledger.processes()["A"]
            (vma,) = session.ledger.vmas(mm)
            marked = bool(session.machine.peek(Vma(vma).vm_flags) & VM_STACK_INCOMPLETE_SETUP)
            assert marked
            moved = True
        session.step_event()
    assert moved
    (vma,) = session.ledger.vmas(session.ledger.processes()["A"])
    assert not session.machine.peek(Vma(vma).vm_flags) & VM_STACK_INCOMPLETE_SETUP


@pytest.mark.parametrize("kernel", ["6.15", "7.2", "7.3"])
def test_the_new_mm_has_an_id_of_its_own(kernel: str) -> None:
    session = run(kernel, FORKED)
    peek, old = session.machine.peek, session.ledger.processes()["B"]
    old_id = peek(old.mm_id)
    act(session, "exec B STACK")
    new = session.ledger.processes()["B"]
    assert new != old
    assert peek(new.mm_id) not in (0, old_id, peek(session.ledger.processes()["A"].mm_id))
    assert peek(old.mm_id) == 0
    assert peek(old.flags) & MMF_DEAD


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_pins_outlive_the_memory_and_rings_do_not(kernel: str) -> None:
    session = run(kernel, "mmap A R 64K nohuge\nwrite A R 0 16\npin A R 3 4 1 wl\nuring A R 8 9")
    head = next(h for h, n in session.ledger.names.items() if n == "F9")
    act(session, "exec A STACK")
    state = session.state()
    assert state["procs"]["A"]["has_pinned"] == 0
    assert state["folios"]["F4"]["refcount"] == 1024
    assert session.machine.peek(Folio(head)._refcount) == 0, "the ring is close-on-exec"
    act(session, "unpin 1\nexit A")
    assert session.state() == {"procs": {}, "folios": {}}
    assert not broken(session), explain(session)


def test_undo_takes_an_exec_back() -> None:
    session = run("7.2", FORKED)
    before, position = snapshot(session), session.position
    with pytest.raises(UsageError, match="no process C"):
        act(session, "exec C STACK")
    assert snapshot(session) == before
    act(session, "exec B STACK\nexec A STACK")
    session.goto(position)
    assert snapshot(session)["cells"] == before["cells"]
    assert snapshot(session)["ledger"] == before["ledger"]
