"""A conformance report as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sandbox.conform.states import MAX_MISMATCHES, ConformReport, KernelReport, Mismatch
from sandbox.truth.compare import Value

if TYPE_CHECKING:
    from sandbox.conform.races import RaceReport

__all__ = ["cell_value", "markdown_report", "text_report"]

HEADINGS = (
    "kernel",
    "scenarios",
    "matching",
    "states",
    "matching",
    "cells",
    "matching",
    "result",
)
ORDER_HEADINGS = ("kernel", "traced actions", "in the recorded order", "stores")
MISMATCH_HEADINGS = ("scenario", "step", "action", "object", "field", "expected", "got")


def text_report(report: ConformReport) -> Iterator[str]:
    """Yield the totals as an aligned table, then a line for every mismatch.

    A mismatch reads `KERNEL SCENARIO step N "ACTION": OBJECT FIELD: expected X, got Y`.
    """
    rows = [HEADINGS, *(_totals(kernel) for kernel in report.kernels.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        first, *numbers = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([first.strip().ljust(widths[0]), *numbers]).rstrip()
    for name, orders in report.orders.items():
        same = sum(order.mismatch is None for order in orders)
        stores = sum(order.stores for order in orders)
        traced = f"{same} of {len(orders)} traced actions in the recorded order"
        yield f"{name}: {traced} ({stores} stores)"
    for name, races in report.races.items():
        yield f"{name}: {_race_totals(races)}"
    for line in report.skipped:
        yield f"skipped {line}"
    yield from _differences(report)
    for kernel in report.kernels.values():
        for mismatch in kernel.mismatches:
            yield f"{kernel.kernel} {_sentence(mismatch)}"
        yield from _left_out(kernel)


def markdown_report(report: ConformReport) -> Iterator[str]:
    """Yield the report as a Markdown document: a table of totals, one of mismatches a kernel."""
    yield _row(HEADINGS)
    yield _row(("---", *("---:" for _ in HEADINGS[1:-1]), "---"))
    for kernel in report.kernels.values():
        yield _row(_totals(kernel))
    if report.orders:
        yield from ("", _row(ORDER_HEADINGS), _row(("---", "---:", "---:", "---:")))
    for name, orders in report.orders.items():
        same = sum(order.mismatch is None for order in orders)
        stores = sum(order.stores for order in orders)
        yield _row((name, str(len(orders)), str(same), str(stores)))
    if report.races:
        yield ""
    for name, races in report.races.items():
        yield f"- {name}: {_race_totals(races)}"
    if report.skipped:
        yield ""
    for line in report.skipped:
        yield f"- skipped {line}"
    for kernel in report.kernels.values():
        mismatches = list(kernel.mismatches)
        if not mismatches:
            continue
        yield from ("", f"## Mismatches on {kernel.kernel}", "", _row(MISMATCH_HEADINGS))
        yield _row(tuple("---" for _ in MISMATCH_HEADINGS))
        yield from (_row(_columns(mismatch)) for mismatch in mismatches)
        yield from _left_out(kernel)


def _left_out(kernel: KernelReport) -> Iterator[str]:
    """Say of which recordings not every cell that differs is listed."""
    for scenario in kernel.scenarios:
        if len(scenario.mismatches) == MAX_MISMATCHES:
            yield f"{kernel.kernel} {scenario.scenario}: the first {MAX_MISMATCHES} cells alone"


def _differences(report: ConformReport) -> Iterator[str]:
    """Yield a line for each race and each order of stores that differs."""
    for name, races in report.races.items():
        for race in races:
            if race.mismatch is not None:
                yield f"{name} {race.scenario}: {race.mismatch}"
            elif race.switch is not None:
                yield f"{name} {race.scenario}, not counted as a mismatch: {race.switch}"
    for name, orders in report.orders.items():
        for order in orders:
            if order.mismatch is not None:
                yield f'{name} {order.scenario} "{order.action}": {order.mismatch}'


def _race_totals(races: Sequence[RaceReport]) -> str:
    """Say what came of the races of a kernel."""
    found, outcomes = sum(r.found for r in races), sum(r.outcomes for r in races)
    same, played = sum(r.same for r in races), sum(r.races for r in races)
    unreached, more = sum(r.unreached for r in races), sum(r.only_model for r in races)
    return (
        f"{found} of {outcomes} outcomes of {len(races)} blocks are the model's, {more} only the "
        f"model's; {same} of {played} races end the same, {unreached} have a landmark that it "
        f"does not reach{_switch_totals(races)}"
    )


def _switch_totals(races: Sequence[RaceReport]) -> str:
    """Say what came of the switches; nothing of recordings that have none."""
    switches, met = sum(r.switches for r in races), sum(r.met for r in races)
    words, waits = sum(r.words for r in races), sum(r.waits for r in races)
    if not switches:
        return ""
    waited = sum(r.waited for r in races)
    return (
        f"; {met} of {switches} switches are the model's as well, {words} of them with the same "
        f"words; {waited} of {waits} waits are the model's"
    )


def cell_value(value: Value) -> str:
    """Spell the value of one side of a cell; `-` where that side has none."""
    return "-" if value is None else str(value) or '""'


def _totals(kernel: KernelReport) -> tuple[str, ...]:
    missing = kernel.total("cells") - kernel.total("cells_matching")
    return (
        kernel.kernel,
        str(len(kernel.scenarios)),
        str(kernel.scenarios_matching),
        str(kernel.total("states")),
        str(kernel.total("states_matching")),
        str(kernel.total("cells")),
        str(kernel.total("cells_matching")),
        f"{missing} differ" if missing else "all match",
    )


def _columns(mismatch: Mismatch) -> tuple[str, ...]:
    cell = mismatch.cell
    values = (cell_value(cell.expected), cell_value(cell.got))
    return (mismatch.scenario, str(cell.step), mismatch.action, cell.object, cell.field, *values)


def _sentence(mismatch: Mismatch) -> str:
    scenario, step, action, thing, field, expected, got = _columns(mismatch)
    return f'{scenario} step {step} "{action}": {thing} {field}: expected {expected}, got {got}'


def _row(cells: tuple[str, ...]) -> str:
    """Join the cells of one table row; a bar inside a cell would end it, so it is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
