"""A quiz: what will the next action do to counters?  It is played on a copy of the bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mmtui.model.bench import Bench
from mmtui.model.replay import replayed
from sandbox.errors import SandboxError, UsageError
from sandbox.machine.fields import Struct
from sandbox.machine.memory import ADDR_MASK, Folio
from sandbox.truth.names.words import Words

__all__ = ["Change", "Question", "Quiz"]

ASKED = 8
"""Questions about one action at most."""
UNCHANGED = 2
"""Of them, those about words that it does not change."""
SKIPPED = 20
"""Actions in a row that may change nothing that is asked for."""

_BIASED = ("_mapcount", "_large_mapcount", "_entire_mapcount")
_OF_FOLIO = ("_refcount", "_large_mapcount", "_entire_mapcount", "_pincount", "_mapcount")
_OF_MM = ("rss_stat[MM_ANONPAGES]", "rss_stat[MM_FILEPAGES]", "rss_stat[MM_SHMEMPAGES]",
          "rss_stat[MM_SWAPENTS]")  # fmt: skip


@dataclass
class Question:
    """One word: what it is now, what the reader says it will be, what it comes to."""

    addr: int
    name: str
    bias: int
    """What is added to the raw value: 1 where it starts at -1."""
    before: int
    after: int
    guess: int | None = None
    told: int | None = None
    """What was revealed of it so far."""

    @property
    def right(self) -> bool:
        """Whether the guess is what comes of it."""
        return self.guess == self.after


@dataclass(frozen=True, slots=True)
class Change:
    """An event that changed a word that was asked for."""

    event: int
    function: str
    name: str
    old: int
    new: int


class Quiz:
    """Questions about the next action, then the events that answer them, then the next one.

    Raises:
        UsageError: nothing is left to ask for.
    """

    def __init__(self, bench: Bench, started: Callable[[Bench], None] | None = None) -> None:
        self._copy = replayed(bench, bench.kernel, started)
        if self._copy.session.position != bench.session.position:
            raise UsageError("this cannot be done again on a copy", expected="another place")
        self.kernel = bench.kernel
        self.right = self.asked = 0
        """Of the actions before this one."""
        self.action = ""
        self.questions: list[Question] = []
        self.changes: list[Change] = []
        self._end = 0
        self.ask()

    # -- asking ------------------------------------------------------------------------

    def ask(self) -> None:
        """Find the next action that changes a counter, and ask for what it comes to."""
        self.right += self.points
        self.asked += len(self.questions)
        self.questions, self.changes = [], []
        for _ in range(SKIPPED):
            start = self._copy.session.position
            if self._copy.idle and not self._copy.can_redo and self._copy.next_item is None:
                break
            existed = len(self._copy.session.machine.memory.cells)
            self._copy.step_action()
            self._end = self._copy.session.position
            step = self._copy.session.last_step
            self.action = step.action.text if step is not None else ""
            asked = [*self._asked(existed)]
            if self._end > start and asked:
                self._copy.goto(start)
                names = Words(self._copy.session.ledger)
                self.questions = [self._question(names, *found) for found in asked]
                return
        raise UsageError("nothing that is left changes a counter", expected="an earlier place")

    def _asked(self, existed: int) -> Iterator[tuple[int, int, int]]:
        """Address and value before and after of the words to ask for; the copy is at the end."""
        memory = self._copy.session.machine.memory
        olds, cells = self._copy.changes.olds, memory.cells
        found: dict[tuple[object, ...], tuple[int, int, int]] = {}
        folios: dict[int, Folio] = {}
        for addr in sorted(a for a in olds if a < existed):
            field = memory.field_at(addr)
            if field.struct is Struct.PAGE and field.name in _OF_FOLIO:
                folio = self._copy.session.ledger.folio(addr - field.offset)
                head = int(folio & ADDR_MASK)
                if not olds.get(folio._refcount, cells[folio._refcount]):
                    continue  # it was not there before
                folios.setdefault(head, folio)
                found.setdefault((head, field.name, cells[addr]), (addr, olds[addr], cells[addr]))
            elif field.struct is Struct.MM and field.name in _OF_MM:
                found.setdefault((addr,), (addr, olds[addr], cells[addr]))
        changed = sorted(found.values(), key=lambda entry: self._rank(entry[0]))[:ASKED]
        yield from changed
        room = min(UNCHANGED, ASKED - len(changed)) if changed else 0
        for folio in folios.values():
            for addr in (folio._refcount, folio._entire_mapcount, folio._pincount):
                if room and folio.large and addr not in olds:
                    yield addr, cells[addr], cells[addr]
                    room -= 1

    def _rank(self, addr: int) -> tuple[int, int]:
        name = self._copy.session.machine.memory.field_at(addr).name
        return (*_OF_FOLIO, *_OF_MM).index(name), addr

    def _question(self, names: Words, addr: int, before: int, after: int) -> Question:
        bias = int(self._copy.session.machine.memory.field_at(addr).name in _BIASED)
        name = names.name(addr) + (" + 1" if bias else "")
        return Question(addr, name, bias, before + bias, after + bias)

    # -- answering ---------------------------------------------------------------------

    @property
    def current(self) -> Question | None:
        """The question that is to be answered next."""
        return next((q for q in self.questions if q.guess is None), None)

    @property
    def over(self) -> bool:
        """Whether the action was done to its end."""
        return self.current is None and self._copy.session.position >= self._end

    @property
    def points(self) -> int:
        """Right answers to the questions about this action."""
        return sum(question.right for question in self.questions)

    def answer(self, text: str) -> None:
        """Take a value for the next question; no text is what it is now.

        Raises:
            UsageError: it is no number.
        """
        question = self.current
        if question is None:
            return
        try:
            question.guess = int(text[:20]) if text.strip() else question.before
        except ValueError:
            raise UsageError(f"not a number: {text[:20]!r}", expected="what it comes to") from None

    def reveal(self) -> Change | None:
        """Go on to the next event that changes what was asked for; None at the end."""
        session = self._copy.session
        asked = {question.addr: question for question in self.questions}
        while session.position < self._end:
            turn = self._copy.turn
            task = None if turn is None else session.machine.running[turn]
            pending = task.pending if task is not None else None
            stack = session.stack(turn) if pending and pending[1] in asked else []
            self._copy.step_event()
            event = session.machine.events[-1]
            question = asked.get(event[1])
            if question is None:
                continue
            new = session.machine.memory.cells[question.addr] + question.bias
            old = question.before if question.told is None else question.told
            if new != old:
                question.told = new
                function = stack[-1].function if stack else ""
                at = session.position - 1
                self.changes.append(Change(at, function, question.name, old, new))
                return self.changes[-1]
        return None

    def finish(self) -> None:
        """Reveal everything that is left of the action."""
        while self.reveal() is not None:
            pass

    def go_on(self, text: str) -> None:
        """What Enter does: answer, then reveal, then ask for the next action.

        Raises:
            SandboxError: it is no answer, or nothing is left to ask for.
        """
        if self.current is not None:
            self.answer(text)
        elif not self.over:
            self.reveal()
        else:
            try:
                self.ask()
            except SandboxError:
                self.questions = []
                raise
