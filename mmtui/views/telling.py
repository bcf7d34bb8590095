"""What a move brought, in sentences: the story, the words that changed, what held, what broke."""

from __future__ import annotations

from collections.abc import Iterator

from mmtui.model.bench import Bench
from mmtui.model.script import Script
from mmtui.views.lines import plain
from mmtui.views.prose import prose_lines
from mmtui.views.status import changed_words
from sandbox.rules import RULES, Violation
from sandbox.scenario.expect import ExpectResult
from sandbox.scenario.presets import Prose

__all__ = ["Teller"]

_WIDTH = 78
_WORDS = 12
"""Words that changed which are told of one by one."""


class Teller:
    """Tells a session as it goes on: each text of the story once, and again after going back."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._begun = self._ended = 0
        """How many story steps were told of to their action, and to their end."""
        self._broken: frozenset[tuple[str, str]] = frozenset()

    @property
    def _script(self) -> Script:
        return self._bench.script

    def opening(self) -> Iterator[str]:
        """What was opened, and the story up to its first action."""
        bench = self._bench
        yield f"{bench.source.title}, on kernel {bench.kernel}."
        yield f"{len(self._script.steps)} steps, {len(self._script.items)} actions."
        yield from self._story()

    def place(self) -> Iterator[str]:
        """The present step of the story, once more."""
        self._begun = self._ended = min(self._begun, self._current())
        yield from self._story()

    def moved(self) -> Iterator[str]:
        """What the last move brought, then the story up to what comes next."""
        yield from self._where()
        yield from self._changes()
        yield from self._violations()
        current = self._current()
        if current < self._begun - 1:  # gone back: what comes next is told once more
            self._begun = self._ended = current
        yield from self._story()

    # -- where and what ------------------------------------------------------------------

    def _where(self) -> Iterator[str]:
        bench = self._bench
        session = bench.session
        start, end = bench.changes.start, bench.changes.end
        if start == end:
            return
        back = "Back to" if end < start else "Now at"
        text = f"{back} event {session.position} of {bench.end}"
        if (last := session.last_step) is not None:
            result = session.result_of(last.number)
            state = ", running" if session.running else f", returned {result.ret}" if result else ""
            text += f", action {last.number}: {last.action.text}{state}"
        yield f"{text}."

    def _changes(self) -> Iterator[str]:
        if self._bench.changes.unmarked:
            yield "Too many events to tell what they changed."
            return
        words = list(changed_words(self._bench))
        for name, old, new in words[:_WORDS]:
            yield f"Changed: {name} from {old} to {new}."
        if len(words) > _WORDS:
            yield f"And {len(words) - _WORDS} more words changed."

    def _violations(self) -> Iterator[str]:
        """The rules that broke by the move, and those that hold again."""
        bench = self._bench
        now = {key: v for key, v in bench.session.rules.broken.items() if not v.known_window}
        fresh = bench.fresh()
        for violation in fresh[:_WORDS]:
            yield from _broke(violation, lasting=(violation.rule, violation.subject) in now)
        if len(fresh) > _WORDS:
            yield f"And {len(fresh) - _WORDS} more times a rule broke."
        told = {(violation.rule, violation.subject) for violation in fresh}
        for key, violation in now.items():
            if key not in told and key not in self._broken:
                yield from _broke(violation, lasting=True)
        for rule, subject in sorted(self._broken - now.keys()):
            yield f"{rule} is not broken for {subject} here."
        self._broken = frozenset(now)

    # -- the story -----------------------------------------------------------------------

    def _current(self) -> int:
        return self._bench.progress.current(self._bench.session)

    def _story(self) -> Iterator[str]:
        """The ends of the steps that were done, and the beginning of the one that is next."""
        current, steps = self._current(), self._script.steps
        if self._begun == self._ended == len(steps):
            return
        while self._ended < current:
            if self._begun == self._ended:
                yield from self._lead(self._begun)
                self._begun += 1
            yield from self._after(self._ended)
            self._ended += 1
        if current == self._begun < len(steps):
            yield from self._lead(current)
            self._begun += 1
        if current == len(steps):
            yield "The story is over."

    def _lead(self, number: int) -> Iterator[str]:
        """The text of a step, and its actions."""
        yield ""
        yield f"Step {number + 1} of {len(self._script.steps)}."
        yield from _prose(self._script.steps[number].prose)
        for item in self._script.items:
            if item.step == number:
                yield f"To do: {item.action.text}"

    def _after(self, number: int) -> Iterator[str]:
        """What stands after the actions of a step: text, and expectations with what was found."""
        results = self._bench.progress.results(self._bench.session, number)
        at = 0
        for part in self._script.steps[number].after:
            if isinstance(part, Prose):
                yield from _prose(part.text)
                continue
            for expected in part.expectations:
                yield _verdict(results[at]) if at < len(results) else f"Expected: {expected.text}."
                at += 1
        yield from map(_verdict, results[at:])


def _prose(text: str) -> Iterator[str]:
    return (plain(line).rstrip() for line in prose_lines(text, _WIDTH)) if text else iter(())


def _verdict(result: ExpectResult) -> str:
    if result.ok:
        return f"Holds: {result.text}."
    return f"FAILS: {result.text}, but found {result.got}."


def _broke(violation: Violation, *, lasting: bool) -> Iterator[str]:
    """A violation as sentences."""
    rule = RULES.get(violation.rule)
    yield (
        f"BROKEN: {violation.rule} for {violation.subject}: {violation.text}, by event "
        f"{violation.event} in {violation.function}()" + ("." if lasting else "; it holds again.")
    )
    if rule is not None:
        yield f"The rule: {rule.statement} ({rule.formula})"
