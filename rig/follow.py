"""From the records of a traced step to its events: whose word each store is to.

Followed are the struct pages (64 at most of a folio) of folios that a dump around the step knows
or that get their first rmap in it, whole page tables, tables of PMD entries, and RSS counters; of
a process's own code, data and stack nothing.  A folio's name is its frame's: one that is freed and
taken again in a step keeps it, and its second life begins at its rmap.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rig import storelog
from rig.guest import MAX_REGIONS, REGION_BASE, REGION_STRIDE
from rig.states import Span
from rig.storelog import Record
from rig.symbols import Layout, Symbols
from rig.words import Event, Words, signed

__all__ = ["Follower"]

REGIONS = range(REGION_BASE, REGION_BASE + MAX_REGIONS * REGION_STRIDE)
LOGGED_PAGES = 64
_FRAMES = (0x40000, 0x80000)
"""Frames of the guest's memory: 1 GB on `virt`."""
_GIB, _PAGE, _U64 = 1 << 30, 4095, 1 << 64
_SEQUENCE = 64
"""What a range of `write_protect_seq` says it is: not of this log."""
_ALLOCATES = re.compile(r"alloc|prep_new_page|rmqueue|get_page_from_freelist")
_FAULTS = frozenset(
    (
        *("handle_mm_fault", "__handle_mm_fault", "do_anonymous_page", "do_wp_page"),
        *("wp_page_copy", "do_fault", "do_swap_page", "finish_fault"),
    )
)
_ZAPS = frozenset({"unmap_page_range", "__zap_vma_range"})
"""(tlb, vma, from, ...): whose memory goes."""
_RMAP_ADDRESS = {
    "folio_add_new_anon_rmap": 2,
    "folio_add_anon_rmap_ptes": 4,
    "folio_add_anon_rmap_pmd": 3,
}
"""Which argument of an rmap function is the address."""


class Table(NamedTuple):
    """A page table: whose (0: of a process made in the step), and the address of its entry 0."""

    pid: int
    base: int
    pmd: bool = False

    def address(self, entry: int) -> int:
        """What an entry is for."""
        return self.base + (entry << (21 if self.pmd else 12))


@dataclass(slots=True)
class Counter:
    """A part of an RSS counter: the CPU's own, or the shared one, which knows that."""

    pid: int
    member: int
    value: int = 0
    at: int = 0
    cpu: Counter | None = None


class Follower:
    """Reads the steps of one kernel."""

    def __init__(self, symbols: Symbols, layout: Layout, names: Sequence[str]) -> None:
        self.words, self.layout, self.names = Words(layout), layout, names
        self._symbols = symbols
        self._functions: dict[int, str] = {}

    def events(
        self, records: Sequence[Record], before: Iterable[Span], after: Iterable[Span]
    ) -> list[Event]:
        """The events of a step, given the folios of the states around it."""
        return _Step(self, records, before, after).events()

    def function(self, pc: int) -> str:
        """The function at a place."""
        if pc not in self._functions:
            self._functions[pc] = self._symbols.function(pc)
        return self._functions[pc]

    def chain(self, *pcs: int) -> list[str]:
        """The functions at a place and at its callers."""
        return [self.function(pc) for pc in pcs if pc]


