"""The order of stores: the engine's events against the log of a real kernel's stores.

A `KERNEL-micro` recording lists, for each traced action, the stores to page-table entries, counters
and flags in program order.  The engine's events, projected on the same words, must come in the same
order, but for what `unordered` lists.  What a log does not have is left out of the projection:
stores that change nothing, a new folio's words before its first logged one, the child's rss, and
flags the log never mentions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64 import pgtable as pt
from sandbox.conform.logs import (
    COMPARED_FLAGS,
    PER_PAGE,
    Logged,
    MmNames,
    Store,
    flag_page,
    read_events,
)
from sandbox.conform.unordered import Rule, first_difference, run_end
from sandbox.errors import Cancelled, SandboxError
from sandbox.machine.fields import DEFERRED_LIST, FIELDS, Struct
from sandbox.machine.fields import field as field_number
from sandbox.machine.memory import (
    ADDR_MASK,
    ALLOC,
    COPY,
    FIRST_MUTATING,
    USER_STORE,
    Globals,
    Word,
)
from sandbox.machine.operations import value_after
from sandbox.scenario.language import Action
from sandbox.truth.ledger import PTE_KIND, Ledger
from sandbox.truth.names.values import pte_letters
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from sandbox.run.session import Session

COUNTERS = frozenset(
    f.number
    for f in FIELDS
    if f.struct is Struct.PAGE and f.name.startswith("_") and f.number != DEFERRED_LIST
)
FLAGS_KIND = field_number(Struct.PAGE, "flags")
LARGE_MAPCOUNT = field_number(Struct.PAGE, "_large_mapcount")
RSS = {
    field_number(Struct.MM, f"rss_stat[{name}]"): member
    for name, member in (
        ("MM_ANONPAGES", "anon"),
        ("MM_FILEPAGES", "file"),
        ("MM_SHMEMPAGES", "shmem"),
        ("MM_SWAPENTS", "swap"),
    )
}
MAPCOUNTS = ("_mapcount", "_entire_mapcount", "_large_mapcount")
LOGGED_PAGES = 64
"""Per-page words of a folio that the log follows."""
PAGE_WORDS = 16


@dataclass(slots=True)
class MicroReport:
    """One traced action."""

    scenario: str
    action: str
    stores: int
    mismatch: str | None = None
    """Where the two orders first differ, or None when they are the same."""


def conform_micro(
    log: Mapping[str, Any], source: Sequence[Action], kernel: str
) -> Iterator[MicroReport]:
    """Run one scenario and compare the order of stores of each traced action.

    `log` is one that `read_log` has checked.  An action that the engine refuses is a mismatch of
    its own, and the last one.
    """
    from sandbox.run.session import Session

    traced = {step["step"]: step["events"] for step in log["steps"]}
    session = Session(kernel)
    own: frozenset[int] = frozenset()
    for number, action in enumerate(source, 1):
        before = Before.of(session, own)
        try:
            session.do(action)
            ours = engine_stores(session, before) if number in traced else []
        except Cancelled:
            raise
        except SandboxError as error:
            text = f"{type(error).__name__}: {error}"
            yield MicroReport(log["scenario"], action.text, 0, text)
            return
        if number in traced:
            theirs = read_events(traced[number], action.verb == "fork")
            if len(session.ledger.processes()) < len(before.processes):
                theirs, ours = without_freed(theirs.stores, theirs.rules), _living(ours)
            yield compare_stores(log["scenario"], action.text, theirs, ours)
        if len(session.ledger.processes()) > len(before.processes):
            own |= session.settle()


@dataclass(slots=True)
class Before:
    """What there was before an action: a log names folios and processes by that."""

    position: int
    processes: dict[int, str]
    """By mm; one that exits in the action is still accounted for."""
    starts: list[int]
    folios: list[tuple[int, str]]
    """Address behind each folio, and its name, in the order of `starts`: a split changes both."""

    own: frozenset[int] = frozenset()
    """Pages of the rig's processes, of which a log does not tell."""

    @classmethod
    def of(cls, session: Session, own: frozenset[int] = frozenset()) -> Before:
        """What there is now."""
        ledger = session.ledger
        live = sorted(
            (int(folio) & ADDR_MASK, folio.nr_pages * PAGE_WORDS, ledger.name_of(folio))
            for folio in ledger.live_folios()
        )
        return cls(
            session.position,
            {int(mm): name for name, mm in ledger.processes().items()},
            [start for start, _, _ in live],
            [(start + size, name) for start, size, name in live],
            own,
        )

    def page(self, addr: int) -> tuple[str, int] | None:
        """The folio that a page was in, and which page of it."""
        at = bisect_right(self.starts, addr) - 1
        if at < 0 or addr >= self.folios[at][0]:
            return None
        return self.folios[at][1], (addr - self.starts[at]) // PAGE_WORDS


