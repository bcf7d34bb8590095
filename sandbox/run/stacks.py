"""The call stack at an event that was done, also long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sandbox.machine.frames import calls_of, is_own
from sandbox.machine.memory import Word

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["Level", "own_first", "stack_at"]


class Level(NamedTuple):
    """One level of a call stack."""

    function: str
    filename: str
    line: int

    @property
    def own(self) -> bool:
        """Whether it is in a person's own file."""
        return is_own(self.filename)


def stack_at(session: Session, n: int) -> list[Level]:
    """The levels of the call that did event *n*, the innermost first; none if there is no such.

    The function is run again up to that event, beside the machine.
    """
    machine = session.machine
    if not 0 <= n < machine.position:
        return []
    cpu = machine.cpus[n]
    for task in machine.tasks:
        end = machine.position if task.end is None else task.end
        if task.cpu == cpu and task.start <= n < end:
            at = sum(machine.cpus[each] == cpu for each in range(task.start, n))
            nothing: list[Level] = []
            stacks = machine.traced(task, _levels, nothing)
            return stacks[at] if at < len(stacks) else []
    return []


def own_first(levels: list[Level]) -> list[Level]:
    """The person's own levels, the innermost first, then what they led to, then what led to them.

    Without any of their own, the innermost first.
    """
    own = [level for level in levels if level.own]
    if not own:
        return levels
    inner, outer = levels[: levels.index(own[0])], levels[levels.index(own[0]) :]
    return [*own, *reversed(inner), *(level for level in outer if not level.own)]


def _levels(function: Word) -> list[Level]:
    found = [
        Level(gen.gi_code.co_name, gen.gi_code.co_filename, gen.gi_frame.f_lineno)
        for gen in calls_of(function)
    ]
    return found[::-1]
