"""What an expectation can check in the page tables; see `checks` for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.scenario.expect_state import (
    FOLIO_FIELDS,
    PAGE_FIELDS,
    Comparison,
    Outcome,
    Value,
    page_values,
    show,
)
from sandbox.truth.observed import Missing, Observed, Segment, shown_runs

__all__ = ["EntriesAre", "EntriesCount", "EntriesFolio", "EntriesHave", "Span"]

Span = tuple[int, int] | None


def _shown(segments: Sequence[Segment]) -> str:
    """Show entries with their pages, at most four runs of them."""
    parts = []
    for segment in segments[:4]:
        last = segment.first + segment.pages - 1
        pages = f"{segment.first}" if segment.pages == 1 else f"{segment.first}-{last}"
        parts.append(f"{pages}: {segment.shown}")
    more = [f"and {len(segments) - 4} more"] if len(segments) > 4 else []
    return "; ".join([*parts, *more]) or "nothing is mapped"


@dataclass(frozen=True, slots=True)
class EntriesAre:
    """`A.R 0-15 = F1 RO D Y C`, `A.R 5 = none`: every entry is exactly that.

    Flags are compared only if there are any; `F1.5` says which page the first
    entry maps, `F1` alone leaves the pages open.
    """

    proc: str
    region: str
    pages: Span
    kind: str
    folio: str | None = None
    page: int | None = None
    words: frozenset[str] | None = None

    def check(self, seen: Observed) -> Outcome:
        """Compare every entry of the range."""
        found = seen.entries(self.proc, self.region, self.pages)
        first = found[0].first if found else 0
        ok = bool(found) or self.kind == "none"
        return Outcome(ok and all(self._is(s, s.first - first) for s in found), _shown(found))

    def _is(self, segment: Segment, offset: int) -> bool:
        return (
            segment.kind == self.kind
            and self.folio in (None, segment.folio)
            and (self.page is None or segment.page == self.page + offset)
            and (self.words is None or segment.words == self.words)
        )


@dataclass(frozen=True, slots=True)
class EntriesHave:
    """`A.R 0-15 has RO C`, `B.R 0-15 lacks C`: about some flags of every entry."""

    proc: str
    region: str
    pages: Span
    words: frozenset[str]
    has: bool

    def check(self, seen: Observed) -> Outcome:
        """Ask every entry; one that is not mapped has no flags at all."""
        found = seen.entries(self.proc, self.region, self.pages)
        return Outcome(bool(found) and all(map(self._is, found)), _shown(found))

    def _is(self, segment: Segment) -> bool:
        words = frozenset() if segment.kind == "none" else segment.words
        return self.words <= words if self.has else not self.words & words


@dataclass(frozen=True, slots=True)
class EntriesCount:
    """`A.R cont = 16`, `A.R 0-15 present = 15`, `A.R 0-15 writable = 1`."""

    proc: str
    region: str
    pages: Span
    what: str
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Count the entries that are so."""
        segments = seen.entries(self.proc, self.region, self.pages)
        total = sum(s.pages for s in segments if self._counts(s))
        return Outcome(self.compare.holds(total), f"{total} ({_shown(segments)})")

    def _counts(self, segment: Segment) -> bool:
        if segment.kind not in ("present", "pmd"):
            return False
        word = {"cont": "C", "writable": "RW"}.get(self.what)
        return word is None or word in segment.words


@dataclass(frozen=True, slots=True)
class EntriesFolio:
    """`A.R 5 folio != F1`, `B.R 0-15 folio.refcount = 1`, `B.R 5 page.mapcount = 0`.

    With `page.` the field is that of the very page each entry maps.
    """

    proc: str
    region: str
    pages: Span
    field: str | None
    compare: Comparison

    def check(self, seen: Observed) -> Outcome:
        """Compare for every entry of the range, each of which must map a folio."""
        values: list[Value | None] = []
        for segment in seen.entries(self.proc, self.region, self.pages):
            if segment.folio is None:
                raise Missing(f"page {segment.first} maps no folio, its entry is {segment.kind}")
            values.extend(self._values(seen, segment))
        ok = bool(values) and all(map(self.compare.holds, values))
        return Outcome(ok, shown_runs([show(value) for value in values]) or "nothing is mapped")

    def _values(self, seen: Observed, segment: Segment) -> Sequence[Value | None]:
        if self.field is None:
            return [segment.folio] * segment.pages
        folio = seen.folio(segment.folio)[1]
        if self.field not in PAGE_FIELDS:
            return [FOLIO_FIELDS[self.field](folio)] * segment.pages
        values = page_values(folio, self.field)
        return values[segment.page : segment.page + segment.pages]
