"""Commands that go to where something happens: forth, back, and to who wrote a word."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from mmtui.commands.model import Command, Desk, Group
from mmtui.commands.stepping import backward, forward
from mmtui.model.bench import Bench
from mmtui.model.entries import read_entries
from mmtui.model.selection import areas_of
from sandbox.errors import UsageError
from sandbox.machine.fields import FIELDS, Struct
from sandbox.machine.memory import ADDR_MASK
from sandbox.rules import RULES
from sandbox.run.until import Condition, parse_condition
from sandbox.truth.names.functions import function_names
from sandbox.truth.names.words import Words

__all__ = ["COMMANDS", "complete"]

_OFFERED = 50
"""Folios whose words are offered."""
_OF_FOLIOS = [
    f for f in FIELDS if f.struct is Struct.PAGE and (f.name[0] == "_" or f.name == "flags")
]
_OF_MM = [f for f in FIELDS if f.struct is Struct.MM and f.name.startswith("rss_stat")]
_WHERE = "FUNCTION | FILE.py:LINE | WORD [= N | +FLAG] | RULE | cpuN | EXPECTATION"


def _condition(desk: Desk, text: str) -> Condition:
    """What was asked for; nothing is the last one again.

    Raises:
        UsageError: it cannot be looked for, or nothing was before.
    """
    condition = parse_condition(text or desk.bench.sought)
    desk.bench.sought = condition.text
    return condition


def _until(desk: Desk, text: str) -> None:
    condition = _condition(desk, text)
    desk.work(
        lambda: desk.bench.run_until(condition),
        lambda stop: desk.moved(
            condition.text if stop else f"the story is over: {condition.text} did not come again"
        ),
    )


def _back_until(desk: Desk, text: str) -> None:
    _back_to(desk, _condition(desk, text))


def _back_to(desk: Desk, condition: Condition) -> None:
    desk.work(
        lambda: desk.bench.back_until(condition),
        lambda found: desk.moved(
            condition.text if found else f"{condition.text}: never before this event"
        ),
    )


def _asked(key: str, run: Callable[[Desk, str], None]) -> Callable[[Desk, str], None]:
    """Look again for what was looked for; the first time, ask."""

    def ask(desk: Desk, text: str) -> None:
        if text or desk.bench.sought:
            run(desk, text)
        else:
            desk.prompt(f":{key} ")

    return ask


def _who(desk: Desk, text: str) -> None:
    """Go back to the last change of a word: of the entry under the cursor if none is named."""
    word = text or _word_under_cursor(desk.bench)
    condition = parse_condition(word)
    if not condition.word:
        raise UsageError(f"{word[:60]!r} is no word", expected="one as panes name it: F1._refcount")
    desk.bench.sought = condition.text
    _back_to(desk, condition)


def _word_under_cursor(bench: Bench) -> str:
    area = bench.selection.area(areas_of(bench.session))
    if area is not None:
        cells = bench.session.machine.memory.cells
        entry = read_entries(cells, area, bench.selection.page, 1)[0]
        if entry.word:
            return Words(bench.session.ledger).name(entry.word)
    raise UsageError("no entry is under the cursor", expected="a word: F1._refcount")


def complete(bench: Bench, partial: str, *, words_only: bool) -> list[str]:
    """What may be looked for and begins so: words of folios and processes, functions, rules."""
    ledger = bench.session.ledger
    words = Words(ledger)
    heads = islice((int(folio) & ADDR_MASK for folio in ledger.live_folios()), _OFFERED)
    addrs = [head + f.offset for head in heads for f in _OF_FOLIOS]
    addrs += [int(mm) + f.offset for mm in bench.session.book.processes.values() for f in _OF_MM]
    names = [words.name(addr) for addr in addrs]
    if not words_only:
        names += [*function_names(), *RULES, *(f"cpu{n}" for n in range(len(bench.session.cpus)))]
    return [name for name in names if partial and name.startswith(partial)]


COMMANDS = (
    Command(
        "until", "run until", "Run until something happens: a function begins, a word changes, a "
        "rule breaks, an expectation comes to hold; without it, the last one again.",
        Group.STEP, _asked("until", _until), (">",), _WHERE, forward,
    ),
    Command(
        "back-until", "back until", "Go back to where that happened last.", Group.STEP,
        _asked("back-until", _back_until), ("<",), _WHERE, backward,
    ),
    Command(
        "who", "who wrote this", "Go back to the event that changed a word last; without one, that "
        "of the entry under the cursor.", Group.STEP, _who, ("W",), "[WORD]", backward,
    ),
)  # fmt: skip
"""Forth and back to what is looked for."""
