"""What a story consists of, and where its parts stand at a width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from mmtui.model.progress import NOTHING_UNEXPECTED, Unexpected
from mmtui.model.script import Script
from mmtui.views.prose import prose_lines
from sandbox.scenario.expect import Expectation
from sandbox.scenario.presets import Prose

__all__ = ["Layout", "Part"]


class Part(NamedTuple):
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


class Layout:
    """What a script consists of, and where its parts begin before anything was done."""

    def __init__(self, script: Script) -> None:
        self.parts: list[Part] = []
        self.stories: list[int] = []
        """The first part of each story step."""
        self.lasts: list[int] = []
        """The last part of each story step."""
        self.items: list[int] = []
        """The part of each action."""
        self.expectations: list[int] = []
        """How many each story step has."""
        self.lines = [item.action.where.line for item in script.items]
        """The line of the document of each action."""
        self.judged: dict[int, int] = {}
        """The part of each expectation, by its line of the document."""
        self._starts: dict[int, list[int]] = {}
        self._longer = (NOTHING_UNEXPECTED, _NONE)
        for story, step in enumerate(script.steps):
            self.stories.append(len(self.parts))
            if step.prose:
                self.parts.append(Part(story, 1, step.prose))
            self._add_actions(script, story)
            before = 0
            for part in step.after:
                if isinstance(part, Prose):
                    self.parts.append(Part(story, 1, part.text))
                    continue
                block = part.expectations
                self.judged |= dict.fromkeys((e.where.line for e in block), len(self.parts))
                self.parts.append(Part(story, len(block) + 1, expected=block, before=before))
                before += len(block)
            self.expectations.append(before)
            self.lasts.append(len(self.parts) - 1)

    def _add_actions(self, script: Script, story: int) -> None:
        items, index = script.items, len(self.items)
        while index < len(items) and items[index].step == story:
            self.items.append(len(self.parts))
            self.parts.append(Part(story, items[index].action.source.count("\n") + 1, item=index))
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
            for story, failed in unexpected.failed.items():
                for number in failed:  # what was found has a line of its own
                    part = self._part_of(story, number)
                    more[part] = more.get(part, 0) + 1
            parts = sorted(more)
            above = list(accumulate(map(more.__getitem__, parts), initial=0))
            self._longer = (unexpected, (parts, above))
        return self._longer[1]

    def _part_of(self, story: int, expectation: int) -> int:
        """The part that an expectation of a story step stands in."""
        for number in range(self.lasts[story], self.stories[story], -1):
            part = self.parts[number]
            if part.expected and part.before <= expectation:
                return number
        return self.lasts[story]

    def names(self) -> Iterator[str]:
        """A name for each part, the same on every kernel that the part is for."""
        for part in self.parts:
            if part.item is not None:
                yield f"action {self.lines[part.item]}"
            else:
                yield part.prose or f"expect {part.expected[0].where.line if part.expected else 0}"


_NONE: tuple[list[int], list[int]] = ([], [0])
_WIDTHS = 4
"""Widths for which it is kept where the parts begin: that of the pane, and zoomed."""
