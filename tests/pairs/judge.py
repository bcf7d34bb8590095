"""Judging an outcome: is it one of the two orders, a mixture of them, or something to look at?

Two calls on two CPUs are not atomic, so a state that neither order gives need not be wrong.  An
outcome is taken apart into *facts* that stand for themselves (one page of one process, one VMA, one
answer), each without the names of folios.  When every fact is one that some order gives, the state
is a mixture: each page was reached by both calls in some order, page by page.  What is left must be
of a kind in `ALLOWED`, which says why a real kernel allows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.pairs.cases import Pair
from tests.pairs.play import Outcome

Fact = tuple[str, ...]
Facts = dict[Fact, Any]


def _expand(runs: list[list[Any]]) -> Iterator[Any]:
    for value, count in runs:
        yield from (value for _ in range(count))


def _folio_facts(folio: dict[str, Any], index: int) -> dict[str, Any]:
    """What a page's folio says of the page; every flag is a fact."""
    out: dict[str, Any] = {
        "order": folio["order"],
        "mapping": folio["mapping"],
        "index": folio["index"],
    }
    out |= {f: True for f in folio["flags"] if f != "referenced"}
    for name in ("mapcount", "exclusive", "data"):
        if name in folio:
            out[name] = list(_expand(folio[name]))[index]
    return out


def _page_facts(
    state: dict[str, Any], name: str, proc: dict[str, Any]
) -> Iterator[tuple[Fact, Any]]:
    """What the entries of one process say, page by page."""
    swapped = 0
    for region, first, count, kind, folio, index, letters in proc["ptes"]:
        for i in range(count):
            seen: dict[str, Any] = {"kind": kind} | {f"entry {letter}": True for letter in letters}
            if folio in state["folios"]:
                seen |= _folio_facts(state["folios"][folio], index + i)
            elif folio:
                seen["swap"] = folio
                swapped += 1
            for key, value in seen.items():
                yield (name, "page", f"{region}.{first + i}", key), value
    # the rules judge the other counters (I-36)
    yield (name, "rss", "swap is right"), proc["rss"]["swap"] == swapped


def _answer_facts(cpu: int, ret: int, out: str | None) -> Iterator[tuple[Fact, Any]]:
    """The errno, and what was printed; of a read, page by page."""
    yield ("ret", str(cpu)), ret
    runs = [run.split("x") for run in (out or "").split()]
    if out and all(len(run) == 2 for run in runs):
        for i, value in enumerate(_expand([[run[0], int(run[1])] for run in runs])):
            yield ("out", str(cpu), str(i)), value
    else:
        yield ("out", str(cpu)), out


def _is_mapped(folio: Mapping[str, Any]) -> bool:
    """Whether anything maps a folio; one without page mapcounts has one for all of it."""
    if "mapcount" in folio:
        return any(n + 1 for n, _ in folio["mapcount"])
    return int(folio["large_mapcount"]) >= 0


def _cached_twice(state: dict[str, Any]) -> int:
    """How many pages of files more than one mapped folio claims to be."""
    pages = Counter(
        (folio["mapping"], folio["index"] + i)
        for folio in state["folios"].values()
        if folio["mapping"] in ("shmem", "file") and _is_mapped(folio)
        for i in range(1 << folio["order"])
    )
    return sum(count > 1 for count in pages.values())


def facts(state: dict[str, Any]) -> Facts:
    """The facts of a state, each under a name of its own."""
    out: Facts = {}
    for name, proc in state["procs"].items():
        for region, start, end, perms, notes, anon in proc["vmas"]:
            for page in range(start, end):
                out[name, "vma", f"{region}.{page}"] = perms, notes, anon
        out |= _page_facts(state, name, proc)
        for key in ("has_pinned", "locked_vm", "pinned_vm"):
            out[name, key] = proc[key]
    for id_, hold in state.get("holds", {}).items():
        out["hold", id_] = hold["kind"], len(hold["pages"])
    out["cache", "pages with two folios"] = _cached_twice(state)
    for cpu, (ret, printed) in enumerate(state["ret"]):
        out |= _answer_facts(cpu, ret, printed)
    return out


class Allowed(NamedTuple):
    """A kind of difference from both orders that a real kernel allows, and why."""

    name: str
    reason: str
    applies: Callable[[Pair, Fact], bool]
    """Whether a fact of a pair is of this kind."""


WRITES = {"write", "poke", "pin", "uring", "populate_write", "mlock", "touch"}
FAULTS = WRITES | {"read", "get", "populate_read"}
ADVICE = {"free", "cold", "pageout"}
SPLITS = {"split", "ksm", "unmerge", "softoffline", "collapse"}
EMPTIES = {"dontneed", "munmap", "remove", "exit", "kill", "mremap"}
COUNTS = {"order", "index", "mapcount", "exclusive", "partially_mapped", "large_rmappable"}
MARKS = {"dirty", "lru", "swapbacked", "swapcache", "uptodate", "entry y", "entry d", "entry o",
         "entry w", "entry c", "kind", "swap", "entry e"}  # fmt: skip


def _of(verbs: set[str], *keys: str) -> Callable[[Pair, Fact], bool]:
    """One of *verbs* takes part, and the fact is one of *keys* of a page."""
    wanted = set(keys)
    return lambda pair, fact: bool(pair.verbs & verbs) and fact[1] == "page" and fact[3] in wanted


def _between(verbs: set[str], others: set[str], *keys: str) -> Callable[[Pair, Fact], bool]:
    """One of *verbs* meets one of *others* (or another of its own)."""
    of = _of(verbs, *keys)
    return lambda pair, fact: bool(pair.verbs & others) and of(pair, fact)


