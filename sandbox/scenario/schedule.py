"""Schedules of a block of CPUs: whose turn it is, and until when.

    schedule cpu1 until store:2, cpu0 until before-store:14, cpu0 12, cpu1 all

A turn ends at its landmark, after its number of events, or at the end of all that the CPU has to
do; and before that where the CPU must wait for another one.  What a schedule leaves out runs to
its end, CPUs in order.  Landmarks count from the beginning of their turn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from sandbox.errors import Where
from sandbox.scenario.lines import Budget, Line, Word, near, quote

__all__ = [
    "COUNTED",
    "HELP",
    "Landmark",
    "Turn",
    "complete_schedule",
    "events_of",
    "format_schedule",
    "read_schedule",
    "turns_of",
]

COUNTED = (
    "flags",
    "_refcount",
    "_mapcount",
    "_large_mapcount",
    "_entire_mapcount",
    "_nr_pages_mapped",
    "_pincount",
    "_mm_id[0]",
    "_mm_id[1]",
    "_mm_id_mapcount[0]",
    "_mm_id_mapcount[1]",
    "pte",
)
"""Words that `store` counts changes of; `write_protect_seq` is a landmark of its own only, for
fork changes it for every VMA."""

HELP = (
    (
        "cpu0 ACTION | cpu1 ACTION",
        "actions on up to four CPUs at once; a CPU does its own one after the other",
    ),
    (
        "schedule cpu1 until store:2, cpu0 12, cpu1 all",
        "whose turn it is: until a landmark, so many events, or all it has to do",
    ),
    (
        "until store:N, until before-store:N",
        "right after or before the N-th change of a watched word from here on",
    ),
    (
        "until WORD:N, until before-WORD:N",
        "the same of one word: pte, _refcount, flags, write_protect_seq, ...",
    ),
    (
        "until FUNCTION:N",
        "where the N-th call of a kernel function begins; not playable on a real kernel",
    ),
)
"""Blocks and schedules as the help shows them: what is written, and what it means."""

_WORDS = (*COUNTED, "write_protect_seq")
_EXPECTED = "cpuN COUNT, cpuN until LANDMARK:N or cpuN all, with commas between"
_RUN = re.compile(r"([0-9]{1,4})(?:x([0-9]{1,9}))?")
_CPU = re.compile(r"cpu([0-9]{1,4})")
_COUNT = re.compile(r"[0-9]{1,9}")
_LANDMARK = re.compile(r"(before-)?([A-Za-z_][A-Za-z0-9_]*(?:\[[0-9]\])?):([0-9]{1,9})")


class Landmark(NamedTuple):
    """A place in what a CPU does: the N-th change of a word, or entry of a function."""

    what: str
    """`store` (any word of `COUNTED`), the name of a word, or that of a kernel function."""
    number: int
    """Which one, from 1."""
    before: bool = False
    """Right before the change instead of right after it."""

    @property
    def is_store(self) -> bool:
        """Whether it counts stores, which a real kernel's can be counted alike."""
        return self.what == "store" or self.what in _WORDS

    def __str__(self) -> str:
        return f"{'before-' * self.before}{self.what}:{self.number}"


class Turn(NamedTuple):
    """One CPU's turn; without `events` and `until` it goes on to the end of what the CPU does.

    Two turns are equal wherever they were written.
    """

    cpu: int
    events: int | None = None
    until: Landmark | None = None
    where: Where | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Turn):
            return NotImplemented
        return self[:3] == other[:3]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:3])

    @property
    def playable(self) -> bool:
        """Whether a real kernel can be given it.

        A kernel has other events than the model, and functions that it inlines have no entry.
        """
        return self.events is None and (self.until is None or self.until.is_store)

    def __str__(self) -> str:
        if self.until is not None:
            return f"cpu{self.cpu} until {self.until}"
        return f"cpu{self.cpu} {'all' if self.events is None else self.events}"


def turns_of(order: Iterable[int]) -> tuple[Turn, ...]:
    """The turns of an order of CPUs, one for each event."""
    return tuple(Turn(cpu, sum(1 for _ in run)) for cpu, run in groupby(order))


def events_of(turns: Sequence[Turn]) -> tuple[int, ...] | None:
    """The CPU of each event, where the turns say nothing but numbers of events; else None."""
    order: list[int] = []
    for turn in turns:
        if turn.events is None:
            return None
        order += [turn.cpu] * turn.events
    return tuple(order)


def format_schedule(turns: Sequence[Turn]) -> str:
    """Write a schedule as its line; nothing but its first word without turns."""
    return " ".join(["schedule", ", ".join(map(str, turns))]).rstrip()


# -- reading -----------------------------------------------------------------------------


def read_schedule(line: Line, cpus: set[int], budget: Budget) -> tuple[Turn, ...]:
    """Read a schedule of a block on *cpus*; raises `ScenarioError` with the place.

    Also what was written before there were landmarks: `schedule 0 0 1x3`, where `1x3` is short
    for `1 1 1`, and each number is the CPU of an event.
    """
    words = line.words[1:]
    if words and _RUN.fullmatch(words[0].text):
        return _read_runs(line, words, cpus, budget)
    return tuple(_read_turn(line, turn, cpus, budget) for turn in _parts(line, words))


