"""A log of stores in comparable form: what `sandbox.conform.stores` holds the engine against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.conform.unordered import Rule, rule_of
from sandbox.mm.flags import MM_ID_LOCK, MM_ID_MASK
from sandbox.truth.names.values import FLAG_NAMES

__all__ = [
    "COMPARED_FLAGS",
    "PER_PAGE",
    "Logged",
    "MmNames",
    "Store",
    "flag_page",
    "logged",
    "read_events",
]

Store = tuple[Any, ...]
"""One store, comparable: what, where, old, new."""


PER_PAGE = frozenset({"_mapcount", "_refcount"})
"""Counters that tails have as well: after a split each page counts its own references."""
COMPARED_FLAGS = {
    name: bit for name, bit in FLAG_NAMES if name not in ("referenced", "active", "workingset")
}
COMPARED_FLAGS["anon_exclusive"] = 1 << 18

RIG_CHILD = "faultin_page_range"
"""From the first store made here on, the log is about the recorded child's own memory, which it
populates after fork (and drains the LRU batches for)."""
OF_FIRST_TAIL = frozenset(("large_rmappable", "partially_mapped"))
"""Flags in the first tail of a large folio; the bits mean something else in a page of its own."""
WIPED = "free_tail_page_prepare"
"""What it stores in a page of a large folio that is being freed is no counter of the folio any
more: it makes the word what the next owner of the page expects."""
PAGE_TYPES = -(1 << 24)
"""A `_mapcount` below it is the type of a page that is no folio's: the two share the word."""
OVERLAID = frozenset(("_large_mapcount", "_entire_mapcount", "_nr_pages_mapped", "_pincount"))
"""Words in the second and third page of a large folio (`_mm_id...` are others).  A split makes
folios of those pages, whose own fields lie there: what it stores there is not in these words."""


@dataclass(slots=True)
class MmNames:
    """The log's names for folios and mm ids, learnt in order of appearance."""

    ids: dict[str, dict[int, int]] = field(default_factory=dict)
    """By side, the number of each id."""

    def mm_id(self, side: str, value: int) -> tuple[bool, int]:
        """(top bit, a number that means the same mm on both sides)."""
        value &= 0xFFFFFFFF
        top, number = bool(value & MM_ID_LOCK), value & MM_ID_MASK
        if not number:
            return top, 0
        known = self.ids.setdefault(side, {})
        return top, known.setdefault(number, len(known) + 1)


class Logged(NamedTuple):
    """A log's stores in comparable form."""

    stores: list[Store]
    rules: list[Rule | None]
    """Of each, what says that its order is not said by the source."""


def logged(events: Iterable[dict[str, Any]]) -> list[Store]:
    """The log's stores in comparable form."""
    return read_events(events).stores


def read_events(events: Iterable[dict[str, Any]], fork: bool = True) -> Logged:
    """The log's stores in comparable form, with the rule that each falls under.

    That of a *fork* ends where the child goes on.
    """
    names = MmNames()
    out = Logged([], [])
    pieces: set[tuple[str, int]] = set()
    """Pages that a split has made folios of their own."""
    for event in events:
        if fork and RIG_CHILD in event["at"]:
            break
        if WIPED in event["at"]:
            continue
        if event["what"] == "_refcount" and event.get("page") and not event["old"]:
            pieces.add((event["folio"], event["page"]))
        lists = event["what"] == "deferred list" or _is_overlaid(event["what"])
        if lists and (event["folio"], event.get("page", 0)) in pieces:
            continue  # its words are those of the piece's place on the LRU
        stores = list(_stores_of(event, names))
        if (event.get("folio", ""), event.get("page", 0)) in pieces:
            stores = [s for s in stores if s[0] != "flags" or s[3][1:] not in OF_FIRST_TAIL]
        out.stores.extend(stores)
        out.rules.extend([rule_of(event)] * len(stores))
    return out


def _stores_of(event: dict[str, Any], names: MmNames) -> Iterator[Store]:
    """What one event of a log stores: flags one by one, which come in no order in one store."""
    what = event["what"]
    if what == "pte":
        page = event["at_page"][1]
        yield "pte", page & 511, _logged_pte(event["old"]), _logged_pte(event["new"])
    elif what == "flags":
        split = any("split" in name for name in event["at"][:1])
        for change in sorted(event["change"]):
            if split and event["page"] == 1 and change == "+large_rmappable":
                continue  # the bit is PG_workingset of a page that has become a folio
            if change[1:] in COMPARED_FLAGS:
                yield "flags", event["folio"], flag_page(event["page"], change), change
    elif what == "rss":
        yield "rss", event["member"], event["add"]
    elif what == "deferred list":
        yield "deferred list", event["folio"]
    elif _is_overlaid(what) and any("split" in name for name in event["at"][:1]):
        return
    elif what.startswith("_mm_id["):
        old, new = names.mm_id("log", event["old"]), names.mm_id("log", event["new"])
        yield what, event["folio"], 0, old, new
    elif what == "_mapcount" and min(event["old"], event["new"]) < PAGE_TYPES:
        return
    elif what.startswith("_"):
        page = event.get("page", 0) if what in PER_PAGE else 0
        yield what, event["folio"], page, event["old"], event["new"]


def _is_overlaid(what: str) -> bool:
    return what in OVERLAID or what.startswith("_mm_id")


def flag_page(page: int, change: str) -> int:
    """The page a flag is compared for: only exclusivity is per page (some live in tails)."""
    return page if change.endswith("anon_exclusive") else 0


def _logged_pte(value: list[str] | None) -> str:
    """An entry without the slot of a swap entry, and without the mark of what is not valid.

    A log marks with `!` what the CPU does not walk: PROT_NONE, swap and migration entries.
    """
    if value is None:
        return "none"
    target, letters = value
    if target.startswith("swap."):
        target = "swap"
    letters = letters.replace("!", "")
    if "m" in letters:
        letters = "m"
    return f"{target} {letters}".rstrip()
