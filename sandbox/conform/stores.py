"""The order of stores: the engine's events against the log of a real kernel's stores.

A `KERNEL-micro` recording lists, for each traced action, the stores to page-table entries, counters
and flags in program order.  The engine's events, projected on the same words, must come in the same
order.  What a log does not have is left out of the projection: stores that change nothing, a new
folio's words before its first logged one, the child's rss, and flags the log never mentions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import pte_index
from sandbox.errors import Cancelled, SandboxError
from sandbox.machine.fields import DEFERRED_LIST, FIELDS, Struct
from sandbox.machine.fields import field as field_number
from sandbox.machine.memory import (
    ADDR_MASK,
    ALLOC,
    COPY,
    FIRST_MUTATING,
    USER_STORE,
    Word,
)
from sandbox.machine.operations import value_after
from sandbox.mm.flags import MM_ID_LOCK, MM_ID_MASK
from sandbox.scenario.language import Action
from sandbox.truth.ledger import PTE_KIND, Ledger
from sandbox.truth.names.values import FLAG_NAMES
from sandbox.truth.names.words import Words

if TYPE_CHECKING:
    from sandbox.run.session import Session

COUNTERS = frozenset(
    f.number
    for f in FIELDS
    if f.struct is Struct.PAGE and f.name.startswith("_") and f.number != DEFERRED_LIST
)
FLAGS_KIND = field_number(Struct.PAGE, "flags")
RSS = {
    field_number(Struct.MM, f"rss_stat[{name}]"): member
    for name, member in (
        ("MM_ANONPAGES", "anon"),
        ("MM_FILEPAGES", "file"),
        ("MM_SHMEMPAGES", "shmem"),
        ("MM_SWAPENTS", "swap"),
    )
}
COMPARED_FLAGS = {
    name: bit for name, bit in FLAG_NAMES if name not in ("referenced", "active", "workingset")
}
COMPARED_FLAGS["anon_exclusive"] = 1 << 18

RIG_CHILD = "faultin_page_range"
"""From the first store made here on, the log is about the recorded child's own memory, which it
populates after fork (and drains the LRU batches for)."""
WIPED = "free_tail_page_prepare"
"""What it stores in a page of a large folio that is being freed is no counter of the folio any
more: it makes the word what the next owner of the page expects."""
LOGGED_PAGES = 64
"""Per-page words of a folio that the log follows."""

Store = tuple[Any, ...]
"""One store, comparable: what, where, old, new."""


@dataclass(slots=True)
class MicroReport:
    """One traced action."""

    scenario: str
    action: str
    stores: int
    mismatch: str | None = None
    """Where the two orders first differ, or None when they are the same."""


@dataclass(slots=True)
class _Names:
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
    for number, action in enumerate(source, 1):
        start, existing = session.position, set(session.ledger.names)
        processes = set(session.ledger.processes())
        try:
            session.do(action)
        except Cancelled:
            raise
        except SandboxError as error:
            text = f"{type(error).__name__}: {error}"
            yield MicroReport(log["scenario"], action.text, 0, text)
            return
        if number in traced:
            ours = engine_stores(session, start, existing, processes)
            yield compare_stores(log["scenario"], action.text, logged(traced[number]), ours)


# -- the log ---------------------------------------------------------------------------


def logged(events: Iterable[dict[str, Any]]) -> list[Store]:
    """The log's stores in comparable form."""
    names = _Names()
    out: list[Store] = []
    for event in events:
        what = event["what"]
        if RIG_CHILD in event["at"]:
            break
        if WIPED in event["at"]:
            continue
        if what == "pte":
            page = event["at_page"][1]
            out.append(("pte", page & 511, _logged_pte(event["old"]), _logged_pte(event["new"])))
        elif what == "flags":
            out += [
                ("flags", event["folio"], _flag_page(event["page"], change), change)
                for change in sorted(event["change"])  # one store: no order
                if change[1:] in COMPARED_FLAGS
            ]
        elif what == "rss":
            out.append(("rss", event["member"], event["add"]))
        elif what == "deferred list":
            out.append(("deferred list", event["folio"]))
        elif what.startswith("_mm_id["):
            old, new = names.mm_id("log", event["old"]), names.mm_id("log", event["new"])
            out.append((what, event["folio"], 0, old, new))
        elif what.startswith("_"):
            page = event["page"] if what == "_mapcount" else 0
            out.append((what, event["folio"], page, event["old"], event["new"]))
    return out


