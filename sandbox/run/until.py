"""Where to stop: a function, a line, a word, a rule, a CPU or an expectation, forth and back.

A condition is looked for forwards while events are done (`Forward`), and backwards in what is on
record (`before`): nothing is undone until it is found.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError, UsageError
from sandbox.machine.fields import FIELDS
from sandbox.machine.frames import calls_of
from sandbox.machine.memory import ALLOC, FIRST_MUTATING, Word
from sandbox.rules import RULES
from sandbox.scenario.expect import Expectation, evaluate, parse_expectations
from sandbox.truth.events import after, show
from sandbox.truth.names.functions import close_functions, is_function
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["Condition", "Forward", "before", "parse_condition"]

_LINE = re.compile(r"(?:.*/)?([\w-]+\.py):(\d{1,7})")
_WORD = re.compile(
    r"(?P<word>[^=!<>+]+?)(?:\s*(?P<op>=|!=|<=|>=|<|>)\s*(?P<value>-?\d{1,19}|0x[0-9a-f]{1,16})"
    r"|\s+(?P<flag>[+-]\w+))?"
)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_EXPECTED = "a function, FILE.py:LINE, a word as panes name it, a rule, cpuN or an expectation"


@dataclass(frozen=True, slots=True)
class Condition:
    """Where to stop; exactly one of the kinds is set."""

    text: str
    function: str = ""
    """The next event is in it, and the one before was not."""
    line: tuple[str, int] | None = None
    """The next event is at that line of that file, in any frame of the stack."""
    rule: str = ""
    """The event broke it."""
    cpu: int | None = None
    """The next event is of that CPU."""
    word: str = ""
    """The event changed it, if anything is said below so that this came to hold."""
    compare: tuple[str, int] | None = None
    flag: str = ""
    """`+dirty`: came to be among the word's flags; `-dirty`: went."""
    expectation: Expectation | None = None
    """It holds, and did not before."""

    @property
    def kinds(self) -> frozenset[int]:
        """Numbers of the fields that the word may be of."""
        name = self.word.rpartition(".")[2] if "." in self.word else self.word
        name = re.sub(r"\[\d+\]$", "", name)
        entry = re.search(r" (pte|pmd) \d+$", self.word)
        wanted = {entry[1]} if entry else {name, self.word.rpartition(".")[2]}
        return frozenset(field.number for field in FIELDS if field.name in wanted)

    def met(self, words: Words, addr: int, old: Word, new: Word) -> bool:
        """Whether a change of the word is what is looked for: it holds now and did not before."""
        if self.compare is not None:
            holds, value = _COMPARE[self.compare[0]], self.compare[1]
            if not isinstance(old, int) or not isinstance(new, int):
                return False
            return bool(holds(int(new), value) and not holds(int(old), value))
        if self.flag:
            had, has = (self._has(str(show(words, addr, value))) for value in (old, new))
            return had != has and has == (self.flag[0] == "+")
        return bool(old != new)

    def place(self, function: Word) -> object:
        """What says that a suspended function is in the function or at the line, else None.

        Of a function it is the call: another one is another thing.
        """
        for gen in calls_of(function):
            code = gen.gi_code
            if self.function:
                if code.co_name == self.function:
                    return gen
            elif (
                self.line
                and gen.gi_frame.f_lineno == self.line[1]
                and code.co_filename.endswith(f"/{self.line[0]}")
            ):
                return True
        return None

    def holds(self, session: Session) -> bool:
        """Whether the expectation holds in the state that a session is in."""
        return self.expectation is not None and evaluate(self.expectation, session.state()).ok

    def _has(self, shown: str) -> bool:
        return self.flag[1:] in re.split(r"[\s,]+", shown)


def parse_condition(text: str) -> Condition:
    """Read what a person wrote.

    Raises:
        UsageError: it is none of the kinds, or names what there is not.
    """
    text = " ".join(text.split())
    if not text:
        raise UsageError("nothing to stop at", expected=_EXPECTED)
    if text in RULES:
        return Condition(text, rule=text)
    if found := re.fullmatch(r"cpu(\d)", text):
        return Condition(text, cpu=int(found[1]))
    if found := _LINE.fullmatch(text):
        return Condition(text, line=(found[1], int(found[2])))
    if text.isidentifier() and is_function(text):
        return Condition(text, function=text)
    if condition := _of_word(text):
        return condition
    try:
        (expectation,) = parse_expectations(text, "condition")
    except (SandboxError, ValueError):
        near = [*close_functions(text), *get_close_matches(text, RULES, n=1)][:1]
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"cannot stop at {text[:60]!r}{hint}", expected=_EXPECTED) from None
    return Condition(text, expectation=expectation)


