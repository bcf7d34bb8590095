"""What is drawn at random: processes, places, sizes, ranges."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.fuzz.world import REGIONS, Page, Span, World

if TYPE_CHECKING:
    from sandbox.fuzz.families import Family

__all__ = ["Chance"]

BLOCK = 16
"""Pages of a contiguous block, at whose boundaries much changes."""
FARTHEST = 600
"""No drawn page of a region is behind it."""
SMALL, MIDDLE = (1, 2, 3, 4, 5, 8), (12, 16, 16, 20, 32, 48, 64)
LARGE = (100, 128, 200, 256, 512)


class Chance:
    """A stream of choices that depends on its seed alone, and the world that they are about."""

    def __init__(self, seed: str, family: Family) -> None:
        self.random = random.Random(seed)
        self.family = family
        self.world = World()

    def flip(self, chance: float) -> bool:
        """Whether something of that chance happens."""
        return self.random.random() < chance

    def process(self) -> str | None:
        """A living process."""
        alive = list(self.world.spaces)
        return self.random.choice(alive) if alive else None

    def size(self) -> int:
        """Pages of a mapping or file."""
        (sizes,) = self.random.choices((SMALL, MIDDLE, LARGE), (4, 6, 1))
        return min(self.random.choice(sizes), self.family.pages)

    def place(self) -> int:
        """The first page of a mapping in its region."""
        if self.flip(0.65):
            return 0
        return self.random.choice((1, 3, 5, 8, 16, 32, 48, 64, 100, 480, 496, 508, 512))

    def target(self, span: Span) -> tuple[str, int]:
        """Where to move a range: mostly as it is aligned, often next to something."""
        region = self.random.choice(REGIONS)
        if self.flip(0.5):
            return region, span.start
        return region, self.random.choice((0, 1, 7, 16, 32, 64, 100, span.end, 512))

    def span(self, test: Callable[[Page], bool]) -> Span | None:
        """A range without holes whose pages all pass a test; None if there is none."""
        runs = self.world.runs(test)
        return self.part(self.random.choice(runs)) if runs else None

    def any_span(self, test: Callable[[Page], bool] = lambda _: True) -> Span | None:
        """A range for a verb that takes all: mostly without holes, sometimes odd."""
        if not self.flip(self.family.odd):
            return self.span(test)
        places = [
            (proc, region, min(pages), max(pages) + 1)
            for proc, space in self.world.spaces.items()
            for region, pages in space.items()
            if pages
        ]
        if not places:
            return None
        proc, region, low, high = self.random.choice(places)
        low = max(0, low - self.random.choice((0, 0, 1, 4)))
        start = self.random.randint(low, high - 1 if self.flip(0.9) else high + 4)
        end = self.random.randint(start + 1, max(start + 1, high + self.random.choice((1, 3, 16))))
        return Span(proc, region, start, min(end, FARTHEST + 520))

    def part(self, run: Span) -> Span:
        """A part of a range: all of it, a page, what is aligned to blocks, or any."""
        length = run.end - run.start
        how = self.random.random()
        if how < 0.28:
            return run
        if how < 0.5:
            start = self.random.randrange(run.start, run.end)
            return run._replace(start=start, end=start + 1)
        if how < 0.65 and length > BLOCK:
            start = self.random.randrange(run.start, run.end) // BLOCK * BLOCK
            end = min(run.end, start + BLOCK * self.random.randint(1, 2))
            return run._replace(start=max(start, run.start), end=end)
        start = self.random.randrange(run.start, run.end)
        return run._replace(start=start, end=self.random.randint(start + 1, run.end))