class _Step:
    """One step: what is followed, and what has happened so far."""

    def __init__(
        self,
        reader: Follower,
        records: Sequence[Record],
        before: Iterable[Span],
        after: Iterable[Span],
    ) -> None:
        self._reader, self._layout, self._records = reader, reader.layout, records
        self._out: list[Event] = []
        self._follow: dict[int, tuple[int, int]] = {}
        """By frame, the head's and the page in its folio."""
        self._ended: set[int] = set()
        """Heads whose reference count came to 0."""
        self._counters: dict[int, list[Counter]] = {}
        """By the address of their 8 bytes."""
        self._tables: dict[int, Table] = {}
        self._pending: Counter | None = None
        """A CPU's part that percpu_counter_add_batch() is about to set to 0."""
        self._zap_ours = True
        self._at: int | None = None
        """The address that is being faulted in, copied or moved."""
        self._pmd = 0
        self._refcount = self._layout.fields["_refcount"]
        low, high = (self._layout.vmemmap + f * self._layout.page for f in _FRAMES)
        self._pages = range(low, high)
        known = {frame for span in before for frame in range(span.first, span.end)}
        self._new = {
            frame: span
            for span in after
            for frame in range(span.first, span.end)
            if frame not in known
        }
        """Frames that only the dump after the step knows."""

    def events(self) -> list[Event]:
        """All of the step's events."""
        born = self._born()
        # Page cache folios that were there all the time, but not mapped, from the start on.
        for frame, span in self._new.items():
            if frame == span.first and frame not in born:
                self._add(span.first, span.end)
        for index, (kind, words) in enumerate(self._records):
            if kind == storelog.STORE:
                self._store(*words)
            elif kind == storelog.ON:
                self._begin(words)
            elif kind == storelog.CONTENT:
                for counter in self._counters.get(words[0], ()):
                    if counter.cpu is None:
                        counter.value = signed(words[1] >> 8 * (counter.at - words[0]))
            elif kind == storelog.TABLE:
                self._table(*words)
            elif kind == storelog.DROPPED:
                self._tables.pop(words[0], None)
            elif kind == storelog.CALL:
                self._call(words, self._content_after(index))
        return self._out

    def _content_after(self, index: int) -> tuple[int, ...]:
        """What the plugin read for the call at an index."""
        if index + 1 < len(self._records):
            kind, words = self._records[index + 1]
            if kind == storelog.CONTENT:
                return words[1:]
        return ()

    def _born(self) -> set[int]:
        """Heads of the folios that were allocated in the step."""
        born = set()
        for kind, words in self._records:
            if kind == storelog.STORE and words[1] in self._pages:
                frame, offset = divmod(words[1] - self._layout.vmemmap, self._layout.page)
                if frame in self._new and self._is_taken(offset, words[2], words[0]):
                    born.add(self._new[frame].first)
        return born

    def _half(self, word: int) -> int:
        """The reference count in its 8 bytes."""
        return (word >> 32 if self._refcount & 4 else word) & 0xFFFFFFFF

    def _is_taken(self, offset: int, old: int, pc: int) -> bool:
        """Whether a store to a reference count takes a free page."""
        return (
            offset == self._refcount & ~7
            and self._half(old) == 0
            and _ALLOCATES.search(self._reader.function(pc)) is not None
        )

    def _add(self, first: int, end: int) -> None:
        for frame in range(first, min(end, first + LOGGED_PAGES)):
            self._follow[frame] = (first, frame - first)
        self._ended.discard(first)

    def _begin(self, words: tuple[int, ...]) -> None:
        """What is watched from the beginning."""
        parts: dict[tuple[int, int], Counter] = {}
        for address, length, what, extra in storelog.ranges(words):
            if extra >= 0 and what:
                page = address & ~_PAGE
                base = (what & ~1) - (address - page) // 8 * 4096
                self._tables[page] = Table(extra, what & ~1 if what & 1 else base, bool(what & 1))
            elif extra >= 0:
                self._add(extra, extra + length // self._layout.page)
            elif what < 16:
                counter = Counter(-extra, what, at=address)
                parts[extra, what] = counter
                self._counters.setdefault(address & ~7, []).append(counter)
            elif what != _SEQUENCE:
                shared = Counter(-extra, what - 16, cpu=parts[extra, what - 16])
                self._counters.setdefault(address, []).append(shared)

    def _table(self, address: int, reason: int) -> None:
        """A table is followed from here on."""
        if self._at is not None and self._at not in REGIONS:
            return
        if reason == 4 and self._at is not None:
            self._tables.setdefault(address, Table(0, self._at // _GIB * _GIB, True))
        elif reason == 2:
            base = 0 if self._at is None else self._at // _GIB * _GIB + self._pmd
            self._tables.setdefault(address, Table(0, base))

    # -- stores --------------------------------------------------------------------------------

    def _store(self, pc: int, address: int, old: int, new: int, *callers: int) -> None:
        at = (pc, *callers)
        if address in self._pages:
            self._page_store(at, address, old, new)
        elif address & ~_PAGE in self._tables:
            self._entry_store(at, address, old, new)
        elif address in self._counters:
            self._counter_store(at, address, old, new)

    def _page_store(self, at: tuple[int, ...], address: int, old: int, new: int) -> None:
        size = self._layout.page
        frame, offset = divmod(address - self._layout.vmemmap, size)
        if frame not in self._follow:
            return
        head, page = self._follow[frame]
        if head in self._ended and self._half(new) and self._is_taken(offset, old, at[0]):
            del self._follow[frame]  # of another folio from here on
            return
        next_ = self._layout.fields["deferred.next"] - 2 * size
        if page == 2 and offset == next_ and address not in (old, new):
            return  # its neighbour on the list changed
        for low, x, y in _halves(old, new):
            event = self._reader.words.page_event(head, page * size + offset + low, x, y)
            if event is not None:
                self._out.append({**event, "at": self._reader.chain(*at)})
            if page == 0 and offset + low == self._refcount and not y:
                self._ended.add(head)

    def _entry_store(self, at: tuple[int, ...], address: int, old: int, new: int) -> None:
        table, entry = self._tables[address & ~_PAGE], (address & _PAGE) // 8
        spell = self._reader.words.pmd if table.pmd else self._reader.words.entry
        event: Event = {"what": "pmd" if table.pmd else "pte", "pid": table.pid}
        event |= {"old": spell(old), "new": spell(new)}
        event |= {"va": table.address(entry)} if table.base else {"entry": entry}
        self._out.append({**event, "at": self._reader.chain(*at)})

    def _counter_store(self, at: tuple[int, ...], address: int, old: int, new: int) -> None:
        """percpu_counter_add_batch() folds a CPU's part into the shared one when it gets large."""
        for counter in self._counters[address]:
            cpu = counter.cpu
            if cpu is not None:
                # A signed count that the plugin reads unsigned.
                add = (new - old + (_U64 >> 1)) % _U64 - (_U64 >> 1)
                self._rss(counter, add - cpu.value, at)
                self._pending = cpu if cpu.value else None
                continue
            shift = 8 * (counter.at - address)
            x, y = signed(old >> shift), signed(new >> shift)
            if x == y:
                continue
            counter.value = y
            if self._pending is counter and not y:
                self._pending = None
            else:
                self._rss(counter, y - x, at)

    def _rss(self, counter: Counter, add: int, at: tuple[int, ...]) -> None:
        chain = self._reader.chain(*at)
        if _ZAPS & set(chain):
            own = not self._zap_ours
        else:
            faulting = bool(_FAULTS & set(chain)) and self._at is not None
            own = faulting and self._at not in REGIONS
        if add and not own:
            event = {"what": "rss", "pid": counter.pid, "member": counter.member, "add": add}
            self._out.append({**event, "at": chain})

    # -- calls ---------------------------------------------------------------------------------

    def _call(self, words: tuple[int, ...], content: tuple[int, ...]) -> None:
        name, x, callers = self._reader.names[words[0]], words[1:7], words[7:]
        if name == "pmd_install":
            self._pmd = (x[1] & _PAGE) // 8 << 21
        elif name == "handle_mm_fault":
            self._at = x[1]
        elif name == "copy_page_range":
            self._at = content[0]
        elif name == "move_page_tables":
            self._at = content[4] if content[2] in REGIONS else x[3]
        elif name in _ZAPS:
            self._zap_ours = x[2] in REGIONS
        elif name.startswith("folio_add"):
            self._rmap(name, x, callers, content)
        else:
            if name == "copy_huge_pmd" and x[4] in REGIONS:
                self._tables.setdefault(x[2] & ~_PAGE, Table(0, x[4] // _GIB * _GIB, True))
            event = self._logged(name, x)
            if event is not None:
                head = {"what": "call", "function": name, "at": self._reader.chain(*callers)}
                self._out.append({**head, **event})

    def _logged(self, name: str, x: tuple[int, ...]) -> Event | None:
        """What a log has of a call; None if it is not of a region."""
        if name == "contpte_set_ptes":
            table, entry = x[2] & ~_PAGE, (x[2] & _PAGE) // 8
            self._tables.setdefault(table, Table(0, x[1] - entry * 4096))
            return {"va": x[1], "nr": x[4], "pte": self._reader.words.entry(x[3])}
        if name.startswith(("contpte", "__contpte")):
            if x[1] not in REGIONS:
                return None
            return {"va": x[1], "nr": x[3]} if name.endswith("ptes") else {"va": x[1]}
        if name == "deferred_split_folio":
            return {"pfn": self._layout.frame(x[0])}
        return {}

    def _rmap(
        self, name: str, x: tuple[int, ...], callers: tuple[int, ...], content: tuple[int, ...]
    ) -> None:
        """A folio gets an rmap: from its first one on it is followed."""
        frame, place = self._layout.frame(x[0]), _RMAP_ADDRESS.get(name)
        address = None if place is None else x[place]
        if address is not None and address not in REGIONS:
            return
        if address is None and frame not in self._new and frame not in self._follow:
            return
        first = name == "folio_add_new_anon_rmap"
        if frame not in self._follow or (first and self._follow[frame][0] in self._ended):
            large = content and content[0] >> self._layout.bits["head"] & 1
            order = content[self._layout.page // 8] & 0xFF if large else 0
            self._add(frame, frame + (1 << order))
        if first:
            head = {"what": "call", "function": name, "at": self._reader.chain(*callers)}
            self._out.append({**head, "va": address, "pfn": frame})


def _halves(old: int, new: int) -> Iterator[tuple[int, int, int]]:
    """The 32-bit halves of 8 bytes that changed: (bytes from the start, old, new)."""
    for low in (0, 4):
        x, y = (struct.unpack_from("<I", struct.pack("<Q", word), low)[0] for word in (old, new))
        if x != y:
            yield low, x, y
