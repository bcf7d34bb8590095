"""Several CPUs at once: what is refused, what both do, GUP-fast against fork, what is in flight."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sandbox.errors import UsageError
from sandbox.memory import NOTE, STORE, USER_STORE, Globals
from sandbox.mm.flags import PG_anon_exclusive
from sandbox.run.session import Session
from tests.engine.support import act, begin, broken, explain, run, snapshot

# -- what two CPUs may be asked ------------------------------------------------------------


def test_a_session_refuses_a_second_action_while_one_runs() -> None:
    session = run("7.2", "mmap A R 16K")
    begin(session, "touch A R 0 1 w")
    before = snapshot(session)
    with pytest.raises(UsageError, match="still running"):
        begin(session, "fork A B")
    assert snapshot(session) == before


@pytest.mark.parametrize(
    "block",
    [
        "cpu0: fork A B\ncpu0: fork A B",
        "cpu0: exit A\ncpu0: write A R 0 1",
        "cpu0: read A R 0 1\ncpu0: write C R 0 1",
        "cpu0: fork A B\ncpu1: read A R 0 1\ncpu1: write B R 0 1",
        "cpu0: unpin q\ncpu0: unpin q",
        "cpu0: read A R 0 1\ncpu0: pin A R 0 1 q w",
        "cpu0: memfd F 4p\ncpu1: memfd F 8p",
        "cpu0: memfd F 4p\ncpu0: memfd F 8p",
        "cpu0: read A R 0 1\ncpu0: fsync F",
        "cpu0: read A R 0 1\ncpu0: mmap A T 16K fd=F",
        "cpu0: read A R 0 1\ncpu0: write A T 0 1",
        "cpu0: exit A\ncpu1: proc C\ncpu1: read A R 0 1",
        "cpu0: fork A B\ncpu1: fork A B",
        "cpu0: pin A R 0 1 p w\ncpu1: pin A R 1 2 p w",
        "cpu0: unpin q\ncpu1: unpin q",
        "cpu0: exit A\ncpu1: exit A",
        "cpu0: exit A\ncpu1: write A R 0 1",
        "cpu0: fork A B\ncpu1: mmap B S 16K",
        "cpu0: mmap A S 16K\ncpu1: mmap A S 16K",
    ],
)
def test_a_block_that_cannot_be_meant_is_refused_whole(block: str) -> None:
    session = run("7.2", "mmap A R 16K\ntouch A R 0 4 w\npin A R 2 3 q w")
    before = snapshot(session)
    with pytest.raises(UsageError):
        act(session, block)
    assert snapshot(session) == before


@pytest.mark.parametrize("kernel", ["6.6", "6.15", "7.2"])
@pytest.mark.parametrize(
    ("block", "check"),
    [
        ("cpu0: fork A B\ncpu1: fork C D", lambda s: sorted(s.ledger.processes()) == [*"ABCD"]),
        ("cpu0: fork A B\ncpu1: exit C", lambda s: sorted(s.ledger.processes()) == [*"AB"]),
        ("cpu0: pin A R 0 1 p w\ncpu1: pin C R 1 2 r w", lambda s: set(held(s)) == {*"pqr"}),
        ("cpu0: unpin q\ncpu1: pin C R 1 2 r w", lambda s: set(held(s)) == {"r"}),
        ("cpu0: uring A R 0 2\ncpu1: get C R 1 2 r -", lambda s: {"q", "r"} < set(held(s))),
        ("cpu0: mmap A S 16K\ncpu1: mmap C T 16K", lambda s: s.state()["procs"]["C"]["vmas"]),
    ],
)
def test_what_two_cpus_do_at_once_is_both_done(
    kernel: str, block: str, check: Callable[[Session], bool]
) -> None:
    setup = "mmap A R 16K\ntouch A R 0 4 w\npin A R 2 3 q w\nmmap C R 16K\ntouch C R 0 4 w"
    for seed in range(30):
        session = run(kernel, setup)
        begin(session, block)
        chance = random.Random(seed)
        while len(session.running) == 2:
            session.machine.step(chance.choice(session.machine.enabled()))
        session.finish()
        assert check(session), f"seed {seed}"
        bases = list(session.book.places.values())
        assert len(set(bases)) == len(bases)
        assert not broken(session), explain(session)


def held(session: Session) -> list[str]:
    """Ids held."""
    return [hold.id for hold in session.book.holds]


# -- GUP-fast against fork ---------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2", "7.3", "ryan-v2"])
@pytest.mark.parametrize("size", ["4K", "64K"])
def test_a_fast_pin_during_forks_copy_falls_back(kernel: str, size: str) -> None:
    last = {"4K": 1, "64K": 16}[size]
    fell_back = 0
    setup = f"mthp 64K madvise\nmmap A R {size}\ntouch A R 0 {last} w"
    if kernel == "6.6":
        setup = setup.partition("\n")[2]
    for lead in range(0, 400, 13):
        session = run(kernel, setup)
        begin(session, f"cpu0: fork A B\ncpu1: pin A R 0 {last} p w")
        for turn in range(lead):
            cpu = 1 if turn % 11 > 8 else 0
            if cpu in session.machine.enabled():
                session.machine.step(cpu)
        session.finish()
        functions = {e["function"] for e in session.event_log()}
        fell_back += "_get_user_pages_locked" in functions
        assert not broken(session) - {"I-05", "I-06", "I-09"}, explain(session)
        (hold_,) = session.book.holds
        for page in hold_.pages:
            assert session.machine.peek(page) & PG_anon_exclusive
            assert session.ledger.page_leaves[page] == 1
    assert fell_back


def test_a_fast_get_does_not_look_at_the_sequence() -> None:
    session = run("7.2", "mmap A R 4K nohuge\ntouch A R 0 1 w")
    begin(session, "cpu0: fork A B\ncpu1: get A R 0 1 g -")
    mm = session.ledger.processes()["A"]
    while not session.machine.peek(mm.write_protect_seq) & 1:
        session.machine.step(0)
    session.machine.run(1)
    assert held(session) == ["g"]


@pytest.mark.parametrize("verb", ["pin A R 0 4 p w", "uring A R 0 4"])
def test_a_pin_taken_before_fork_began_is_no_overlap(verb: str) -> None:
    session = run("7.2", "mmap A R 16K nohuge\ntouch A R 0 4 w")
    begin(session, f"cpu0: fork A B\ncpu1: {verb}")
    machine, mm = session.machine, session.ledger.processes()["A"]
    while True:  # until the pin is about to be recorded
        task = machine.running[1]
        assert task is not None
        assert task.pending is not None
        if task.pending[0] == NOTE and task.pending[2] == "hold":
            break
        machine.step(1)
    while not machine.peek(mm.write_protect_seq) & 1:
        machine.step(0)
    machine.run(1)
    session.finish()
    assert not broken(session), explain(session)


# -- in flight -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write A R 0 1", "poke A R 0 1"])
def test_a_store_translated_before_forks_flush(verb: str) -> None:
    session = run("7.2", "mmap A R 16K nohuge\nwrite A R 0 4")
    begin(session, f"cpu0: fork A B\ncpu1: {verb}")
    machine = session.machine
    while True:  # until the store itself is next
        task = machine.running[1]
        assert task is not None
        assert task.pending is not None
        op = task.pending[0]
        if op in (STORE, USER_STORE) and machine.memory.field_at(task.pending[1]).name == "data":
            break
        machine.step(1)
    while machine.running[0] and machine.blocked(0) is None:
        machine.step(0)
    session.finish()
    assert not broken(session), explain(session)


# -- what goes with a process --------------------------------------------------------------


def test_exit_gives_registered_buffers_back() -> None:
    session = run("7.2", "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\nuring A R 0 16\nexit A")
    assert not list(session.book.holds)
    assert not session.ledger.live_folios()
    assert not broken(session), explain(session)


def test_pins_outlive_their_process() -> None:
    session = run("7.2", "mmap A R 4K nohuge\nwrite A R 0 1\npin A R 0 1 p w\nexit A")
    assert len(session.ledger.live_folios()) == 1
    act(session, "unpin p")
    assert not session.ledger.live_folios()
    assert not broken(session), explain(session)


@pytest.mark.parametrize("verb", ["get", "pin"])
def test_the_zero_page_is_left_as_it_was(verb: str) -> None:
    session = run("7.2", f"mmap A R 16K nohuge\nread A R 0 4\n{verb} A R 0 4 p -")
    zero = session.machine.peek(Globals.zero_page)
    assert session.machine.peek(zero + 1) == (5 if verb == "get" else 1)
    act(session, "fork A B\nwrite A R 0 2\nunpin p\nexit A\nexit B")
    assert session.machine.peek(zero + 1) == 1
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2", "7.3"])
@pytest.mark.parametrize("lead", range(86, 94))
def test_swap_in_while_reclaim_has_the_folio_frozen(kernel: str, lead: int) -> None:
    session = run(kernel, "swap on\nmmap A R 4K nohuge\nwrite A R 0 1")
    begin(session, "cpu0: pageout A R 0 1\ncpu1: read A R 0 1")
    machine = session.machine
    for _ in range(lead):
        machine.step(0)
    while machine.running[1] and machine.blocked(1) is None:
        machine.step(1)
    session.finish()
    assert not broken(session), explain(session)


@pytest.mark.parametrize("kernel", ["6.15", "7.2", "7.3"])
def test_soft_offline_of_a_tail_that_only_holds_zeros(kernel: str) -> None:
    lines = "mthp 2M madvise\nmmap A H 2M\nwrite A H 0 1\nsoftoffline A H 2 3"
    session = run(kernel, lines)
    assert not broken(session), explain(session)


def test_a_store_whose_entry_changed_is_logged_as_none() -> None:
    session = run("7.2", "mmap A R 16K nohuge\nwrite A R 0 4")
    begin(session, "cpu0: fork A B\ncpu1: write A R 0 1")
    machine = session.machine
    while (task := machine.running[1]) and task.pending and task.pending[0] != USER_STORE:
        machine.step(1)
    machine.run(0)
    session.finish()
    stores = [e for e in session.event_log() if e["op"] == "user_store" and e["cpu"] == 1]
    assert [e["old"] == e["new"] for e in stores] == [True, False]


@pytest.mark.parametrize("kernel", ["6.6", "7.2"])
@pytest.mark.parametrize("place", ["new_pte_table:1", "set_ptes:1", "folio_remove_rmap_pmd:1"])
def test_each_cpu_has_a_window_of_its_own(kernel: str, place: str) -> None:
    """Two processes split their leaves of one folio: the first to end does not end the other's."""
    session = run(kernel, "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1\nfork A B")
    block = "cpu0: write A R 0 1\ncpu1: write B R 1 2\n"
    act(session, f"{block}schedule cpu0 until {place}, cpu1 all, cpu0 all")
    assert {v.rule for v in session.rules.violations} == {"I-05"}
    assert not broken(session)
    assert not session.rules.windows


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2"])
@pytest.mark.parametrize("verb", ["dontneed", "munmap"])
def test_a_pin_of_a_leaf_that_is_zapped_before_it_is_written_down(kernel: str, verb: str) -> None:
    """The head's exclusivity stands for all pages of the leaf, also when it maps them no more."""
    for count in range(1, 20):
        session = run(kernel, "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1")
        block = f"cpu0: {verb} A R 0 512\ncpu1: pin A R 5 7 p w\n"
        act(session, f"{block}schedule cpu1 {count}, cpu0 all, cpu1 all")
        assert not broken(session), explain(session)
