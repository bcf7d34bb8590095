"""Where the last event was done: function, file and line, known without running its action again.

A running function is suspended at the event that is next.  Where the one before it was is noted
when a single event is done, and found again when the function is made live after going back.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox.errors import SandboxError
from sandbox.machine.frames import innermost
from sandbox.machine.tasks import Task
from sandbox.run.session import Session

__all__ = ["Done", "last_done", "pending_place"]


class Done(NamedTuple):
    """An event that was done, and the place in the kernel's text that did it."""

    event: int
    """Its number from 0."""
    forks: int
    """How often history had forked: another history has another event of that number."""
    function: str
    filename: str
    line: int


def pending_place(session: Session, cpu: int | None) -> Done | None:
    """The event that a CPU is about to do, as if it was done; None if that is unknown."""
    task = None if cpu is None else session.machine.running[cpu]
    if task is None or task.pending is None:
        return None
    try:
        function, line, filename = innermost(session.machine.live(task))
    except (SandboxError, AttributeError):  # a person's own function that cannot be made again
        return None
    return Done(session.position, session.machine.forks, function, filename, line)


def last_done(session: Session, noted: Done | None) -> Done | None:
    """The last event of all with its place: as noted, or as making its function again found it."""
    event = session.position - 1
    if event < 0:
        return None
    if noted is not None and (noted.event, noted.forks) == (event, session.machine.forks):
        return noted
    task = session.machine.running[session.machine.cpus[event]]
    return None if task is None else _found_again(session, task, event)


def _found_again(session: Session, task: Task, event: int) -> Done | None:
    """The place before the last answer of a function that was made live again there."""
    try:
        session.machine.live(task)
    except SandboxError:
        return None
    if task.before is None or task.before[0] != len(task.answers):
        return None
    function, line, filename = task.before[1]
    return Done(event, session.machine.forks, function, filename, line)
