"""What the engine tests share: driving a session by lines, and everything a step may change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call
from sandbox.machine.frames import Frame
from sandbox.machine.history import Task
from sandbox.machine.machine import Machine
from sandbox.memory import MAX_CPUS, OP_NAMES, Gen
from sandbox.rules import Violation
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines

UPSTREAM = ("6.6", "6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3")
PROPOSALS = ("ryan-v2", "ryan-v3", "david-batch", "barry-entire")
ALL = UPSTREAM + PROPOSALS

SMALL = "mmap A R 16K nohuge\ntouch A R 0 4 w"
LARGE = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w"
FORK_64K = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\nfork A B"
"""A 64K folio shared by two processes (on 6.6: sixteen folios of one page)."""

BUSY_LIFE = """\
mthp 64K madvise
mthp 32K madvise
mmap A R 128K
touch A R 0 32 w
mmap A Z 32K nohuge
touch A Z 0 8 r
fork A B
dontneed B R 2 3
pin A R 5 6 p wl
fork B C
write C R 0 9
get C R 12 14 g -
mprotect A R 4 20 r
fork A D
write B R 16 32
mprotect A R 4 20 rw
unpin p
mremap D R 0 16 S 3
write D S 3 9
munmap A R 10 12
exit B
unpin g
mlock C R 0 16
uring A R 20 30
fork A E
unuring A
exit C
write A R 0 10
exit E
"""
"""About every verb the model has, with three generations of processes."""


def run(kernel: str | type[Kernel], lines: str = "", cpus: int = MAX_CPUS) -> Session:
    """A session on which *lines* have been done."""
    session = Session(kernel, cpus)
    act(session, lines)
    return session


def put(machine: Machine, name: str, body: Callable[[], Gen[Any]], cpu: int = 0) -> Task:
    """Put a function of a test on a CPU, as the one function of a kernel of its own."""
    return machine.spawn(name, Call("body"), SimpleNamespace(body=body), cpu)


def act(session: Session, lines: str) -> None:
    """Do each line (or block of CPUs) to its end."""
    for step in parse_lines(lines, "<test>"):
        session.do(step)


def begin(session: Session, lines: str) -> None:
    """Put one line, or one block of CPUs, on its CPUs without an event."""
    (step,) = parse_lines(lines, "<test>")
    session.begin(step)


def back_action(session: Session) -> None:
    """Go back to the start of the running or of the last action."""
    start = session.start_before(session.position)
    assert start is not None
    session.goto(start)


def action_bounds(session: Session) -> list[int]:
    """Positions at which an action starts or everything done so far ends, ascending."""
    future = (t.start for t in session.machine.future_tasks if t.begins)
    return sorted({*session.starts, *future, session.end})


def _plain(value: object) -> object:
    """Containers as plain ones, counts of zero and what holds only such left out."""
    if isinstance(value, Mapping):
        plain = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item not in (0, {})}
    return list(value) if isinstance(value, list) else value


def _tables(thing: object) -> dict[str, Any]:
    """The dictionaries and lists an object keeps itself (not those it shares)."""
    return {
        name: _plain(value)
        for name, value in vars(thing).items()
        if isinstance(value, Mapping | list) and name not in ("cells", "kinds")
    }


def snapshot(session: Session) -> dict[str, Any]:
    """Everything that going back must restore; counts of zero are left out of the ledger's."""
    machine, ledger, rules = session.machine, session.ledger, session.rules
    return {
        "position": machine.position,
        "cells": list(machine.memory.cells),
        "kinds": bytes(machine.memory.kinds),
        "objects": list(machine.memory.objects),
        "running": [(t.name, t.pending, list(t.answers)) if t else None for t in machine.running],
        "tasks": [(t.name, t.start, t.end, t.result if t.end else None) for t in machine.tasks],
        "ledger": _tables(ledger),
        "rules": _tables(rules),
        "checks": _tables(rules.checks),
    }


def as_json(session: Session) -> str:
    """State and all events as text, to be compared byte by byte."""
    return json.dumps([session.state(), list(session.event_log())], sort_keys=True)


def frozen(stack: list[Frame]) -> list[tuple[str, int, str]]:
    """A stack as it is now: locals may be changed in place later; addresses of closures differ."""
    return [
        (f.function, f.line, re.sub(r" at 0x\w+", "", repr(sorted(f.locals.items()))))
        for f in stack
    ]


def broken(session: Session) -> set[str]:
    """Rules broken so far outside known windows."""
    return {v.rule for v in session.rules.violations if v.known_window is None}


def explain(session: Session) -> str:
    """The first few violations, for the message of a failing assertion."""
    found = [v for v in session.rules.violations if v.known_window is None][:5]
    return "\n".join(f"{v.rule} {v.subject}: {v.text} [{v.event} {v.function}]" for v in found)


@dataclass(frozen=True)
class Case:
    """A kernel with a mistake, what to do on it, and which event breaks the rule."""

    rule: str
    kernel: type[Kernel]
    lines: str
    function: str
    """Function of the event; "" for a rule looked at when the last function has returned."""
    op: str


def first_violation(session: Session, rule: str) -> Violation:
    """The first time that a rule was broken."""
    found = next((v for v in session.rules.violations if v.rule == rule), None)
    assert found is not None, f"{rule} is not broken; {broken(session)} are"
    return found


def event_of(session: Session, violation: Violation) -> tuple[str, str]:
    """(function, operation) of the event that broke the rule."""
    return violation.function, OP_NAMES[session.machine.events[violation.event][0]]
