"""The rules pane: what is broken now, what was broken before, and why it matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmtui.model.bench import Bench
from mmtui.views.episodes import Episode, Listed, listed
from mmtui.views.lines import EMPTY, Doc, Line, Lines, clip, join, say, wrap_words
from mmtui.views.marks import Marks
from sandbox.rules import RULES, Rule

__all__ = ["RulesDoc", "RulesView", "clicked", "document", "event", "render", "view"]


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
    cursor = max(0, min(bench.rule, len(found) - 1))
    told = bench.session.rules.complaints[-COMPLAINTS:]
    return RulesView(found, cursor, len(RULES), tuple(complaint.text for complaint in told))


# -- drawing -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RulesDoc:
    """A line per episode, made when it is looked at, and the chosen rule explained."""

    seen: RulesView
    width: int
    below: Sequence[Line]
    """The explanation, where there is room for it below the episodes."""
    foot: Sequence[Line]
    """What stays of it at the bottom otherwise."""

    @property
    def head(self) -> tuple[Line, ...]:
        """Nothing stays at the top."""
        return ()

    @property
    def leaps(self) -> bool:
        """The cursor is followed line by line."""
        return False

    @property
    def height(self) -> int:
        """Number of lines that scroll."""
        return len(self.seen.episodes) + len(self.below)

    @property
    def focus(self) -> int | None:
        """The chosen episode."""
        return self.seen.cursor

    def line(self, y: int) -> Line:
        """Line *y* of those that scroll."""
        if y < len(self.seen.episodes):
            return clip(_episode_line(self.seen.episodes[y], y == self.seen.cursor), self.width)
        y -= len(self.seen.episodes)
        return self.below[y] if y < len(self.below) else EMPTY


def render(seen: RulesView, width: int, height: int) -> Doc:
    """Draw a line per episode, and the chosen rule explained at the bottom."""
    if not seen.episodes:
        text = f" all {seen.watched} rules hold so far"
        return Lines((say(text, "ok"), *_complaints(seen, width)))
    count = len(seen.episodes)
    why = [*_explanation(seen.episodes[seen.cursor], width), *_complaints(seen, width)]
    if count + len(why) <= height:
        return RulesDoc(seen, width, why, ())
    return RulesDoc(seen, width, (), why[: max(0, height - min(count, 2) - 1)])  # two stay in sight


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


def _complaints(seen: RulesView, width: int) -> list[Line]:
    """What the kernel itself would have said, under the rules."""
    if not seen.complaints:
        return []
    lines = [EMPTY, *(say(t, "strong") for t in wrap_words("The kernel would print:", width, " "))]
    for text in seen.complaints:
        lines += [say(t, "violation") for t in wrap_words(text, width, " ", "   ")]
    return lines


def _explanation(episode: Episode, width: int) -> list[Line]:
    rule: Rule | None = RULES.get(episode.rule)
    what = f"{episode.subject}: {episode.text}"
    where = f"broken by event {episode.event}"
    if episode.function:
        where += f" in {episode.function}()"
    if episode.window:
        where += f"; known window: {episode.window}"
    lines = [EMPTY, *(say(t, "strong") for t in wrap_words(what, width, " "))]
    lines += [say(text) for text in wrap_words(where, width, " ")]
    if rule is None:
        return lines
    lines += [say(text) for text in wrap_words(rule.statement, width, " ")]
    lines += [say(text, "dim") for text in wrap_words(f"{rule.formula}", width, "   ")]
    lines += [say(text) for text in wrap_words(rule.explanation, width, " ")]
    lines += [say(text, "dim") for text in wrap_words(f"Source: {rule.source}", width, " ", "   ")]
    return lines


def document(bench: Bench, _marks: Marks, width: int, height: int) -> Doc:
    """The rules, for a pane."""
    return render(view(bench), width, height)


def clicked(bench: Bench, _doc: Doc, line: int, _column: int) -> bool:
    """Look at the episode of a line."""
    if line >= len(view(bench).episodes):
        return False
    bench.rule = line
    return True


def event(bench: Bench) -> int | None:
    """The position after the event that broke the chosen rule, None if none was broken."""
    found = view(bench)
    return found.episodes[found.cursor].event + 1 if found.episodes else None
