"""The table of terms, and how words that people see lead to it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sandbox.explain.entry_terms import ENTRY_TERMS
from sandbox.explain.folio_terms import FOLIO_TERMS
from sandbox.explain.process_terms import PROCESS_TERMS
from sandbox.explain.terms import Kind, Term
from sandbox.rules import RULES, Rule

__all__ = ["TERMS", "WRITERS", "find", "readers", "terms_in", "writers_of"]

TERMS: dict[str, Term] = {
    term.name: term
    for term in sorted(
        (*FOLIO_TERMS, *ENTRY_TERMS, *PROCESS_TERMS), key=lambda t: [*Kind].index(t.kind)
    )
}
"""All terms by name, in the order of the reference."""

WRITERS = Path(__file__).with_name("writers.txt")
"""Which functions change each term: written by `python -m sandbox.explain.writers`."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[a-z]+|\[[A-Z0-9_]+\])*")


@cache
def _names() -> dict[str, Term]:
    found = {alias: term for term in TERMS.values() for alias in term.aliases}
    return found | TERMS


def find(word: str) -> Term | None:
    """The term of a word as a pane or the kernel writes it: `F1.page5._mapcount`, `PG_dirty`."""
    names = _names()
    for part in (word, word.partition("[")[0], word.rpartition(".")[2]):
        for name in (part, part.removeprefix("PG_"), part.removeprefix("PTE_")):
            if name in names:
                return names[name]
    return None


def terms_in(text: str, *, letters: bool = False) -> list[Term]:
    """The terms of a line of a pane, in the order in which they stand there, each once.

    A word of one letter is one only where *letters* says so: elsewhere it is a process.
    """
    words = (word for found in _WORD.findall(text) for word in (found, *found.split(".")))
    words = (word for word in words if letters or len(word) > 1)
    return list(dict.fromkeys(term for word in words if (term := find(word)) is not None))


def readers(term: Term) -> list[Rule]:
    """The rules whose formula has the term in it."""
    if not term.symbols:
        return []
    symbols = "|".join(map(re.escape, term.symbols))
    wanted = re.compile(rf"(?<![\w\['])(?:{symbols})(?![\w\[])")
    return [rule for rule in RULES.values() if wanted.search(rule.formula)]


@cache
def _writers() -> dict[str, tuple[str, ...]]:
    lines = WRITERS.read_text(encoding="ascii").splitlines()
    pairs = (line.partition(": ") for line in lines if not line.startswith("#"))
    return {name: tuple(functions.split()) for name, _, functions in pairs}


def writers_of(term: Term) -> tuple[str, ...]:
    """The functions of the modelled releases that change it, as the kernel spells them."""
    return _writers().get(term.name, ())