def _engine_pte(words: Words, before: Before, pte: int) -> str:
    """The same of the engine's, folios by their names before the action."""
    if not pte:
        return "none"
    if pte & pt.PTE_SWP:
        return "swap e" if pte & pt.PTE_SWP_EXCLUSIVE else "swap"
    if pte & pt.PTE_MARKER:
        return "new.0 m"  # a log takes it for an entry of a migrating page without a name
    if pte & pt.PTE_SPECIAL:
        return f"zero.0 {pte_letters(pte)}".rstrip()
    known = before.page(pt.pte_page(pte) & ADDR_MASK)
    target = f"{known[0]}.{known[1]}" if known else words.page(pt.pte_page(pte))
    letters = "m" if pte & pt.PTE_MIGRATION else pte_letters(pte)
    return f"{target} {letters}".rstrip()


# -- the engine --------------------------------------------------------------------------


def engine_stores(session: Session, before: Before) -> list[Store]:
    """The events since an action began, projected on the words a log has."""
    machine, names, words = session.machine, MmNames(), Words(session.ledger)
    start = before.position
    out: list[Store] = []
    for task in machine.tasks:
        if task.name == "lru_add_drain_all" and task.start >= start:
            end = task.start
            break
    else:
        end = machine.position
    for i in range(start, end):
        event, old = machine.events[i], machine.olds[i]
        if event[0] < FIRST_MUTATING:
            continue
        if event[0] in (ALLOC, COPY, USER_STORE):  # allocations and contents are not projected
            continue
        new = value_after(event, old, machine.cpus[i])
        if new != old:
            out += _projected(words, session.ledger, (event[1], old, new), names, before)
    zero = words.folio(machine.peek(Globals.zero_page))  # that is held is in states
    return _followed(out, {zero, *(name for _, name in before.folios)})


def _followed(stores: list[Store], followed: set[str]) -> list[Store]:
    """Without the words of folios that a log does not follow: in no state, and mapped by nobody."""
    for store in stores:
        if store[0] == "pte":
            followed.update(str(value).split()[0].rsplit(".", 1)[0] for value in store[2:4])
        elif store[0] in MAPCOUNTS:
            followed.add(str(store[1]))
    return [store for store in stores if store[0] in ("pte", "rss") or store[1] in followed]


def _projected(
    words: Words, ledger: Ledger, store: tuple[int, Word, Word], names: MmNames, before: Before
) -> Iterator[Store]:
    addr, old, new = store
    kind = ledger.machine.memory.kinds[addr]
    if kind == PTE_KIND:
        entries = (_engine_pte(words, before, entry) for entry in (old, new))
        yield "pte", pt.pte_index(addr), *entries
    elif kind in RSS:
        if addr - FIELDS[kind].offset in before.processes:
            yield "rss", RSS[kind], new - old
    elif kind in (FLAGS_KIND, DEFERRED_LIST) or kind in COUNTERS:
        page = addr & ADDR_MASK
        if page in before.own:
            return
        known = before.page(page)
        name, index = known or (words.folio(addr), ledger.folio(addr).index_of(page))
        if kind == DEFERRED_LIST:
            yield "deferred list", name
        elif index and kind == LARGE_MAPCOUNT:
            return  # of a piece of a split: its list's place is no word of the folio's
        elif index < LOGGED_PAGES:
            yield from _of_page(name, index, kind, old, new, names)


def _of_page(
    name: str, index: int, kind: int, old: Word, new: Word, names: MmNames
) -> Iterator[Store]:
    """A store to a word of struct page."""
    if kind == FLAGS_KIND:
        flags = ((flag, bit) for flag, bit in COMPARED_FLAGS.items() if (old ^ new) & bit)
        for change in sorted(("+" if new & bit else "-") + flag for flag, bit in flags):
            yield "flags", name, flag_page(index, change), change
        return
    field_name = FIELDS[kind].name
    if field_name.startswith("_mm_id["):
        yield field_name, name, 0, names.mm_id("engine", old), names.mm_id("engine", new)
    else:
        yield field_name, name, index if field_name in PER_PAGE else 0, old, new


