"""A broken rule explained: its formula with numbers, what broke it, when it holds again, where."""

from __future__ import annotations

import linecache
import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import PurePath
from weakref import WeakKeyDictionary

from mmtui.model.bench import Bench
from mmtui.model.foresight import Outlook, outlook
from mmtui.model.why import Choice, last_change, numbers, present
from mmtui.views.episodes import Episode
from mmtui.views.lines import EMPTY, Line, clip, join, length, say, wrap_line, wrap_words
from sandbox.rules import RULES, Scope, Violation
from sandbox.run.session import Session
from sandbox.truth.names.words import Words

__all__ = ["explained"]

_LABEL = 13
"""Cells of the labels at the left."""
_BESIDE = 44
"""From this width on labels stand beside what they say."""


def explained(bench: Bench, episode: Episode, place: int, count: int, width: int) -> list[Line]:
    """Everything there is to know of an episode, what matters most first."""
    lines = [*_title(episode, place, count, width)]
    rule = RULES.get(episode.rule)
    if rule is not None:
        lines += [say(text) for text in wrap_words(rule.statement, width, " ")]
    violation = present(bench) if episode.now else None
    if violation is not None and violation.rule == episode.rule:
        lines += _formula(bench.session, violation, width)
    elif rule is not None:
        lines += [say(text, "dim") for text in wrap_words(rule.formula, width, "   ")]
    lines += _history(bench, episode, width)
    if violation is not None and rule is not None:
        lines += _foreseen(bench, outlook(bench, Choice(episode.rule, episode.subject)), width)
    if rule is not None:
        lines += _row("why", rule.explanation, width)
        lines += _row("says who", rule.source, width, "dim")
    mails = (f"{mail.author}, {mail.date}, {mail.id}" for mail in bench.source.mails)
    lines += _row("told in", "; ".join(mails), width, "dim")
    return lines


def _title(episode: Episode, place: int, count: int, width: int) -> Iterator[Line]:
    """The rule, what it is about, the numbers; which one of how many."""
    glyph = "~" if episode.window else "!"
    token = "strong" if not episode.now else "window" if episode.window else "alarm"
    text = f"{episode.rule} {episode.subject}: {episode.text}"
    lead = f"{glyph} " if episode.now else "  "
    parts = list(wrap_words(text, width, lead, "  "))
    side = f"{place + 1} of {count}  , ." if count > 1 else ""
    for number, part in enumerate(parts):
        line = say(part, token)
        room = width - length(line) - len(side)
        if side and number + 1 == len(parts) and room >= 2:
            line = join(line, ((" " * room, ""), (side, "dim")))
            side = ""
        yield line
    if side:
        yield say(f"{side:>{width}}"[:width], "dim")


def _row(label: str, text: str, width: int, token: str = "") -> list[Line]:
    """A label and what it says, wrapped beside it, or below it where it is narrow."""
    if width < _BESIDE:
        lead = f" {label}: " if label else "   "
        return [say(part, token) for part in wrap_words(text, width, lead, "   ")]
    lines = [say(part, token) for part in wrap_words(text, width, " " * _LABEL)]
    if not lines:
        return []
    (first, kind), *rest = lines[0]
    head = f" {label}"
    return [((f"{head:<{_LABEL}}", "dim"), (first[_LABEL:], kind), *rest), *lines[1:]]


def _formula(session: Session, violation: Violation, width: int) -> Iterator[Line]:
    """The formula, the same with numbers, and what the symbols are."""
    found = numbers(session, violation)
    verdict = f"{found.filled}  is false" if found.filled else ""
    if verdict and len(found.formula) + len(verdict) + 8 <= width:
        spans = ((f"   {found.formula}", "dim"), ("     ", ""), (verdict, "violation"))
        yield clip(join(spans), width)
    else:
        yield from (say(text, "dim") for text in wrap_words(found.formula, width, "   "))
        yield from (say(text, "violation") for text in wrap_words(verdict, width, "   "))
    terms = ", ".join(f"{symbol} {what} {value}" for symbol, what, value in found.terms)
    if terms:
        yield from (say(text, "dim") for text in wrap_words(terms, width, "   "))


# -- what happened ---------------------------------------------------------------------------


