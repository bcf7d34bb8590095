"""The story pane: the prose of a preset, its actions, and which expectations held.

A story may have thousands of actions; a line is made when it is looked at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple
from weakref import WeakKeyDictionary

from mmtui.model.bench import Bench
from mmtui.model.progress import Progress, Unexpected
from mmtui.model.script import Script
from mmtui.views.lines import EMPTY, Line, clip, join, pure_text, say
from mmtui.views.marks import Marks
from mmtui.views.prose import prose_lines
from sandbox.run.session import Step
from sandbox.scenario.expect import Expectation, ExpectResult
from sandbox.scenario.presets import Prose

__all__ = ["Phase", "StoryDoc", "document", "view"]


class Phase(Enum):
    """Where an action of the story stands."""

    DONE = "done"
    RUNNING = "running"
    NEXT = "next"
    LATER = "later"
    REFUSED = "refused"


class _Part(NamedTuple):
    """Lines of the story that belong together, with the blank one that follows them."""

    story: int
    """Number of the story step."""
    height: int
    """How many lines, while nothing was refused; that of prose depends on the width."""
    prose: str | None = None
    item: int | None = None
    """An action of the script."""
    expected: tuple[Expectation, ...] = ()
    before: int = 0
    """Expectations of the same story step that stand above these."""


class _Layout:
    """What a script consists of, and where its parts begin before anything was done."""

    def __init__(self, script: Script) -> None:
        self.parts: list[_Part] = []
        self.stories: list[int] = []
        """The first part of each story step."""
        self.lasts: list[int] = []
        """The last part of each story step."""
        self.items: list[int] = []
        """The part of each action."""
        self.expectations: list[int] = []
        """How many each story step has."""
        self._starts: dict[int, list[int]] = {}
        self._longer = (Unexpected((), {}), _NONE)
        for story, step in enumerate(script.steps):
            self.stories.append(len(self.parts))
            if step.prose:
                self.parts.append(_Part(story, 1, step.prose))
            self._add_actions(script, story)
            before = 0
            for part in step.after:
                if isinstance(part, Prose):
                    self.parts.append(_Part(story, 1, part.text))
                    continue
                block = part.expectations
                self.parts.append(_Part(story, len(block) + 1, expected=block, before=before))
                before += len(block)
            self.expectations.append(before)
            self.lasts.append(len(self.parts) - 1)

    def _add_actions(self, script: Script, story: int) -> None:
        items, index = script.items, len(self.items)
        while index < len(items) and items[index].step == story:
            self.items.append(len(self.parts))
            self.parts.append(_Part(story, items[index].action.source.count("\n") + 1, item=index))
            index += 1
        if self.parts and self.parts[-1].item is not None and self.parts[-1].story == story:
            self.parts[-1] = self.parts[-1]._replace(height=self.parts[-1].height + 1)

    def starts(self, width: int) -> list[int]:
        """Where each part begins at a width, and where the last one ends."""
        if width not in self._starts:
            if len(self._starts) > _WIDTHS:
                self._starts.clear()
            heights = (
                part.height + (len(prose_lines(part.prose, width)) if part.prose else 0)
                for part in self.parts
            )
            self._starts[width] = list(accumulate(heights, initial=0))
        return self._starts[width]

    def longer(self, unexpected: Unexpected) -> tuple[list[int], list[int]]:
        """The parts that something unexpected adds lines to, and how many more are above each."""
        if self._longer[0] is not unexpected:
            # Why an action was refused, and the results with a blank line after them.
            more = dict.fromkeys(map(self.items.__getitem__, unexpected.refused), 1)
            for story, surplus in unexpected.surplus.items():
                last = self.lasts[story]
                more[last] = more.get(last, 0) + surplus + 1
            parts = sorted(more)
            above = list(accumulate(map(more.__getitem__, parts), initial=0))
            self._longer = (unexpected, (parts, above))
        return self._longer[1]


_NONE: tuple[list[int], list[int]] = ([], [0])
_WIDTHS = 4
"""Widths for which it is kept where the parts begin: that of the pane, and zoomed."""

_LAYOUTS: WeakKeyDictionary[Progress, _Layout] = WeakKeyDictionary()


@dataclass(frozen=True)
class StoryDoc:
    """The story as it is told on the bench's kernel, and what was done apart from it."""

    bench: Bench
    layout: _Layout
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
        story = self._start(len(self.layout.parts))
        return len(self._lead) + story + (len(self.own) + 1 if self.own else 0)

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

    # -- lines -------------------------------------------------------------------------

    def line(self, y: int) -> Line:
        """Line *y* of the document."""
        if y < len(self._lead):
            return self._lead[y]
        y -= len(self._lead)
        parts = len(self.layout.parts)
        if y >= self._start(parts):
            return self._own_line(y - self._start(parts))
        number = bisect_right(range(parts), y, key=self._start) - 1
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
                lines.append(clip(_check_line(expectation.text, result), width))
            lines.append(EMPTY)
        surplus = results[self.layout.expectations[part.story] :]
        if surplus and number == self.layout.lasts[part.story]:
            lines += [*(clip(_check_line(r.text, r), width) for r in surplus), EMPTY]
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
        layout = _LAYOUTS[progress] = _Layout(bench.script)
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


def _check_line(text: str, result: ExpectResult | None) -> Line:
    """An expectation: not looked at yet, held, or what was found instead."""
    if result is None:
        return say(f"     ? {text}", "dim")
    if result.ok:
        return join((("    ok ", "ok"), (text, "")))
    return join((("  FAIL ", "violation"), (text, ""), (f"  got {result.got}", "violation")))


def document(bench: Bench, _marks: Marks, width: int, _height: int) -> StoryDoc:
    """The story, for a pane."""
    return view(bench, width)
