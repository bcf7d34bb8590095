"""Many actions, processes and pages: what a key costs, what it takes in memory, and how it ends."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.attack.homes import Home
from tests.attack.report import Report
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["SCALES", "scale"]

KEYS = ("S", "s", "S", "s")
"""Keys whose frames are timed, at the end of the history: there is nothing to go on to there."""
WHOLE = ("N", "n")
"""Keys that go over a whole action, which may be all of the document."""
_AGAIN = 3
_LEVEL = 1.35
"""What memory may have grown by from the second going forth and back to the last."""
_TWICE = 2.0
"""What a key may cost more with 10,000 actions than with 10."""


def _scenario(lines: str) -> str:
    return f"scenario x\n{lines}end\n"


def _actions(count: int) -> str:
    writes = "".join(f"write A R {i % 16} {i % 16 + 1}\n" for i in range(count))
    return _scenario("mmap A R 64K\ntouch A R 0 16 w\n" + writes)


PROCS = _scenario(
    "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n"
    + "".join(f"fork A P{i}\n" for i in range(199))
)
GIB = _scenario("mthp 2M always\nmmap A R 1G\ntouch A R 0 262144 w\n")
FORTH = _scenario(
    "mthp 64K madvise\nmmap A R 1M\ntouch A R 0 256 w\nfork A B\nwrite B R 0 256\nexit B\n"
    "fork A B\nwrite B R 0 256\n"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one application needed."""

    key: float
    """Processor seconds that a key costs, the median."""
    slowest: float
    """The most that a key cost."""
    memory: float
    """MiB at the end."""


def _opened(folder: Path, text: str) -> Terminal:
    home = Home(folder)
    (home.path / "document.scn").write_text(text)
    terminal = Terminal(home, "document.scn")
    terminal.ready(120)
    return terminal


def _press(terminal: Terminal, key: str, moved: bool = True) -> float:
    """Press a key that moves; the processor time until it stands elsewhere and is quiet."""
    before, spent = terminal.standing, terminal.cpu()
    terminal.send(key.encode())
    if moved:
        terminal.expect(lambda: terminal.standing not in (before, None), f"frame for {key}", 300)
    terminal.settle(0.3, 60)
    return terminal.cpu() - spent


def _at_the_end(terminal: Terminal) -> None:
    """Do all of the document."""
    terminal.send(b"e")

    def there() -> bool:
        terminal.settle(0.5, 5)
        standing = terminal.standing
        return standing is not None and standing.position == standing.end > 0

    terminal.expect(there, "end of the document", 900)


def cost_of_keys(folder: Path, text: str) -> Cost:
    """What keys cost at the end of a document."""
    with _opened(folder, text) as terminal:
        _at_the_end(terminal)
        costs = [_press(terminal, key) for _ in range(_AGAIN) for key in KEYS]
        slow = [_press(terminal, key) for key in WHOLE]
        memory = terminal.memory()
        terminal.send(b"q")
        terminal.end(60)
    return Cost(statistics.median(costs), max(slow), memory)


def _acts(report: Report, folder: Path) -> None:
    """A key costs with 10,000 actions at most twice what it costs with 10."""
    costs = {n: cost_of_keys(folder / f"acts{n}", _actions(n)) for n in (10, 10_000)}
    for number, cost in costs.items():
        report.counts[f"ms a key, {number} actions"] = round(cost.key * 1000)
        report.counts[f"MiB, {number} actions"] = round(cost.memory)
    right = costs[10_000].key <= _TWICE * max(costs[10].key, 0.01)
    report.expect(right, "cost", f"{costs[10_000].key:.3f} s a key, {costs[10].key:.3f} s with 10")


def _large(name: str, text: str, key: float, memory: float) -> Callable[[Report, Path], None]:
    """Other sizes are to stay as good as they were: seconds a key, MiB."""

    def attack(report: Report, folder: Path) -> None:
        cost = cost_of_keys(folder / name, text)
        report.counts["ms a key"] = round(cost.key * 1000)
        report.counts["ms over a whole action"] = round(cost.slowest * 1000)
        report.counts["MiB"] = round(cost.memory)
        report.expect(cost.key <= key, "cost", f"{cost.key:.3f} s a key, {key} s before")
        report.expect(cost.memory <= memory, "memory", f"{cost.memory:.0f} MiB, {memory} before")

    return attack


def _memory(report: Report, folder: Path) -> None:
    """Going forth and back again and again takes no more memory."""
    levels = []
    with _opened(folder / "mem", FORTH) as terminal:
        for _ in range(6):
            _at_the_end(terminal)
            _press(terminal, "A")
            levels.append(terminal.memory())
    report.counts["MiB after the second"] = round(levels[1])
    report.counts["MiB after the last"] = round(levels[-1])
    grown = levels[-1] / levels[1]
    report.expect(grown <= _LEVEL, "memory", f"{levels[-1]:.0f} MiB, {levels[1]:.0f} at first")


SCALES: dict[str, Callable[[Report, Path], None]] = {
    "acts": _acts,
    "procs": _large("procs", PROCS, 0.35, 80),
    "gib": _large("gib", GIB, 0.4, 340),
    "mem": _memory,
}
"""What can be large, and how it is measured."""


def scale(report: Report, folder: Path, names: list[str]) -> None:
    """The scales named, or all."""
    for name in names or list(SCALES):
        report.tried += 1
        try:
            SCALES[name](report, folder)
        except NoAnswer as error:
            report.fault("no answer", f"{name}: {error}")
