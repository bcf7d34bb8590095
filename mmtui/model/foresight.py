"""What will become of a broken rule, found on copies while nobody presses a key.

A look ahead is made in small pieces: whoever shows it gives it some milliseconds now and then
(`Outlook.advance`), and drops it by not asking any more.  Nothing of it touches the bench.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mmtui.model.why import Choice
from sandbox.errors import SandboxError
from sandbox.kernels import KERNEL_IDS, REGISTRY
from sandbox.run.model import Model
from sandbox.run.scheduling import play
from sandbox.run.session import Session, Step
from sandbox.scenario.language import CpuBlock
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from mmtui.model.standing import Standing

__all__ = ["Again", "Outlook", "Since", "outlook", "pending"]

AHEAD = 20_000
"""Events that are looked ahead at most."""
HISTORY = 20_000
"""A history of more events is not done again on other kernels."""
WORDS = 1 << 19
"""A machine of more words is not copied."""
_TURN = 64
"""Events between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Again:
    """When a broken rule holds again if the CPUs go on as they would."""

    event: int | None
    """The event after which it holds, None if it does not up to `until`."""
    text: str
    """That event in words."""
    until: int
    """Position up to which was looked."""
    ended: bool
    """Whether what runs came to its end."""


@dataclass(frozen=True, slots=True)
class Since:
    """From where on a rule was going to break, whatever CPU went on."""

    position: int
    alone: bool
    """Whether only one CPU had something to do, so that there was no choice."""


@dataclass
class Outlook:
    """What is known so far of one broken rule at one position."""

    again: Again | None = None
    since: Since | None = None
    holds: list[str] = field(default_factory=list)
    """Kernels on which the same actions do not break it, in the order of the registry."""
    breaks: list[str] = field(default_factory=list)
    """Kernels on which they do, too."""
    refused: list[str] = field(default_factory=list)
    """Kernels that refuse one of the actions."""
    unasked: str = ""
    """Why other kernels are not asked, if they are not."""
    done: bool = False
    _work: Iterator[None] | None = None

    def advance(self, seconds: float) -> bool:
        """Work for so long; whether something is left to do."""
        end = perf_counter() + seconds
        while self._work is not None:
            if next(self._work, True):  # a generator's end; its pieces are None
                self._work, self.done = None, True
            elif perf_counter() >= end:
                break
        return self._work is not None

    def finish(self) -> Outlook:
        """All of it, at once."""
        while self.advance(1.0):
            pass
        return self


_Key = tuple[object, ...]
_OUTLOOKS: WeakKeyDictionary[Standing, tuple[_Key, Outlook]] = WeakKeyDictionary()
_VERDICTS: WeakKeyDictionary[Standing, tuple[_Key, Outlook]] = WeakKeyDictionary()
"""The last outlook of which all kernels were asked: it is of a whole action."""


def outlook(bench: Standing, choice: Choice) -> Outlook:
    """What is known of a rule broken in the present state; the same object until the bench moves.

    Nothing is done here: `advance` of what is returned does it.
    """
    session = bench.session
    key = (session.position, session.machine.forks, choice[:2], session.machine.tasks[-1:])
    found = _OUTLOOKS.get(bench)
    if found is None or found[0] != key:
        seen = Outlook()
        seen._work = _look(bench, choice, seen)
        found = _OUTLOOKS[bench] = key, seen
    return found[1]


def pending(bench: Standing) -> Outlook | None:
    """The outlook that was asked for of the present state and is not complete."""
    found, session = _OUTLOOKS.get(bench), bench.session
    if found is None or found[0][:2] != (session.position, session.machine.forks):
        return None
    return None if found[1].done else found[1]


def _look(bench: Standing, choice: Choice, seen: Outlook) -> Iterator[None]:
    yield from _ahead(bench.session, choice, seen)
    yield from _kernels(bench, choice, seen)
    yield from _doomed(bench.session, choice, seen)


# -- when it holds again ---------------------------------------------------------------------


def _ahead(session: Session, choice: Choice, seen: Outlook) -> Iterator[None]:
    """Let a copy go on until the rule holds."""
    machine = session.machine
    start = machine.position
    if not session.running or len(machine.memory.cells) > WORDS or machine.checked:
        return
    order = bytes(reversed(machine.future_cpus[-AHEAD:]))
    model = Model.of(session)
    for count in range(AHEAD):
        enabled = model.enabled()
        if not enabled:
            break
        cpu = order[count] if count < len(order) and order[count] in enabled else enabled[0]
        task = model.machine.running[cpu]
        event = task.pending if task is not None else None
        text = Words(model.ledger).event(event) if event is not None else ""
        try:
            model.apply(cpu)
        except SandboxError:
            break
        if (choice.rule, choice.subject) not in model.rules.broken:
            seen.again = Again(start + count, text, start + count + 1, False)
            return
        if count % _TURN == 0:
            yield
    seen.again = Again(None, "", start + count, model.resting)