def _in(setups: str, *keys: str) -> Callable[[Pair, Fact], bool]:
    """Both actions are faults, in a setup whose name begins so."""
    of = _of(FAULTS, *keys)
    return lambda pair, fact: (
        pair.verbs <= FAULTS and pair.setup.name.startswith(setups) and of(pair, fact)
    )


def _answer(verbs: set[str], *kinds: str) -> Callable[[Pair, Fact], bool]:
    """The answer or the hold of one of *verbs*."""
    return lambda pair, fact: bool(pair.verbs & verbs) and fact[0] in kinds


ALLOWED = (
    Allowed(
        "a split gives up",
        "what splits, merges or migrates a folio does nothing, or brings its entries back, when"
        " another CPU holds a reference or the folio lock (-EAGAIN, -EBUSY)",
        _of(SPLITS, *COUNTS, *MARKS),
    ),
    Allowed(
        "a split gives up (answer)",
        "the same, as its answer; UFFDIO_MOVE says -EAGAIN when an entry changed under it",
        _answer(SPLITS | {"uffdmove"}, "ret", "out"),
    ),
    Allowed(
        "a page is not moved",
        "move_present_pte() in mm/userfaultfd.c gives up with -EAGAIN when the entry that it read"
        " without the lock has changed: the page stays where it was",
        _between({"uffdmove"}, {"uffdwp"}, *COUNTS, *MARKS, "data", "mapping"),
    ),
    Allowed(
        "reclaimed before it is moved",
        "madvise_inject_error() in mm/madvise.c reads the page in and lets go of mmap_lock; reclaim"
        " may have isolated it by then (soft_offline_page() fails) and takes it out",
        _between({"softoffline"}, {"pageout"}, *COUNTS, *MARKS, "data", "mapping"),
    ),
    Allowed(
        "a pin stops",
        "pages are taken one by one until one may not be; protection may change in between",
        _answer({"pin", "get", "uring"}, "hold", "ret", "out"),
    ),
    Allowed(
        "advice passes over",
        "MADV_FREE, MADV_COLD and reclaim leave alone what is locked, isolated, held, shared or not"
        " present when they come to it, and entries may be cleaned before the folio",
        _of(ADVICE, *COUNTS, *MARKS),
    ),
    Allowed(
        "reuse or copy",
        "a write decides page by page, by the counts of that moment, whether to reuse or to copy",
        _of(WRITES | {"fork"}, *COUNTS, "dirty", "swapcache", "entry w", "entry o", "entry c"),
    ),
    Allowed(
        "emptied and filled again",
        "a fault maps a whole folio or what is cached around it, also where another action has just"
        " emptied the range: those pages are zero, or what the file has",
        _between(FAULTS, EMPTIES, *COUNTS, *MARKS, "data", "mapping"),
    ),
    Allowed(
        "faulted in, not accessed",
        "the page is there when protection changes; the access itself faults again and fails",
        _between(FAULTS, {"mprotect"}, *COUNTS, *MARKS, "data", "mapping"),
    ),
    Allowed(
        "faulted in, not written yet",
        "the page that a write's fault puts in is zero until the write is done again (el0_da() in"
        " arch/arm64/kernel/entry-common.c returns to the instruction): copy_page_range() in"
        " mm/memory.c has mmap_lock for itself, but not against the instruction",
        _between({"write"}, {"fork"}, "data"),
    ),
    Allowed(
        "read ahead",
        "do_swap_page() in mm/memory.c (to 6.17) looks at __swap_count() without a lock, and not at"
        " the entry again: when another CPU has just brought the page back, the count is 0 instead"
        " of 1, and swapin_readahead() leaves the neighbours in the swap cache",
        _in("swapped", "swapcache"),
    ),
    Allowed(
        "dropped as far as it is clean",
        "invalidate_mapping_pages() (mm/truncate.c) goes by the dirty flag of each folio, which"
        " fsync's folio_clear_dirty_for_io() (mm/page-writeback.c) clears one by one",
        lambda pair, fact: pair.verbs == {"fsync", "dropcache"} and fact[0] == "out",
    ),
    Allowed(
        "locked, not populated",
        "mlock gives mmap_lock up before it populates its range; what was moved away meanwhile is"
        " locked, but has no pages yet",
        lambda pair, fact: pair.verbs == {"mlock", "mremap"} and fact[1] in ("vma", "page"),
    ),
    Allowed(
        "accessed",
        "the access flag says that a page was used once; migration, forks and clear_refs pass it on"
        " as they find it",
        _of(SPLITS | {"fork", "clearrefs", "cold"}, "entry y"),
    ),
    Allowed(
        "mlocked",
        "one flag of a folio that several VMAs lock, set and cleared by each; mlock_count, which"
        " the model does not have, keeps it in more cases",
        _of({"mlock", "munlock"}, "mlocked", "unevictable"),
    ),
)


class Verdict(NamedTuple):
    """What an outcome is: ``order``, ``mixture``, the name of an allowed kind, or ``unknown``."""

    kind: str
    what: str = ""


def judge(pair: Pair, outcome: Outcome, orders: list[Facts]) -> Verdict:
    """Hold an outcome against those of the two orders."""
    seen = facts(outcome.state)
    if seen in orders:
        return Verdict("order")
    odd = [
        fact
        for fact in {*seen, *orders[0], *orders[1]}
        if all(seen.get(fact) != order.get(fact) for order in orders)
    ]
    if not odd:
        return Verdict("mixture")
    kinds = set()
    for fact in sorted(odd):
        kind = next((a.name for a in ALLOWED if a.applies(pair, fact)), None)
        if kind is None:
            values = [order.get(fact) for order in orders]
            return Verdict("unknown", f"{' '.join(fact)} is {seen.get(fact)}, in order {values}")
        kinds.add(kind)
    return Verdict(" + ".join(sorted(kinds)))
