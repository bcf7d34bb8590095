"""What words mean: those that a pane shows at its cursor, or any that are looked for."""

from __future__ import annotations

from collections.abc import Iterator

from mmtui.views.lines import EMPTY, Doc, Line, Lines, clip, join, plain, say, wrap_words
from sandbox.explain import TERMS, Term, find, readers, terms_in, writers_of
from sandbox.rules import RULES

__all__ = ["explain_doc", "terms_of"]

_NEAR = 24
"""Lines below the cursor that may belong to what it stands on, up to a blank one."""
_LABEL = 12


def terms_of(doc: Doc, *, letters: bool) -> list[Term]:
    """The terms at a document's cursor, then those of what else it shows near it.

    What stands at the bottom is of the cursor as well, and comes first.
    """
    start = doc.focus or 0
    end = min(doc.height, start + _NEAR)
    near: list[str] = []
    rest: list[str] = []
    for y in range(start, end):
        text = plain(doc.line(y))
        (rest if rest or not text.strip() else near).append(text)
    texts = [*(plain(line) for line in doc.foot), *near, *(plain(line) for line in doc.head), *rest]
    found = (term for text in texts for term in terms_in(text, letters=letters))
    terms = list(dict.fromkeys(found))
    if not letters:  # of an entry, what it says comes first; of anything else, the counters
        terms.sort(key=list(TERMS.values()).index)
    return terms


def explain_doc(terms: list[Term], search: str, width: int) -> Lines:
    """Terms explained; a search finds any term, those at the cursor first, and any rule."""
    words = search.casefold().split()
    if not words:
        chosen = terms or list(TERMS.values())
    else:
        exact = find(search.strip())
        every = dict.fromkeys([*([exact] if exact else []), *terms, *TERMS.values()])
        chosen = [term for term in every if term is exact or _has(term, words)]
    lines: list[Line] = []
    if terms and not words:
        names = "here: " + ", ".join(term.name for term in terms) + "; type one to see it alone"
        lines = [*(say(text, "dim") for text in wrap_words(names, width, " ")), EMPTY]
    lines += [line for term in chosen for line in (*_term(term, width), EMPTY)]
    for rule in RULES.values() if words else ():
        if all(word in f"{rule.id} {rule.statement}".casefold() for word in words):
            lines += [*_row(rule.id, rule.statement, width), *_row("", rule.formula, width, "dim")]
            lines += [*_row("", rule.explanation, width), EMPTY]
    return Lines(tuple(clip(line, width) for line in lines) or (say(" nothing found", "dim"),))


def _has(term: Term, words: list[str]) -> bool:
    names = " ".join((term.name, *term.aliases)).casefold()
    return all(word in f"{names} {term.what.casefold()}" for word in words)


def _term(term: Term, width: int) -> Iterator[Line]:
    """Everything there is to say of a term."""
    names = ", ".join(alias for alias in term.aliases if alias != term.name)
    yield join(((f" {term.name}", "strong"), (f"  {names}" if names else "", "dim")))
    for text in (term.what, term.more):
        yield from (say(part) for part in wrap_words(text, width, "   "))
    yield from _row("biased", term.bias, width)
    yield from _row("since", term.since, width)
    rules = readers(term)
    if len(rules) == 1:
        yield from _row("read by", f"{rules[0].id}: {rules[0].statement}", width)
    else:
        yield from _row("read by", " ".join(rule.id for rule in rules), width)
    yield from _row("changed by", " ".join(f"{name}()" for name in writers_of(term)), width)
    yield from _row("kernel", term.source, width, "dim")


def _row(label: str, text: str, width: int, token: str = "") -> Iterator[Line]:
    """A label and what it says, beside it."""
    for number, part in enumerate(wrap_words(text, width, " " * (_LABEL + 3)) if text else ()):
        if number:
            yield say(part, token)
        else:
            head = f"   {label:<{_LABEL}}"
            yield join(((head, "dim" if label.islower() else "strong"), (part[len(head) :], token)))