# -- comparing ---------------------------------------------------------------------------


def compare_stores(
    scenario: str, action: str, log: Logged | list[Store], ours: list[Store]
) -> MicroReport:
    """Hold the two orders against each other, folios by order of appearance in the log."""
    theirs, rules = log if isinstance(log, Logged) else (log, [None] * len(log))
    rename = _renaming(theirs, ours)
    ours = [tuple(_renamed(part, rename) for part in store) for store in ours]
    flags = {store[3][1:] for store in theirs if store[0] == "flags"}
    ours = [s for s in ours if s[0] != "flags" or s[3][1:] in flags]
    ours = _from_first_logged(theirs, ours, rules)
    report = MicroReport(scenario, action, len(theirs))
    i = first_difference(theirs, ours, rules)
    if i is not None:
        report.mismatch = f"store {i + 1} of {len(theirs)}: expected {theirs[i]}, got {ours[i]}"
        return report
    if len(theirs) != len(ours):
        longer = theirs if len(theirs) > len(ours) else ours
        side = "expected" if longer is theirs else "got"
        extra = longer[min(len(theirs), len(ours))]
        report.mismatch = (
            f"{len(theirs)} stores expected, {len(ours)} got; first extra {side}: {extra}"
        )
    return report


def without_freed(stores: list[Store], rules: Sequence[Rule | None]) -> Logged:
    """A log of an exit without what becomes of a folio's words when it is free.

    Folios are freed 31 at a time, and among them are the process's own, of which no log tells:
    where such a batch ends is nothing that the model could know.
    """
    kept = [at for at, lives in enumerate(_lives(stores)) if lives]
    return Logged([stores[at] for at in kept], [rules[at] for at in kept])


def _living(stores: list[Store]) -> list[Store]:
    return [store for store, lives in zip(stores, _lives(stores), strict=True) if lives]


def _lives(stores: Iterable[Store]) -> Iterator[bool]:
    """Of each store: is it of a folio that had a reference before?"""
    gone: set[Word] = set()
    for store in stores:
        yield store[0] in ("pte", "rss") or store[1] not in gone
        if store[0] == "_refcount" and store[4] == 0:
            gone.add(store[1])


def _folio_names(stores: Iterable[Store]) -> list[str]:
    seen: dict[str, None] = {}
    for store in stores:
        if store[0] == "pte":
            for value in store[2:4]:
                if value != "none":
                    seen.setdefault(value.split()[0].rsplit(".", 1)[0])
        elif store[0] != "rss":
            seen.setdefault(store[1])
    return list(seen)


def _renaming(theirs: list[Store], ours: list[Store]) -> dict[str, str]:
    """Engine name to log name, by the entries that both write, then by order."""
    pairs: dict[str, str] = {}
    want = [s for s in theirs if s[0] == "pte"]
    got = [s for s in ours if s[0] == "pte"]
    for a, b in zip(want, got, strict=False):
        for x, y in ((a[2], b[2]), (a[3], b[3])):
            if x != "none" and y != "none":
                pairs.setdefault(y.split()[0].rsplit(".", 1)[0], x.split()[0].rsplit(".", 1)[0])
    taken = set(pairs.values())
    rest = deque(n for n in _folio_names(theirs) if n not in taken)
    for name in _folio_names(ours):
        if name not in pairs and rest:
            pairs[name] = rest.popleft()
    return pairs


def _renamed(part: Word, rename: dict[str, str]) -> Word:
    if not isinstance(part, str):
        return part
    head, dot, tail = part.partition(".")
    return rename.get(head, head) + dot + tail


def _from_first_logged(
    theirs: list[Store], ours: list[Store], rules: Sequence[Rule | None]
) -> list[Store]:
    """Drop what happened to a folio before the log begins to follow it."""
    first: dict[str, Sequence[Store]] = {}
    for at, store in enumerate(theirs):
        if store[0] not in ("pte", "rss") and store[1] not in first:
            first[store[1]] = theirs[at : run_end(theirs, rules, at)]
    started: set[str] = set()
    out: list[Store] = []
    for store in ours:
        if store[0] not in ("pte", "rss") and store[1] not in started:
            if store not in first.get(store[1], ()):
                continue
            started.add(store[1])
        out.append(store)
    return out
