"""A machine state as plain text that pastes well into a mail: 72 columns, ASCII.

Pure functions from a step object of the state format to lines.  Counters are
spelled as the state format has them: raw, so -1 based where the kernel's are.
Ranges of pages are inclusive, as people write them: `0-15` is sixteen pages.
PTE flags are RW or RO, D (dirty), Y (accessed) and C (contiguous).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.truth.names.values import letters_in_words

__all__ = ["WIDTH", "page_range", "page_set", "pte_words", "step_lines", "wrap"]

WIDTH = 72
"""Columns of the text, the width of a mail."""

ENTIRELY_MAPPED = 0x800000
"""What one entire (PMD) mapping adds to `nr_pages_mapped`; such values read better in hex."""

_PER_PAGE = ("mapcount", "page_ref", "data")
_FLAG_COUNTERS = ("maybe_shared", "deferred")
_UNREMARKABLE = {"uptodate", "lru", "swapbacked", "referenced", "large_rmappable"}
_HEAD = ("order", "mapping", "index")
_ELSEWHERE = {*_PER_PAGE, *_FLAG_COUNTERS, *_HEAD, "exclusive", "mm_ids", "flags"}


def step_lines(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of one step: its action, what it returned, and the state after it."""
    yield from wrap(f"step {step['step']}: ", _result_words(step), "        ")
    for proc, tables in step["procs"].items():
        yield from _process_lines(proc, tables)
    for name, folio in step["folios"].items():
        yield from _folio_lines(name, folio)


def wrap(head: str, words: Iterable[str], indent: str) -> Iterator[str]:
    """Yield `head` and the words, broken between words where a line would pass `WIDTH`.

    Lines after the first begin with `indent`.  A word longer than a line is
    kept whole, on a line of its own.
    """
    line, empty = head, True
    for word in words:
        glue = "" if empty else " "
        if not empty and len(line) + len(glue) + len(word) > WIDTH:
            yield line.rstrip()
            line, glue = indent, ""
        line += glue + word
        empty = False
    yield line.rstrip()


def page_range(start: int, count: int) -> str:
    """Spell a run of pages, its end included: `5`, `0-15`."""
    return str(start) if count == 1 else f"{start}-{start + count - 1}"


def page_set(runs: Iterable[tuple[int, int]]) -> str:
    """Spell the pages whose value is not zero, given run lengths: `{0-4,6-15}`, `{}`."""
    spans: list[list[int]] = []
    page = 0
    for value, count in runs:
        if value and spans and spans[-1][0] + spans[-1][1] == page:
            spans[-1][1] += count
        elif value:
            spans.append([page, count])
        page += count
    return "{" + ",".join(page_range(*span) for span in spans) + "}"


def pte_words(kind: str, flags: str) -> list[str]:
    """Spell the flags of an entry: `RW` or `RO`, `D`, `Y`, `C`; `exclusive` for a swap entry."""
    if kind == "swap":
        return ["exclusive"] if "e" in flags else []
    if kind == "special":  # a marker: no permissions
        return []
    return letters_in_words(flags)


def _result_words(step: Mapping[str, Any]) -> Iterator[str]:
    yield str(step["action"])
    if step["ret"]:
        yield f"ret {step['ret']}"
    if step.get("out") is not None:
        yield from f"out {step['out']}".split()
    for ident, hold in (step.get("holds") or {}).items():
        yield f"[{hold['kind']} {ident}:"
        *pages, last = _hold_pages(hold["pages"])
        yield from pages
        yield f"{last}]"


def _hold_pages(pages: Iterable[str]) -> Iterator[str]:
    """Join the pages of a hold: `F1.0-15`, and `F1.5 x1024` for a page held often."""
    spans: list[tuple[str, int, int, int]] = []
    for name in pages:
        folio, _, inside = name.partition(".")
        page = int(inside)
        if spans and spans[-1][0] == folio:
            _, start, count, times = spans[-1]
            if page == start + count and times == 1:
                spans[-1] = (folio, start, count + 1, 1)
                continue
            if page == start and count == 1:
                spans[-1] = (folio, start, 1, times + 1)
                continue
        spans.append((folio, page, 1, 1))
    for folio, start, count, times in spans:
        yield f"{folio}.{page_range(start, count)}" + (f" x{times}" if times > 1 else "")


