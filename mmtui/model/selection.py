"""What the keys act upon: a process, one of its regions, and a range of pages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sandbox.run.session import Session

__all__ = ["Area", "Selection", "areas_of"]


@dataclass(frozen=True, slots=True)
class Area:
    """A region of a process, in the order of the panes."""

    proc: str
    mm: int
    region: str
    base: int
    """Its first virtual page."""
    pages: int


def areas_of(session: Session) -> tuple[Area, ...]:
    """All regions of all living processes: in the order of processes, then of names."""
    found = []
    for proc, mm in session.book.processes.items():
        for region, base, pages in session.book.regions(mm):
            found.append(Area(proc, int(mm), region, int(base), int(pages)))
    return tuple(found)


def mapped(session: Session, area: Area, page: int) -> bool:
    """Whether a page of an area lies in a VMA."""
    cells = session.machine.memory.cells
    addr = area.base + page
    vmas = session.ledger.vmas(area.mm)
    return any(cells[vma.vm_start] <= addr < cells[vma.vm_end] for vma in vmas)


@dataclass(frozen=True, slots=True)
class Selection:
    """The cursor of the page tables and the other end of the range, if one is being marked."""

    proc: str | None = None
    region: str | None = None
    page: int = 0
    anchor: int | None = None

    @property
    def start(self) -> int:
        """First page of the range."""
        return self.page if self.anchor is None else min(self.page, self.anchor)

    @property
    def end(self) -> int:
        """The page after the last one of the range."""
        return (self.page if self.anchor is None else max(self.page, self.anchor)) + 1

    @property
    def text(self) -> str:
        """The selection as an action would name it."""
        if self.proc is None:
            return "nothing"
        if self.region is None:
            return self.proc
        return f"{self.proc} {self.region} {self.start} {self.end}"

    def area(self, areas: tuple[Area, ...]) -> Area | None:
        """The selected area, if there is one."""
        return next((a for a in areas if (a.proc, a.region) == (self.proc, self.region)), None)

    def settle(self, areas: tuple[Area, ...], procs: tuple[str, ...]) -> Selection:
        """The nearest selection that exists: the same region elsewhere, else the first one."""
        area = self.area(areas)
        if area is None:
            mine = [a for a in areas if a.proc == self.proc]
            alike = [a for a in areas if a.region == self.region]
            area = next(iter([*mine, *alike, *areas]), None)
        if area is None:
            proc = self.proc if self.proc in procs else next(iter(procs), None)
            return Selection(proc)
        last = area.pages - 1
        anchor = None if self.anchor is None else min(self.anchor, last)
        return Selection(area.proc, area.region, min(self.page, last), anchor)

    def at(self, area: Area, page: int) -> Selection:
        """The cursor moved to a page of an area; leaving the area drops the mark."""
        page = max(0, min(page, area.pages - 1))
        if (area.proc, area.region) == (self.proc, self.region):
            return replace(self, page=page)
        return Selection(area.proc, area.region, page)
