"""What was done on a bench as a value: its actions, the futures that were left, and the place.

A session is written to a file, opened again and replayed on another kernel from this.  It says
nothing in numbers of events where actions do: an offset into an action is only needed where a
future was left in the middle of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeAlias

from sandbox.machine.history import Branch, History, Task
from sandbox.run.session import Step
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.schedule import turns_of

__all__ = [
    "DEEPEST",
    "Done",
    "Fork",
    "Item",
    "Place",
    "Tree",
    "place_of",
    "root_steps",
    "steps_of",
    "tree_of",
]

DEEPEST = 200
"""How deep futures of futures are kept."""


class Done(NamedTuple):
    """An action of a history; a block of CPUs has the order of its events as schedule."""

    action: Action | CpuBlock
    line: int = 0
    """Line of the document of which it is an action; 0 is one's own action."""
    events: int | None = None
    """How many of its events were done, if it did not come to its end."""


class Fork(NamedTuple):
    """A future that was left."""

    number: int
    offset: int
    """0: it begins before the action that follows here; else so many events into the one
    that stands before it."""
    order: tuple[int, ...]
    """CPUs of the events that this future still has of the action it begins in."""
    items: Tree


Item: TypeAlias = "Done | Fork"
Tree: TypeAlias = "tuple[Item, ...]"
"""The present line in the order in which it was done, with the futures where they begin."""


class Place(NamedTuple):
    """A place on the present line: so many whole actions, and so many events of the next one."""

    steps: int
    offset: int = 0


class _Span(NamedTuple):
    """A step on a line: its tasks' first event, where it is over, and where the next begins."""

    step: Step
    start: int
    own: int
    """Where its own events end; what follows up to `end` drained the LRU batches."""
    end: int


class _Line:
    """A line of events: the present one, or what a branch had after it left its parent."""

    def __init__(self, machine: History, branch: Branch | None = None) -> None:
        self._machine, self._branch = machine, branch
        if branch is None:
            self.start, self.tasks = 0, [*machine.tasks, *reversed(machine.future_tasks)]
            self.end = machine.position + len(machine.future_cpus)
            self.open_end = machine.open_end
        else:
            self.start, self.tasks = branch.position, [*reversed(branch.tasks)]
            self.end = branch.position + len(branch.cpus)
            self.open_end = branch.open_end

    def cpus(self, start: int, end: int) -> tuple[int, ...]:
        """The CPUs of the events from *start* to *end*."""
        machine, branch = self._machine, self._branch
        if branch is not None:
            return tuple(branch.cpus[-1 - (at - self.start)] for at in range(start, end))
        position, future = machine.position, machine.future_cpus
        done = machine.cpus[start : min(end, position)]
        later = (future[-1 - (at - position)] for at in range(max(start, position), end))
        return (*done, *later)

    def spans(self) -> list[_Span]:
        """The steps that begin on this line, in order."""
        # What was only begun waits at the end of the present line, and in no branch.
        found = steps_of(self.tasks, self.end + (self._branch is None))
        drains = sorted(t.start for t in self.tasks if not isinstance(t.payload, Step))
        spans, at = [], 0
        for number, (step, start) in enumerate(found, 1):
            end = found[number][1] if number < len(found) else self.end
            while at < len(drains) and drains[at] < start:
                at += 1
            own = drains[at] if at < len(drains) and drains[at] < end else end
            spans.append(_Span(step, start, own, end))
        return spans

    def head(self) -> tuple[int, ...]:
        """The CPUs of the events before the first step: the rest of what it began in."""
        begun = (task.start for task in self.tasks if not task.chained)
        end = min(begun, default=self.end)
        return self.cpus(self.start, end)


def steps_of(tasks: Sequence[Task], end: int) -> list[tuple[Step, int]]:
    """The steps with the positions at which they start, without those that did no event."""
    found: list[tuple[Step, int]] = []
    for task in tasks:
        step = task.payload
        if isinstance(step, Step) and task.begins and (not found or found[-1][0] is not step):
            while found and found[-1][1] >= task.start:
                found.pop()
            found.append((step, task.start))
    return [step for step in found if step[1] < end]


def root_steps(machine: History) -> list[tuple[Step, int]]:
    """The steps of the present line, what is ahead included, and where they start."""
    end = machine.position + len(machine.future_cpus)
    return steps_of([*machine.tasks, *reversed(machine.future_tasks)], end + 1)


def place_of(starts: Sequence[int], position: int, end: int) -> Place:
    """Where a position is among the starts of the present line's steps."""
    from bisect import bisect_right

    if position >= end:
        return Place(len(starts))
    within = bisect_right(starts, position) - 1
    return Place(within, position - starts[within]) if within >= 0 else Place(0)


def tree_of(machine: History, line_of: Callable[[Step], int]) -> Tree:
    """Everything that was done on a machine; `line_of` names a step's line of the document."""
    children: dict[int, list[Branch]] = {}
    for branch in machine.branches:
        children.setdefault(id(branch.parent) if branch.parent else 0, []).append(branch)
    for forks in children.values():
        forks.sort(key=lambda branch: (branch.position, branch.number))
    return tuple(_items(_Line(machine), None, _Context(machine, line_of, children), DEEPEST))


class _Context(NamedTuple):
    machine: History
    line_of: Callable[[Step], int]
    children: dict[int, list[Branch]]


def _items(line: _Line, branch: Branch | None, context: _Context, depth: int) -> Iterator[Item]:
    forks = context.children.get(id(branch) if branch else 0, []) if depth else []
    spans = line.spans()
    starts = [*(span.start for span in spans), line.end + 1]
    # Before the first step stands the rest of the one in which the line begins, if it does.
    begun = [(line.start, None), *((span.start, span) for span in spans)]
    at = 0
    for number, ((start, span), after) in enumerate(zip(begun, starts, strict=True)):
        open_end = number == len(spans) and line.open_end
        while at < len(forks) and forks[at].position <= start:
            yield _fork(forks[at], 0, context, depth)
            at += 1
        if span is not None:
            yield _done(line, span, context, open_end=open_end)
        while at < len(forks) and forks[at].position < after:
            whole = forks[at].position == line.end and not open_end
            yield _fork(forks[at], 0 if whole else forks[at].position - start, context, depth)
            at += 1


def _fork(branch: Branch, offset: int, context: _Context, depth: int) -> Fork:
    line = _Line(context.machine, branch)
    items = tuple(_items(line, branch, context, depth - 1))
    return Fork(branch.number, offset, line.head() if offset else (), items)


def _done(line: _Line, span: _Span, context: _Context, *, open_end: bool) -> Done:
    action = span.step.action
    if isinstance(action, CpuBlock) and len(action.actions) > 1:
        order = line.cpus(span.start, span.own)
        if not open_end and order:  # what is left runs to its end by itself
            order = order[: len(order) - len([*takewhile(order[-1:].__contains__, order[::-1])])]
        action = action._replace(schedule=turns_of(order))
    begun = span.start == line.end
    events = span.own - span.start if begun or (open_end and span.own == span.end) else None
    return Done(action, context.line_of(span.step), events)
