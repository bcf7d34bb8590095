"""End states as outcomes: what is compared, with names that do not depend on the schedule."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sandbox.truth.compare import FOLIO_FLAGS

__all__ = ["Outcome", "differences", "names_before", "outcome"]

Outcome = dict[str, str]
"""Each compared value of a state by what it is of."""

_WORDS = (
    *("order", "refcount", "large_mapcount", "entire_mapcount", "nr_pages_mapped", "pincount"),
    *("maybe_shared", "deferred", "mapping"),
)
_RUNS = ("mapcount", "exclusive", "data")
_LETTERS = "wodyce"
_BLOCK = 16


def outcome(
    state: Mapping[str, Any], before: Mapping[str, Any], dead: Collection[str] = ()
) -> Outcome:
    """The outcome of a race, given the state before it and the folios that died in it.

    Folios of the state before keep the names they have there by place; new ones are named by
    where they first appear in the page tables.
    """
    names = names_before(before, dead)
    listed = sorted(state["folios"], key=lambda name: int(name[1:]))
    fresh = dict.fromkeys(name for name in (*_places(state), *listed) if name not in names)
    names |= {name: f"n{at}" for at, name in enumerate(fresh, 1)}
    found = {"ret": str(state["ret"])}
    for process, tables in sorted(state["procs"].items()):
        found.update(_process(process, tables, names))
    for name, folio in state["folios"].items():
        found.update(_folio(names[name], folio))
    for ident, hold in (state.get("holds") or {}).items():
        pages = " ".join(_renamed(page, names) for page in hold["pages"])
        found[f"hold {ident}"] = f"{hold['kind']} {pages}"
    return dict(sorted(found.items()))


def names_before(before: Mapping[str, Any], dead: Collection[str] = ()) -> dict[str, str]:
    """Names of the folios of a state that are the same on both sides: by their places."""
    return {name: f"f{at}" for at, name in enumerate(_places(before), 1) if name not in dead}


def differences(one: Outcome, other: Outcome) -> dict[str, tuple[str | None, str | None]]:
    """What two outcomes do not agree in."""
    return {
        key: (one.get(key), other.get(key))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    }


def _places(state: Mapping[str, Any]) -> list[str]:
    """Folios in the order of the page tables, then of the holds."""
    found: dict[str, None] = {}
    for _name, tables in sorted(state.get("procs", {}).items()):
        for run in sorted(tables["ptes"], key=lambda run: (run[0], run[1])):
            if _is_folio(run[4]):
                found[run[4]] = None
    for _ident, hold in sorted((state.get("holds") or {}).items()):
        found.update((page.rpartition(".")[0], None) for page in hold["pages"])
    return [name for name in found if _is_folio(name)]


def _is_folio(name: object) -> bool:
    return isinstance(name, str) and name[:1] == "F" and name[1:].isdigit()


def _renamed(page: str, names: Mapping[str, str]) -> str:
    name, _, number = page.rpartition(".")
    return f"{names.get(name, '?')}.{number}"


def _process(
    process: str, tables: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    rows: dict[tuple[str, int], tuple[str, str, str]] = {}
    for region, first, count, kind, target, page, flags in tables["ptes"]:
        for index in range(count):
            place = f"{names[target]}.{page + index}" if _is_folio(target) else str(target)
            rows[region, first + index] = (kind, place, flags)
    for (region, page), (kind, target, flags) in rows.items():
        letters = set(flags)
        if "c" in letters:  # any entry of a block may carry the block's young and dirty
            start = page // _BLOCK * _BLOCK
            for other in range(start, start + _BLOCK):
                more = rows.get((region, other), ("", "", ""))[2]
                letters |= set(more) & {"y", "d"} if "c" in more else set()
        shown = "".join(letter for letter in _LETTERS if letter in letters)
        yield f"{process}.{region}[{page}]", f"{kind} {target} {shown}"
    # What the walk counted, if a page of the process's own was touched meanwhile.
    rss = tables.get("mapped", tables["rss"])
    counts = {kind: count for kind, count in rss.items() if count}
    yield f"{process}.rss", json.dumps(counts, sort_keys=True)
    yield f"{process}.pinned", str(bool(tables.get("has_pinned")))


def _folio(name: str, folio: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for word in _WORDS:
        if word in folio:
            yield f"{name}.{word}", str(folio[word])
    if folio["mapping"] in ("anon", "shmem", "file"):  # else it is left-over memory
        yield f"{name}.index", str(folio["index"])
    if "mm_ids" in folio:
        owners = sorted(map(str, (slot for slot in folio["mm_ids"] if slot[0])))
        yield f"{name}.mm_ids", " ".join(owners)
    flags = sorted(set(folio["flags"]) & set(FOLIO_FLAGS))
    yield f"{name}.flags", " ".join(flags)
    for word in _RUNS:
        if word in folio:
            values = (str(value) for value, count in folio[word] for _ in range(count))
            yield f"{name}.{word}", " ".join(values)
