"""The one rule that is explained: chosen once, so that title, message, panes and marks agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sandbox.arch.arm64.pgtable import PTE_VALID, pte_page
from sandbox.machine.fields import Struct
from sandbox.machine.memory import ADDR_MASK, FIRST_MUTATING, STORE, XCHG, Folio
from sandbox.mm.flags import GUP_PIN_COUNTING_BIAS
from sandbox.rules import RULES, Violation
from sandbox.truth.ledger import PTE_KIND

if TYPE_CHECKING:
    from mmtui.model.standing import Standing
    from sandbox.run.session import Session

__all__ = ["Choice", "Numbers", "choice_after", "involved", "last_change", "numbers", "present"]


class Choice(NamedTuple):
    """A rule broken for a subject: in the present state, or in the episode that an event began."""

    rule: str
    subject: str
    event: int | None = None


def _weight(violation: Violation) -> tuple[bool, int]:
    """Known windows come last, then what broke first."""
    return violation.known_window is not None, -violation.event


def present(bench: Standing) -> Violation | None:
    """The violation of the present state that is shown: the chosen one, else the worst."""
    broken = bench.session.rules.broken
    chosen = bench.chosen
    if chosen is not None and (chosen.rule, chosen.subject) in broken:
        return broken[chosen.rule, chosen.subject]
    return min(broken.values(), key=_weight, default=None)


def choice_after(bench: Standing) -> Choice | None:
    """What is explained after a move: what it broke, else what was chosen, else what is broken."""
    fresh = [Choice(v.rule, v.subject) for v in bench.fresh()]
    chosen = bench.chosen
    if fresh:
        same = [choice for choice in fresh if chosen is not None and choice[:2] == chosen[:2]]
        return (same or fresh)[0]
    found = present(bench)
    return chosen if found is None else Choice(found.rule, found.subject)


# -- the words it is about -----------------------------------------------------------------

_SUMS = frozenset(("I-05", "I-06", "I-09", "I-12", "I-13", "I-47"))
"""Rules about the sum of a folio's mapcounts: those of all pages belong to it."""


def involved(session: Session, violation: Violation) -> Iterator[int]:
    """Addresses of the words that a violation of the present state is about."""
    yield from violation.words
    folio = _folio(session, violation)
    if folio is None or violation.rule not in _SUMS or not folio.large:
        return
    if session.kernel.has_page_mapcount:
        cells = session.machine.memory.cells
        words = (folio.page(i)._mapcount for i in range(folio.nr_pages))
        yield from (word for word in words if cells[word] >= 0)
    else:
        yield folio._large_mapcount


def _folio(session: Session, violation: Violation) -> Folio | None:
    """The folio that the first word belongs to."""
    memory = session.machine.memory
    if not violation.words or not 0 < violation.words[0] < len(memory.cells):
        return None
    field = memory.field_at(violation.words[0])
    if field.struct is not Struct.PAGE:
        return None
    return session.ledger.folio(violation.words[0] - field.offset)


# -- the formula with numbers ----------------------------------------------------------------


class Numbers(NamedTuple):
    """A rule's formula with the numbers of the present state."""

    formula: str
    filled: str
    """The formula with the numbers put in, empty where not all of them are words of the folio."""
    terms: tuple[tuple[str, str, int], ...]
    """Symbol, what it is, and its value."""


_MEANING = {
    "R": "_refcount",
    "M": "mappings",
    "C": "page cache",
    "P": "_pincount",
    "L": "_large_mapcount + 1",
    "E": "_entire_mapcount + 1",
    "K": "_nr_pages_mapped",
    "T": "entries",
    "pins": "pins",
}
"""The symbols of the catalogue that are numbers of a folio."""
_SYMBOL = re.compile(r"[A-Za-z_][\w-]*(?:\([^)]*\))?")


def numbers(session: Session, violation: Violation) -> Numbers:
    """The formula of a rule that is broken now, with the numbers of its folio."""
    formula = RULES[violation.rule].formula if violation.rule in RULES else ""
    folio = _folio(session, violation)
    if folio is None:
        return Numbers(formula, "", ())
    values = _values(session, folio)
    used = list(dict.fromkeys(_SYMBOL.findall(formula)))
    terms = tuple((s, _MEANING[s], values[s]) for s in used if s in values)
    filled = ""
    if used and all(symbol in values for symbol in used):
        filled = _SYMBOL.sub(lambda found: str(values[found[0]]), formula)
    return Numbers(formula, filled, terms)


def _values(session: Session, folio: Folio) -> dict[str, int]:
    """The numbers of a folio by the symbols of the catalogue; only the words that it has."""
    cells, ledger, kernel = session.machine.memory.cells, session.ledger, session.kernel
    head, pinned = folio & ADDR_MASK, session.book.pinned
    pins = sum(pinned.get(int(folio.page(i)), 0) for i in range(folio.nr_pages))
    values = {
        "R": cells[folio._refcount],
        "M": session.rules.checks.mapped(folio),
        "C": session.rules.checks.cache_refs(folio),
        "T": ledger.leaves[head],
        "pins": pins,
        "P": cells[folio._pincount] if folio.large else pins * GUP_PIN_COUNTING_BIAS,
    }
    if folio.large:
        values["E"] = cells[folio._entire_mapcount] + 1
        if kernel.has_large_mapcount:
            values["L"] = cells[folio._large_mapcount] + 1
        if kernel.has_page_mapcount:
            values["K"] = cells[folio._nr_pages_mapped]
    return values


# -- what led to it --------------------------------------------------------------------------

FAR = 20_000
"""Events that are looked through for the last change of a word."""


def last_change(session: Session, violation: Violation) -> int | None:
    """The last event that changed what a violation is about, None if it is too far back.

    That is a word of it, or an entry that came to map the folio of the first one.
    """
    events, kinds = session.machine.events, session.machine.memory.kinds
    wanted, folio = frozenset(violation.words), _folio(session, violation)
    for at in range(min(violation.event, len(events) - 1), max(-1, violation.event - FAR), -1):
        event = events[at]
        if event[0] < FIRST_MUTATING:
            continue
        if event[1] in wanted:
            return at
        maps = event[0] in (STORE, XCHG) and 0 < event[1] < len(kinds) and event[2] & PTE_VALID
        if maps and kinds[event[1]] == PTE_KIND and folio is not None:
            page = pte_page(event[2])
            if (folio & ADDR_MASK) <= page < folio.page(folio.nr_pages):
                return at
    return None
