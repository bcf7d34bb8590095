"""The story pane: the prose of a preset, its actions, and which expectations held.

A story may have thousands of actions; a line is made when it is looked at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

from mmtui.model.bench import Bench
from mmtui.model.progress import Progress
from mmtui.views.lines import EMPTY, Line, clip, join, plain, pure_text, say
from mmtui.views.marks import Marks
from mmtui.views.prose import prose_lines
from mmtui.views.story_layout import Layout
from sandbox.run.session import Step
from sandbox.scenario.expect import ExpectResult

__all__ = ["Phase", "Place", "StoryDoc", "document", "view"]


class Place(NamedTuple):
    """A line of the story whatever the width: a part, and how far down in it."""

    part: int
    """Its number; -1 for what stands above the story, one too many for what stands below."""
    row: int = 0
    of: int = 1
    """Lines that the part has where the row was counted."""


class Phase(Enum):
    """Where an action of the story stands."""

    DONE = "done"
    RUNNING = "running"
    NEXT = "next"
    LATER = "later"
    REFUSED = "refused"


_LAYOUTS: WeakKeyDictionary[Progress, Layout] = WeakKeyDictionary()


@dataclass(frozen=True)
class StoryDoc:
    """The story as it is told on the bench's kernel, and what was done apart from it."""

    bench: Bench
    layout: Layout
    width: int
    base: list[int]
    """Where each part would begin if nothing was refused."""
    longer: list[int]
    """The parts that have more lines than that, ascending."""
    above: list[int]
    """How many lines more there are above each of them, and in all."""
    current: int
    """The story step that is done or is next."""
    running: int | None
    upcoming: int | None
    own: Sequence[Step]
    """One's own actions so far."""

    @cached_property
    def _lead(self) -> list[Line]:
        """What stands above the story."""
        lines: list[Line] = []
        if not self.bench.script.steps:
            lines += prose_lines(_FREE_PLAY, self.width)
        about = "; ".join(f"{mail.author} {mail.date}" for mail in self.bench.source.mails)
        if about:
            lines += [*prose_lines(about, self.width), EMPTY]
        return lines

    @cached_property
    def _drawn(self) -> dict[int, list[Line]]:
        """The parts drawn so far."""
        return {}

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
        """The next action is followed line by line."""
        return False

    def _start(self, number: int) -> int:
        """The line of the story a part begins at; after the last one, the end."""
        return self.base[number] + self.above[bisect_left(self.longer, number)]

    @cached_property
    def height(self) -> int:
        """Number of lines."""
        return self.told + (len(self.own) + 1 if self.own else 0)

    @cached_property
    def told(self) -> int:
        """The line after the story; one's own actions follow."""
        return len(self._lead) + self._start(len(self.layout.parts))

    # -- places ------------------------------------------------------------------------

    def place(self, y: int) -> Place:
        """Where a line is, whatever the width."""
        parts = len(self.layout.parts)
        if y < len(self._lead):
            return Place(-1, max(y, 0), len(self._lead))
        if y >= self.told:
            return Place(parts, y - self.told, len(self.own) + 1)
        y -= len(self._lead)
        number = self._part_at(y)
        return Place(number, y - self._start(number), self._start(number + 1) - self._start(number))

    def line_of(self, place: Place) -> int:
        """The line of a place; where its part has another number of lines, as far down in it."""
        parts = len(self.layout.parts)
        if place.part >= parts:
            return min(self.told + place.row, self.height)
        if place.part < 0:
            return place.row * len(self._lead) // max(place.of, 1)
        start = self._start(place.part)
        size = self._start(place.part + 1) - start
        row = place.row if size == place.of else place.row * size // place.of
        return len(self._lead) + start + row

    def due(self, *, step: bool) -> int:
        """The line up to which the story is to be read before what it does next.

        That is an action, or all those of a story step; nothing when one's own action runs.
        """
        if self.running is None and not self.bench.idle:
            return 0
        active = self.upcoming if self.running is None else self.running
        if active is None:
            end = self.told
        else:
            if step:
                story = self.layout.parts[self.layout.items[active]].story
                items = self.bench.script.items
                while active + 1 < len(items) and items[active + 1].step == story:
                    active += 1
            end = len(self._lead) + self._start(self.layout.items[active] + 1)
        while end > 0 and not plain(self.line(end - 1)).strip():
            end -= 1
        return end

    def judged(self, results: Sequence[ExpectResult]) -> int:
        """The line of the first of some results, the end of the story if they stand nowhere."""
        parts = (self.layout.judged.get(result.where.line) for result in results)
        first = next((part for part in parts if part is not None), len(self.layout.parts))
        return len(self._lead) + self._start(first)

    @property
    def focus(self) -> int | None:
        """The action that is running or next, else the beginning of its step, or the end."""
        stories = self.layout.stories
        if not stories:
            return None
        if self.current >= len(stories):
            return self.height - 1
        number = stories[self.current]
        active = self.upcoming if self.running is None else self.running
        if active is not None and self._phase(active) in (Phase.RUNNING, Phase.NEXT):
            part = self.layout.items[active]
            number = part if self.layout.parts[part].story == self.current else number
        return len(self._lead) + self._start(number)

    def _part_at(self, y: int) -> int:
        """The part that has a line of the story."""
        return bisect_right(range(len(self.layout.parts)), y, key=self._start) - 1

    # -- lines -------------------------------------------------------------------------

    def line(self, y: int) -> Line:
        """Line *y* of the document."""
        if y < len(self._lead):
            return self._lead[y]
        y -= len(self._lead)
        parts = len(self.layout.parts)
        if y >= self._start(parts):
            return self._own_line(y - self._start(parts))
        number = self._part_at(y)
        if number not in self._drawn:
            self._drawn[number] = self._part(number)
        drawn, row = self._drawn[number], y - self._start(number)
        return drawn[row] if row < len(drawn) else EMPTY

    def _own_line(self, row: int) -> Line:
        if row == 0:
            return say(" your own actions", "strong") if self.own else EMPTY
        if row > len(self.own):
            return EMPTY
        step = self.own[row - 1]
        return clip(say(f"   {pure_text(f'{step.number} {step.action.text}')}"), self.width)

    def _part(self, number: int) -> list[Line]:
        """Draw one part."""
        part, width = self.layout.parts[number], self.width
        results = self.bench.progress.results(self.bench.session, part.story)
        lines: list[Line] = []
        if part.item is not None:
            lines += (clip(line, width) for line in self._action_lines(part.item))
            following = part.item + 1
            items = self.bench.script.items
            if following == len(items) or items[following].step != part.story:
                lines.append(EMPTY)
        elif part.prose is not None:
            lines += [*prose_lines(part.prose, width), EMPTY]
        else:
            for place, expectation in enumerate(part.expected, part.before):
                result = results[place] if place < len(results) else None
                lines += (clip(line, width) for line in _check_lines(expectation.text, result))
            lines.append(EMPTY)
        surplus = results[self.layout.expectations[part.story] :]
        if surplus and number == self.layout.lasts[part.story]:
            lines += [*(clip(_surplus_line(r), width) for r in surplus), EMPTY]
        return lines

    def _phase(self, index: int) -> Phase:
        """Where an action of the script stands."""
        progress, session = self.bench.progress, self.bench.session
        if not progress.is_done(index, session):
            if progress.refusal(index, session) is not None:
                return Phase.REFUSED
            return Phase.NEXT if index == self.upcoming and self.running is None else Phase.LATER
        return Phase.RUNNING if index == self.running else Phase.DONE

    def _action_lines(self, index: int) -> list[Line]:
        phase = self._phase(index)
        glyph, token = _MARKS[phase]
        source = self.bench.script.items[index].action.source
        lines = [
            join(((f" {glyph} ", token), (text, token or "strong"))) for text in source.split("\n")
        ]
        error = self.bench.progress.refusal(index, self.bench.session)
        if phase is Phase.REFUSED and error is not None:
            lines.append(say(f"     {error.message}", "violation"))
        return lines


