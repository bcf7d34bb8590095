"""What expectations read: a recorded state, and the run that led to it.

A state is one step object of FORMAT.md, whether the engine made it or a real
kernel was recorded.  Nothing here knows the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sandbox.arch.arm64.pgtable import CONT_PTES
from sandbox.errors import SandboxError
from sandbox.truth.names.values import letters_in_words

__all__ = [
    "BrokenCount",
    "CountingRun",
    "Missing",
    "Observed",
    "RunFacts",
    "Segment",
    "ViolationFacts",
    "expand",
    "shown_pages",
    "shown_runs",
]

_POINTING = frozenset({"present", "protnone", "pmd", "migration"})

State = Mapping[str, Any]


class BrokenCount(Protocol):
    """How often a rule was broken over a run."""

    @property
    def micro_states(self) -> int:
        """States between two events in which the rule did not hold."""

    @property
    def consecutive(self) -> int:
        """The longest run of such states."""

    @property
    def worst(self) -> int:
        """The largest deficit, 0 if the rule was never broken."""


class ViolationFacts(Protocol):
    """One violation of a rule."""

    @property
    def rule(self) -> str:
        """The id of the rule, e.g. `I-05`."""

    @property
    def known_window(self) -> str | None:
        """The window of upstream's own that covers it, if any."""

    @property
    def event(self) -> int:
        """The index of the event after which the rule did not hold."""

    @property
    def action(self) -> int:
        """The index of the action, from 0."""

    @property
    def run(self) -> int:
        """How many states in a row, this one included, the rule has been broken."""

    @property
    def deficit(self) -> int | None:
        """By how much the rule did not hold, if it is a rule of numbers."""


class RunFacts(Protocol):
    """What an expectation asks the whole run."""

    def broken(self, rule: str) -> BrokenCount:
        """Count how often a rule was broken so far."""

    def violations(self) -> Sequence[ViolationFacts]:
        """List the violations so far."""

    def watches(self, rule: str) -> bool:
        """Whether there is a rule of that id, the catalogue's or one that the person named."""


@runtime_checkable
class CountingRun(Protocol):
    """A run that can also count events and remember extremes of the last step."""

    def count(self, what: str) -> int:
        """Count the events of a kind in the last step, e.g. `copy` for page copies."""

    def peak(self, folio: str, field: str) -> int:
        """Return the highest value that a counter of a folio had in the last step."""


class Missing(Exception):
    """The state has no such thing; the text says what is missing and why."""


class Segment(NamedTuple):
    """Neighbouring pages of a region whose entries are alike."""

    first: int
    pages: int
    kind: str
    folio: str | None
    page: int
    flags: str

    @property
    def words(self) -> frozenset[str]:
        """The flags in the words of mails: RW or RO, D, Y, C."""
        return frozenset(letters_in_words(self.flags))

    @property
    def shown(self) -> str:
        """The entry as an expectation would write it."""
        if self.kind == "none":
            return "none"
        target = "" if self.folio is None else f"{self.folio}.{self.page}"
        kind = "" if self.kind == "present" else self.kind
        flags = " ".join(letters_in_words(self.flags))
        return " ".join(part for part in (kind, target, flags) if part)


@dataclass(frozen=True, slots=True)
class Observed:
    """A state, the run it belongs to, and the error that ended its action, if any."""

    state: State
    run: RunFacts | None = None
    error: SandboxError | None = None

    def folio(self, name: str | None) -> tuple[str, State]:
        """Return a folio by name; without one the only large folio, or F1.

        Raises `Missing`.
        """
        folios: State = self.state.get("folios", {})
        if name is None:
            large = [name for name, folio in folios.items() if folio.get("order", 0) > 0]
            name = large[0] if len(large) == 1 else "F1"
        if name not in folios:
            raise Missing(f"there is no folio {name}")
        return name, folios[name]

    def proc(self, name: str) -> State:
        """Return a process by name; raises `Missing`."""
        procs: State = self.state.get("procs", {})
        if name not in procs:
            raise Missing(f"there is no process {name}")
        found: State = procs[name]
        return found

    def entries(self, proc: str, region: str, pages: tuple[int, int] | None) -> list[Segment]:
        """Return the entries of a region, holes included, for first and last page.

        Without pages it is all that is mapped.  Under CONT the young and dirty bits
        of a block are the sum of its entries'.  Raises `Missing`.
        """
        mine = (_segment(run) for run in self.proc(proc)["ptes"] if run[0] == region)
        runs = sorted(_gather_blocks(mine), key=lambda run: run.first)
        return runs if pages is None else list(_clip(runs, *pages))


def _segment(run: Sequence[Any]) -> Segment:
    """Read a run of FORMAT.md; only some kinds point at a folio."""
    _, first, count, kind, target, page, flags = run
    folio = target if kind in _POINTING else None
    return Segment(first, count, kind, folio, page, flags)


def _pieces(run: Segment) -> Iterator[tuple[tuple[str | None, int], Segment]]:
    """Cut a CONT run at the blocks of its folio, each piece with its block."""
    first, page, left = run.first, run.page, run.pages
    while left > 0:
        count = min(left, CONT_PTES - page % CONT_PTES)
        piece = run._replace(first=first, page=page, pages=count)
        yield (run.folio, page // CONT_PTES), piece
        first, page, left = first + count, page + count, left - count


def _gather_blocks(runs: Iterable[Segment]) -> list[Segment]:
    """Give each entry of a CONT block the young and dirty bits of the whole block."""
    plain: list[Segment] = []
    blocks: dict[tuple[str | None, int], list[Segment]] = {}
    for run in runs:
        if "c" not in run.flags:
            plain.append(run)
            continue
        for block, piece in _pieces(run):
            blocks.setdefault(block, []).append(piece)
    for pieces in blocks.values():
        gathered = {flag for piece in pieces for flag in piece.flags if flag in "yd"}
        for piece in pieces:
            flags = "".join(f for f in "wodyce" if f in gathered or f in piece.flags)
            plain.append(piece._replace(flags=flags))
    return plain


def _clip(runs: Iterable[Segment], first: int, last: int) -> Iterator[Segment]:
    """Yield the runs within [first, last], holes as entries of kind none."""
    at = first
    for run in runs:
        start, stop = max(run.first, at), min(run.first + run.pages, last + 1)
        if start >= stop:
            continue
        if start > at:
            yield Segment(at, start - at, "none", None, 0, "")
        yield run._replace(first=start, pages=stop - start, page=run.page + start - run.first)
        at = stop
    if at <= last:
        yield Segment(at, last + 1 - at, "none", None, 0, "")


def expand(runs: Iterable[Sequence[Any]]) -> list[Any]:
    """Expand the run lengths `[[value, pages], ...]` of a per-page field."""
    return [value for value, pages in runs for _ in range(pages)]


def shown_runs(values: Sequence[object]) -> str:
    """Show per-page values as runs: `1 x5, 0, 1 x10`."""
    runs: list[tuple[object, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return ", ".join(f"{value} x{count}" if count > 1 else f"{value}" for value, count in runs)


def shown_pages(pages: Iterable[int]) -> str:
    """Show a set of pages as `{0-4, 7}`."""
    parts: list[tuple[int, int]] = []
    for page in sorted(pages):
        if parts and parts[-1][1] == page - 1:
            parts[-1] = (parts[-1][0], page)
        else:
            parts.append((page, page))
    texts = (f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
    return "{" + ", ".join(texts) + "}"