def _process_lines(proc: str, tables: Mapping[str, Any]) -> Iterator[str]:
    rss = [f"{kind} {pages}" for kind, pages in tables["rss"].items() if pages]
    facts = ["rss", *(rss or ["0"])]
    if tables["has_pinned"]:
        facts.append("MMF_HAS_PINNED")
    yield from wrap(f"  {proc}  ", facts, "     ")
    for region, start, end, prot, notes, _anon_vma in tables["vmas"]:
        yield from wrap(
            f"     vma {region} ", [page_range(start, end - start), prot, notes], " " * 9
        )
    for region, start, count, kind, target, page, flags in tables["ptes"]:
        where = f"{region} {page_range(start, count)}"
        words = [] if kind == "present" else [kind]
        words += [*_target_words(target, page, count), *pte_words(kind, flags)]
        yield from wrap(f"     {where:<14} ", words, " " * 20)


def _target_words(target: str | None, page: int, count: int) -> Iterator[str]:
    """Spell what a run maps: `F1.0-15`; swap's `count N` as it is; nothing for the zero page."""
    if target is None:
        return
    if target.startswith("count "):
        yield target
    else:
        yield f"{f'{target}.{page_range(page, count)}':<12}"


def _folio_lines(name: str, folio: Mapping[str, Any]) -> Iterator[str]:
    index = folio["index"]
    place = f"{index[0]} {index[1]}" if isinstance(index, list | tuple) else str(index)
    head = f"  {name:<3} order {folio['order']} {folio['mapping']} {place}"
    if not folio["order"]:  # one page: everything about it in a line
        single = [f"{key} {folio[key][0][0]}" for key in _PER_PAGE if key in folio]
        exclusive = ["exclusive"] if page_set(folio.get("exclusive", ())) != "{}" else []
        words = [*_counters(folio), *single, *exclusive, *_flag_words(folio)]
        yield from wrap(f"{head}  ", words, " " * 6)
        return
    yield from wrap(f"{head} ", _flag_words(folio), " " * 6)
    yield from wrap(" " * 6, _counters(folio), " " * 6)
    for key in _PER_PAGE:
        if key in folio:
            yield from wrap(f"      {key:<9} ", _runs(folio[key]), " " * 16)
    if "exclusive" in folio:
        yield f"      exclusive {page_set(folio['exclusive'])}"


def _flag_words(folio: Mapping[str, Any]) -> list[str]:
    """Name the folio flags that are not as usual: set, or (`not-lru`) missing."""
    usual = ("uptodate", "lru", *(("swapbacked",) if folio["mapping"] in ("anon", "shmem") else ()))
    shown = [flag for flag in folio["flags"] if flag not in _UNREMARKABLE]
    return shown + [f"not-{flag}" for flag in usual if flag not in folio["flags"]]


def _counters(folio: Mapping[str, Any]) -> Iterator[str]:
    for key, value in folio.items():
        if key in _ELSEWHERE:
            continue
        shown = hex(value) if key == "nr_pages_mapped" and value >= ENTIRELY_MAPPED else value
        yield f"{key} {shown}"
    if "mm_ids" in folio:
        slots = " ".join(f"{proc or '-'}:{mapcount}" for proc, mapcount in folio["mm_ids"])
        yield f"mm_ids {slots}"
    for key in _FLAG_COUNTERS:
        if folio.get(key):
            yield key


def _runs(runs: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Spell per-page values with their pages: `0-2:1 3:0 4-15:1`."""
    page = 0
    for value, count in runs:
        yield f"{page_range(page, count)}:{value}"
        page += count