def view(bench: Bench, width: int) -> StoryDoc:
    """Look at the story as it is told on the bench's kernel."""
    session, progress = bench.session, bench.progress
    layout = _LAYOUTS.get(progress)
    if layout is None:
        layout = _LAYOUTS[progress] = Layout(bench.script)
    longer, above = layout.longer(progress.unexpected(session))
    return StoryDoc(
        bench, layout, width, layout.starts(width), longer, above, progress.current(session),
        progress.running_item(session), progress.next_item(session), progress.own_steps(session),
    )  # fmt: skip


# -- drawing -----------------------------------------------------------------------------

_MARKS = {
    Phase.DONE: ("+", ""),
    Phase.RUNNING: (">", "current"),
    Phase.NEXT: (">", "current"),
    Phase.LATER: (" ", "dim"),
    Phase.REFUSED: ("!", "violation"),
}

_FREE_PLAY = """An empty machine. Start with

```
:mthp 64K madvise
:mmap A R 64K
:write A R 0 16
```

and then `f` to fork, `p` to pin what is selected, `d` to drop it, and so on.
`?` lists every key."""


def _check_lines(text: str, result: ExpectResult | None) -> Iterator[Line]:
    """An expectation: not looked at yet, held, or what was found instead."""
    if result is None:
        yield say(f"     ? {text}", "dim")
    elif result.ok:
        yield join((("    ok ", "ok"), (text, "")))
    else:
        yield join((("  FAIL ", "violation"), ("expected ", "dim"), (text, "")))
        yield join((("       ", ""), ("got      ", "dim"), (result.got, "violation")))


def _surplus_line(result: ExpectResult) -> Line:
    """What was found that nobody expected."""
    return join((("  FAIL ", "violation"), (f"{result.text}  got {result.got}", "violation")))


def document(bench: Bench, _marks: Marks, width: int, _height: int) -> StoryDoc:
    """The story, for a pane."""
    return view(bench, width)
