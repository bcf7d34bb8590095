"""Two machine states held against each other, cell by cell.

A state is one step object of the state format: `step`, `action`, `ret`, `out`,
`holds`, `procs`, `folios`.  A *cell* is one compared value: one PTE (its kind,
target and flags), one page's mapcount, one counter.  What is compared is what
the state format lists under "Compared":

* run lengths are expanded, so `[[0, 16]]` and `[[0, 8], [0, 8]]` are equal;
* folios match by first co-appearance in the page tables (`FolioNames`), since
  their names are only the order in which each side met them;
* the notes of a VMA, `pinned_vm`, `locked_vm`, the swap slot, and the folio
  flags outside `FOLIO_FLAGS` are left out.

The contiguous bit: one TLB entry serves a whole block of 16 entries, so the
CPU may set the access flag, and its own dirty mark, in any one of them; the
kernel reads a block's `y` and `d` as the OR over its entries
(`contpte_ptep_get`).  A block is therefore compared by that OR: its entries
are those present with `c` that map the same naturally aligned 16 pages of one
folio at one place of one region.  The recordings of CPUs without hardware
access and dirty bits have the same flags in all entries of a block; those of
CPUs with them (`-hwaf`) show blocks with one `wyc` and fifteen `woc` entries,
which is why a writable block's `o` (read-only, so "not dirtied by hardware")
holds only if every entry has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.arch.arm64.pgtable import CONT_PTES

__all__ = [
    "CONT_PTES",
    "FOLIO_FLAGS",
    "Cell",
    "FolioNames",
    "State",
    "Value",
    "compare",
    "count_cells",
]

State = Mapping[str, Any]
"""One step object of the state format."""

Value = str | int | bool | None
"""What a cell holds; None stands for "not there"."""

Key = tuple[str, str]
"""The object and the field of a cell."""

Rename = Callable[[str], str]
"""From a folio's name in a state to the name its cells go by."""

FOLIO_FLAGS = ("swapbacked", "swapcache", "dirty", "uptodate", "lru", "partially_mapped", "mlocked")
"""The folio flags that are compared; the others depend on what ran before."""

