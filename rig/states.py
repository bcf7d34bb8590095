"""From what the module says after a step to a state of the state format.

Frames become folios, named in the order in which they appear, and addresses pages of regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rig.console import RawStep
from rig.entries import KINDS, flags_of, uffd_wp
from rig.guest import REGION_BASE, REGION_STRIDE
from rig.work import Narrate

__all__ = ["Names", "Span", "check_room"]

_RSS = ("anon", "file", "shmem", "swap")
_NOTES = (
    (13, "locked"),
    (17, "dontfork"),
    (29, "hugepage"),
    (30, "nohugepage"),
    (25, "wipeonfork"),
)
"""Flags of a VMA that its notes name, by their bits."""


class Span(NamedTuple):
    """The frames of a folio, half open, and its name."""

    first: int
    end: int
    name: str


class Names:
    """The names of one scenario: what its frames, slots and processes are called, step by step."""

    def __init__(self, regions: Sequence[str], holds: Mapping[int, str]) -> None:
        self._regions = regions
        self._holds = holds
        self._folios: dict[int, str] = {}
        """By the frame of the head."""
        self._next = 1
        self._own: dict[str, dict[str, int]] = {}
        """By process, its RSS that is not in the regions: code, data, stack."""
        self._slots: dict[int, int] = {}
        self._mm_ids: dict[int, str] = {}
        self.processes: dict[int, str] = {}
        """By pid."""
        self.spans: list[Span] = []
        """The folios of the last state."""

    def place(self, address: int) -> tuple[str, int] | None:
        """The region and page of an address; None outside the regions."""
        index, offset = divmod(address - REGION_BASE, REGION_STRIDE)
        if not 0 <= index < len(self._regions):
            return None
        return self._regions[index], offset >> 12

    def page_name(self, frame: int) -> tuple[str | None, int]:
        """The folio that a frame is in, and which page of it."""
        for span in self.spans:
            if span.first <= frame < span.end:
                return span.name, frame - span.first
        return None, 0

    def state(self, step: RawStep) -> dict[str, Any]:
        """The part of a step's state that the module knows: `procs`, `folios` and `holds`."""
        folios = step.folios or {"folios": [], "holds": {}}
        heads = {folio["pfn"]: folio for folio in folios["folios"]}
        for gone in self._folios.keys() - heads.keys():
            del self._folios[gone]
        self._span(heads)
        for name, process in step.processes.items():
            self.processes[process["pid"]] = name
            if "mm_id" in process:
                self._mm_ids[process["mm_id"]] = name
        procs = {name: self._process(name, raw, heads) for name, raw in step.processes.items()}
        found: dict[str, dict[str, Any]] = {}
        for frame, folio in heads.items():
            self._name(frame, folio)
            found[self._folios[frame]] = self._folio(folio)
        out: dict[str, Any] = {
            "procs": procs,
            "folios": dict(sorted(found.items(), key=lambda item: int(item[0][1:]))),
        }
        if holds := {
            self._holds.get(int(number), number): self._hold(*hold)
            for number, hold in folios["holds"].items()
        }:
            out["holds"] = holds
        return out

    # -- folios --------------------------------------------------------------------------------

    def _span(self, heads: Mapping[int, dict[str, Any]]) -> None:
        """Know the frames of a state's folios; new ones get their names when they are met."""
        self.spans = [
            Span(frame, frame + (1 << folio["order"]), self._folios.get(frame, ""))
            for frame, folio in sorted(heads.items())
        ]

    def _name(self, frame: int, folio: dict[str, Any]) -> None:
        if frame in self._folios:
            return
        name = self._folios[frame] = f"F{self._next}"
        self._next += 1
        self.spans = [
            span._replace(name=name) if span.first == frame else span for span in self.spans
        ]

    def _met(self, frame: int, heads: Mapping[int, dict[str, Any]]) -> tuple[str | None, int, int]:
        """(folio, page in it, pages left) at a frame; the folio is named if it is new."""
        for span in self.spans:
            if span.first <= frame < span.end:
                self._name(span.first, heads[span.first])
                return self._folios[span.first], frame - span.first, span.end - frame
        return None, 0, 1

    def _folio(self, raw: dict[str, Any]) -> dict[str, Any]:
        """One folio of the state format."""
        folio: dict[str, Any] = {"order": raw["order"], "refcount": raw["ref"]}
        if raw["order"]:
            folio.update(self._large(raw))
        folio["mapping"], folio["index"] = raw["mapping"], raw["index"]
        if raw["mapping"] == "anon":  # its index is an address in pages
            place = self.place(raw["index"] << 12)
            if place is not None:
                folio["index"] = list(place)
        if "swap" in raw:
            folio["swap"] = self._slot(raw["swap"])
        folio["flags"] = raw["flags"]
        if "mapcount" in raw:
            folio["mapcount"] = raw["mapcount"]
        if raw["mapping"] == "anon":
            folio["exclusive"] = raw["exclusive"]
        if raw["order"] and raw["page_ref"][1:] != [[0, (1 << raw["order"]) - 1]]:
            folio["page_ref"] = raw["page_ref"]
        folio["data"] = raw["data"]
        return folio

    def _large(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The words of a large folio, as far as the kernel has them."""
        words = {name: raw[name] for name in ("large_mapcount", "entire_mapcount")}
        if "nr_pages_mapped" in raw:  # not with NO_PAGE_MAPCOUNT
            words["nr_pages_mapped"] = raw["nr_pages_mapped"]
        words["pincount"] = raw["pincount"]
        if "mm_id" in raw:
            words["mm_ids"] = [
                [self._mm_ids.get(ident, f"?{ident}") if ident else None, count]
                for ident, count in zip(raw["mm_id"], raw["mm_id_mapcount"], strict=True)
            ]
            words["maybe_shared"] = bool(int(raw["mm_ids"], 16) >> 63)
        if "deferred" in raw:
            words["deferred"] = bool(raw["deferred"])
        return words

    def _slot(self, offset: int) -> int:
        return self._slots.setdefault(offset, len(self._slots))

    def _hold(self, kind: str, *frames: int) -> dict[str, Any]:
        if kind == "r":
            return {"kind": "get", "times": len(frames), "pages": [self._page(frames[0])]}
        return {"kind": "pin" if kind == "p" else "get", "pages": list(map(self._page, frames))}

    def _page(self, frame: int) -> str:
        name, page = self.page_name(frame)
        return f"{name}.{page}"

    # -- processes -----------------------------------------------------------------------------

    def _process(
        self, name: str, raw: dict[str, Any], heads: Mapping[int, dict[str, Any]]
    ) -> dict[str, Any]:
        mapped = dict.fromkeys(_RSS, 0)
        ptes: list[list[Any]] = []
        for entry in raw["ptes"]:
            self._entries(entry, heads, ptes, mapped)
        rss = raw["rss"]
        own = self._own.setdefault(name, {kind: rss[kind] - mapped[kind] for kind in _RSS})
        out: dict[str, Any] = {
            "vmas": [self._vma(*vma) for vma in raw["vmas"]],
            "ptes": ptes,
            "uffd_wp": self._uffd_wp(raw["ptes"]),
            "rss": {kind: rss[kind] - own[kind] for kind in _RSS},
        }
        if out["rss"] != mapped:  # what the walk counted, where the counters say otherwise
            out["mapped"] = mapped
        return out | {word: raw[word] for word in ("has_pinned", "pinned_vm", "locked_vm")}

    def _uffd_wp(self, entries: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Runs of entries that userfaultfd protects."""
        out: list[list[Any]] = []
        for kind, address, count, text, frame, *_ in entries:
            if not uffd_wp(int(text, 16), kind, frame):
                continue
            place = self.place(address)
            region, page = place if place is not None else ("?", address >> 12)
            if out and out[-1][0] == region and out[-1][1] + out[-1][2] == page:
                out[-1][2] += count
            else:
                out.append([region, page, count])
        return out

    def _vma(self, low: int, high: int, raw: str, _offset: int, anon_vma: int) -> list[Any]:
        place = self.place(low)
        region, first = place if place is not None else ("?", low >> 12)
        flags = int(raw, 16)
        access = "".join(c if flags >> bit & 1 else "-" for bit, c in enumerate("rwxs"))
        notes = " ".join(note for bit, note in _NOTES if flags >> bit & 1)
        return [region, first, first + ((high - low) >> 12), access, notes, bool(anon_vma)]

    def _entries(
        self,
        entry: Sequence[Any],
        heads: Mapping[int, dict[str, Any]],
        out: list[list[Any]],
        mapped: dict[str, int],
    ) -> None:
        """One run of the module's: neighbours in memory may be different folios."""
        kind, address, count, text, frame = entry[:5]
        raw, place = int(text, 16), self.place(address)
        region, page = place if place is not None else ("?", address >> 12)
        flags = flags_of(raw, kind)
        if kind in "pnH":
            while count:
                name, within, left = self._met(frame, heads)
                run = min(count, left)
                out.append([region, page, run, KINDS[kind], name, within, flags])
                mapping = heads[frame - within]["mapping"] if name is not None else ""
                if mapping in mapped:
                    mapped[mapping] += run
                page, count, frame = page + run, count - run, frame + run
        elif kind == "s":
            for index in range(count):
                slot = self._slot(frame + index)
                if index and out[-1][5] + out[-1][2] == slot:
                    out[-1][2] += 1
                else:
                    target = f"count {entry[5]}"
                    out.append([region, page + index, 1, "swap", target, slot, flags])
            mapped["swap"] += count
        else:
            out.append([region, page, count, KINDS[kind], None, 0, flags])


def check_room(step: RawStep, narrate: Narrate) -> None:
    """Say it when the guest had no room for all that it saw."""
    folios = step.folios or {}
    if folios.get("lost"):
        narrate(f"step {step.number}: {folios['lost']} folios are missing, there are too many")
    if folios.get("unwatched"):
        narrate(f"step {step.number}: {folios['unwatched']} ranges are not watched, too many")
