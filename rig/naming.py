"""Frames, pids and addresses of a log's events in the words of the states around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rig.follow import LOGGED_PAGES
from rig.states import Names, Span
from rig.words import Event

__all__ = ["Naming"]

MEMBERS = ("file", "anon", "swap", "shmem")
"""RSS counters by the kernel's numbers."""


class Naming:
    """The names of one step: folios by the state before, then by the one after."""

    def __init__(self, names: Names, before: Sequence[Span], after: Sequence[Span]) -> None:
        self._names = names
        self._tables = (before, after)

    def folio(self, frame: object) -> tuple[str, int]:
        """The folio and page of a frame; `new` if no state knows it."""
        if isinstance(frame, int):
            for table in self._tables:
                for span in table:
                    if span.first <= frame < span.end:
                        return span.name, frame - span.first
        return "new", 0

    def events(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Name what the events are about; those of other memory than the regions' go."""
        return [named for event in events if (named := self._event(event)) is not None]

    def _event(self, event: Event) -> dict[str, Any] | None:
        event = dict(event)
        if "pfn" in event:
            name, first = self.folio(event.pop("pfn"))
            if first and "page" in event:  # a part split off a folio
                event["page"] += first
                if event["page"] >= LOGGED_PAGES:
                    return None
            event = {"what": event.pop("what"), "folio": name, **event}
        if "pid" in event:
            event["proc"] = self._names.processes.get(event.pop("pid"), "new")
        if event["what"] == "rss":
            event["member"] = MEMBERS[event["member"]]
        if "va" in event:
            place = self._names.place(event.pop("va"))
            if place is None:
                return None
            event["at_page"] = list(place)
        for key in ("old", "new", "pte"):
            if isinstance(event.get(key), list):
                event[key] = self.entry(event[key])
        if "entry" in event:  # of a page table made in the step
            if all((event[key] or ["new"])[0].startswith("new") for key in ("old", "new")):
                return None  # of something that is not in a region
            event["at_page"] = ["table", event.pop("entry")]
        return event

    def entry(self, entry: Sequence[Any]) -> list[Any]:
        """An entry as `[target, letters]`, its frame named."""
        target, letters = entry
        if not isinstance(target, str):
            name, page = self.folio(target)
            target = f"{name}.{page}"
        return [target, letters]
