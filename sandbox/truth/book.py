"""The scenario's book: which processes, regions, files and holds there are, and their names.

No kernel decides by these names: they are what a person called things.  Kernel text says in notes
what begins and ends under which name, and the tables here follow them, as derived words do: in the
state of a machine, taken back with the event.

| note | what it says |
|---|---|
| ``process NAME MM`` | a process begins |
| ``inherits MM OLD`` | a child has the regions of its parent |
| ``exec OLD MM`` | a process goes on with another mm |
| ``process_gone MM`` | it has ended |
| ``region MM NAME BASE PAGES`` | pages of an mm are called so |
| ``file NAME MAPPING PAGES`` | a file is made |
| ``ring MM NUMBER`` | a process has made an io_uring; a child has it, too |
| ``ring_gone MM`` | it has closed it |
| ``ring_folios NUMBER`` | each entry of what it registers next stands for a folio |
| ``hold ID KIND PAGES MM`` | pages are held: ``pin``, ``get``, ``repeat`` (gets), ``uring`` |
| ``hold_gone ID KIND PAGES`` | these pages of what is held under the id are given back |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sandbox.errors import KernelBug
from sandbox.machine.derived import GONE
from sandbox.machine.machine import Machine
from sandbox.machine.memory import Event, Mapping, Mm, Page
from sandbox.syscalls import uring_id

__all__ = ["Book", "File", "Hold", "Region"]

SHAPES: dict[str, tuple[type, ...]] = {
    "process": (str, int),
    "inherits": (int, int),
    "exec": (int, int),
    "process_gone": (int,),
    "region": (int, str, int, int),
    "file": (str, int, int),
    "ring": (int, int),
    "ring_gone": (int,),
    "ring_folios": (int,),
    "hold": (str, str, tuple, int),
    "hold_gone": (str, str, tuple),
}
"""What each note says after its kind."""


class Region(NamedTuple):
    """Pages of an address space that have a name."""

    name: str
    base: int
    """First virtual page; the same in every process."""
    pages: int


class File(NamedTuple):
    """A file that mappings can name."""

    mapping: Mapping
    pages: int


class Hold(NamedTuple):
    """Pages on which references are held."""

    id: str
    kind: str
    """``pin`` and ``uring`` (FOLL_PIN), or ``get``."""
    pages: tuple[Page, ...]
    mm: Mm
    """The mm they were taken of."""
    repeated: bool = False
    """One page, as often as there are pages here (the verb `repeat`)."""


class Book:
    """The tables of one machine, read by name; entries are in the order in which they began."""

    def __init__(self, machine: Machine) -> None:
        self._put = machine.derived.put
        table = machine.derived.table
        self.processes: dict[str, Mm] = table("processes", {})
        """Living processes by name."""
        self._regions: dict[int, tuple[Region, ...]] = table("regions", {})
        self.places: dict[str, int] = table("places", {})
        """First virtual page of every region named so far."""
        self.files: dict[str, File] = table("files", {})
        """Files by name."""
        self._opened: dict[int, frozenset[str]] = table("opened", {})
        self.rings: dict[int, int] = table("rings", {})
        """By mm: the io_uring it has open."""
        self.ring_owners: dict[int, Mm] = table("ring owners", {})
        """By ring: who made it."""
        self.by_folio: dict[str, bool] = table("by folio", {})
        """By id: registered buffers of which each entry stands for a folio."""
        self._holds: dict[str, tuple[Hold, ...]] = table("holds", {})
        self.pinned: dict[int, int] = table("pinned", {}, follows=True)
        """How often each page is pinned (FOLL_PIN)."""
        self._notes: dict[str, Callable[..., None]] = {
            "process": self._process,
            "inherits": self._inherits,
            "exec": self._exec,
            "process_gone": self._process_gone,
            "region": self._region,
            "file": self._file,
            "ring": self._ring,
            "ring_gone": self._ring_gone,
            "ring_folios": self._ring_folios,
            "hold": self._hold,
            "hold_gone": self._hold_gone,
        }
        machine.note_watchers.append(self._noted)

    # -- reading -----------------------------------------------------------------------

    def regions(self, mm: int) -> tuple[Region, ...]:
        """The named regions of an mm."""
        return self._regions.get(mm, ())

    def opened(self, mm: int, name: str) -> bool:
        """Has a process a descriptor of a file: one that was there when it started, or a parent's?

        What the rig's guest opens later reaches processes alone that start after it.
        """
        return name in self._opened.get(mm, ())

    def region_of(self, mm: int, name: str) -> Region | None:
        """The region of that name of an mm, if it has one."""
        return next((region for region in self.regions(mm) if region.name == name), None)

    @property
    def holds(self) -> Iterator[Hold]:
        """All that is held."""
        for holds in self._holds.values():
            yield from holds

    @property
    def ids(self) -> list[str]:
        """The ids that an ``unpin`` can name."""
        return [hold.id for hold in self.holds if hold.kind != "uring"]

    def held(self, id_: str) -> tuple[Hold, ...]:
        """What is held under an id: one hold, or all registered buffers of an mm."""
        return self._holds.get(id_, ())

    def registered(self, ring: int) -> tuple[Page, ...]:
        """The page of each entry of what is registered with an io_uring."""
        return next((hold.pages for hold in self.held(uring_id(ring))), ())

    def buffer(self, mm: int) -> tuple[Page, ...]:
        """The same for the io_uring that an mm has open."""
        return self.registered(self.rings[mm]) if mm in self.rings else ()

    # -- notes -------------------------------------------------------------------------

    def _noted(self, event: Event, cpu: int) -> None:
        write = self._notes.get(event[2])
        if write is None:
            return
        types, payload = SHAPES[event[2]], event[3:]
        if len(payload) != len(types) or not all(map(isinstance, payload, types)):
            what = ", ".join(kind.__name__ for kind in types)
            raise KernelBug(f"the note {event[2]} says {payload!r}", expected=what)
        write(*payload)

    def _process(self, name: str, mm: int) -> None:
        self._put("processes", name, Mm(mm))
        self._put("opened", Mm(mm), frozenset(self.files))

    def _inherits(self, mm: int, old: int) -> None:
        self._put("opened", Mm(mm), self._opened.get(old, frozenset()))
        self._put("regions", Mm(mm), self.regions(old))
        if old in self.rings:
            self._put("rings", Mm(mm), self.rings[old])

    def _ring(self, mm: int, number: int) -> None:
        self._put("rings", Mm(mm), number)
        self._put("ring owners", number, Mm(mm))

    def _ring_folios(self, number: int) -> None:
        self._put("by folio", uring_id(number), True)

    def _ring_gone(self, mm: int) -> None:
        if mm in self.rings:
            self._put("rings", Mm(mm), GONE)

    def _exec(self, old: int, mm: int) -> None:
        self._ring_gone(old)
        self._put("processes", self._name_of(old), Mm(mm))
        self._put("regions", Mm(old), GONE)
        self._put("opened", Mm(mm), self._opened.get(old, frozenset()))
        self._put("opened", Mm(old), GONE)

    def _process_gone(self, mm: int) -> None:
        self._ring_gone(mm)
        self._put("processes", self._name_of(mm), GONE)
        self._put("regions", Mm(mm), GONE)
        self._put("opened", Mm(mm), GONE)

    def _name_of(self, mm: int) -> str:
        for name, own in self.processes.items():
            if own == mm:
                return name
        raise KernelBug(f"no process has the mm {mm:#x}")

    def _region(self, mm: int, name: str, base: int, pages: int) -> None:
        self._put("places", name, base)
        before = self.regions(mm)
        others = tuple(region for region in before if region.name != name)
        pages = max([pages, *(region.pages for region in before if region.name == name)])
        self._put("regions", Mm(mm), (*others, Region(name, base, pages)))

    def _file(self, name: str, mapping: int, pages: int) -> None:
        self._put("files", name, File(Mapping(mapping), pages))

    def _hold(self, id_: str, kind: str, pages: tuple[int, ...], mm: int) -> None:
        repeated = kind == "repeat"
        kind = "get" if repeated else kind
        hold = Hold(id_, kind, tuple(Page(page) for page in pages), Mm(mm), repeated)
        self._put("holds", id_, (*self.held(id_), hold))
        self._count(hold, 1)

    def _hold_gone(self, id_: str, kind: str, pages: tuple[int, ...]) -> None:
        held = self.held(id_)
        for at, hold in enumerate(held):
            if (hold.kind, hold.pages) == (kind, pages):
                self._put("holds", id_, (*held[:at], *held[at + 1 :]) or GONE)
                if id_ in self.by_folio:
                    self._put("by folio", id_, GONE)
                self._count(hold, -1)
                return
        raise KernelBug(f"nothing is held so under {id_}")

    def _count(self, hold: Hold, by: int) -> None:
        for page in hold.pages if hold.kind != "get" else ():
            self._put("pinned", page, self.pinned.get(page, 0) + by or GONE)
