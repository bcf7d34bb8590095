"""The rules pane: what is broken now, what was broken before, and why it matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmtui.model.bench import Bench
from mmtui.model.why import Choice
from mmtui.views.episodes import Episode, Listed, listed
from mmtui.views.lines import EMPTY, Doc, Line, Lines, clip, join, say, wrap_words
from mmtui.views.marks import Marks
from mmtui.views.why import explained
from sandbox.rules import RULES

__all__ = [
    "RulesDoc",
    "RulesView",
    "choose",
    "clicked",
    "complaint_lines",
    "document",
    "event",
    "move",
    "view",
]


COMPLAINTS = 3
"""How many of the kernel's own lines are shown."""


@dataclass(frozen=True, slots=True)
class RulesView:
    """All episodes so far, those of now first, and the one that is looked at."""

    episodes: Listed
    cursor: int
    watched: int
    complaints: tuple[str, ...] = ()
    """The last lines that the kernel's own checks would have printed."""


def view(bench: Bench) -> RulesView:
    """Look at the rules; what is broken now comes first, then the latest."""
    found = listed(bench.session.rules)
    told = bench.session.rules.complaints[-COMPLAINTS:]
    texts = tuple(complaint.text for complaint in told)
    return RulesView(found, found.place(bench.chosen), len(RULES), texts)


# -- drawing -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RulesDoc:
    """One rule explained, and below it a line per episode, made when it is looked at."""

    seen: RulesView
    width: int
    above: Sequence[Line]
    """The explanation."""

    @property
    def head(self) -> tuple[Line, ...]:
        """Nothing stays at the top."""
        return ()

    @property
    def foot(self) -> tuple[Line, ...]:
        """Nothing stays at the bottom."""
        return ()

    @property
    def leaps(self) -> bool:
        """The explanation is shown from its beginning."""
        return False

    @property
    def height(self) -> int:
        """Number of lines that scroll."""
        return len(self.above) + len(self.seen.episodes)

    @property
    def focus(self) -> int | None:
        """The beginning."""
        return 0

    def line(self, y: int) -> Line:
        """Line *y* of those that scroll."""
        if y < len(self.above):
            return self.above[y]
        y -= len(self.above)
        if y >= len(self.seen.episodes):
            return EMPTY
        return clip(_episode_line(self.seen.episodes[y], y == self.seen.cursor), self.width)


def document(bench: Bench, _marks: Marks, width: int, _height: int) -> Doc:
    """The rules, for a pane: the chosen one explained, then all that were broken."""
    seen = view(bench)
    count = len(seen.episodes)
    if not count:
        text = f" all {seen.watched} rules hold so far"
        return Lines((say(text, "ok"), *complaint_lines(seen, width)))
    above = explained(bench, seen.episodes[seen.cursor], seen.cursor, count, width)
    above += complaint_lines(seen, width)
    head = say(f" all {count} times a rule was broken" if count > 1 else "", "dim")
    return RulesDoc(seen, width, [*above, EMPTY, clip(head, width)] if count > 1 else above)


def clicked(bench: Bench, doc: Doc, line: int, _column: int) -> bool:
    """Look at the episode of a line."""
    found = listed(bench.session.rules)
    at = line - (len(doc.above) if isinstance(doc, RulesDoc) else 0)
    if not 0 <= at < len(found):
        return False
    choose(bench, at)
    return True


def choose(bench: Bench, at: int) -> None:
    """Look at an episode by its number, or at the nearest there is."""
    found = listed(bench.session.rules)
    if found:
        episode = found[max(0, min(at, len(found) - 1))]
        event = None if episode.now else episode.event
        bench.chosen = Choice(episode.rule, episode.subject, event)


def move(bench: Bench, _across: int, down: int, _width: int) -> bool:
    """Look at another rule that was broken."""
    if down:
        choose(bench, view(bench).cursor + down)
    return bool(down)


def event(bench: Bench) -> int | None:
    """The position after the event that broke the chosen rule, None if none was broken."""
    found = view(bench)
    return found.episodes[found.cursor].event + 1 if found.episodes else None


def _episode_line(episode: Episode, chosen: bool) -> Line:
    token = "dim"
    if episode.now:
        token = "window" if episode.window else "violation"
    glyph = "~" if episode.window else "!" if episode.now else " "
    pointer = ">" if chosen else " "
    count = f"{episode.states} state{'s' if episode.states > 1 else ''}"
    return join(
        (
            (f"{glyph}", token),
            (pointer, "current" if chosen else ""),
            (f"{episode.rule} ", token if episode.now else "strong"),
            (f"{episode.subject} {episode.text}", token),
            (f"  event {episode.event}, {count}, worst {episode.worst}", "dim"),
        )
    )


def complaint_lines(seen: RulesView, width: int) -> list[Line]:
    """What the kernel itself would have said, under the rules."""
    if not seen.complaints:
        return []
    lines = [EMPTY, *(say(t, "strong") for t in wrap_words("The kernel would print:", width, " "))]
    for text in seen.complaints:
        lines += [say(t, "violation") for t in wrap_words(text, width, " ", "   ")]
    return lines
