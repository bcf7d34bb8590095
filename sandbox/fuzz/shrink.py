"""Delta debugging: the smallest scenario that still differs for the same reason.

A shrink is a value that says which candidates it wants played next, and goes on with what came of
them, so that the candidates of many shrinks are played together, and one that was interrupted goes
on from its last round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sandbox.fuzz.edits import Edit, apply, drops, merged, related, simplified, weight

__all__ = ["Shrink"]

ROUNDS = 40
"""At most so many."""
COARSE = 24
"""A scenario of more actions is first tried without its larger parts."""
_STAGES = ("related", "coarse", "fine", "simple", "finer")


@dataclass(frozen=True, slots=True)
class Shrink:
    """A scenario on its way down."""

    lines: tuple[str, ...]
    """The smallest so far that differs for the reason; its last action is the one that does."""
    stage: str = "related"
    won: bool = False
    """Whether something became smaller since the stages began."""
    joined: tuple[Edit, ...] = field(default=())
    """Successes of the last round, all at once, on its lines: to be tried next."""
    rounds: int = 0
    done: bool = False

    def candidates(self) -> list[tuple[str, ...]]:
        """What to play next, smaller scenarios all; none when it is done."""
        return [] if self.done else [apply(edit) for edit in self._edits()]

    def _edits(self) -> list[Edit]:
        if self.joined:
            return list(self.joined)
        count = len(self.lines) - 1
        found: list[Edit] = []
        if self.stage == "related":
            found = list(related(self.lines))
        elif self.stage == "coarse" and count > COARSE:
            found = list(drops(self.lines, count // 4, count // 8))
        elif self.stage == "fine":
            found = list(drops(self.lines, 1, 1))
        elif self.stage != "coarse":
            found = list(simplified(self.lines, finely=self.stage == "finer"))
        least = weight(self.lines)
        return list(dict.fromkeys(each for each in found if weight(apply(each)) < least))

    def take(self, steps: Sequence[int | None]) -> Shrink:
        """Go on, given after which action each candidate differs for the reason; None if not."""
        good = [
            (edit, apply(edit)[:step])
            for edit, step in zip(self._edits(), steps, strict=True)
            if step is not None
        ]
        rounds = self.rounds + 1
        least = min((lines for _, lines in good), key=weight, default=self.lines)
        if self.joined:
            better = weight(least) < weight(self.lines)
            lines = least if better else self.lines
            return replace(self, lines=lines, joined=(), rounds=rounds)._bounded()
        if not good:
            return self._next_stage(rounds)
        joined = self._joins([edit for edit, _ in good])
        return replace(self, lines=least, won=True, joined=joined, rounds=rounds)._bounded()

    def _joins(self, good: Sequence[Edit]) -> tuple[Edit, ...]:
        """Several successes at once: all of them, and the halves of them.

        One that renumbers the pages of a region stays alone: half of it makes no sense.
        """
        good = [edit for edit in good if self._changed(edit) < 2]
        if len(good) < 2:
            return ()
        half = len(good) // 2
        parts = [good, good[:half], good[half:]] if len(good) > 3 else [good]
        return tuple(dict.fromkeys(merged(self.lines, part) for part in parts))

    def _changed(self, edit: Edit) -> int:
        pairs = zip(edit, self.lines, strict=True)
        return sum(line is not None and line != old for line, old in pairs)

    def _next_stage(self, rounds: int) -> Shrink:
        at = _STAGES.index(self.stage) + 1
        if at < len(_STAGES):
            return replace(self, stage=_STAGES[at], rounds=rounds)._bounded()
        again = replace(self, stage="fine", won=False, rounds=rounds, done=not self.won)
        return again._bounded()

    def _bounded(self) -> Shrink:
        return replace(self, done=True) if self.rounds >= ROUNDS or len(self.lines) < 2 else self

    def to_json(self) -> dict[str, Any]:
        """The shrink as a journal has it."""
        return asdict(self)

    @staticmethod
    def of_json(said: Mapping[str, Any]) -> Shrink:
        """The shrink of a journal's line."""
        joined = tuple(tuple(edit) for edit in said["joined"])
        known = {key: said[key] for key in ("stage", "won", "rounds", "done")}
        return Shrink(tuple(said["lines"]), joined=joined, **known)
