"""Going back inside one huge action: a displayed step back at the end of a fork of gigabytes.

What is displayed is what the application's key `S` brings: the model's move, and the visible lines
of the panes, without a terminal.  The time is the processor's, so that others on the machine do
not count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.report import Section
from benchmarks.workload import populate_lines
from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.views import status
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document

__all__ = ["displayed", "step_back"]

WIDTH, HEIGHT = 58, 14
"""Of each pane, at 120x40."""
FOLIO = "64K"
GOAL = 30.0


def displayed(bench: Bench) -> None:
    """Make what a frame shows: the visible lines of every pane, and the bars."""
    marks = marks_of(bench)
    for name in PANES:
        shown = document(name, bench, marks, WIDTH, HEIGHT)
        top = max(0, min(shown.height - HEIGHT, (shown.focus or 0) - HEIGHT // 2))
        for y in range(top, min(top + HEIGHT, shown.height)):
            shown.line(y)
    status.render(status.view(bench), 120)
    status.news(bench)


def milliseconds(work: Callable[[], object]) -> float:
    """Time one call on the processor."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def forked(kernel: str, pages: int) -> Bench:
    """Open a scenario of so many written pages and their fork, done to its end and displayed."""
    lines = ["scenario deep", *populate_lines(FOLIO, pages), "fork A B", "end", ""]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deep.scn"
        file.write_text("\n".join(lines), encoding="utf-8")
        bench = Bench(open_source(str(file)), kernel)
    bench.run_to_end()
    displayed(bench)
    return bench


def step_back(kernel: str, pages: int, presses: int) -> Section:
    """Measure single steps back at the end of a fork of *pages* pages in folios of 64K."""
    section = Section(
        f"Back inside a fork of {4 * pages // 1024}M in folios of {FOLIO}, kernel {kernel}"
    )
    bench = forked(kernel, pages)
    machine = bench.session.machine
    task = next(task for task in reversed(machine.tasks) if task.name.startswith("fork"))
    section.add("events of the fork", len(task.answers), "events")
    moves: list[float] = []
    shown: list[float] = []
    while len(moves) <= presses:
        moves.append(milliseconds(bench.back_event))
        if bench.turn is not None:
            shown.append(milliseconds(lambda: displayed(bench)))
    section.add("first step back, displayed", moves[0] + shown[0], "CPU ms", GOAL)
    section.add("a step back, p50", median(moves), "CPU ms")
    section.add("its display, p50", median(shown), "CPU ms")
    section.add("a step back, displayed, p50", median(moves) + median(shown), "CPU ms", GOAL)
    known, size = task.calls.size() if task.calls is not None else (0, 0)
    section.add("calls written down", known, "calls")
    section.add("memory they take", size / 1024, "KiB")
    machine.drop(task)
    task.calls = None
    section.add("the function done again whole", milliseconds(bench.session.stack), "CPU ms")
    return section
