"""Calls are values: what a line is planned to can be kept, sent away and run elsewhere."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from sandbox.machine.calls import Call, start
from sandbox.run.own_verbs import OWN_HANDLERS
from sandbox.run.plan import HANDLERS, plan
from sandbox.run.session import Session
from sandbox.scenario.language import VERBS, parse_action, parse_lines

SETUP = """\
mthp 64K madvise
mmap A R 64K
write A R 0 16
memfd F 16p
file G 16p /x/g 64K
mmap A S 64K at=16
read A S 0 16
mmap A M 64K fd=F shared
write A M 0 4
mmap A P 64K nohuge
write A P 0 8
mmap A W 64K
write A W 0 16
unfold A W 0 16
mmap A V 64K
write A V 0 16
fork A B
pin A R 0 1 p w
uring B W 0 2
swap on
"""

LINES = """\
mthp 32K madvise
mmap A Q 64K fd=G pgoff=0
touch A R 0 4 w
write A R 0 4
read A R 0 4
fork A C
exit B
kill B
proc D
dontneed A R 2 4
dontfork A P 0 2
dofork A P 0 2
populate_read A S 0 4
populate_write A S 0 4
memfd H 4p
file I 4p /t/i
shmem 64K always
remove A M 0 4
collapse A R 0 16
swap off
free A P 0 2
cold A P 0 2
wipeonfork A P 0 2
softoffline A P 0 1
split A W 0 16
poke A P 0 1
munmap A P 0 2
mprotect A P 0 2 r
mlock A P 0 2
munlock A P 0 2
mremap A P 0 2 S 20
pin A P 0 2 q wl
get A P 0 2 q -
repeat A P 0 2 q -
unpin p
uring A P 0 2
unuring B
fold A W 0 16
unfold A V 0 16
drain
autodrain off
reuse on
sleep 1
quiet
loud
sysfs /sys/x 1
clearrefs A 4
dropcache
fsync G
exec B T
pageout A P 0 2
ksm A P 0 1 A P 4
unmerge A P 0 2
uffd A P 0 2 async
uffdwp A P 0 2 on
uffdcopy A P 8 9
uffdmove A P 0 2 S 16
""".splitlines()


def prepared() -> Session:
    """A machine on which every line above can be meant."""
    session = Session("7.2")
    for step in parse_lines(SETUP, "<test>"):
        session.do(step)
    return session


def planned(session: Session, line: str) -> Call:
    """The call of a line."""
    return plan(session.ledger, parse_action(line), session.cpus[0], len(session.steps) + 1, {})


@pytest.fixture(scope="module")
def session() -> Session:
    """One machine for all that only looks at it."""
    return prepared()


def test_the_lines_have_every_verb() -> None:
    assert set(HANDLERS) == set(VERBS)
    own = set(OWN_HANDLERS)  # refused by the kernel here
    assert {parse_action(line).verb for line in LINES} == set(HANDLERS) - own


@pytest.mark.parametrize("line", LINES)
def test_a_call_is_a_value_that_survives_a_round_trip(session: Session, line: str) -> None:
    call = planned(session, line)
    back = pickle.loads(pickle.dumps(call))
    assert back == call == planned(session, line)
    assert hash(back) == hash(call)
    assert (str(call), call.text) == (line, line)
    assert parse_action(str(call)) == parse_action(line)
    with pytest.raises(AttributeError):
        call.function = "sys_nop"  # type: ignore[misc]  # what must not be possible


def test_a_call_without_a_line_shows_the_function() -> None:
    assert str(Call("lru_add_drain")) == "lru_add_drain()"
    assert str(Call("sys_exit", (4096,))) == "sys_exit(4096)"


@pytest.mark.parametrize("line", LINES[1:20:3] + LINES[20::4])
def test_a_pickled_call_does_the_same_events_on_a_machine_like_this(line: str) -> None:
    here, there = prepared(), prepared()
    call = planned(here, line)
    step = here.do(parse_action(line))
    machine = there.machine
    task = machine.spawn(line, pickle.loads(pickle.dumps(call)), there.cpus[0])
    machine.run()
    own = here.tasks_of(step)[0]
    assert machine.events[task.start :] == here.machine.events[own.start : own.end]
    assert task.result == own.result
    assert task.call == own.call


CHILD = """\
import pickle, sys
from tests.scenario.test_calls import prepared
session, call = prepared(), pickle.load(sys.stdin.buffer)
task = session.machine.spawn(str(call), call, session.cpus[0])
session.machine.run()
pickle.dump(list(session.machine.events[task.start:]), sys.stdout.buffer)
"""


def test_a_call_can_be_sent_to_another_process() -> None:
    here = prepared()
    step = here.do(parse_action("mremap A P 0 2 S 20"))
    (own,) = here.tasks_of(step)
    sent = pickle.dumps(own.call)
    done = subprocess.run(
        [sys.executable, "-c", CHILD], check=False, input=sent, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == list(here.machine.events[own.start : own.end])


def test_what_drains_is_a_call_as_well() -> None:
    session = prepared()
    drains = {task.call for task in session.machine.tasks if task.name == "lru_add_drain_all"}
    assert drains == {Call("lru_add_drain")}
    generator = start(drains.pop(), session.cpus[0])
    assert next(generator)