def _of_word(text: str) -> Condition | None:
    """The condition on one word, None if the text names no field of the machine's."""
    found = _WORD.fullmatch(text)
    if found is None:
        return None
    compare = (found["op"], int(found["value"], 0)) if found["op"] else None
    condition = Condition(text, word=found["word"], compare=compare, flag=found["flag"] or "")
    return condition if condition.kinds and ("." in found["word"] or " " in found["word"]) else None


# -- forwards ------------------------------------------------------------------------------------


class Forward:
    """Looks for a condition while events are done: `met` is asked after each."""

    def __init__(self, session: Session, condition: Condition) -> None:
        self._session, self._condition = session, condition
        self._kinds = condition.kinds if condition.word else frozenset[int]()
        self._broken = len(session.rules.violations)
        self._before = self._here()

    def met(self) -> bool:
        """Whether the event just done, or the place before the next one, is the one."""
        if self._condition.rule:
            return self._rule_broke()
        if self._condition.word:
            return self._word_changed()
        if self._condition.expectation is not None and not self._changed():
            return False
        here, was = self._here(), self._before
        self._before = here
        return any(each is not None and each is not was.get(cpu) for cpu, each in here.items())

    def _here(self) -> dict[int, object]:
        """By CPU, what says that it is there now: the same thing as long as it stays."""
        condition, machine = self._condition, self._session.machine
        if condition.expectation is not None:
            return {0: True} if condition.holds(self._session) else {}
        if condition.cpu is not None:
            return {0: True} if self._turn() == condition.cpu else {}
        if condition.function or condition.line:
            running = [task for task in machine.running if task is not None]
            return {task.cpu: condition.place(machine.live(task)) for task in running}
        return {}

    def _turn(self) -> int | None:
        """The CPU whose event comes next: as history has it, else the first that can go on."""
        machine = self._session.machine
        return (
            machine.future_cpus[-1] if machine.future_cpus else next(iter(machine.enabled()), None)
        )

    def _rule_broke(self) -> bool:
        violations, seen = self._session.rules.violations, self._broken
        self._broken = len(violations)
        return any(v.rule == self._condition.rule and v.run == 1 for v in violations[seen:])

    def _changed(self) -> bool:
        op = self._session.machine.events[self._session.position - 1][0]
        return bool(op >= FIRST_MUTATING and op != ALLOC)

    def _word_changed(self) -> bool:
        n = self._session.position - 1
        return _meets(self._session, self._condition, self._kinds, n)


def _meets(session: Session, condition: Condition, kinds: frozenset[int], n: int) -> bool:
    """Whether event *n* changed the word of a condition as it says.

    A folio has its name from its first mapping on; going back it is known from its birth on.
    """
    machine = session.machine
    event = machine.events[n]
    addr = event[1]
    if event[0] < FIRST_MUTATING or machine.memory.kinds[addr] not in kinds:
        return False  # most events end here
    words = Words(session.ledger).at(n)  # of the processes that there are
    if words.name(addr) != condition.word:
        return False
    old = machine.olds[n]
    return condition.met(words, addr, old, after(event, old, True))


# -- backwards -----------------------------------------------------------------------------------


def before(session: Session, condition: Condition, position: int) -> int | None:
    """The position nearest before *position* at which a forward run would have stopped.

    None if there is none.  Of an expectation that is not known without going back: that is for
    the caller to do.
    """
    return next(_stops(session, condition, position), None)


def _stops(session: Session, condition: Condition, position: int) -> Iterator[int]:
    machine = session.machine
    if condition.rule:
        broke = [v.event + 1 for v in session.rules.violations if v.rule == condition.rule]
        yield from sorted({at for at in broke if at < position}, reverse=True)
    elif condition.word:
        kinds, events, kind_of = condition.kinds, machine.events, machine.memory.kinds
        for n in range(position - 2, -1, -1):
            # What is no word of that name is passed over without a call: millions of events.
            if kind_of[events[n][1]] in kinds and _meets(session, condition, kinds, n):
                yield n + 1
    elif condition.cpu is not None:
        cpus, cpu = machine.cpus, condition.cpu
        for n in range(min(position, machine.position) - 1, -1, -1):
            if cpus[n] == cpu and (not n or cpus[n - 1] != cpu):
                yield n
    else:
        yield from _entered(session, condition, position)


def _entered(session: Session, condition: Condition, position: int) -> Iterator[int]:
    """Positions before which a CPU went into the function or came to the line, the last first."""
    machine = session.machine
    tasks = [task for task in machine.tasks if task.start < position]
    for task in sorted(tasks, key=lambda task: task.start, reverse=True):
        inside = machine.traced(task, condition.place, None)
        end = machine.position if task.end is None else task.end
        mine = [n for n in range(task.start, end) if machine.cpus[n] == task.cpu]
        found = [
            n
            for at, n in enumerate(mine)
            if n < position and inside[at] is not None and not (at and inside[at - 1] is inside[at])
        ]
        yield from reversed(found)
