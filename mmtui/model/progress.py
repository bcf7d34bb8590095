"""How far a session has told its script, and which expectations held."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from mmtui.model.script import Script
from sandbox.errors import SandboxError
from sandbox.run.following import Follower
from sandbox.run.runner import ScenarioRun
from sandbox.run.session import Session, Step
from sandbox.scenario.expect import ExpectResult, evaluate_all
from sandbox.scenario.expect_state import Refusal

__all__ = ["NOTHING_UNEXPECTED", "Progress", "Unexpected", "step_state"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An action that the machine refused: where in history, and why."""

    position: int
    error: SandboxError


class Unexpected(NamedTuple):
    """What did not go as the story says, at a point of history."""

    refused: tuple[int, ...]
    """The script's actions that the machine refused."""
    surplus: dict[int, int]
    """By story step, results that belong to no expectation."""
    failed: dict[int, tuple[int, ...]]
    """By story step, the numbers of its expectations that do not hold."""


NOTHING_UNEXPECTED = Unexpected((), {}, {})


class _Told(Follower[Step]):
    """The steps of the session that are actions of the script, and those that are not.

    A script is told in order: the numbers of its actions ascend.
    """

    def __init__(
        self, script: Script, items: dict[int, tuple[Step, int]], refusals: Container[int]
    ) -> None:
        super().__init__()
        self._script, self._items, self._refusals = script, items, refusals
        self.items: list[int] = []
        """The script's actions begun so far."""
        self.stories: list[int] = []
        """The story step of each of them."""
        self.places: list[int] = []
        """The place of each of them among the session's steps, from 0."""
        self.firsts: list[int] = []
        """Which of them was the first of its story step."""
        self.again: list[int] = []
        """Those that the machine refused in another history."""
        self.own: list[Step] = []
        """The other steps: actions of one's own."""
        self.strays = 0
        """Steps that are not what the script says: of one's own, or with others beside them."""

    def _index(self, step: Step) -> int | None:
        found = self._items.get(id(step))
        return None if found is None else found[1]

    def added(self, step: Step, at: int) -> None:
        """Take in a step."""
        index = self._index(step)
        self.strays += self._stray(step, index)
        if index is None:
            self.own.append(step)
            return
        story = self._script.items[index].step
        if not self.stories or self.stories[-1] != story:
            self.firsts.append(len(self.items))
        self.items.append(index)
        if index in self._refusals:
            self.again.append(index)
        self.stories.append(story)
        self.places.append(at)

    def dropped(self, step: Step, at: int) -> None:
        """The last step was taken back."""
        if not self.places or self.places[-1] != at:
            self.strays -= self._stray(self.own.pop(), None)
            return
        index = self.items.pop()
        self.strays -= self._stray(step, index)
        if self.again and self.again[-1] == index:
            self.again.pop()
        self.stories.pop()
        self.places.pop()
        if self.firsts[-1] == len(self.items):
            self.firsts.pop()

    def _stray(self, step: Step, index: int | None) -> bool:
        return index is None or self._script.items[index].action != step.action


