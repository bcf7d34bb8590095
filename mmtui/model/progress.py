"""How far a session has told its script, and which expectations held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmtui.model.script import Script
from sandbox.errors import SandboxError
from sandbox.scenario.checks import Refusal
from sandbox.scenario.expect import ExpectResult, evaluate_all
from sandbox.scenario.runner import ScenarioRun
from sandbox.session import Session, Step

__all__ = ["Progress", "step_state"]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An action that the machine refused: where in history, and why."""

    position: int
    done: int
    """How many actions had been begun by then."""
    error: SandboxError


def step_state(session: Session) -> dict[str, Any]:
    """The state after the last action, as an expectation reads it."""
    state = session.state()
    steps = session.steps
    if steps:
        last = steps[-1]
        result = session.result_of(last.number)
        state |= {
            "step": last.number,
            "action": last.action.text,
            "ret": result.ret if result else 0,
        }
        if result is not None and result.out is not None:
            state["out"] = result.out
    return state


class Progress:
    """Which action of the session is which of the script; results are kept once evaluated."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._items: dict[int, tuple[Step, int]] = {}
        """Script item by the identity of the session's step (which is kept alive here)."""
        self._refusals: dict[int, _Refusal] = {}
        self._results: dict[tuple[int, ...], tuple[ExpectResult, ...]] = {}

    # -- what happened -----------------------------------------------------------------

    def begun(self, index: int, step: Step) -> None:
        """Note that an action of the script was begun."""
        self._items[id(step)] = (step, index)

    def refused(self, index: int, session: Session, error: SandboxError) -> None:
        """Note that the machine refused an action of the script."""
        self._refusals[index] = _Refusal(session.position, len(session.steps), error)

    def item_of(self, step: Step) -> int | None:
        """Index of the script's action that a step of the session is."""
        found = self._items.get(id(step))
        return None if found is None else found[1]

    def done_items(self, session: Session) -> list[int]:
        """Script actions begun so far in this branch."""
        indices = (self.item_of(step) for step in session.steps)
        return [index for index in indices if index is not None]

    def refusal(self, index: int, session: Session) -> SandboxError | None:
        """Why the machine refused an action at this point of history, if it did."""
        refusal = self._refusals.get(index)
        if refusal is None or refusal.position > session.position:
            return None
        return refusal.error

    def expects_refusal(self, index: int) -> bool:
        """Whether the story says that this action (or one of its step) is refused."""
        step = self._script.steps[self._script.items[index].step]
        return any(isinstance(e.check, Refusal) for b in step.expects for e in b.expectations)

    # -- where we are ------------------------------------------------------------------

    def next_item(self, session: Session) -> int | None:
        """Index of the next action; a refused one ends its story step."""
        items = self._script.items
        index = max(self.done_items(session), default=-1) + 1
        while index < len(items) and self.refusal(index, session) is not None:
            step = items[index].step
            while index < len(items) and items[index].step == step:
                index += 1
        return index if index < len(items) else None

    def current(self, session: Session) -> int:
        """Number of the story step that is being done or is next."""
        if session.running:
            index = self.item_of(session.steps[-1])
            if index is not None:
                return self._script.items[index].step
        upcoming = self.next_item(session)
        return len(self._script.steps) if upcoming is None else self._script.items[upcoming].step

    def running_item(self, session: Session) -> int | None:
        """Index of the script's action that is running."""
        return self.item_of(session.steps[-1]) if session.running else None

    def step_starts(self, session: Session) -> list[int]:
        """Positions at which the story steps begun so far start."""
        starts: dict[int, int] = {}
        for task in session.machine.tasks:
            if isinstance(task.payload, Step):
                index = self.item_of(task.payload)
                if index is not None:
                    starts.setdefault(self._script.items[index].step, task.start)
        return sorted(starts.values())

    def only_script(self, session: Session) -> bool:
        """Whether nothing but the script was done."""
        items = self._script.items
        numbers = [(step, self.item_of(step)) for step in session.steps]
        return all(n is not None and items[n].action == step.action for step, n in numbers)

    def place(self, session: Session) -> int:
        """Line of the document of the last action begun, 0 before the first."""
        done = self.done_items(session)
        return self._script.items[max(done)].action.where.line if done else 0

    # -- expectations --------------------------------------------------------------------

    def settle(self, run: ScenarioRun) -> tuple[ExpectResult, ...]:
        """Evaluate the expectations of a story step that has just been completed."""
        session = run.session
        if session.running or session.machine.can_redo():
            return ()
        step, error = self._completed(session)
        if step is None or self._altered(session, step):
            return ()
        key = self._key(session, step)
        if key in self._results:
            return ()
        expected = [e for block in self._script.steps[step].expects for e in block.expectations]
        results = tuple(evaluate_all(expected, step_state(session), run, error))
        self._results[key] = results
        return results

    def _altered(self, session: Session, step: int) -> bool:
        """Whether something was put beside an action of a story step: nothing is expected then."""
        items = self._script.items
        return any(
            index is not None and items[index].step == step and items[index].action != done.action
            for done in session.steps
            for index in (self.item_of(done),)
        )

    def _completed(self, session: Session) -> tuple[int | None, SandboxError | None]:
        """The story step whose last action was the last thing done, and what ended it early."""
        done = max(self.done_items(session), default=-1)
        items = self._script.items
        following = done + 1
        if following < len(items) and (error := self.refusal(following, session)) is not None:
            return items[following].step, error
        if done < 0 or (following < len(items) and items[following].step == items[done].step):
            return None, None
        return items[done].step, None

    def _key(self, session: Session, step: int) -> tuple[int, ...]:
        """The history a result belongs to: the identities of the steps up to it."""
        steps, last = session.steps, 0
        for number, done in enumerate(steps, 1):
            index = self.item_of(done)
            if index is not None and self._script.items[index].step <= step:
                last = number
        return (step, *(id(done) for done in steps[:last]))

    def results(self, session: Session, step: int) -> tuple[ExpectResult, ...]:
        """What became of a story step's expectations in the history that led here."""
        return self._results.get(self._key(session, step), ())
