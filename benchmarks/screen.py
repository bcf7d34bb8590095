"""The running application: from a key to the settled frame, and the bytes that took."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Section
from benchmarks.startup import MMTUI, environment
from benchmarks.terminal import Frames, Terminal
from benchmarks.timing import percentile
from benchmarks.workload import populate_lines

__all__ = ["Keys", "step_latency"]

WARM_UP = 5
"""Presses that are not counted: the first ones fill caches."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The application's keys that are pressed."""

    event: bytes = b"s"
    """One event forward."""
    back: bytes = b"S"
    """One event back."""
    action: bytes = b"n"
    """One action forward."""
    tables: bytes = b"3"
    """To the pane of page tables."""
    right: bytes = b"l"
    """The cursor to the next page."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds and bytes of a series of presses."""

    ms: list[float]
    bytes: list[float]

    @classmethod
    def of(cls, frames: Sequence[Frames]) -> Measured:
        """Take the presses that brought a frame, without the first few."""
        counted = [frame for frame in frames if frame.bytes][WARM_UP:]
        return cls([f.settled * 1e3 for f in counted], [float(f.bytes) for f in counted])


def step_latency(size: int, presses: int, keys: Keys | None = None) -> Section:
    """Measure a step through a fork of one 64K folio, alone and with *size* pages mapped as well.

    The same events are stepped in both, at 120x40.
    """
    keys = keys or Keys()
    title = f"{4 * size // 1024}M"
    section = Section(f"Key to settled frame at 120x40, 64K mapped and 64K + {title} mapped")
    small = measure(0, presses, keys)
    if not small["step"].ms:
        section.notes.append("the application painted nothing for a key; nothing measured")
        return section
    large = measure(size, presses, keys)
    for name, label in (("step", "one event"), ("back", "one event back"), ("cursor", "cursor")):
        alone, beside = small[name], large[name]
        if not alone.ms or not beside.ms:
            section.notes.append(f"{label}: no frame")
            continue
        goal = (16.0, 8.0) if name == "step" else (None, None)
        section.add(f"{label}, p50", percentile(alone.ms, 50), "ms")
        section.add(f"{label}, p95", percentile(alone.ms, 95), "ms", *goal)
        byte_goal = (3000.0, 1000.0) if name == "step" else (None, None)
        section.add(f"{label}, bytes, p50", percentile(alone.bytes, 50), "bytes", *byte_goal)
        ratio = percentile(beside.ms, 50) / percentile(alone.ms, 50)
        ratio_goal = (1.2, 1.0) if name == "step" else (None, None)
        section.add(f"{label}, with {title} mapped as well, p50", ratio, "x", *ratio_goal)
        ratio = percentile(beside.ms, 95) / percentile(alone.ms, 95)
        section.add(f"{label}, with {title} mapped as well, p95", ratio, "x")
    return section


def measure(size: int, presses: int, keys: Keys) -> dict[str, Measured]:
    """Open a scenario with so many more pages mapped, and step through its fork."""
    before = populate_lines("64K", 16)
    if size:
        before += populate_lines("64K", size, "S")[1:]
    lines = ["scenario bench", *before, "fork A B", "end"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.scn"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with Terminal((*MMTUI, str(file)), environment()) as terminal:
            terminal.start_up()
            for _ in before:
                terminal.press(keys.action, quiet=0.5, patience=600.0)
            steps = terminal.series(keys.event, presses + WARM_UP)
            back = terminal.series(keys.back, presses + WARM_UP)
            terminal.press(keys.tables)
            cursor = terminal.series(keys.right, presses + WARM_UP)
    return {"step": Measured.of(steps), "back": Measured.of(back), "cursor": Measured.of(cursor)}