def _flag_page(page: int, change: str) -> int:
    """The page a flag is compared for: only exclusivity is per page (some live in tails)."""
    return page if change.endswith("anon_exclusive") else 0


def _logged_pte(value: list[str] | None) -> str:
    return "none" if value is None else " ".join(str(part) for part in value)


# -- the engine --------------------------------------------------------------------------


def engine_stores(
    session: Session, start: int, existing: set[int], processes: set[str]
) -> list[Store]:
    """The events since *start*, projected on the words a log has."""
    machine, names, words = session.machine, _Names(), Words(session.ledger)
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
            out += _projected(words, session.ledger, event[1], old, new, names, processes)
    return out


def _projected(
    words: Words, ledger: Ledger, addr: int, old: Word, new: Word, names: _Names, mms: set[str]
) -> Iterator[Store]:
    kind = ledger.machine.memory.kinds[addr]
    if kind == PTE_KIND:
        index = pte_index(addr)
        yield "pte", index, words.recorded_entry(old), words.recorded_entry(new)
    elif kind == DEFERRED_LIST:
        yield "deferred list", words.folio(addr)
    elif kind in RSS:
        if words.proc(addr - FIELDS[kind].offset) in mms:
            yield "rss", RSS[kind], new - old
    elif kind == FLAGS_KIND or kind in COUNTERS:
        name, index = words.folio(addr), ledger.folio(addr).index_of(addr & ADDR_MASK)
        if index >= LOGGED_PAGES:
            return
        if kind == FLAGS_KIND:
            flags = ((flag, bit) for flag, bit in COMPARED_FLAGS.items() if (old ^ new) & bit)
            for change in sorted(("+" if new & bit else "-") + flag for flag, bit in flags):
                yield "flags", name, _flag_page(index, change), change
            return
        field_name = FIELDS[kind].name
        if field_name.startswith("_mm_id["):
            yield field_name, name, 0, names.mm_id("engine", old), names.mm_id("engine", new)
        else:
            yield field_name, name, index if field_name == "_mapcount" else 0, old, new


# -- comparing ---------------------------------------------------------------------------


def compare_stores(
    scenario: str, action: str, theirs: list[Store], ours: list[Store]
) -> MicroReport:
    """Hold the two orders against each other, folios by order of appearance in the log."""
    rename = _renaming(theirs, ours)
    ours = [tuple(_renamed(part, rename) for part in store) for store in ours]
    flags = {store[3][1:] for store in theirs if store[0] == "flags"}
    ours = [s for s in ours if s[0] != "flags" or s[3][1:] in flags]
    ours = _from_first_logged(theirs, ours)
    report = MicroReport(scenario, action, len(theirs))
    for i, (want, got) in enumerate(zip(theirs, ours, strict=False)):
        if want != got:
            report.mismatch = f"store {i + 1} of {len(theirs)}: expected {want}, got {got}"
            return report
    if len(theirs) != len(ours):
        longer = theirs if len(theirs) > len(ours) else ours
        side = "expected" if longer is theirs else "got"
        extra = longer[min(len(theirs), len(ours))]
        report.mismatch = (
            f"{len(theirs)} stores expected, {len(ours)} got; first extra {side}: {extra}"
        )
    return report


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


def _from_first_logged(theirs: list[Store], ours: list[Store]) -> list[Store]:
    """Drop what happened to a folio before the log begins to follow it."""
    first: dict[str, Store] = {}
    for store in theirs:
        if store[0] not in ("pte", "rss"):
            first.setdefault(store[1], store)
    started: set[str] = set()
    out: list[Store] = []
    for store in ours:
        if store[0] not in ("pte", "rss") and store[1] not in started:
            if store != first.get(store[1]):
                continue
            started.add(store[1])
        out.append(store)
    return out
