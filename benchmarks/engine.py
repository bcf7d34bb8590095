"""The engine: events per second bare and with rules on, going back, memory of the history."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial
from statistics import median

from benchmarks.report import Section
from benchmarks.timing import alternate, seconds
from benchmarks.workload import machine_like, populated, run_tasks
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action

__all__ = ["history", "throughput"]

FOLIO = "64K"


def lines_for(pages: int) -> dict[str, str]:
    """Spell the actions that are done on a populated machine, by the name in the table."""
    half = pages // 2
    return {
        "fork": "fork A B",
        "write after fork": f"write B R 0 {half}",
        "dontneed": f"dontneed B R {half} {pages}",
        "exit": "exit B",
    }


def throughput(kernel: str, folios: int, runs: int) -> Section:
    """Measure events per second on *folios* folios of 64K, in total and action by action."""
    pages = 16 * folios
    section = Section(f"Events per second: {folios} folios of {FOLIO}, kernel {kernel}")
    session = populated(kernel, FOLIO, pages, tuple(lines_for(pages).values()))
    rates = alternate(
        {
            "bare": lambda: replay_rate(session, ledger=False, rules=False),
            "ledger": lambda: replay_rate(session, ledger=True, rules=False),
            "rules": lambda: replay_rate(session, ledger=True, rules=True),
            "stepping": lambda: stepping_rate(kernel, pages),
        },
        runs,
    )
    section.add("bare machine", rates["bare"], "M/s", 1.0, exceed=True)
    section.add("with the ledger of mappings", rates["ledger"], "M/s")
    section.add("rules on", rates["rules"], "M/s", 0.5, 1.0, exceed=True)
    section.add("rules on, one step at a time", rates["stepping"], "M/s")
    for name, (events, rate) in action_rates(kernel, pages, runs).items():
        section.add(f"  {name}: {events:,} events, rules on", rate, "M/s")
    return section


def replay_rate(session: Session, *, ledger: bool, rules: bool) -> float:
    """Run a session's tasks on a machine of its own; millions of events per second."""
    machine = machine_like(session, ledger=ledger, rules=rules)
    took = seconds(partial(run_tasks, machine, session.machine.tasks))
    if machine.position != session.position:
        raise AssertionError(f"{machine.position} events instead of {session.position}")
    return machine.position / took / 1e6


def stepping_rate(kernel: str, pages: int) -> float:
    """Step a fork event by event, as the application does; millions of events per second."""
    session = populated(kernel, FOLIO, pages)
    before = session.position
    session.begin(parse_action("fork A B"))

    def step_all() -> None:
        while session.running:
            session.step_event()

    took = seconds(step_all)
    return (session.position - before) / took / 1e6


def action_rates(kernel: str, pages: int, runs: int) -> dict[str, tuple[int, float]]:
    """Measure each action with rules on: its events, and millions of them per second."""
    times: dict[str, list[float]] = {name: [] for name in lines_for(pages)}
    events: dict[str, int] = {}
    for _ in range(runs):
        session = populated(kernel, FOLIO, pages)
        for name, line in lines_for(pages).items():
            before = session.position
            times[name].append(seconds(partial(session.do, parse_action(line))))
            events[name] = session.position - before
    return {name: (events[name], events[name] / median(times[name]) / 1e6) for name in times}


def history(kernel: str, folios: int, runs: int) -> Section:
    """Measure going back and forward, looking at a function again, and the journal's memory."""
    pages = 16 * folios
    section = Section(f"History: {folios} folios of {FOLIO}, kernel {kernel}")
    session = populated(kernel, FOLIO, pages, tuple(lines_for(pages).values()))
    end = session.position
    count = min(10_000, end)
    back: list[float] = []
    forth: list[float] = []
    for _ in range(runs):
        back.append(seconds(partial(session.goto, end - count)))
        forth.append(seconds(partial(session.goto, end)))
    section.add(f"back {count:,} events", median(back) / count * 1e9, "ns/event")
    section.add(f"forward again {count:,} events", median(forth) / count * 1e9, "ns/event")
    looks = [look_back(kernel, pages) for _ in range(runs)]
    section.add("one event back at a fork's end, with the stack", median(looks), "ms")
    section.add("memory of 10,000 events", memory(kernel, pages), "MB", 4.0, 1.0)
    return section


def look_back(kernel: str, pages: int) -> float:
    """Return the ms for one event back near a fork's end, with the function's stack shown."""
    session = populated(kernel, FOLIO, pages, ("fork A B",))
    session.machine.undo()

    def back() -> None:
        session.machine.undo()
        session.stack()

    return seconds(back) * 1e3


def memory(kernel: str, pages: int) -> float:
    """Return the growth while a process is forked and exits, as MB for 10,000 events.

    It is all that was allocated: the journal, the answers of functions, and the words of the
    child's own page tables.
    """
    lines = ("fork A B", "exit B")
    session = populated(kernel, FOLIO, pages, lines)  # the interpreter's caches are warm now
    before = session.position
    gc.collect()
    tracemalloc.start()
    for line in lines:
        session.do(parse_action(line))
    gc.collect()
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return grown / 1e6 * 10_000 / (session.position - before)
