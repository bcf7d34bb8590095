"""What a random scenario has mapped so far: all that the generator knows, without any kernel.

It is certain of what it says is certain, on every release: which pages are mapped, with which
permissions, and that an access ends a process or does not.  Where releases differ (a move over
several VMAs, say), pages are *unsure* from then on: they are given to every verb but to plain
accesses, after which nobody could say whether the process lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["MAX_FILES", "MAX_PROCESSES", "REGIONS", "Page", "Span", "World"]

MAX_PROCESSES, MAX_FILES = 10, 8
"""Of a scenario, dead ones included; the rig has room for a few more."""
REGIONS = ("R", "S", "T", "U")


class Page(NamedTuple):
    """A page of a mapping."""

    vma: int
    """Pages with the same number are surely in one VMA."""
    prot: str = "rw"
    """`rw`, `r` or `-`."""
    source: str = ""
    """The file; nothing for private anonymous memory, `anon` for shared."""
    shared: bool = False
    inside: bool = True
    """Whether the file has that page."""
    uffd: str = ""
    """How it is registered for userfaultfd: `async` or `sigbus`."""
    fork: bool = True
    """Whether a child gets it."""
    sure: bool = True

    @property
    def private(self) -> bool:
        """Whether it is private anonymous memory."""
        return not self.source

    def allows(self, write: bool) -> bool:
        """Whether a plain access surely succeeds."""
        return self.sure and self.inside and self.uffd != "sigbus" and self._permits(write)

    def kills(self, write: bool) -> bool:
        """Whether a plain access surely ends the process."""
        return self.sure and not (self.inside and self._permits(write))

    def _permits(self, write: bool) -> bool:
        return self.prot == "rw" if write else self.prot != "-"


class Span(NamedTuple):
    """A range of pages of a process's region."""

    proc: str
    region: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.proc} {self.region} {self.start} {self.end}"


Space = dict[str, dict[int, Page]]
"""The pages of a process by region."""


