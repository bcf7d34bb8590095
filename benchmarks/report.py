"""Tables of figures, with the goal beside each figure that has one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

__all__ = ["Figure", "Section", "load_average"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    unit: str
    good: float | None = None
    """The goal, None where there is none."""
    stretch: float | None = None
    """The goal that would be very good."""
    exceed: bool = False
    """Whether the goal is to be exceeded (events per second), not to stay below."""

    @property
    def verdict(self) -> str:
        """Say how the value stands to the goals: `stretch`, `good`, `missed`, or nothing."""
        if self.good is None:
            return ""
        for goal, word in ((self.stretch, "stretch"), (self.good, "good")):
            if goal is not None and (self.value >= goal if self.exceed else self.value <= goal):
                return word
        return "missed"


@dataclass(slots=True)
class Section:
    """A table: a title, and figures in the order in which they were measured."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Lines below the table: what could not be measured, and why."""

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        good: float | None = None,
        stretch: float | None = None,
        *,
        exceed: bool = False,
    ) -> None:
        """Append a figure."""
        self.figures.append(Figure(name, value, unit, good, stretch, exceed))

    def lines(self) -> Iterator[str]:
        """Yield the table as aligned text."""
        yield f"## {self.title}"
        rows = [
            (f.name, number(f.value), f.unit, number(f.good), number(f.stretch), f.verdict)
            for f in self.figures
        ]
        if rows:
            rows.insert(0, ("what", "measured", "unit", "good", "stretch", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(6)] if rows else []
        for row in rows:
            cells = [
                cell.rjust(width) if i in (1, 3, 4) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  ".join(cells).rstrip()
        yield from (f"({note})" for note in self.notes)
        yield ""

    def json(self) -> str:
        """Return the section as one JSON object."""
        return json.dumps(asdict(self))


def number(value: float | None) -> str:
    """Write a figure with three digits that matter."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def load_average() -> str:
    """Return the machine's load, which says how far the figures can be trusted."""
    return f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs"
