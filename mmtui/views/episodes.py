"""When each rule was broken: the violations of a session, gathered as history goes on."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mmtui.model.why import Choice
from sandbox.rules import RuleEngine, Violation
from sandbox.run.following import Follower

__all__ = ["Episode", "Listed", "listed"]


@dataclass(frozen=True, slots=True)
class Episode:
    """A rule broken for one subject in consecutive states."""

    rule: str
    subject: str
    text: str
    """The numbers of the worst state."""
    event: int
    """The event that broke it."""
    function: str
    states: int
    worst: int
    window: str | None
    now: bool
    last: int
    """The event after which it was seen to be broken last."""


class _Group:
    """The violations of one episode, those taken back left out."""

    __slots__ = ("peaks", "serial", "violations")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        """Episodes that began earlier have a smaller one."""
        self.violations: list[Violation] = []
        self.peaks: list[Violation] = []
        """Each one worse than all before it."""

    @property
    def in_window(self) -> bool:
        """Whether it is one of upstream's own windows."""
        return self.violations[0].known_window is not None

    def add(self, violation: Violation) -> None:
        self.violations.append(violation)
        if not self.peaks or violation.deficit > self.peaks[-1].deficit:
            self.peaks.append(violation)

    def drop(self) -> None:
        if self.violations.pop() is self.peaks[-1]:
            self.peaks.pop()

    def episode(self, current: Violation | None) -> Episode:
        """What to show of it; `current` is its violation of the present state."""
        first = self.violations[0]
        shown = self.peaks[-1] if current is None else current
        return Episode(
            first.rule, first.subject, shown.text, first.event, first.function,
            len(self.violations), self.peaks[-1].deficit, first.known_window, current is not None,
            self.violations[-1].event,
        )  # fmt: skip


def _began(group: _Group) -> int:
    return group.violations[0].event


class _Episodes(Follower[Violation]):
    """All episodes, in step with the violations of a session."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[tuple[str, str], list[_Group]] = {}
        self.real: list[_Group] = []
        """Those that no known window covers by their event; of one event, the latest first."""
        self.windows: list[_Group] = []
        self._made = 0

    def _order(self, violation: Violation) -> list[_Group]:
        return self.real if violation.known_window is None else self.windows

    def added(self, violation: Violation, at: int) -> None:
        """One state more in which a rule is broken."""
        mine = self._of.setdefault((violation.rule, violation.subject), [])
        if violation.run == 1 or not mine:
            mine.append(_Group(self._made))
            self._made += 1
            order = self._order(violation)
            order.insert(bisect_left(order, violation.event, key=_began), mine[-1])
        mine[-1].add(violation)

    def dropped(self, violation: Violation, at: int) -> None:
        """The last such state was taken back."""
        key = (violation.rule, violation.subject)
        mine = self._of[key]
        if len(mine[-1].violations) == 1:
            order = self._order(violation)
            del order[bisect_left(order, violation.event, key=_began)]
            mine.pop()
            if not mine:
                del self._of[key]
        else:
            mine[-1].drop()

    def alive(self, now: dict[tuple[str, str], Violation]) -> list[tuple[_Group, Violation]]:
        """The episodes that last, those in known windows last, the latest first."""
        found = []
        for key, current in now.items():
            for group in reversed(self._of.get(key, ())):
                last = group.violations[-1].event
                if last == current.event:
                    found.append((group, current))
                elif last < current.event:
                    break
        found.sort(key=lambda pair: (pair[0].in_window, -_began(pair[0]), pair[0].serial))
        return found


class Listed:
    """All episodes: those that last, then the others, known windows last, the latest first."""

    def __init__(self, episodes: _Episodes, now: dict[tuple[str, str], Violation]) -> None:
        self._alive = episodes.alive(now)
        self._orders = (episodes.real, episodes.windows)
        places: tuple[list[int], list[int]] = ([], [])
        for group, _ in self._alive:
            order = self._orders[group.in_window]
            at = bisect_left(order, _began(group), key=_began)
            while order[at] is not group:
                at += 1
            places[group.in_window].append(len(order) - 1 - at)
        self._taken = tuple(map(sorted, places))
        """Places, from the latest on, of the episodes that last."""

    def __len__(self) -> int:
        return sum(map(len, self._orders))

    def __getitem__(self, at: int) -> Episode:
        if at < len(self._alive):
            group, current = self._alive[at]
            return group.episode(current)
        at -= len(self._alive)
        for order, taken in zip(self._orders, self._taken, strict=True):
            if at < len(order) - len(taken):
                for place in taken:
                    at += place <= at
                return order[len(order) - 1 - at].episode(None)
            at -= len(order) - len(taken)
        raise IndexError(at)

    def place(self, choice: Choice | None) -> int:
        """Where a chosen rule is: the episode that lasts, or one that an event began; else 0."""
        if choice is None:
            return 0
        for at, (group, _) in enumerate(self._alive):
            first = group.violations[0]
            if (first.rule, first.subject) == choice[:2] and choice.event in (None, first.event):
                return at
        event = -1 if choice.event is None else choice.event
        before = len(self._alive)
        for order, taken in zip(self._orders, self._taken, strict=True):
            low = bisect_left(order, event, key=_began)
            while low < len(order) and (first := order[low].violations[0]).event == event:
                place = len(order) - 1 - low
                if (first.rule, first.subject) == choice[:2] and place not in taken:
                    return before + place - bisect_left(taken, place)
                low += 1
            before += len(order) - len(taken)
        return 0


_EPISODES: WeakKeyDictionary[RuleEngine, _Episodes] = WeakKeyDictionary()


def listed(rules: RuleEngine) -> Listed:
    """The episodes of a session up to now."""
    episodes = _EPISODES.get(rules)
    if episodes is None:
        episodes = _EPISODES[rules] = _Episodes()
    episodes.follow(rules.violations)
    return Listed(episodes, rules.broken)
