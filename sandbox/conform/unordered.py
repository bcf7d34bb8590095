"""Stores whose order the kernel's source does not say, compared as sets.

Each rule names the function and the words, and says why nobody could see another order.  A run of
consecutive stores of one rule to one folio may come in any order on the other side, and must be
consecutive there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["RULES", "Rule", "first_difference", "rule_of", "run_end"]

Store = tuple[Any, ...]


class Rule(NamedTuple):
    """Plain stores of one function to an object that nobody else sees."""

    function: str
    words: frozenset[str]
    reason: str


RULES = (
    Rule(
        "folio_add_new_anon_rmap",
        frozenset(
            (
                *("_entire_mapcount", "_large_mapcount", "_nr_pages_mapped"),
                *("_mm_id[0]", "_mm_id_mapcount[0]"),
            )
        ),
        "atomic_set() and plain stores (folio_set_large_mapcount(), folio_set_mm_id()) to a folio "
        "that is in no table and on no list yet: the compiler may order them as it likes, and does "
        "so differently on 6.12 and 7.2",
    ),
)


def rule_of(event: dict[str, Any]) -> Rule | None:
    """The rule that a log's store falls under."""
    for rule in RULES:
        if event["what"] in rule.words and rule.function in event["at"][:2]:
            return rule
    return None


def first_difference(
    theirs: Sequence[Store], ours: Sequence[Store], rules: Sequence[Rule | None]
) -> int | None:
    """Where the two orders first differ, as far as both go; None if they do not.

    `rules` has the rule of each of the log's stores.
    """
    at, both = 0, min(len(theirs), len(ours))
    while at < both:
        end = run_end(theirs, rules, at)
        if end > at + 1 and _same(theirs[at:end], ours[at:end]):
            at = end
        elif theirs[at] == ours[at]:
            at += 1
        else:
            return at
    return None


def run_end(theirs: Sequence[Store], rules: Sequence[Rule | None], start: int) -> int:
    """The end of the run of stores of one rule to one folio that begins here."""
    end = start + 1
    if rules[start] is None:
        return end
    while end < len(theirs) and rules[end] is rules[start] and theirs[end][1] == theirs[start][1]:
        end += 1
    return end


def _same(one: Sequence[Store], other: Sequence[Store]) -> bool:
    return len(one) == len(other) and sorted(one, key=repr) == sorted(other, key=repr)
