"""How a word is marked: broken rule, known window, changed by the last step, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmtui.model.bench import Bench
from mmtui.model.changes import NO_CHANGES, Changes
from mmtui.model.why import involved, present
from sandbox.rules import Violation

__all__ = ["GLYPHS", "Marks", "marks_of", "worst"]

GLYPHS = {"violation": "!", "window": "~", "changed": "*", "": " "}
"""The glyph that goes with each marking token, the most important first."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is broken now, and what the last move changed."""

    changes: Changes = NO_CHANGES
    broken: Mapping[int, Violation] = field(default_factory=dict)
    """Broken rule by the address of a word it is about."""
    subjects: Mapping[str, Violation] = field(default_factory=dict)
    """Broken rule by what it is about, e.g. a folio's name."""

    def token(self, addr: int) -> str:
        """The token of a word: `violation`, `window`, `changed` or none."""
        violation = self.broken.get(addr)
        if violation is not None:
            return "window" if violation.known_window else "violation"
        return "changed" if addr in self.changes else ""

    def subject(self, name: str) -> str:
        """The token of an object: `violation`, `window` or none."""
        violation = self.subjects.get(name)
        if violation is None:
            return ""
        return "window" if violation.known_window else "violation"


def worst(tokens: Iterable[str]) -> str:
    """The most important of some marking tokens."""
    found = set(tokens)
    return next((token for token in GLYPHS if token in found), "")


def marks_of(bench: Bench) -> Marks:
    """The marks of the present state: the words of the rule that is explained, and only those."""
    violation = present(bench)
    if violation is None:
        return Marks(bench.changes)
    words = dict.fromkeys(involved(bench.session, violation), violation)
    return Marks(bench.changes, words, {violation.subject: violation})
