"""Reading what a folio has: its counters by the kernel's names, and one glyph for each page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmtui.model.bench import Bench
from mmtui.views.marks import Marks, worst
from sandbox.machine.fields import Struct
from sandbox.machine.handles import PAGE_WORDS
from sandbox.machine.memory import ADDR_MASK, MAX_CPUS, Fbatch, Folio, PerCpu
from sandbox.machine.offsets import MAPCOUNT, PAGE_DATA, REFCOUNT
from sandbox.mm import flags as f
from sandbox.truth.names.values import FLAG_NAMES

__all__ = ["Counter", "Reader"]

Glyphed = tuple[list[str], list[str]]
"""A glyph and a mark for each page."""
_BATCHES = tuple(
    (PerCpu.fbatch_nr(cpu, batch), PerCpu.fbatch_folio(cpu, batch, 0))
    for cpu in range(MAX_CPUS)
    for batch in Fbatch
)
"""Of each LRU batch of the CPUs: the word that counts its folios, and the first of them."""
_HOLDS = 64
"""Holds of pages that are looked through for gets."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of a folio."""

    name: str
    text: str
    mark: str
    old: str | None = None
    """Its value before the last step, if that changed it."""


class Reader:
    """Reads folios of one state; the words are named as in the kernel."""

    def __init__(self, bench: Bench, marks: Marks) -> None:
        self.session = bench.session
        self.marks = marks
        self.cells: list[Any] = bench.session.machine.memory.cells
        self._kernel = bench.session.kernel
        self._ledger = bench.session.ledger
        self._pinned = bench.session.book.pinned
        self._broken = self._find_broken() if marks.broken else {}

    def _find_broken(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """Sentences and mark of the folios for which a rule is broken, by name."""
        found: dict[str, dict[str, str]] = {}
        for v in self.marks.broken.values():
            mark = "window" if v.known_window else "violation"
            found.setdefault(v.subject.partition(".")[0], {})[f"{v.rule} {v.text}"] = mark
        return {name: (tuple(texts), worst(texts.values())) for name, texts in found.items()}

    def broken_for(self, folio: Folio) -> tuple[tuple[str, ...], str]:
        """Sentences on the rules that are broken for a folio, and their mark."""
        if not self._broken:
            return (), ""
        return self._broken.get(self.name(folio), ((), ""))

    def is_page(self, addr: int) -> bool:
        """Whether a word is one of a `struct page`."""
        return self.session.machine.memory.field_at(addr).struct is Struct.PAGE

    # -- the folio -----------------------------------------------------------------------

    def name(self, folio: Folio) -> str:
        """What the folio is called."""
        return self._ledger.name_of(folio)

    def is_anon(self, folio: Folio) -> bool:
        """Whether its pages are anonymous."""
        return bool(self.cells[folio.flags] & f.PG_anon)

    def in_swap_cache(self, folio: Folio) -> bool:
        """Whether the cache that it is in is that of swap."""
        return bool(self.cells[folio.flags] & f.PG_swapcache)

    def kind(self, folio: Folio) -> str:
        """`anon`, `file`, or neither."""
        if self.is_anon(folio):
            return "anon"
        return "file" if self.cells[folio.mapping] else "no mapping"

    def flags(self, folio: Folio) -> str:
        """Its flags by name."""
        flags = self.cells[folio.flags]
        return " ".join(n for n, bit in FLAG_NAMES if flags & bit and n != "large_rmappable")

    def mapped(self, folio: Folio) -> int:
        """Mappings as the kernel's own words count them."""
        if folio.large and not self._kernel.has_page_mapcount:
            return int(self.cells[folio._large_mapcount]) + 1
        return self._ledger.total_mapcount(folio)

    def cached(self, folio: Folio) -> int:
        """References of the page cache or the swap cache, as I-06 counts them."""
        flags = self.cells[folio.flags]
        if flags & f.PG_swapcache:
            return folio.nr_pages
        if flags & (f.PG_anon | f.PG_buddy) or not self.cells[folio.mapping]:
            return 0
        return folio.nr_pages + bool(flags & f.PG_private)

    def pins(self, folio: Folio) -> int:
        """How often its pages are pinned."""
        if not self._pinned:
            return 0
        pages = range(folio & ADDR_MASK, int(folio.page(folio.nr_pages)), 16)
        if len(self._pinned) < folio.nr_pages:
            return sum(count for page, count in self._pinned.items() if page in pages)
        return sum(self._pinned.get(page, 0) for page in pages)

    def gets(self, folio: Folio) -> int:
        """References of FOLL_GET on its pages."""
        return self._gets.get(folio & ADDR_MASK, 0)

    @cached_property
    def _gets(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for number, hold in enumerate(self.session.book.holds):
            if number >= _HOLDS:
                break
            for page in hold.pages if hold.kind == "get" else ():
                head = self.cells[page.compound_head] & ADDR_MASK
                found[head] = found.get(head, 0) + 1
        return found

    def batched(self, folio: Folio) -> int:
        """References of the CPUs' LRU batches."""
        return self._batched.get(folio & ADDR_MASK, 0)

    @cached_property
    def _batched(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for nr, first in _BATCHES:
            for item in self.cells[first : first + self.cells[nr]]:
                head = item & ADDR_MASK
                found[head] = found.get(head, 0) + 1
        return found

    # -- what each page has, as a glyph with its mark ---------------------------------------

    @property
    def counts_pages(self) -> bool:
        """Whether this kernel counts the mappings of each page."""
        return bool(self._kernel.has_page_mapcount)

    def _words(self, pages: Sequence[int], offset: int, shown: Callable[[Any], str]) -> Glyphed:
        """One word of each page; marked where what is shown of it changed."""
        cells, marked = self.cells, self._marked
        if isinstance(pages, range):
            spaced = range(pages.start + offset, pages.stop + offset, PAGE_WORDS)
            words: Sequence[int] = spaced
            values = cells[spaced.start : spaced.stop : PAGE_WORDS]
        else:
            words = [page + offset for page in pages]
            values = [cells[word] for word in words]
        memo = {value: shown(value) for value in set(values)}
        tokens = [""] * len(values)
        for addr in marked if len(marked) < len(words) else words:
            if addr in marked and addr in words:
                token, old = self.marks.token(addr), self.marks.changes.olds.get(addr)
                if token != "changed" or shown(old) != shown(cells[addr]):
                    tokens[words.index(addr)] = token
        return [memo[value] for value in values], tokens

    @cached_property
    def _marked(self) -> frozenset[int]:
        """The words that are marked at all."""
        return frozenset((*self.marks.changes.olds, *self.marks.broken))

    def counts(self, pages: Sequence[int]) -> Glyphed:
        """Mappings by `_mapcount` + 1."""
        return self._words(pages, MAPCOUNT, lambda value: digit(value + 1))

    def entries(self, pages: Sequence[int]) -> Glyphed:
        """Entries that map each page, where the kernel does not count them."""
        leaves = self._ledger.page_leaves
        return [digit(leaves.get(page, 0)) for page in pages], [""] * len(pages)

    def refs(self, pages: Sequence[int]) -> Glyphed:
        """References of small folios."""
        return self._words(pages, REFCOUNT, digit)

    def exclusive(self, pages: Sequence[int]) -> Glyphed:
        """AnonExclusive, marked when just that bit changed."""
        return self._words(pages, 0, lambda flags: "X" if flags & f.PG_anon_exclusive else ".")

    def pinned(self, pages: Sequence[int]) -> Glyphed:
        """Pins of each page."""
        found = ["."] * len(pages)
        if self._pinned:
            for at, page in enumerate(pages):
                if pins := self._pinned.get(page, 0):
                    found[at] = "P" if pins == 1 else digit(pins)
        return found, [""] * len(pages)

    def data(self, pages: Sequence[int]) -> Glyphed:
        """What is written in the pages: one glyph for each content, `.` for zeroes."""
        return self._words(pages, PAGE_DATA, _content)

    # -- counters ------------------------------------------------------------------------

    def _counter(self, name: str, addr: int, *, biased: bool = False) -> Counter:
        value: Any = self.cells[addr]
        old = self.marks.changes.olds.get(addr)
        text = f"{value} (={value + 1})" if biased else f"{value}"
        if name == "_nr_pages_mapped" and value >= f.ENTIRELY_MAPPED:
            text = f"{value:#x}"
        return Counter(name, text, self.marks.token(addr), None if old is None else str(old))

    def counters(self, folio: Folio) -> list[tuple[Counter, ...]]:
        """The same rows of counters for every folio of this size on a kernel."""
        kernel = self._kernel
        if not folio.large:
            return [(self._counter("_mapcount", folio._mapcount, biased=True),)]
        rows: list[tuple[Counter, ...]] = []
        if kernel.has_large_mapcount:
            rows.append((self._counter("_large_mapcount", folio._large_mapcount, biased=True),))
        rows.append((self._counter("_entire_mapcount", folio._entire_mapcount, biased=True),))
        if kernel.has_page_mapcount:
            rows.append((self._counter("_nr_pages_mapped", folio._nr_pages_mapped),))
        rows.append((self._counter("_pincount", folio._pincount),))
        if kernel.has_mm_id:
            rows.append((*(self._slot(folio, k) for k in (0, 1)), self._shared(folio)))
        if folio.order > 1:
            rows.append((self._deferred(folio),))
        return rows

    def _slot(self, folio: Folio, slot: int) -> Counter:
        ids = {self.cells[mm.mm_id]: n for n, mm in self._ledger.processes().items()}
        id_addr, addr = folio._mm_id(slot), folio._mm_id_mapcount(slot)
        owner = ids.get(self.cells[id_addr] & f.MM_ID_MASK, "-")
        text = f"{owner}:{self.cells[addr]}" if owner != "-" else "-"
        old = self.marks.changes.olds.get(addr)
        mark = worst([self.marks.token(id_addr), self.marks.token(addr)])
        return Counter("_mm_id" if slot == 0 else "", text, mark, None if old is None else str(old))

    def _shared(self, folio: Folio) -> Counter:
        shared = bool(self.cells[folio._mm_id(1)] & f.MM_ID_SHARED)
        old = self.marks.changes.olds.get(folio._mm_id(1))
        flipped = old is not None and bool(old & f.MM_ID_SHARED) != shared
        mark = "changed" if flipped else ""
        return Counter("", "maybe shared" if shared else "not shared", mark)

    def _deferred(self, folio: Folio) -> Counter:
        addr = folio._deferred_list
        queued = "queued" if self.cells[addr] else "no"
        return Counter("_deferred_list", queued, self.marks.token(addr))


def _content(value: object) -> str:
    if not value:
        return "."
    return _DATA[value % len(_DATA)] if isinstance(value, int) else "?"


_DATA = "123456789abcdefghijklmnopqrstuvwxyz"


def digit(value: int) -> str:
    """One glyph for a count: `.` for none, `-` below zero, letters from ten on, `+` from 36."""
    if value <= 0:
        return "." if value == 0 else "-"
    return "0123456789abcdefghijklmnopqrstuvwxyz"[value] if value < 36 else "+"