def step_state(session: Session) -> dict[str, Any]:
    """The state after the last action, as an expectation reads it."""
    state = session.state()
    last = session.last_step
    if last is not None:
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
        self._told = _Told(script, self._items, self._refusals)
        self._results: dict[tuple[int, int], tuple[ExpectResult, ...]] = {}
        self._upcoming = (0, 0, 0)
        """The next action after so many, at that position in history, as it was last found."""
        self._ends = {item.step: after for after, item in enumerate(script.items, 1)}
        """The action after the last one of each story step."""
        self._reached: list[int] = []
        """Positions of the refusals, ascending."""
        self._surplus: dict[tuple[int, int], int] = {}
        """How many of these results belong to no expectation, where there are such."""
        self._failed: dict[tuple[int, int], tuple[int, ...]] = {}
        """Which expectations of these do not hold, where there are such."""
        self._unexpected = NOTHING_UNEXPECTED
        self._when: tuple[int, int, int] | None = None
        """The refusals reached, the last step and the results, when that was found."""

    def _follow(self, session: Session) -> _Told:
        """What was told so far, up to date."""
        self._told.follow(session.steps)
        return self._told

    # -- what happened -----------------------------------------------------------------

    def begun(self, index: int, step: Step) -> None:
        """Note that an action of the script was begun."""
        self._told.forget(step, step.number - 1)
        self._items[id(step)] = (step, index)

    def refused(self, index: int, session: Session, error: SandboxError) -> None:
        """Note that the machine refused an action of the script."""
        self._refusals[index] = _Refusal(session.position, error)
        self._reached = sorted(refusal.position for refusal in self._refusals.values())
        self._when = None

    def item_of(self, step: Step) -> int | None:
        """Index of the script's action that a step of the session is."""
        found = self._items.get(id(step))
        return None if found is None else found[1]

    def own_steps(self, session: Session) -> Sequence[Step]:
        """Actions of one's own begun so far in this branch; follows the session, not a copy."""
        return self._follow(session).own

    def is_done(self, index: int, session: Session) -> bool:
        """Whether an action of the script was begun in this branch."""
        items = self._follow(session).items
        at = bisect_left(items, index)
        return at < len(items) and items[at] == index

    def unexpected(self, session: Session) -> Unexpected:
        """What did not go as the story says; the same object as long as that is the same."""
        told, position = self._follow(session), session.position
        last = id(session.steps[told.places[-1]]) if told.places else 0
        key = (bisect_right(self._reached, position), last, len(self._results))
        if self._when != key:
            reached = {i for i, refusal in self._refusals.items() if refusal.position <= position}
            refused = tuple(sorted(reached.difference(told.again)))
            surplus = self._of_now(session, self._surplus)
            found = Unexpected(refused, surplus, self._of_now(session, self._failed))
            self._when = key
            if found != self._unexpected:
                self._unexpected = found
        return self._unexpected

    def _of_now(self, session: Session, kept: Mapping[tuple[int, int], T]) -> dict[int, T]:
        """What is kept of story steps in the history that led here."""
        return {key[0]: value for key, value in kept.items() if key == self._key(session, key[0])}

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
        items, position = self._script.items, session.position
        told = self._follow(session).items
        first = index = told[-1] + 1 if told else 0
        if self._upcoming[0] == first and self._upcoming[1] <= position:
            index = self._upcoming[2]  # what was refused until then still is
        while index < len(items) and self.refusal(index, session) is not None:
            index = self._ends[items[index].step]
        self._upcoming = (first, position, index)
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

    def story_start(self, session: Session) -> int | None:
        """Where the story step starts that was last begun before the present position."""
        told, starts = self._follow(session), session.starts
        position = session.position
        at = bisect_left(told.firsts, position, key=lambda first: starts[told.places[first]])
        return starts[told.places[told.firsts[at - 1]]] if at else None

    def only_script(self, session: Session) -> bool:
        """Whether nothing but the script was done."""
        return not self._follow(session).strays

    def place(self, session: Session) -> int:
        """Line of the document of the last action begun, 0 before the first."""
        told = self._follow(session).items
        return self._script.items[told[-1]].action.where.line if told else 0

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
        expected = [e for block in self._script.steps[step].expects for e in block.expectations]
        if key in self._results or (not expected and error is None):
            return ()
        results = tuple(evaluate_all(expected, step_state(session), run, error))
        self._results[key] = results
        if len(results) > len(expected):
            self._surplus[key] = len(results) - len(expected)
        if failed := tuple(i for i, result in enumerate(results[: len(expected)]) if not result.ok):
            self._failed[key] = failed
        return results

    def _altered(self, session: Session, story: int) -> bool:
        """Whether something was put beside an action of a story step: nothing is expected then."""
        told, items = self._follow(session), self._script.items
        low, high = bisect_left(told.stories, story), bisect_right(told.stories, story)
        return any(
            items[told.items[at]].action != session.steps[told.places[at]].action
            for at in range(low, high)
        )

    def _completed(self, session: Session) -> tuple[int | None, SandboxError | None]:
        """The story step whose last action was the last thing done, and what ended it early."""
        told = self._follow(session).items
        done = told[-1] if told else -1
        items = self._script.items
        following = done + 1
        if following < len(items) and (error := self.refusal(following, session)) is not None:
            return items[following].step, error
        if done < 0 or (following < len(items) and items[following].step == items[done].step):
            return None, None
        return items[done].step, None

    def _key(self, session: Session, story: int) -> tuple[int, int]:
        """The history a result belongs to: the last step up to it, which has only one before it."""
        told = self._follow(session)
        at = bisect_right(told.stories, story)
        return story, id(session.steps[told.places[at - 1]]) if at else 0

    def results(self, session: Session, step: int) -> tuple[ExpectResult, ...]:
        """What became of a story step's expectations in the history that led here."""
        return self._results.get(self._key(session, step), ())
