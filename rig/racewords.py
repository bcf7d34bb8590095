"""The words of a race as recordings write them: stores, and what is watched at a switch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from rig.naming import Naming
from rig.plan import PTE, SEQUENCE
from rig.racelog import RaceLog, RaceStore, Stop
from rig.states import Names
from rig.symbols import Layout
from rig.words import Words, signed

__all__ = ["RaceWords"]

_LARGE = ("_large_mapcount", "_entire_mapcount", "_nr_pages_mapped", "_pincount")
_EACH = ("_mapcount", "exclusive")


class RaceWords:
    """Spells the records of one kernel's races."""

    def __init__(self, layout: Layout, names: dict[int, str]) -> None:
        self._layout, self._names, self._words = layout, names, Words(layout)

    def frames(self, addresses: Iterable[int]) -> set[int]:
        """The frames of those addresses that are of a reference count."""
        offset = self._layout.fields["_refcount"]
        found = set()
        for address in addresses:
            frame, inside = divmod(address - self._layout.vmemmap, self._layout.page)
            if inside == offset:
                found.add(frame)
        return found

    def store(
        self,
        store: RaceStore,
        log: RaceLog,
        naming: Naming,
        names: Names,
        fresh: Sequence[str],
    ) -> dict[str, Any]:
        """A store, its folio, process and page named."""
        head: dict[str, Any] = {"cpu": store.cpu, "n": store.number}
        head["what"] = self._names[store.word]
        if store.word == PTE:
            process, place = self._place(store.address, log, names, fresh)
            old, new = (self._entry(raw, naming) for raw in (store.old, store.new))
            return {**head, "proc": process, "at_page": place, "old": old, "new": new,
                    "at": store.at}  # fmt: skip
        if store.word == SEQUENCE:
            return {**head, "old": store.old, "new": store.new, "at": store.at}
        frame, _ = divmod(store.address - self._layout.vmemmap, self._layout.page)
        folio, page = naming.folio(frame)
        head |= {"folio": folio, "page": page}
        if head["what"] == "flags":
            event = self._words.page_event(0, page * self._layout.page, store.old, store.new)
            return {**head, "change": event["change"] if event else [], "at": store.at}
        return {**head, "old": signed(store.old), "new": signed(store.new), "at": store.at}

    def wait(self, stop: Stop) -> dict[str, Any]:
        """Who waited, on what, and after how many of its stores."""
        return {"cpu": stop.cpu, "on": stop.why, "stores": stop.stores, "at": stop.at}

    def switch(
        self, stop: Stop, log: RaceLog, naming: Naming, names: Names, fresh: Sequence[str]
    ) -> dict[str, Any]:
        """A switch, with the watched words."""
        out: dict[str, Any] = {"cpu": stop.cpu, "why": stop.why, "stores": stop.stores}
        out["at"] = stop.at
        procs: dict[str, list[list[Any]]] = {}
        for table, entry, raw in stop.entries:
            process, place = self._place(table + 8 * entry, log, names, fresh)
            target = self._entry(raw, naming)
            if place[0] != "?" and target is not None:
                procs.setdefault(process, []).append([*place, *target])
        out["ptes"] = {name: sorted(rows) for name, rows in sorted(procs.items())}
        out["folios"] = self._folios(stop, naming)
        return out

    def _folios(self, stop: Stop, naming: Naming) -> dict[str, dict[str, Any]]:
        """The watched words of each folio that has a name."""
        found: dict[str, dict[str, Any]] = {}
        for frame, (index, words) in sorted(stop.pages.items()):
            name, page = naming.folio(frame)
            if name == "new" or index == 64:
                continue
            raw = struct.pack(f"<{len(words)}Q", *words)
            folio = found.setdefault(name, {})
            if page == 0:
                folio["refcount"] = self._int(raw, "_refcount")
                folio["flags"] = self._flags(words[0])
            exclusive = words[0] >> self._layout.bits["anon_exclusive"] & 1
            values = (self._int(raw, "_mapcount"), exclusive)
            for word, value in zip(_EACH, values, strict=True):
                _append(folio.setdefault(word.lstrip("_"), []), value)
            if page == 1:
                for word in _LARGE:
                    place = self._layout.fields.get(word, 0)
                    if place // self._layout.page == 1:
                        folio[word[1:]] = self._int(raw, word)
        # By name: where a folio lies in memory is another matter in every boot.
        return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))

    def _int(self, raw: bytes, word: str) -> int:
        offset = self._layout.fields[word] % self._layout.page
        value: int = struct.unpack_from("<i", raw, offset)[0]
        return value

    def _flags(self, word: int) -> list[str]:
        bits = self._layout.bits.items()
        return [name for name, bit in bits if word >> bit & 1 and name not in ("head", "waiters")]

    def _place(
        self, address: int, log: RaceLog, names: Names, fresh: Sequence[str]
    ) -> tuple[str, list[Any]]:
        """Whose entry an address is, and for which page."""
        base, pid = log.tables.get(address & ~4095, (0, 0))
        place = names.place(base + ((address & 4095) // 8 << 12)) if base else None
        process = names.processes.get(pid)
        if process is None:  # of a table made in the race
            process = fresh[0] if len(fresh) == 1 else "new"
            if not fresh and len(set(names.processes.values())) == 1:
                process = next(iter(names.processes.values()))
        return process, list(place) if place is not None else ["?", 0]

    def _entry(self, raw: int, naming: Naming) -> list[str] | None:
        """An entry as `[target, letters]`; migration and swap are marked as in a log."""
        spelled = self._words.entry(raw)
        if spelled is None:
            return None
        return naming.entry(spelled)


def _append(runs: list[list[int]], value: int) -> None:
    """Add a value to run lengths."""
    if runs and runs[-1][0] == value:
        runs[-1][1] += 1
    else:
        runs.append([value, 1])
