"""Looking up what an action names: processes, regions, pages, files."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from sandbox.errors import UsageError
from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call
from sandbox.machine.memory import Mm
from sandbox.scenario.language import Action
from sandbox.syscalls import Ring, uring_id
from sandbox.truth.book import File

if TYPE_CHECKING:
    from sandbox.truth.ledger import Ledger

__all__ = ["REGION_PAGES", "Planner"]

REGION_PAGES = 1 << 21
"""Room for one region: 8 GiB of address space."""
MAX_REGIONS = 63


class Planner:
    """Looks the names of one action up in the machine."""

    def __init__(
        self,
        ledger: Ledger,
        action: Action,
        kernel: Kernel,
        step: int,
        places: dict[str, int],
        *,
        starting: bool = False,
    ) -> None:
        self.ledger, self.action, self.kernel, self.step = ledger, action, kernel, step
        self.places = places
        self.args = action.args
        self.starting = starting
        self.started: str | None = None
        """The process that has to start before the action."""

    def refuse(self, message: str, expected: str | None = None) -> UsageError:
        """The error for this action's line."""
        return UsageError(message, self.action.where, expected)

    def call(self, function: str, *args: Hashable) -> Call:
        """The call that does this action."""
        return Call(function, args, self.action.text)

    def mm(self, name: str | None = None) -> Mm:
        """The process's mm."""
        name = name or self.args["proc"]
        processes = self.ledger.processes()
        if name not in processes and self.starting:
            self.started = name
            return Mm(0)
        if name not in processes:
            known = ", ".join(processes) or "none yet (mmap starts one)"
            raise self.refuse(f"there is no process {name}", f"one of: {known}")
        return processes[name]

    def base(self, region: str) -> int:
        """First virtual page of a region's place; the same for every process."""
        known: dict[str, int] = self.ledger.book.places
        if region in known:
            return known[region]
        used = len(known.keys() | self.places.keys())
        if region not in self.places and used >= MAX_REGIONS:
            raise self.refuse("too many regions", f"at most {MAX_REGIONS}")
        return self.places.setdefault(region, (used + 1) * REGION_PAGES)

    def span(self, mm: Mm) -> tuple[int, int]:
        """Virtual pages [start, end) of the action's range, mapped or not.

        A region is addresses: what a kernel says of holes, and of pages behind the last mapping,
        is the kernel's business.
        """
        base = self.place(self.args["region"])
        return base + self.args["start"], base + self.within(self.args["end"])

    def within(self, end: int) -> int:
        """*end* if there is room for so many pages in a region."""
        if end > REGION_PAGES:
            raise self.refuse(f"page {end - 1} is beyond a region", "pages within 8G")
        return end

    def place(self, region: str) -> int:
        """First virtual page of a region that a process has, or had, mapped."""
        known: dict[str, int] = self.ledger.book.places
        if region not in known:
            raise self.refuse(
                f"there is no region {region}", "one of: " + (", ".join(known) or "none yet")
            )
        return known[region]

    def ring(self, mm: Mm) -> Ring | None:
        """The io_uring that a process has open."""
        book = self.ledger.book
        number = book.rings.get(mm)
        if number is None:
            return None
        owner, pages = book.ring_owners[number], book.registered(number)
        return Ring(number, owner, registered=pages, by_folio=uring_id(number) in book.by_folio)

    def last_ring(self, mm: Mm) -> Ring | None:
        """The same, if no other process has it open."""
        ring = self.ring(mm)
        rings = self.ledger.book.rings
        if ring is None or any(rings[other] == ring.number for other in rings if other != mm):
            return None
        return ring

    def file(self, name: str) -> File:
        """The file of that name."""
        files: dict[str, File] = self.ledger.book.files
        if name not in files:
            known = ", ".join(files) or "none yet"
            raise self.refuse(f"there is no file {name}", f"one of: {known}")
        return files[name]