# -- on other kernels ------------------------------------------------------------------------


def _kernels(bench: Standing, choice: Choice, seen: Outlook) -> Iterator[None]:
    """Do the same actions on the other kernels, those that the document names first."""
    session = bench.session
    steps = list(session.steps)
    key = (session.machine.forks, len(steps), choice[:2], steps[-1] if steps else None)
    known = _VERDICTS.get(bench)
    if known is not None and known[0] == key:
        seen.holds, seen.breaks, seen.refused = known[1].holds, known[1].breaks, known[1].refused
        return
    if session.position > HISTORY or len(session.machine.memory.cells) > WORDS:
        seen.unasked = "too much was done to do it again on others"
        return
    limit = 4 * session.position + 4_000
    for name in _others(bench):
        told: list[bool] = []
        yield from _verdict(name, steps, choice.rule, limit, told)
        found = seen.refused if not told else seen.breaks if told[0] else seen.holds
        found.append(name)
        for names in (seen.holds, seen.breaks, seen.refused):
            names.sort(key=KERNEL_IDS.index)
    _VERDICTS[bench] = key, seen


def _others(bench: Standing) -> list[str]:
    """All models but the present one."""
    named = [name for name in bench.source.kernels if name in KERNEL_IDS]
    every = dict.fromkeys([*named, *(entry.id for entry in REGISTRY)])
    return [name for name in every if name != bench.kernel]


def _verdict(
    name: str, steps: list[Step], rule: str, limit: int, told: list[bool]
) -> Iterator[None]:
    """Tell whether the last of some actions breaks a rule there; nothing if one is refused."""
    try:
        session = Session(name)
        for step in steps:
            yield
            session.begin(step.action)
            if isinstance(step.action, CpuBlock):
                play(session, step.action.schedule)
            while session.running:
                enabled = session.machine.enabled()
                if not enabled or session.position > limit:
                    return
                session.step_event(enabled[0])
                if session.position % _TURN == 0:
                    yield
    except SandboxError:
        return
    last = len(steps) - 1
    found = session.rules.violations
    told.append(any(v.rule == rule and v.action == last and not v.known_window for v in found))


# -- since when it could not hold ------------------------------------------------------------


def _doomed(session: Session, choice: Choice, seen: Outlook) -> Iterator[None]:
    """From which position on every order of the CPUs breaks the rule.

    It is found on a copy by halves; an order lets one CPU after the other go on as far as it can.
    """
    step, machine = session.last_step, session.machine
    violation = session.rules.broken.get((choice.rule, choice.subject))
    if step is None or violation is None or not session.running:
        return
    start = session.starts[-1]
    first = _began(session, choice, violation.event)
    tasks = session.tasks_of(step)
    if len({task.cpu for task in tasks}) < 2:
        seen.since = Since(start, alone=True)
        return
    if first > HISTORY or len(machine.memory.cells) > WORDS or machine.checked:
        return
    copy = Session(session.kernel)
    yield from _same(copy, list(session.steps), list(session.starts), bytes(machine.cpus[:first]))
    if copy.position != first:
        return
    low, high = start, first  # before `low` it could be avoided, from `high` on it could not
    while low < high:
        middle = (low + high) // 2
        copy.machine.goto(middle)
        told: list[bool] = []
        yield from _avoidable(copy, choice, told)
        low, high = (middle + 1, high) if told[0] else (low, middle)
    seen.since = Since(low, alone=False)


def _began(session: Session, choice: Choice, event: int) -> int:
    """The event that broke a rule which is broken since then."""
    for violation in reversed(session.rules.violations):
        if (violation.rule, violation.subject) == (choice.rule, choice.subject):
            event = violation.event
            if violation.run == 1:
                break
    return event


def _same(copy: Session, steps: list[Step], starts: list[int], order: bytes) -> Iterator[None]:
    """Do the same on a copy, event for event."""
    for number, step in enumerate(steps):
        end = starts[number + 1] if number + 1 < len(starts) else len(order)
        try:
            copy.begin(step.action)
            while copy.running and copy.position < min(end, len(order)):
                copy.step_event(order[copy.position])
                if copy.position % _TURN == 0:
                    yield
        except SandboxError:
            return


def _avoidable(copy: Session, choice: Choice, told: list[bool]) -> Iterator[None]:
    """Tell whether any order of the CPUs keeps the rule."""
    for order in permutations([task.cpu for task in copy.running]):
        model = Model.of(copy)
        for count in range(AHEAD):
            able = [cpu for cpu in order if cpu in model.enabled()]
            if not able:
                told.append(True)
                return
            if _breaks(model, able[0], choice):
                break
            if count % _TURN == 0:
                yield
    told.append(False)


def _breaks(model: Model, cpu: int, choice: Choice) -> bool:
    """Let a CPU do an event; whether that breaks the rule, or goes wrong."""
    try:
        found = model.apply(cpu)
    except SandboxError:
        return True
    return any(v[:2] == choice[:2] and not v.known_window for v in found)