def _known(cpus: set[int]) -> str:
    return ", ".join(f"cpu{cpu}" for cpu in sorted(cpus))


def _read_runs(
    line: Line, words: Sequence[Word], cpus: set[int], budget: Budget
) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for word in words:
        item = _RUN.fullmatch(word.text)
        if item is None:
            line.fail(word.column, f"{quote(word.text)} is no CPU of this block", _known(cpus))
        cpu, count = int(item[1]), int(item[2] or 1)
        _check_cpu(line, word, cpu, cpus)
        budget.take_turns(line, word, count)
        if turns and turns[-1].cpu == cpu:
            turn = turns.pop()
            turns.append(Turn(cpu, (turn.events or 0) + count, None, turn.where))
        elif count:
            turns.append(Turn(cpu, count, None, _place(line, word)))
    return tuple(turns)


def _place(line: Line, word: Word) -> Where:
    return Where(line.where.file, line.where.line, word.column)


def _check_cpu(line: Line, word: Word, cpu: int, cpus: set[int]) -> None:
    if cpu not in cpus:
        line.fail(word.column, f"{quote(word.text)} is no CPU of this block", _known(cpus))


def _parts(line: Line, words: Sequence[Word]) -> Iterable[list[Word]]:
    """The words of each turn, without the commas between them."""
    part: list[Word] = []
    comma: int | None = None
    for word in words:
        column = word.column
        for number, text in enumerate(word.text.split(",")):
            if number:
                if not part:
                    line.fail(column - 1, "a turn is missing", _EXPECTED)
                yield part
                part, comma = [], column - 1
            if text:
                part.append(Word(text, column))
            column += len(text) + 1
    if part:
        yield part
    elif comma is not None:
        line.fail(comma, "a turn is missing", _EXPECTED)


def _read_turn(line: Line, words: Sequence[Word], cpus: set[int], budget: Budget) -> Turn:
    """Read `cpuN COUNT`, `cpuN all` or `cpuN until LANDMARK`."""
    found = _CPU.fullmatch(words[0].text)
    if found is None:
        line.fail(words[0].column, f"{quote(words[0].text)} is no CPU", _EXPECTED)
    cpu, where = int(found[1]), _place(line, words[0])
    _check_cpu(line, words[0], cpu, cpus)
    if len(words) < 2:
        line.fail(words[0].column + len(words[0].text), "until when is missing", _EXPECTED)
    how, most = words[1], 3 if words[1].text == "until" else 2
    if len(words) > most:
        line.fail(words[most].column, f"{quote(words[most].text)} is too much", "a comma before it")
    if how.text == "until":
        if len(words) < most:
            line.fail(how.column + len(how.text), "the landmark is missing", _landmarks())
        budget.take_turns(line, how, 1)
        return Turn(cpu, None, _read_landmark(line, words[2]), where)
    if how.text == "all":
        budget.take_turns(line, how, 1)
        return Turn(cpu, None, None, where)
    if not _COUNT.fullmatch(how.text) or not int(how.text):
        line.fail(how.column, f"{quote(how.text)} is no number of events", _EXPECTED)
    budget.take_turns(line, how, int(how.text))
    return Turn(cpu, int(how.text), None, where)


def _landmarks() -> str:
    return "store:N, WORD:N or FUNCTION:N; WORD is one of " + ", ".join(_WORDS)


def _read_landmark(line: Line, word: Word) -> Landmark:
    found = _LANDMARK.fullmatch(word.text)
    if found is None or not int(found[3]):
        line.fail(word.column, f"{quote(word.text)} is no landmark", _landmarks())
    landmark = Landmark(found[2], int(found[3]), bool(found[1]))
    if "[" in landmark.what and not landmark.is_store:
        message = f"{quote(landmark.what)} is not counted{near(landmark.what, _WORDS)}"
        line.fail(word.column, message, _landmarks())
    if landmark.what == "insn":
        line.fail(word.column, "the model has no instructions", _landmarks())
    if landmark.before and not landmark.is_store:
        message = f"{quote(landmark.what)} is no word{near(landmark.what, ['store', *_WORDS])}"
        expected = "a word; FUNCTION:N stops before the function as it is"
        line.fail(word.column, message, expected)
    return landmark


# -- completing --------------------------------------------------------------------------


def complete_schedule(words: Sequence[str], cpus: Collection[int]) -> list[str]:
    """What may stand after the words of a schedule that are written, the first one left out."""
    turn: list[str] = []
    for word in words:
        turn = [] if word.endswith(",") else [*turn, word]
    if not turn:
        return [f"cpu{cpu}" for cpu in sorted(cpus)]
    if len(turn) == 1:
        return ["until", "all"]
    if turn[1:] == ["until"]:
        names = ("store", *_WORDS)
        return [f"{name}:" for name in names] + [f"before-{name}:" for name in names]
    return []
