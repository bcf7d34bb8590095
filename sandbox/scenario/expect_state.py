"""What an expectation can check, each kind a small class with one method `check`.

The checks of page tables are in `expect_entries`, those of the whole run in `expect_run`.

`check` returns whether it holds and what was found.  A thing that the state does
not have raises `Missing`, which the caller reports as an expectation that fails.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sandbox.truth.observed import (
    Missing,
    Observed,
    expand,
    shown_pages,
    shown_runs,
)

__all__ = [
    "FLAG_FIELDS",
    "FOLIO_FIELDS",
    "PAGE_FIELDS",
    "Check",
    "Comparison",
    "Exclusive",
    "Exited",
    "FolioField",
    "Freed",
    "HoldIs",
    "NoSlots",
    "Outcome",
    "Pages",
    "ProcField",
    "Refusal",
    "Slots",
    "StepField",
    "Value",
    "page_values",
    "show",
]

Value = int | bool | str

Pages = tuple[range, ...]
"""Pages in ascending order as runs, for a few characters can name a quarter of a million."""


class Outcome(NamedTuple):
    """Whether a check holds, and what was found."""

    ok: bool
    got: str


class Check(Protocol):
    """Something that can be asked about a state."""

    def check(self, seen: Observed) -> Outcome:
        """Ask it; raises `Missing`."""


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`= 32`, `< 5`, `= true`, `= anon`; `absent` is `= None`."""

    op: str
    want: Value | None

    def holds(self, got: Value | None) -> bool:
        """Compare; values of different types are different, and not ordered."""
        if self.op in ("=", "!="):
            same = got == self.want and isinstance(got, bool) == isinstance(self.want, bool)
            return same is (self.op == "=")
        if type(got) is not int or type(self.want) is not int:
            return False
        return _OPERATORS[self.op](got, self.want)


def show(value: Value | None) -> str:
    """Show a value as expectations write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "absent" if value is None else str(value)


Folio = Mapping[str, Any]


def _raw(name: str, add: int = 0) -> Callable[[Folio], Value | None]:
    """Return a reader of a field; with `add` = 1 it takes the kernel's -1 bias away."""

    def read(folio: Folio) -> Value | None:
        value: Value | None = folio.get(name)
        return value + add if value is not None and add and not isinstance(value, str) else value

    return read


def _flag(name: str) -> Callable[[Folio], Value | None]:
    return lambda folio: name in folio.get("flags", ())


FOLIO_FIELDS: dict[str, Callable[[Folio], Value | None]] = {
    "order": _raw("order"),
    "refcount": _raw("refcount"),
    "pincount": _raw("pincount"),
    "large_mapcount": _raw("large_mapcount"),
    "large": _raw("large_mapcount", add=1),
    "entire_mapcount": _raw("entire_mapcount"),
    "entire": _raw("entire_mapcount", add=1),
    "nr_pages_mapped": _raw("nr_pages_mapped"),
    "maybe_shared": _raw("maybe_shared"),
    "deferred": _raw("deferred"),
    "mapping": _raw("mapping"),
}
"""Fields of a folio; the counts are raw, but `large` and `entire` are logical (raw + 1)."""

FLAG_FIELDS = (
    "swapbacked",
    "swapcache",
    "dirty",
    "uptodate",
    "lru",
    "partially_mapped",
    "mlocked",
)
"""Folio flags that can be asked for like a field, true or false."""

FOLIO_FIELDS.update((name, _flag(name)) for name in FLAG_FIELDS)

PAGE_FIELDS = ("mapcount", "exclusive", "data", "page_ref")
"""Fields that each page of a folio has; `mapcount` is raw."""


def page_values(folio: Folio, field: str) -> list[Value]:
    """Return a per-page field of all pages of a folio; raises `Missing`."""
    pages = 1 << int(folio["order"])
    if field == "page_ref" and field not in folio:
        return [0] * pages  # written only if a tail has one
    if field not in folio:
        raise Missing(f"absent: this kernel has no {field} there")
    values = expand(folio[field])
    return [bool(value) for value in values] if field == "exclusive" else values


@dataclass(frozen=True, slots=True)
class FolioField:
    """`refcount = 32`, `page2.mapcount = 0`, `pages 0-4 mapcount = 1`."""

    folio: str | None
    field: str
    pages: Pages | None
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Compare the field, of every page asked for if it is a page's."""
        name, folio = seen.folio(self.folio)
        if self.field not in PAGE_FIELDS:
            value = FOLIO_FIELDS[self.field](folio)
            return Outcome(self.compare.holds(value), show(value))
        if self.compare.want is None and self.field not in folio:
            return Outcome(self.compare.op == "=", "absent")
        values = page_values(folio, self.field)
        runs = (range(len(values)),) if self.pages is None else self.pages
        if any(run.stop > len(values) for run in runs):
            raise Missing(f"{name} has only {len(values)} pages")
        chosen = [values[page] for run in runs for page in run]
        return Outcome(all(map(self.compare.holds, chosen)), shown_runs(list(map(show, chosen))))


