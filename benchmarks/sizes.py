"""What fork, MADV_DONTNEED and exit cost by folio size: per event, and per entry.

Beside the model's curve stands the kernel's: what batching saves at each size of folio, as David
Hildenbrand measured it.  The model counts memory events, not nanoseconds of a Xeon; what is to be
compared is the shape, how much cheaper an entry gets as folios grow.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.report import Section
from benchmarks.timing import seconds
from benchmarks.workload import FOLIO_PAGES, populated
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action

__all__ = ["DAVID", "by_folio_size"]

FORK_MAIL = "<20240129124649.189745-1-david@redhat.com>"
ZAP_MAIL = "<20240129143221.263763-1-david@redhat.com>"
DAVID: dict[str, dict[str, tuple[float, float]]] = {
    "fork": {
        "4K": (14.328, 14.035), "16K": (14.263, 11.96), "32K": (14.334, 10.94),
        "64K": (14.046, 10.444), "128K": (14.011, 10.063), "256K": (13.993, 9.938),
        "512K": (13.983, 9.85), "1M": (13.986, 9.82), "2M": (14.305, 10.076),
    },
    "munmap": {
        "4K": (58.110, 57.715), "16K": (44.198, 35.469), "32K": (34.216, 23.522),
        "64K": (29.207, 18.434), "128K": (26.579, 14.026), "256K": (25.130, 11.756),
        "512K": (24.292, 10.703), "1M": (23.812, 10.294), "2M": (23.785, 9.910),
    },
}  # fmt: skip
"""Milliseconds for 1 GiB of PTE-mapped folios before and after batching (Xeon Silver 4210R)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one action on all pages of the region took."""

    events: int
    seconds: float


def by_folio_size(kernel: str, pages: int, folios: Sequence[str]) -> Section:
    """Measure the three on a region of *pages* written pages, in folios of each size."""
    section = Section(f"Cost by folio size: {4 * pages // 1024}M of memory, kernel {kernel}")
    costs: dict[str, dict[str, Cost]] = {}
    for folio in folios:
        if pages < FOLIO_PAGES[folio]:
            section.notes.append(f"no folio of {folio} fits")
            continue
        costs[folio] = measured(kernel, folio, pages)
        for name, cost in costs[folio].items():
            label = f"{folio} {name}, {cost.events:,} events"
            section.add(label, cost.seconds, "s")
            section.add(f"{folio} {name}, each event", cost.seconds / cost.events * 1e9, "ns")
            section.add(f"{folio} {name}, each PTE", cost.seconds / pages * 1e9, "ns")
            section.add(f"{folio} {name}, events of each PTE", cost.events / pages, "events/PTE")
    curve(section, costs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    section.notes.append(f"peak memory of the process so far: {peak:,.0f} MB")
    return section


def measured(kernel: str, folio: str, pages: int) -> dict[str, Cost]:
    """Do the actions one after the other on one machine; the first write is one of them."""
    start = time.perf_counter()
    session = populated(kernel, folio, pages)
    costs = {"first write": Cost(session.position, time.perf_counter() - start)}
    narrate(folio, "first write", costs["first write"])
    if folio == "2M":
        map_by_entries(session, pages)
    for name, line in (
        ("fork", "fork A B"),
        ("dontneed", f"dontneed B R 0 {pages}"),
        ("exit", "exit A"),
    ):
        before = session.position
        took = seconds(partial(session.do, parse_action(line)))
        costs[name] = Cost(session.position - before, took)
        narrate(folio, name, costs[name])
    return costs


def map_by_entries(session: Session, pages: int) -> None:
    """Split the PMD mappings of huge pages, which stay whole: David's 2M folios are PTE-mapped."""
    for start in range(0, pages, 512):
        for mode in ("r", "rw"):  # the VMAs merge again, so that there are never many
            session.do(parse_action(f"mprotect A R {start} {start + 1} {mode}"))


def narrate(folio: str, name: str, cost: Cost) -> None:
    """Say on stderr how far a measurement of minutes has come."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{folio} {name}: {cost.events:,} events in {cost.seconds:.1f} s\n")


def curve(section: Section, costs: dict[str, dict[str, Cost]]) -> None:
    """Add each size against the smallest one measured: the model's events and time, David's ms."""
    if len(costs) < 2:
        return
    least, first = next(iter(costs.items()))
    for name, table in (("fork", "fork"), ("dontneed", "munmap"), ("exit", "munmap")):
        for folio, cost in costs.items():
            events = 100 * cost[name].events / first[name].events
            took = 100 * cost[name].seconds / first[name].seconds
            section.add(f"{name} {folio} against {least}: events", events, "%")
            section.add(f"{name} {folio} against {least}: time", took, "%")
            kernel = 100 * DAVID[table][folio][1] / DAVID[table][least][1]
            section.add(f"{name} {folio} against {least}: David's {table}", kernel, "%")
    section.notes.append(
        f"David's figures: 1 GiB of PTE-mapped folios after batching, Xeon Silver 4210R: fork "
        f"{FORK_MAIL}, munmap {ZAP_MAIL}"
    )