@dataclass(slots=True)
class World:
    """All that there is, and what each action does to it."""

    spaces: dict[str, Space] = field(default_factory=dict)
    """Of the living processes."""
    born: list[str] = field(default_factory=list)
    """Every process there ever was."""
    files: dict[str, int] = field(default_factory=dict)
    """Pages of each."""
    disks: set[str] = field(default_factory=set)
    """The files that are on a disk: userfaultfd protects them asynchronously or not at all."""
    opened: dict[str, frozenset[str]] = field(default_factory=dict)
    """By process, the files that it has: those that were made before it, or its ancestor, began."""
    holds: dict[str, bool] = field(default_factory=dict)
    """By id: whether something is surely held."""
    rings: dict[str, set[str]] = field(default_factory=dict)
    """By process with an io_uring buffer, all that share its ring: the pins go with the last."""
    uffds: dict[str, str] = field(default_factory=dict)
    """By process, the mode of its userfaultfd; `inherited` is its parent's, for other memory."""
    swap: bool = False
    drained: bool = True
    _numbers: int = 0

    def number(self) -> int:
        """A number that nothing else has."""
        self._numbers += 1
        return self._numbers

    # -- looking -----------------------------------------------------------------------

    def pages(self, span: Span) -> Iterator[Page | None]:
        """The pages of a range; None for a hole."""
        region = self.spaces[span.proc][span.region]
        return (region.get(page) for page in range(span.start, span.end))

    def all_of(self, span: Span, test: Callable[[Page], bool]) -> bool:
        """Whether all of a range is mapped and passes a test."""
        return all(page is not None and test(page) for page in self.pages(span))

    def one_vma(self, span: Span) -> bool:
        """Whether a range surely lies in one VMA."""
        numbers = {page.vma if page and page.sure else -1 for page in self.pages(span)}
        return len(numbers) == 1 and -1 not in numbers

    def runs(self, test: Callable[[Page], bool]) -> list[Span]:
        """The longest ranges without a hole whose pages pass a test."""
        found = []
        for proc, space in self.spaces.items():
            for region, pages in space.items():
                good = sorted(number for number, page in pages.items() if test(page))
                found += [Span(proc, region, *ends) for ends in _runs(good)]
        return found

    # -- what actions do ---------------------------------------------------------------

    def start(self, proc: str) -> None:
        """A process begins."""
        self.spaces[proc] = {}
        self.born.append(proc)
        self.opened[proc] = frozenset(self.files)

    def map(self, span: Span, page: Page, offset: int = 0) -> None:
        """Map a range; `offset` is where it begins in its file."""
        if span.proc not in self.spaces:
            self.start(span.proc)
        region = self.spaces[span.proc].setdefault(span.region, {})
        size = self.files.get(page.source)
        for at in range(span.start, span.end):
            inside = size is None or offset + at - span.start < size
            region[at] = page._replace(inside=inside)

    def unmap(self, span: Span) -> None:
        """Unmap a range; what is on both sides of it is in two VMAs from then on."""
        region = self.spaces[span.proc][span.region]
        for page in range(span.start, span.end):
            region.pop(page, None)
        self._renumber(span)

    def change(self, span: Span, **fields: object) -> None:
        """Change what is mapped in a range; it may be in VMAs of its own from then on."""
        region = self.spaces[span.proc][span.region]
        for at in range(span.start, span.end):
            if at in region:
                region[at] = region[at]._replace(**fields)  # type: ignore[arg-type]  # of Page
        self._renumber(span)

    def change_to_hole(self, span: Span, **fields: object) -> None:
        """As `change`, but no further than the first hole, as mprotect does it."""
        for at, page in enumerate(self.pages(span), span.start):
            if page is None:
                if at > span.start:
                    self.change(span._replace(end=at), **fields)
                return
        self.change(span, **fields)

    def doubt(self, span: Span) -> None:
        """Nobody can say what a range has mapped now."""
        region = self.spaces[span.proc].setdefault(span.region, {})
        for at in range(span.start, span.end):
            region[at] = region.get(at, Page(0))._replace(sure=False)
        self._renumber(span)

    def move(self, span: Span, region: str, page: int, *, keep: bool) -> None:
        """Move a range that is in one VMA; `keep` leaves its mapping behind."""
        moved = list(self.pages(span))
        if not keep:
            self.unmap(span)
        target = Span(span.proc, region, page, page + span.end - span.start)
        self.spaces[span.proc].setdefault(region, {})
        self.unmap(target)
        number = self.number()
        for at, each in enumerate(moved, page):
            if each is not None:
                self.spaces[span.proc][region][at] = each._replace(vma=number)

    def fork(self, proc: str, child: str) -> None:
        """A child begins with what its parent has."""
        self.start(child)
        self.opened[child] = self.opened[proc]
        for region, pages in self.spaces[proc].items():
            self.spaces[child][region] = {
                at: page._replace(uffd="") for at, page in pages.items() if page.fork
            }
        if proc in self.uffds:
            self.uffds[child] = "inherited"
        for sharing in self.rings.values():
            if proc in sharing:
                sharing.add(child)

    def end(self, proc: str) -> None:
        """A process ends."""
        del self.spaces[proc]
        for sharing in self.rings.values():
            sharing.discard(proc)

    def _renumber(self, span: Span) -> None:
        """Number the parts of the region anew that a change of the range may have cut apart."""
        region = self.spaces[span.proc][span.region]
        fresh: dict[tuple[int, int], int] = {}
        for at, page in region.items():
            part = (at >= span.start) + (at >= span.end)
            key = (part, page.vma)
            if key not in fresh:
                fresh[key] = self.number()
            region[at] = page._replace(vma=fresh[key])


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Half-open ranges of consecutive numbers, which ascend."""
    start = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if start is not None and last is not None:
            yield start, last + 1
        start = last = number
    if start is not None and last is not None:
        yield start, last + 1
