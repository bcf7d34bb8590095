"""The rules pane: what is broken now, what was broken before, and why it matters."""

from __future__ import annotations

from dataclasses import dataclass

from mmtui.model.bench import Bench
from mmtui.views.lines import EMPTY, Line, Lines, clip, join, say, wrap_words
from sandbox.rules import RULES, Rule, Violation

__all__ = ["Episode", "RulesView", "episodes", "render", "view"]


@dataclass(frozen=True, slots=True)
class Episode:
    """A rule broken for one subject in consecutive states."""

    rule: str
    subject: str
    text: str
    """The numbers of the worst state."""
    event: int
    """The event that broke it."""
    function: str
    states: int
    worst: int
    window: str | None
    now: bool


@dataclass(frozen=True, slots=True)
class RulesView:
    """All episodes so far, those of now first, and the one that is looked at."""

    episodes: tuple[Episode, ...]
    cursor: int
    watched: int


def episodes(violations: list[Violation], now: dict[tuple[str, str], Violation]) -> list[Episode]:
    """Gather consecutive states into episodes, oldest first."""
    groups: list[list[Violation]] = []
    latest: dict[tuple[str, str], list[Violation]] = {}
    for violation in violations:
        key = (violation.rule, violation.subject)
        if violation.run == 1 or key not in latest:
            latest[key] = []
            groups.append(latest[key])
        latest[key].append(violation)
    return [_episode(group, now) for group in groups]


def _episode(group: list[Violation], now: dict[tuple[str, str], Violation]) -> Episode:
    first = group[0]
    current = now.get((first.rule, first.subject))
    alive = current is not None and group[-1].event == current.event
    shown = current if alive and current is not None else max(group, key=lambda v: v.deficit)
    worst = max(v.deficit for v in group)
    return Episode(
        first.rule, first.subject, shown.text, first.event, first.function,
        len(group), worst, first.known_window, alive,
    )  # fmt: skip


def view(bench: Bench) -> RulesView:
    """Look at the rules; what is broken now comes first, then the latest."""
    rules = bench.session.rules
    found = episodes(rules.violations, rules.broken)
    found.sort(key=lambda e: (not e.now, e.window is not None, -e.event))
    cursor = max(0, min(bench.rule, len(found) - 1))
    return RulesView(tuple(found), cursor, len(RULES))


# -- drawing -----------------------------------------------------------------------------


def render(seen: RulesView, width: int, height: int) -> Lines:
    """Draw a line per episode, and the chosen rule explained at the bottom."""
    if not seen.episodes:
        text = f" all {seen.watched} rules hold so far"
        return Lines((say(text, "ok"),))
    lines = []
    for index, episode in enumerate(seen.episodes):
        lines.append(clip(_episode_line(episode, index == seen.cursor), width))
    chosen = seen.episodes[seen.cursor]
    why = _explanation(chosen, width)
    if len(lines) + len(why) <= height:
        return Lines((*lines, *why), seen.cursor)
    foot = why[: max(0, height - min(len(lines), 2) - 1)]  # two episodes stay in sight
    return Lines(tuple(lines), seen.cursor, foot=tuple(foot))


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