_PTE_FLAGS = "wodyce"
_PER_PAGE = frozenset({"mapcount", "exclusive", "data", "page_ref"})
_NOT_COMPARED = frozenset({"swap"})  # the slot of a swap cache folio
_OPTIONAL = ("uffd_wp",)
"""Fields of a process that older recordings do not have: compared where the recording has them."""
_READ_RUN = re.compile(r"(-?[0-9]{1,18})x([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Cell:
    """One compared value of one step, as recorded and as the engine has it."""

    step: int
    """The number of the step, from 1."""
    object: str
    """`step`, `hold ID`, a process, or a folio under its recorded name."""
    field: str
    """The field, with its page in brackets where it has one: `R[5]`, `mapcount[3]`."""
    expected: Value
    """The recorded value; None if the recording has no such cell."""
    got: Value
    """The engine's value, its folios under their recorded names; None if absent."""
    ok: bool
    """Whether the two agree."""


@dataclass(slots=True)
class FolioNames:
    """Which folio of the engine is which recorded one, kept along a scenario.

    A pair is made when an unknown recorded folio and an unknown folio of the
    engine first stand in the same place: the same page of the same region of
    the same process, or the same position of a hold.  It stays for as long
    as the recording has the folio, so one that turns up in the wrong place is a mismatch.
    """

    to_recorded: dict[str, str] = field(default_factory=dict)
    """Recorded name by the engine's name."""
    _paired: set[str] = field(default_factory=set)

    def learn(self, expected: State, got: State) -> None:
        """Pair the folios that these two states show for the first time.

        A recorder that has lost sight of a folio takes it for a new one when it comes back.
        """
        gone = self._paired - expected.get("folios", {}).keys()
        if gone:
            self._paired -= gone
            self.to_recorded = {n: name for n, name in self.to_recorded.items() if name not in gone}
        theirs = dict(_places(got))
        for place, name in _places(expected):
            other = theirs.get(place)
            if other is None or name in self._paired or other in self.to_recorded:
                continue
            self.to_recorded[other] = name
            self._paired.add(name)

    def recorded(self, name: str) -> str:
        """Return the recorded name of an engine folio, or a marked one if it has none."""
        return self.to_recorded.get(name, f"{name}(engine)")


def compare(expected: State, got: State, names: FolioNames | None = None) -> Iterator[Cell]:
    """Yield every cell of two states, the recorded one and the engine's.

    `names` carries the matching of folios from step to step of one scenario;
    a fresh one is used if left out.  What is on one side only gives cells with
    None on the other side.
    """
    matching = FolioNames() if names is None else names
    matching.learn(expected, got)
    ours = _collect(_cells(expected, _as_it_is))
    theirs = _collect(_cells(_as_recorded(expected, got), matching.recorded))
    step = int(expected.get("step", 0))
    for key in ours | theirs:
        want, have = ours.get(key), theirs.get(key)
        yield Cell(step, *key, want, have, ok=key in ours and key in theirs and want == have)


def _as_recorded(expected: State, got: State) -> State:
    """Leave out of the engine's processes what the recorder did not look for."""
    procs = {}
    for name, tables in got.get("procs", {}).items():
        theirs = expected.get("procs", {}).get(name, {})
        missing = [key for key in _OPTIONAL if key in tables and key not in theirs]
        procs[name] = {key: value for key, value in tables.items() if key not in missing}
    return {**got, "procs": procs}


def count_cells(state: State) -> int:
    """Return how many cells a state has, for states that were never reached."""
    return len(_collect(_cells(state, _as_it_is)))


def _collect(cells: Iterable[tuple[Key, Value]]) -> dict[Key, Value]:
    """Gather cells by key; one that comes twice (overlapping runs) must not hide the first."""
    found: dict[Key, Value] = {}
    times: dict[Key, int] = {}
    for key, value in cells:
        unique = key
        while unique in found:  # once, but for fields whose own names end like this
            times[key] = times.get(key, 0) + 1
            again = " again" if times[key] == 1 else f" again {times[key]}"
            unique = (key[0], key[1] + again)
        found[unique] = value
    return found


def _as_it_is(name: str) -> str:
    return name


def _places(state: State) -> Iterator[tuple[tuple[str, str, int], str]]:
    """Yield (process or hold, region, page) and the folio found there, in table order."""
    for proc, tables in state.get("procs", {}).items():
        for region, start, count, _kind, target, _page, _flags in tables["ptes"]:
            if _is_folio(target):
                for index in range(start, start + count):
                    yield (proc, region, index), target
    for ident, hold in (state.get("holds") or {}).items():
        for index, page in enumerate(hold["pages"]):
            yield ("hold", ident, index), page.partition(".")[0]


def _is_folio(target: object) -> bool:
    """Tell a folio's name from the other targets: none (zero page) and swap's `count N`."""
    return isinstance(target, str) and not target.startswith("count ")


def _cells(state: State, rename: Rename) -> Iterator[tuple[Key, Value]]:
    """Yield each cell of a state, its folios named by `rename`."""
    yield ("step", "step"), state.get("step")
    yield ("step", "action"), state.get("action")
    yield ("step", "ret"), state.get("ret")
    if state.get("out") is not None:
        yield ("step", "out"), _canonical_out(state["out"])
    for ident, hold in (state.get("holds") or {}).items():
        yield from _hold_cells(f"hold {ident}", hold, rename)
    for proc, tables in state.get("procs", {}).items():
        yield from _process_cells(proc, tables, rename)
    for name, folio in state.get("folios", {}).items():
        yield from _folio_cells(rename(name), folio)


def _canonical_out(out: str) -> str:
    """Give what an action reported one spelling: read runs merged, JSON keys sorted."""
    runs = _READ_RUN.findall(out)
    if runs and " ".join(f"{value}x{count}" for value, count in runs) == out:
        merged: list[list[int]] = []
        for value, count in runs:
            if merged and merged[-1][0] == int(value):
                merged[-1][1] += int(count)
            else:
                merged.append([int(value), int(count)])
        return " ".join(f"{value}x{count}" for value, count in merged)
    try:
        return json.dumps(json.loads(out), sort_keys=True)
    except (ValueError, RecursionError):
        return out


def _hold_cells(name: str, hold: Mapping[str, Any], rename: Rename) -> Iterator[tuple[Key, Value]]:
    yield (name, "kind"), hold["kind"]
    for index, page in enumerate(hold["pages"]):
        folio, _, inside = page.partition(".")
        yield (name, f"page[{index}]"), f"{rename(folio)}.{inside}"


def _process_cells(
    proc: str, tables: Mapping[str, Any], rename: Rename
) -> Iterator[tuple[Key, Value]]:
    for region, start, end, prot, _notes, has_anon_vma in tables["vmas"]:
        vma = f"vma {region}[{start}]"
        yield (proc, f"{vma}.to"), end
        yield (proc, f"{vma}.prot"), prot
        yield (proc, f"{vma}.anon_vma"), has_anon_vma
    yield from _pte_cells(proc, tables["ptes"], rename)
    for region, start, count in tables.get("uffd_wp", ()):
        for page in range(start, start + count):
            yield (proc, f"uffd_wp {region}[{page}]"), True
    for kind, pages in tables["rss"].items():
        yield (proc, f"rss.{kind}"), pages
    yield (proc, "has_pinned"), tables["has_pinned"]


def _pte_cells(proc: str, runs: Iterable[list[Any]], rename: Rename) -> Iterator[tuple[Key, Value]]:
    entries = [
        (region, start + i, kind, target, page + i, flags)
        for region, start, count, kind, target, page, flags in runs
        for i in range(count)
    ]
    blocks: dict[tuple[str, int, str, int], set[str]] = {}
    for region, index, _, target, page, flags in entries:
        if "c" in flags:
            blocks.setdefault(_block(region, index, target, page), set()).update(_marks(flags))
    for region, index, kind, target, page, flags in entries:
        seen = flags
        if "c" in flags:
            seen = _block_flags(flags, blocks[_block(region, index, target, page)])
        words = [_shown_kind(kind, target), _target(target, page, rename), _ordered(seen)]
        yield (proc, f"{region}[{index}]"), " ".join(word for word in words if word)


def _shown_kind(kind: str, target: object) -> str:
    """A marker is what recordings call a migration: neither present nor swap."""
    return "migration" if kind == "special" and target is None else kind


def _block(region: str, index: int, target: object, page: int) -> tuple[str, int, str, int]:
    """Name the contiguous block of an entry: its first page in the region and in the folio.

    The alignment of the folio decides, not that of the region, which need not
    start at a multiple of the block.
    """
    inside = page % CONT_PTES
    return region, index - inside, str(target), page - inside


def _marks(flags: str) -> Iterator[str]:
    """What one entry says of its whole contiguous block; `dirtied` is by hardware."""
    yield from (mark for mark in "yd" if mark in flags)
    if "w" in flags and "o" not in flags:
        yield "dirtied"


def _block_flags(flags: str, block: set[str]) -> str:
    """Give one entry of a contiguous block the access and dirty marks of all of them."""
    seen = set(flags) | (block & {"y", "d"})
    if "w" in seen and "dirtied" in block:
        seen.discard("o")
    return "".join(seen)


def _ordered(flags: str) -> str:
    return "".join(sorted(flags, key=_PTE_FLAGS.find))


def _target(target: object, page: int, rename: Rename) -> str:
    """Spell what an entry points to; a swap entry's slot and the zero page have no number."""
    if not isinstance(target, str):
        return ""
    return f"{rename(target)}.{page}" if _is_folio(target) else target


def _folio_cells(name: str, folio: Mapping[str, Any]) -> Iterator[tuple[Key, Value]]:
    for key, value in folio.items():
        if key in _NOT_COMPARED:
            continue
        if key in _PER_PAGE:
            yield from _per_page_cells(name, key, value)
        elif key == "flags":
            yield (name, "flags"), " ".join(flag for flag in FOLIO_FLAGS if flag in value)
        elif key == "mm_ids":
            for slot, (proc, mapcount) in enumerate(value):
                yield (name, f"mm_ids[{slot}]"), f"{proc or '-'}:{mapcount}"
        elif isinstance(value, list):
            yield (name, key), " ".join(str(word) for word in value)
        else:
            yield (name, key), value


def _per_page_cells(
    name: str, key: str, runs: Iterable[tuple[int, int]]
) -> Iterator[tuple[Key, Value]]:
    page = 0
    for value, count in runs:
        for _ in range(count):
            # page_ref is recorded only where a tail has a count of its own: 0 and absent are one.
            if key != "page_ref" or value:
                yield (name, f"{key}[{page}]"), int(value)
            page += 1
