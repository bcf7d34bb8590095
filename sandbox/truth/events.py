"""Events as dictionaries: what happened to which word, by which function, and what it broke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from sandbox.machine.memory import (
    ADD,
    ALLOC,
    BITS,
    CAS,
    FIRST_MUTATING,
    LOCK,
    LOCK_BIT,
    NOTE,
    OP_NAMES,
    STORE,
    TLB_FLUSH,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    USER_STORE,
    XCHG,
    Event,
    Word,
)
from sandbox.machine.operations import value_after
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from sandbox.machine.history import Task
    from sandbox.run.session import Session

_NAMED = frozenset({"pte", "pmd", "flags", "vm_flags"})
"""Fields whose values are names rather than numbers."""


def describe_events(
    session: Session, start: int = 0, end: int | None = None
) -> Iterator[dict[str, Any]]:
    """Dictionaries for events [start, end): where, which word, old and new, rules broken."""
    machine = session.machine
    end = machine.position if end is None else min(end, machine.position)
    broken: dict[int, list[str]] = {}
    for violation in session.rules.violations:
        broken.setdefault(violation.event, []).append(violation.rule)
    complaints: dict[int, list[str]] = {}
    for complaint in session.rules.complaints:
        complaints.setdefault(complaint.event, []).append(complaint.text)
    functions = _Functions(session, start, end)
    words = Words(session.ledger)
    for n in range(start, end):
        task, (function, line, filename), answer = functions.at(n)
        event = machine.events[n]
        out: dict[str, Any] = {"n": n, "cpu": machine.cpus[n], "op": OP_NAMES[event[0]]}
        out |= {"function": function, "file": short_path(filename), "line": line}
        out |= {"task": task.name}
        out |= describe_event(words.at(n), event, machine.olds[n], answer)
        if n in broken:
            out["broken"] = broken[n]
        if n in complaints:
            out["complaints"] = complaints[n]
        yield out


def short_path(filename: str) -> str:
    """The part of a path from the package on."""
    parts = PurePath(filename).parts
    if "sandbox" in parts:
        at = len(parts) - 1 - parts[::-1].index("sandbox")
        return "/".join(parts[at:])
    return PurePath(filename).name


class _Functions:
    """Task, function and answer of each event of a span; one rebuild per task."""

    def __init__(self, session: Session, start: int, end: int) -> None:
        machine = session.machine
        self.entries: dict[int, tuple[Task, tuple[str, int, str], Word]] = {}
        tasks = [t for t in machine.tasks if (t.end is None or t.end > start) and t.start < end]
        for task in tasks:
            traces, answers = iter(machine.trace_functions(task)), iter(task.answers)
            stop = machine.position if task.end is None else task.end
            for n in range(task.start, stop):
                if machine.cpus[n] == task.cpu:
                    self.entries[n] = (task, next(traces), next(answers))

    def at(self, n: int) -> tuple[Task, tuple[str, int, str], Word]:
        """Task, (function, line, file) and answer of event *n*."""
        return self.entries[n]


def describe_event(words: Words, event: Event, old: Word, answer: Word) -> dict[str, Any]:
    """Object, field, index, old and new value of one event that was answered so.

    `word` is the name of the whole, as panes have it.
    """
    op, addr = event[0], event[1]
    if op == NOTE:
        return {"note": event[2], "text": " ".join(_plain(words, v) for v in event[3:])}
    if op == TLB_FLUSH:
        return {"object": f"mm({words.proc(event[2])})", "range": [event[3], event[4]]}
    if op == ALLOC:
        return {"object": event[2].name.lower(), "order": event[3]}
    place = words.place(addr)
    what = {"word": place.name, "object": place.object, "field": place.field, "index": place.index}
    if op < FIRST_MUTATING:
        return what | {"value": show(words, addr, old)}
    new = show(words, addr, after(event, old, answer))
    return what | {"old": show(words, addr, old), "new": new}


def after(event: Event, old: Word, answer: Word) -> Word:
    """The word's value after *event*, given the value before (None when not known here)."""
    if event[0] in (STORE, ADD, TRY_ADD, CAS, BITS, XCHG):
        return value_after(event, old)
    if event[0] == USER_STORE:
        return event[2] if answer else old  # the entry may have changed meanwhile
    return {LOCK: "held", TRYLOCK: "held", UNLOCK: "free", LOCK_BIT: "held"}.get(event[0])


def show(words: Words, addr: int, value: Word) -> Word:
    """A word's value as people read it; numbers stay numbers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return [_plain(words, v) for v in value]
    return words.value(addr, value) if words.place(addr).field in _NAMED else int(value)


def _plain(words: Words, value: Word) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_plain(words, v) for v in value) + ")"
    return value if isinstance(value, str) else words.thing(value)
