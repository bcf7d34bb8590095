"""Rules about folios that change hands: frozen, in the swap cache, discarded, reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.machine.derived import GONE, Derived
from sandbox.machine.memory import ADDR_MASK, CAS, DECIDE, STORE, Event, Folio, Vma, Word
from sandbox.machine.offsets import SWAP_CLUSTERS, SWAPFILE_CLUSTER, TABLE_CACHE, TABLE_MAP
from sandbox.mm.flags import PG_anon, PG_buddy, PG_dirty, PG_locked, PG_swapbacked, PG_swapcache

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.kernels.base import Kernel
    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.rules.tlb import Tlb
    from sandbox.truth.ledger import Ledger


class FreezeChecks:
    """I-03, I-33 … I-35, I-41, I-46, I-47, I-49."""

    engine: RuleEngine
    machine: Machine
    kernel: type[Kernel]
    cells: list[Word]
    derived: Derived
    ledger: Ledger
    report: Callable[..., None]
    mapped: Callable[[Folio], int]
    cache_refs: Callable[[Folio], int]
    unlocked_folio: Callable[[Folio], None]
    action_begins: Callable[[int], None]
    begins: Callable[[int], None]
    range_is_empty: Callable[[int, int], None]
    bad_page_state: Callable[[Folio], None]
    page_ref_unfreeze: Callable[[Folio, int], None]
    still_translated: Callable[[Folio], None]
    tlb: Tlb
    held: Callable[[Event, int], None]
    given_back: Callable[[Event], None]
    migrations: dict[int, int]
    swapped: dict[int, int]
    swapped_files: dict[int, int]

    def start_freeze(self) -> None:
        """Make the table of frozen folios."""
        self.frozen: dict[int, int] = self.derived.table("frozen", {})
        """CPU that brought the folio's references to 0 by compare-and-exchange, by its head."""
        self.decided: dict[int, int] = self.derived.table("decided", {})
        """By CPU: the folio that it has decided to reuse, and has not said so yet."""

    # -- freezing ------------------------------------------------------------------------

    def frozen_or_thawed(
        self, op: int, cpu: int, addr: int, old: int, new: int, folio: Folio
    ) -> None:
        """I-34 and I-35: a reference count went to 0 by CAS, or was stored."""
        head = addr - 1
        if op == CAS and new == 0:
            self.freeze(folio, old)
            self.derived.put("frozen", head, cpu)
        elif op == STORE:
            owner = self.frozen.get(head, cpu)
            ok = old == 0 and owner == cpu
            text = f"unfrozen from {old} by CPU {cpu}, frozen by CPU {owner}"
            self.report(ok, "I-34", folio, text, addr)
            self.page_ref_unfreeze(folio, old)
            self.derived.put("frozen", head, GONE)

    def freeze(self, folio: Folio, refs: int) -> None:
        """I-35: nothing but the freezer's own reference and the cache's."""
        mapped, cached = self.mapped(folio), self.cache_refs(folio)
        text = f"frozen at {refs} references with {mapped} mappings, {cached} of the cache"
        ok = mapped == 0 and refs == cached + 1
        self.report(ok, "I-35", folio, text, folio._refcount, deficit=abs(refs - cached - 1))

    def touched_while_frozen(self, folio: Folio, head: int, addr: int, cpu: int) -> None:
        """I-34: a word of a frozen folio changes."""
        owner = self.frozen.get(head, cpu)
        text = f"CPU {cpu} changes a folio that CPU {owner} has frozen"
        self.report(owner == cpu, "I-34", folio, text, addr)

    # -- flags -----------------------------------------------------------------------------

    def flags_moved(self, folio: Folio, cpu: int, head: int, old: int, new: int) -> None:
        """I-28, I-33, I-34 and I-49: flags of a head page changed."""
        if self.frozen and not new & PG_buddy:
            self.touched_while_frozen(folio, head, head, cpu)
        if new & PG_buddy:
            self.derived.put("frozen", head, GONE)
            return
        changed = old ^ new
        if changed & old & PG_locked and self.migrations:
            self.unlocked_folio(folio)
        if changed & PG_swapcache:
            self.cache_flag(folio, bool(new & PG_swapcache))
        if changed & (PG_swapcache | PG_swapbacked) and new & PG_anon:
            ok = new & (PG_swapcache | PG_swapbacked) != PG_swapcache
            self.report(ok, "I-49", folio, "a lazyfree folio is in the swap cache", head)

    def cache_flag(self, folio: Folio, on: bool) -> None:
        """I-33: references before the flag, no slots after it."""
        if on:
            refs, need = self.cells[folio._refcount], self.mapped(folio) + folio.nr_pages
            text = f"in the swap cache with {refs} references, {need} are needed"
            frozen = not refs  # a piece of a split: nobody finds it before it has its references
            self.report(frozen or refs >= need, "I-33", folio, text, folio.flags, folio._refcount)
            return
        caches = self.slot_arrays(TABLE_CACHE)
        held = [first + cache.index(folio) for first, cache in caches if folio in cache]
        text = f"out of the swap cache, slot {held[0] if held else 0} holds it"
        self.report(not held, "I-33", folio, text, folio.flags)

    def slot_arrays(self, array: int) -> Iterator[tuple[int, list[int]]]:
        """Of each cluster that was ever used its first slot and one of its table's arrays."""
        for first in range(0, SWAP_CLUSTERS * SWAPFILE_CLUSTER, SWAPFILE_CLUSTER):
            word = self.ledger.slot_word(array, first)
            if word:
                yield first, self.cells[word : word + SWAPFILE_CLUSTER]

    def cache_slot(self, event: Event, cpu: int, addr: int, old: Word, new: Word) -> None:
        """I-33: a slot of the swap cache is filled."""
        if not new:
            return
        folio = Folio(new)
        slot = self.ledger.slot_at(addr, TABLE_CACHE)
        first = self.cells[folio.private] - 1
        ok = self.cells[folio.flags] & PG_swapcache and first <= slot < first + folio.nr_pages
        text = f"slot {slot} caches a folio that is not marked so, or for slots from {first}"
        self.report(bool(ok), "I-33", folio, text, addr, folio.flags, folio.private)

    def freed(self, folio: Folio) -> None:
        """I-03 and I-41; what the allocator complains of."""
        self.bad_page_state(folio)
        if self.tlb.pages:
            self.still_translated(folio)
        cells, head = self.cells, folio & ADDR_MASK
        bad = [f"mapcount {self.mapped(folio)}"] if self.mapped(folio) else []
        if folio.large:
            checks = [
                ("nr_pages_mapped", folio._nr_pages_mapped, 0),
                ("pincount", folio._pincount, 0),
                ("deferred list", folio._deferred_list, 0),
            ]
            if self.kernel.has_large_mapcount:
                checks.append(("large_mapcount", folio._large_mapcount, -1))
            bad += [f"{name} {cells[a]}" for name, a, want in checks if cells[a] != want]
        self.report(not bad, "I-03", folio, "freed with " + ", ".join(bad), head, folio._refcount)

    # -- decisions ---------------------------------------------------------------------------

    def note(self, event: Event, cpu: int) -> None:
        """I-46, I-47 when a decision is taken, I-49 when a page is discarded; an action begins."""
        if event[2] == "begin":
            self.action_begins(cpu)
            self.begins(cpu)
        elif event[2] == "end":
            self.range_is_empty(cpu, event[4])
        elif event[2] == "hold":
            self.held(event, cpu)
        elif event[2] == "hold_gone":
            self.given_back(event)
        if event[2] == "discard":
            self.discarded(event)
        if event[2] != "reuse":
            return
        folio, decided = event[3], self.decided.get(cpu)
        if event[0] == DECIDE:
            if self.cells[event[1]] == event[5]:
                self.reused(event)
                self.derived.put("decided", cpu, folio)
        elif decided == folio:
            self.derived.put("decided", cpu, GONE)
        else:  # accepted without a look at the references
            self.reused(event)

    def reused(self, event: Event) -> None:
        """I-46 and I-47 when the references read are what a large folio is accepted by."""
        folio = Folio(event[3])
        self.reused_once(folio)
        mm = self.cells[Vma(event[4]).vm_mm]
        ref, large = self.cells[folio._refcount], self.cells[folio._large_mapcount] + 1
        mine = self.ledger.owners[folio & ADDR_MASK].get(mm, 0)
        ok = ref == large == mine and self.cells[folio._pincount] == 0
        self.report(
            ok,
            "I-47",
            folio,
            f"reused with refcount {ref}, mapcount {large}, {mine} of them ours",
            folio._refcount,
        )

    def discarded(self, event: Event) -> None:
        """I-49 when reclaim decides that the contents of a lazyfree page may go."""
        folio = Folio(event[3])
        refs, mapped = self.cells[folio._refcount], self.mapped(folio)
        dirty = bool(self.cells[folio.flags] & PG_dirty)
        text = f"discarded with {refs} references, {mapped} mappings" + ", dirty" * dirty
        self.report(refs == 1 + mapped and not dirty, "I-49", folio, text, folio._refcount)

    def reused_once(self, folio: Folio) -> None:
        """I-46 when a large folio is accepted for reuse."""
        large = self.cells[folio._large_mapcount] + 1
        entire = self.cells[folio._entire_mapcount] + 1
        text = f"reused with {large} mappings of {folio.nr_pages} pages, {entire} of the whole"
        ok = large <= folio.nr_pages and not entire
        self.report(ok, "I-46", folio, text, folio._large_mapcount, folio._entire_mapcount)

    # -- at rest -------------------------------------------------------------------------------

    def swap_at_rest(self) -> None:
        """I-32: what a slot counts is the number of entries that name it."""
        named = Counter(self.swapped)
        named.update(self.swapped_files)
        counts: dict[int, int] = {}
        for first, array in self.slot_arrays(TABLE_MAP):
            counts.update(enumerate(array, first))
        wrong = {slot for slot, count in counts.items() if count != named.get(slot, 0)}
        for slot in wrong | {key for rule, key in self.engine.now if rule == "I-32"}:
            text = f"counts {counts.get(slot, 0)}, {named[slot]} entries name it"
            word = self.ledger.slot_word(TABLE_MAP, slot)
            self.report_slot(slot not in wrong, "I-32", slot, text, word)

    def report_slot(self, ok: bool, rule: str, slot: int, text: str, *words: int) -> None:
        """Tell the engine about a swap slot."""
        if ok:
            self.engine.holds(rule, slot)
        else:
            self.engine.fails(rule, slot, f"swap slot {slot}", text, words)
