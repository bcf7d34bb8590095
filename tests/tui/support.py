"""Helpers of the tests of the application: benches and panes as text."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from mmtui.model.bench import Bench
from mmtui.model.script import empty_source, open_source
from mmtui.views.lines import Doc, plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import document
from sandbox.scenario.language import parse_action

SIXTEEN = ("mthp 64K madvise", "mmap A R 64K", "write A R 0 16")


def preset(name: str, kernel: str | None = None) -> Bench:
    """A bench on a preset of the library."""
    return Bench(open_source(name), kernel)


def machine(kernel: str, *lines: str) -> Bench:
    """An empty machine after some actions."""
    bench = Bench(empty_source(), kernel)
    for line in lines:
        bench.act(parse_action(line))
    return bench


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    """Let the application go on until something is true."""
    for _ in range(2_000):
        if true():
            return
        await pilot.pause()
    raise AssertionError("it did not come true")


def text(doc: Doc) -> str:
    """A whole document as text."""
    lines = [*doc.head, *(doc.line(y) for y in range(doc.height)), *doc.foot]
    return "\n".join(plain(line).rstrip() for line in lines)


def pane(bench: Bench, name: str, width: int = 60, height: int = 30) -> str:
    """A pane as text."""
    return text(document(name, bench, marks_of(bench), width, height))


def tokens(bench: Bench, name: str, width: int = 60) -> set[str]:
    """The tokens a pane uses now."""
    doc = document(name, bench, marks_of(bench), width, 30)
    lines = [*doc.head, *(doc.line(y) for y in range(doc.height)), *doc.foot]
    return {part for line in lines for _, token in line for part in token.split("+")}


def state_of(bench: Bench) -> tuple[object, ...]:
    """Everything that makes a bench what it is: memory, history, futures, place, what is broken."""
    machine = bench.session.machine
    branches = sorted(
        (
            branch.number,
            branch.position,
            bytes(branch.cpus),
            branch.parent.number if branch.parent else 0,
            branch.open_end,
            [(task.name, task.start) for task in branch.tasks],
        )
        for branch in machine.branches
    )
    return (
        bench.kernel,
        list(machine.memory.cells),
        list(machine.events),
        bytes(machine.cpus),
        bytes(machine.future_cpus),
        [(task.name, task.start, task.cpu) for task in machine.tasks],
        [(task.name, task.start, task.cpu) for task in machine.future_tasks],
        branches,
        sorted(bench.session.rules.broken),
    )