@dataclass(frozen=True, slots=True)
class Exclusive:
    """`exclusive = {5}`: the pages with PageAnonExclusive, on any page of the folio."""

    folio: str | None
    pages: Pages
    equal: bool = True

    def check(self, seen: Observed) -> Outcome:
        """Compare the whole set."""
        values = page_values(seen.folio(self.folio)[1], "exclusive")
        found = frozenset(page for page, value in enumerate(values) if value)
        wanted = sum(map(len, self.pages))
        same = wanted == len(found) and all(page in found for run in self.pages for page in run)
        return Outcome(same is self.equal, shown_pages(found))


@dataclass(frozen=True, slots=True)
class Slots:
    """`slots A:15 B:14`: the MM-id slots with their raw mapcounts, `-` for a free one."""

    folio: str | None
    slots: tuple[tuple[str, int] | None, ...]

    def check(self, seen: Observed) -> Outcome:
        """Compare the slots in order; free ones count only if the expectation has one."""
        mm_ids = seen.folio(self.folio)[1].get("mm_ids")
        if mm_ids is None:
            raise Missing("absent: this kernel has no MM-id slots")
        found = [None if proc is None else (proc, count) for proc, count in mm_ids]
        kept = found if None in self.slots else [slot for slot in found if slot is not None]
        shown = " ".join("-" if slot is None else f"{slot[0]}:{slot[1]}" for slot in found)
        return Outcome(kept == list(self.slots), shown)


@dataclass(frozen=True, slots=True)
class NoSlots:
    """`slots absent`: the kernel has no MM-id slots."""

    folio: str | None

    def check(self, seen: Observed) -> Outcome:
        """Look for the field."""
        absent = "mm_ids" not in seen.folio(self.folio)[1]
        return Outcome(absent, "absent" if absent else "there are slots")


@dataclass(frozen=True, slots=True)
class Freed:
    """`freed F1`."""

    folio: str

    def check(self, seen: Observed) -> Outcome:
        """Look for the folio."""
        alive = self.folio in seen.state.get("folios", {})
        return Outcome(not alive, "still there" if alive else "freed")


@dataclass(frozen=True, slots=True)
class Exited:
    """`exited B`."""

    proc: str

    def check(self, seen: Observed) -> Outcome:
        """Look for the process."""
        alive = self.proc in seen.state.get("procs", {})
        return Outcome(not alive, "still there" if alive else "exited")


@dataclass(frozen=True, slots=True)
class ProcField:
    """`A.rss.anon = 16`, `A.has_pinned = 1`, `B.folios = 12`."""

    proc: str
    path: tuple[str, ...]
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Compare a field of the process; `folios` counts the folios that it maps."""
        proc = seen.proc(self.proc)
        if self.path == ("folios",):
            mapped = {run[4] for run in proc["ptes"] if run[3] in ("present", "pmd", "protnone")}
            return Outcome(self.compare.holds(len(mapped)), show(len(mapped)))
        value: Any = proc
        for name in self.path:
            if name not in value:
                raise Missing(f"absent: {self.proc} has no {'.'.join(self.path)}")
            value = value[name]
        if isinstance(self.compare.want, bool):
            value = bool(value)  # the format writes 0 and 1 for yes and no here
        return Outcome(self.compare.holds(value), show(value))


@dataclass(frozen=True, slots=True)
class StepField:
    """`ret = -11`, `out = "3x16"`, `folios = 17`."""

    field: str
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Compare a field of the step itself."""
        if seen.error is not None:
            return Outcome(False, f"the action was refused: {seen.error.message}")
        value = seen.state.get(self.field)
        if self.field == "folios":
            value = len(value or ())
        return Outcome(self.compare.holds(value), show(value))


@dataclass(frozen=True, slots=True)
class Refusal:
    """`error "outside the region"`: the action before was refused with such a message."""

    part: str

    def check(self, seen: Observed) -> Outcome:
        """Look for the words in the message, whatever their case."""
        if seen.error is None:
            return Outcome(False, "no error")
        message = str(seen.error)
        return Outcome(self.part.lower() in message.lower(), message)


@dataclass(frozen=True, slots=True)
class HoldIs:
    """`hold 1 = pin F1.5`, `hold 1 = none`."""

    hold: str
    kind: str
    pages: tuple[str, ...]

    def check(self, seen: Observed) -> Outcome:
        """Compare what is kept under the id."""
        hold = seen.state.get("holds", {}).get(self.hold)
        if hold is None:
            return Outcome(self.kind == "none", "none")
        found = (hold["kind"], tuple(hold["pages"]))
        return Outcome(found == (self.kind, self.pages), " ".join((found[0], *found[1])))
