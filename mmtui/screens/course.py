"""The rows of the library: sessions to go on with, the parts of the course, an empty machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from mmtui.model.course import Stage
from mmtui.model.session_list import Kept
from mmtui.views.lines import Line
from mmtui.widgets.chooser import Choice
from sandbox.scenario.library import Card

__all__ = ["preset_choices", "session_choices"]

_MARKS: dict[Stage | None, tuple[str, str]] = {
    None: ("  ", ""),
    Stage.OPENED: (". ", "dim"),
    Stage.FINISHED: ("+ ", "ok"),
}
_SHOWN = 2
"""Kernels in a row; all are told of at the bottom."""
_NAMED = 3
"""Mails that are told of each; of the others there is only their number."""


def preset_choices(
    cards: Sequence[Card],
    stages: Mapping[str, Stage],
    recorded: Mapping[str, Sequence[str]],
) -> list[Choice]:
    """A row for every preset under its part of the course, and one for an empty machine."""
    width = max((len(card.front.title) for card in cards), default=0) + 2
    rows = []
    for number, (part, group) in enumerate(groupby(cards, lambda card: card.front.part), 1):
        members = list(group)
        heading = _heading(number, part, members, stages)
        for card in members:
            told = _about(card, recorded.get(card.slug, ()))
            rows.append(_row(card, width, stages.get(card.slug), heading, told))
    empty: Line = (("  - ", "dim"), ("  ", ""), ("An empty machine", "strong"))
    about = "Map, write, fork, pin and unmap as you like, on any kernel."
    return [*rows, Choice("", empty, about, "play blank", "Without a story")]


def _heading(number: int, part: str, cards: Sequence[Card], stages: Mapping[str, Stage]) -> str:
    """The heading of a part, with how far it was followed."""
    done = sum(stages.get(card.slug) is Stage.FINISHED for card in cards)
    opened = sum(stages.get(card.slug) is Stage.OPENED for card in cards)
    text = f"Part {number}. {part}   {done} of {len(cards)} finished"
    return text + (f", {opened} begun" if opened else "")


def _row(card: Card, width: int, stage: Stage | None, heading: str, about: str) -> Choice:
    front = card.front
    number = "" if front.number is None else str(front.number)
    more = len(front.kernels) - _SHOWN
    columns = (
        (f"{number:>3} ", "dim"),
        _MARKS[stage],
        (f"{front.title:<{width}}", "strong"),
        (" ".join(front.kernels[:_SHOWN]) + (f" +{more}" if more > 0 else ""), "dim"),
    )
    word = "" if stage is None else stage.name.lower()
    keywords = " ".join([card.slug, *front.tags, *{mail.author for mail in front.mails}, word])
    return Choice(number or card.slug, columns, about, keywords, heading)


def _about(card: Card, recorded: Sequence[str]) -> str:
    """What it tells, on what, of which mails, and whether real kernels did the same."""
    front = card.front
    lines = [f"{front.summary} [{', '.join(front.tags)}]", f"Kernels: {' '.join(front.kernels)}"]
    mails = [
        f"{mail.author} {mail.date}" + (f" {mail.subject}" if mail.subject else "")
        for mail in front.mails
    ]
    if mails:
        more = f"; and {len(mails) - _NAMED} more" if len(mails) > _NAMED else ""
        lines.append("Mails: " + "; ".join(mails[:_NAMED]) + more)
    if recorded:
        lines.append(f"Real kernels that did the same, action by action: {' '.join(recorded)}")
    return "\n".join(lines)


def session_choices(sessions: Sequence[Kept]) -> list[Choice]:
    """A row for every session on file that can be gone on with, those not left first."""
    rows = []
    for session in sorted(sessions, key=lambda kept: kept.left):
        if session.busy:
            continue
        when = datetime.fromtimestamp(session.when).strftime("%d %b %H:%M")
        count = f"{session.actions} action{'s' if session.actions != 1 else ''}"
        columns = (
            ("  > ", "key"),
            (f"{session.name}  ", "strong"),
            (f"{session.kernel}  {count}  {when}", "dim"),
            ("" if session.left else "  ended in the middle", "changed"),
        )
        about = "Go on with a session: its actions, branches and place come back."
        rows.append(Choice(session.path, columns, about, "session continue", "Sessions"))
    return rows