def _history(bench: Bench, episode: Episode, width: int) -> Iterator[Line]:
    """The event and line that broke it, and how long it had held."""
    session = bench.session
    found = _first(session, episode)
    text = f"event {episode.event}  {_event(session, episode.event)}"
    yield from _row("broken by", text, width, "violation" if episode.now else "")
    if found is not None and found.function:
        where = f"{found.function}(), {PurePath(found.file).name}:{found.line}"
        yield from _row("in", where, width)
        code = linecache.getline(found.file, found.line).strip()
        if code:
            indent = _LABEL if width >= _BESIDE else 3
            yield from wrap_line(say(" " * indent + code, "key"), width, indent + 4)
    rule = RULES.get(episode.rule)
    if rule is not None and rule.scope is not Scope.EVENT and found is not None:
        yield from _changed(session, episode, found, width)
    if episode.event:
        yield from _row("last held", f"after event {episode.event - 1}", width)
    if episode.window:
        yield from _row("known as", f"{episode.window}: upstream has this window itself", width)
    if not episode.now:
        again = _held_again(session, episode)
        states = f"{episode.states} state{'s' if episode.states > 1 else ''}"
        text = f"{states}, until event {again}" if again is not None else states
        yield from _row("it lasted", f"{text}; at worst it was off by {episode.worst}", width)


def _event(session: Session, event: int) -> str:
    """An event in words."""
    events = session.machine.events
    if not 0 <= event < len(events):
        return ""
    return Words(session.ledger).at(event).event(events[event])


_SCOPES = {
    Scope.PTL: "looked at when the last page-table lock is dropped",
    Scope.ACCEPT: "looked at when the kernel decides",
    Scope.QUIET: "looked at when nothing runs",
}


def _changed(session: Session, episode: Episode, found: Violation, width: int) -> Iterator[Line]:
    """What changed the words, where the rule is looked at later."""
    rule = RULES[episode.rule]
    yield from _row("", _SCOPES[rule.scope], width, "dim")
    change = _last_change(session, found)
    if change is not None and change != episode.event:
        text = f"event {change}  {_event(session, change)}"
        yield from _row("changed by", text, width)


_CHANGES: WeakKeyDictionary[Session, dict[tuple[object, ...], int | None]] = WeakKeyDictionary()


def _last_change(session: Session, found: Violation) -> int | None:
    """The event that changed one of the words last, found once for each violation."""
    known = _CHANGES.setdefault(session, {})
    key = (session.machine.forks, found.event, found.rule, found.words)
    if key not in known:
        if len(known) > 64:
            known.clear()
        known[key] = last_change(session, found)
    return known[key]


def _first(session: Session, episode: Episode) -> Violation | None:
    """The violation that an episode began with."""
    violations = session.rules.violations
    at = bisect_left(violations, episode.event, key=lambda v: v.event)
    while at < len(violations) and violations[at].event == episode.event:
        if (violations[at].rule, violations[at].subject) == (episode.rule, episode.subject):
            return violations[at]
        at += 1
    return None


def _held_again(session: Session, episode: Episode) -> int | None:
    """The event after which an episode was over."""
    restored = session.rules.restored
    at = bisect_left(restored, episode.last, key=lambda entry: entry[2])
    for rule, subject, event in restored[at : at + 200]:
        if (rule, subject) == (episode.rule, episode.subject):
            return event
    return None


# -- what will happen ------------------------------------------------------------------------


def _foreseen(bench: Bench, seen: Outlook, width: int) -> Iterator[Line]:
    """What was found on copies so far."""
    looking = "" if seen.done else "looking ahead"
    again, since, running = seen.again, seen.since, bench.session.running
    if again is not None and again.event is not None:
        yield from _row("holds again", f"after event {again.event}  {again.text}", width, "ok")
    elif again is not None and again.ended:
        text = f"not before {running[0].name} ends (event {again.until})" if running else "never"
        yield from _row("holds again", text, width)
    elif again is not None:
        yield from _row("holds again", f"not up to event {again.until}", width)
    elif not running:
        yield from _row("holds again", "not by itself: nothing runs", width)
    elif looking:
        yield from _row("holds again", looking, width, "dim")
        looking = ""
    if since is not None:
        end = "nothing runs beside it" if since.alone else "whichever CPU goes on first"
        yield from _row("inevitable", f"from event {since.position} on: {end}", width)
    for label, names, token in (
        ("not on", seen.holds, "ok"),
        ("also on", seen.breaks, ""),
        ("refused on", seen.refused, "dim"),
    ):
        if names:
            yield from _row(label, _named(bench, names), width, token)
    if seen.unasked:
        yield from _row("kernels", seen.unasked, width, "dim")
    elif looking:
        yield from _row("kernels", "asking the others", width, "dim")
    yield EMPTY


_RELEASE = re.compile(r"\d+\.\d+(-nopm)?")


def _named(bench: Bench, names: list[str]) -> str:
    """Releases and the document's kernels by name, the number of the others."""
    of_document = set(bench.source.kernels)
    releases = sorted(filter(_RELEASE.fullmatch, names), key=_version)
    shown = releases + [n for n in names if n in of_document and n not in releases]
    more = len(names) - len(shown)
    if not shown:
        return f"{more} model{'s' if more > 1 else ''}"
    return " ".join(shown) + (f", and {more} more model{'s' if more > 1 else ''}" if more else "")


def _version(release: str) -> list[int]:
    return [int(number) for number in release.partition("-")[0].split(".")]
