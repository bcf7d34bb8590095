"""A state as people paste it into a mail: 72 columns, ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmtui.export.exhibit import Exhibit
from sandbox.compare.changes import Change
from sandbox.compare.text import cell_words, change_words, folded
from sandbox.truth.text import step_lines, wrap

__all__ = ["event_words", "mail"]


def mail(exhibit: Exhibit) -> Iterator[str]:
    """Yield the lines: the state or what differs from an earlier one, what broke, the command."""
    yield from wrap("== ", exhibit.title.split(), "   ")
    if exhibit.since is None:
        yield from step_lines(exhibit.state)
    else:
        yield from _changes(exhibit)
    yield from _broken(exhibit)
    if exhibit.walk:
        yield from _walk(exhibit)
    yield from wrap("replay: ", exhibit.replay().split(), "  ")


def _changes(exhibit: Exhibit) -> Iterator[str]:
    where = f"after step {exhibit.since}" if exhibit.since else "at the start"
    if not exhibit.cells:
        yield f"nothing differs from the state {where}"
        return
    yield f"what differs, {where} | here:"
    for group in folded(exhibit.cells):
        yield from wrap("  ", cell_words(group), "    ")


def _broken(exhibit: Exhibit) -> Iterator[str]:
    if not exhibit.violations:
        yield "rules: none broken"
    seen: set[tuple[str, str]] = set()
    for violation in exhibit.violations:
        if (violation.rule, violation.subject) in seen:
            continue
        seen.add((violation.rule, violation.subject))
        where = f"at event {violation.event} in {violation.function}"
        text = f"{violation.text}, {where} (step {violation.action + 1})"
        yield from wrap(f"{violation.rule}: ", text.split(), "  ")


def _walk(exhibit: Exhibit) -> Iterator[str]:
    for number, (change, event) in enumerate(exhibit.changes()):
        if not number:
            yield "what was changed on the way there:"
        head = f"  cpu{event['cpu']} " if event["cpu"] else "  "
        yield from wrap(head, event_words(change, event), "      ")


def event_words(change: Change, event: dict[str, Any]) -> list[str]:
    """A change in words: the event's number, the word and how it changed, and the function."""
    broken = (f"!{rule}" for rule in event.get("broken", ()))
    return [str(change.n), *change_words(change), event["function"], *broken]
