"""What fork, MADV_DONTNEED and exit cost by folio size: per event, and per entry."""

from __future__ import annotations

from functools import partial

from benchmarks.report import Section
from benchmarks.timing import seconds
from benchmarks.workload import FOLIO_PAGES, populated
from sandbox.scenario.language import parse_action

__all__ = ["by_folio_size"]


def by_folio_size(kernel: str, pages: int) -> Section:
    """Measure the three on a region of *pages* written pages, in folios of each size."""
    section = Section(f"Cost by folio size: {4 * pages // 1024}M of memory, kernel {kernel}")
    for folio, nr in FOLIO_PAGES.items():
        if pages < nr:
            section.notes.append(f"no folio of {folio} fits")
            continue
        session = populated(kernel, folio, pages)
        section.add(f"{folio} first write of all", session.position / pages, "events/PTE")
        for name, line in (
            ("fork", "fork A B"),
            ("dontneed", f"dontneed B R 0 {pages}"),
            ("exit", "exit A"),
        ):
            before = session.position
            took = seconds(partial(session.do, parse_action(line)))
            events = session.position - before
            section.add(f"{folio} {name}, {events:,} events", took * 1e3, "ms")
            section.add(f"{folio} {name}, each event", took / events * 1e9, "ns")
            section.add(f"{folio} {name}, each PTE", took / pages * 1e9, "ns")
    return section
