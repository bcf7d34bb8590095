"""What a key costs after many actions, beside many processes, and going forth and back.

Each figure that has to stay level is a ratio or a growth within one run: two applications run side
by side, one with few actions done and one with many, and each key is pressed in turn in both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.report import Section
from benchmarks.startup import MMTUI, environment
from benchmarks.terminal import Terminal
from benchmarks.timing import percentile
from benchmarks.workload import populate_lines

__all__ = ["cost_of_a_key", "resident"]

FEW = 10
CYCLE = (
    (b"N", "action back"),
    (b"s", "event"),
    (b"S", "event back"),
    (b"n", "action"),
    (b"N", ""),
    (b"n", ""),
    (b"k", "scroll up"),
    (b"j", "scroll down"),
)
"""Keys that lead back to where they began, with what they are called in the table."""
WARM_UP = 2
"""Rounds of keys that are not counted."""
TRIPS = 6
"""Times that a history is gone through forth and back."""


def cost_of_a_key(actions: int, rounds: int) -> Section:
    """Measure every key of the cycle after few and after many actions, as a ratio; and the rest."""
    section = Section(f"Cost of a key at 120x40 by actions done: {FEW} and {actions:,}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = [scenario(folder, "few", writes(FEW)), scenario(folder, "many", writes(actions))]
        few, many = (stack.enter_context(opened(file)) for file in files)
        times = side_by_side((few, many), rounds)
        for name, (before, after) in times.items():
            if not before or not after:
                section.notes.append(f"{name}: no frame")
                continue
            section.add(f"{name} after {FEW} actions, p50", percentile(before, 50), "ms")
            ratio = percentile(after, 50) / percentile(before, 50)
            section.add(f"{name} after {actions:,} against {FEW}, p50", ratio, "x", 2.0, 1.2)
    beside_processes(section, rounds)
    round_trips(section)
    return section


def scenario(folder: str, name: str, lines: Sequence[str]) -> Path:
    """Write a scenario file."""
    file = Path(folder) / f"{name}.scn"
    text = "\n".join(["scenario bench", *populate_lines("64K", 16), *lines, "end", ""])
    file.write_text(text, encoding="utf-8")
    return file


def writes(count: int) -> list[str]:
    """Spell so many actions of a few events each."""
    return [f"write A R {page % 16} {page % 16 + 1}" for page in range(count)]


def opened(file: Path) -> Terminal:
    """Open a scenario in the application and run it to its end."""
    terminal = Terminal((*MMTUI, str(file)), environment())
    terminal.start_up()
    terminal.press(b"e", quiet=1.0, patience=600.0)
    return terminal


def side_by_side(terminals: Sequence[Terminal], rounds: int) -> dict[str, list[list[float]]]:
    """Press the keys of the cycle in each terminal in turn; milliseconds of each, by name."""
    found: dict[str, list[list[float]]] = {name: [[] for _ in terminals] for _, name in CYCLE}
    for turn in range(rounds + WARM_UP):
        for key, name in CYCLE:
            for terminal, times in zip(terminals, found[name], strict=True):
                frames = terminal.press(key)
                if frames.bytes and turn >= WARM_UP:
                    times.append(frames.settled * 1e3)
    found.pop("")
    return found


def beside_processes(section: Section, rounds: int) -> None:
    """Add what an action forth and back costs while there are 200 processes."""
    with tempfile.TemporaryDirectory() as folder:
        forks = [f"fork A P{number}" for number in range(199)]
        with opened(scenario(folder, "forks", forks)) as terminal:
            times = side_by_side([terminal], max(rounds // 2, 1))
    for name in ("action back", "action", "event"):
        if times[name][0]:
            section.add(f"{name}, 200 processes, p50", percentile(times[name][0], 50), "ms")


def round_trips(section: Section) -> None:
    """Add how much memory a round through a history forth and back leaves behind."""
    lines = ["mmap A S 1M", "touch A S 0 256 w"]
    lines += ["fork A B", "write B S 0 256", "exit B", "fork A B", "write B S 0 256"]
    sizes: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        terminal = stack.enter_context(opened(scenario(folder, "trips", lines)))
        for _ in range(TRIPS + 1):
            terminal.press(b"A", quiet=1.0, patience=600.0)
            terminal.press(b"e", quiet=1.0, patience=600.0)
            sizes.append(resident(terminal.pid))
    if not all(sizes):
        section.notes.append("memory of a round trip: this system does not tell")
        return
    growth = (sizes[-1] - sizes[0]) / TRIPS
    section.add(f"memory that a round trip leaves, {TRIPS} of them", growth, "MB", 0.5, 0.1)
    section.add("memory after them", sizes[-1], "MB")


def resident(pid: int) -> float:
    """Return the MB of memory that a process has, 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii").split("\n")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in fields if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else 0.0
