"""Rules about where things are: entries and their VMAs, folios and their files, rmap.

They are looked at when nothing is in flight, for the processes and folios that were touched since
the machine was last quiet, and walk tables and VMAs as the kernel's own functions would.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MARKER,
    PTE_PRESENT_INVALID,
    PTE_VALID,
    PTRS_PER_PTE,
)
from sandbox.machine.address_space import Avc
from sandbox.machine.derived import GONE
from sandbox.machine.fields import FIELDS, Struct, field
from sandbox.machine.memory import ADDR_MASK, AnonVma, Event, Folio, Mapping, Mm, Vma
from sandbox.machine.offsets import COMPOUND_HEAD, LAST_ENTRY, MAPPING, PT_MM, PT_START
from sandbox.mm.flags import MMF_DEAD, PG_anon, PG_buddy, PG_ksm
from sandbox.truth.ledger import PMD_KIND, PTE_KIND, TABLE_MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sandbox.kernels.base import Kernel
    from sandbox.machine.derived import Derived
    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger

MM_KIND = field(Struct.MM, "flags")
FOLIO_KIND = field(Struct.PAGE, "flags")
MM_MT_KIND = field(Struct.MM, "mm_mt")
MAPPING_KIND = field(Struct.MAPPING, "i_mmap_rwsem")
_PTE = bytes((PTE_KIND,))
PRESENT = PTE_VALID | PTE_PRESENT_INVALID


class PlaceChecks:
    """I-55 … I-58."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Any]
    derived: Derived
    touched: dict[int, int]
    report: Callable[..., None]

    def start_places(self) -> None:
        """Make the tables of what is mapped by which word, and of who runs alone."""
        table = self.derived.table
        self.pmds: dict[int, dict[int, int]] = table("pmds", {}, follows=True)
        """By mm: the words of the middle level that are not 0, by the first page they map."""
        self.loose: dict[int, tuple[int, int]] = table("loose", {})
        """Page tables that were taken out of an mm: which one, and the first page they mapped."""
        self.alone: dict[int, int] = table("alone", {})
        """CPUs whose action no other CPU's has run beside so far."""
        self.anon_pgoff = self.kernel().anon_pgoff_word(Vma(0))
        watch = self.machine.watch
        watch(PMD_KIND, self.pmd_linked)
        self.machine.check(PMD_KIND, self.table_taken_out)
        watch(MM_MT_KIND, self.layout_changed, self.layout_unchanged)
        for name in ("vm_start", "vm_end", "vm_next"):
            watch(field(Struct.VMA, name), self.layout_changed, self.layout_unchanged)
        self.machine.check(field(Struct.PAGE, "mapping"), self.mapping_changed)

    # -- what is followed ------------------------------------------------------------------

    def pmd_linked(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Keep the words of the middle level (both directions)."""
        if bool(old) == bool(new):
            return
        table = addr & TABLE_MASK
        mm = self.cells[table + PT_MM]
        mine = self.pmds.setdefault(mm, {})
        start = self.cells[table + PT_START] + ((addr & LAST_ENTRY) << 9)
        if new:
            mine[start] = addr
        else:
            mine.pop(start, None)

    def table_taken_out(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Remember page tables that no word leads to any more; one may be hung up again."""
        if new and not new & PTE_HUGE and new >> PFN_SHIFT in self.loose:
            self.derived.put("loose", new >> PFN_SHIFT, GONE)
        if old and not new and not old & PTE_HUGE:
            table = addr & TABLE_MASK
            start = self.cells[table + PT_START] + ((addr & LAST_ENTRY) << 9)
            self.derived.put("loose", old >> PFN_SHIFT, (self.cells[table + PT_MM], start))

    def _mm_of(self, addr: int) -> int:
        """The mm that a word of a VMA, or of an mm, belongs to; 0 when it is not said yet."""
        kind = self.machine.memory.kinds[addr]
        base = addr - FIELDS[kind].offset
        mm: int = base if kind == MM_MT_KIND else self.cells[Vma(base).vm_mm]
        return mm

    def layout_changed(self, event: Event, cpu: int, addr: int, old: Any, new: Any) -> None:  # noqa: ANN401  # a word
        """The VMAs of an mm change: it counts as touched."""
        if old != new:
            mm = self._mm_of(addr)
            self.touched[mm] = self.touched.get(mm, 0) + 1

    def layout_unchanged(self, event: Event, cpu: int, addr: int, old: Any, new: Any) -> None:  # noqa: ANN401  # a word
        """That is taken back."""
        if old != new:
            less(self.touched, self._mm_of(addr))

    def begins(self, cpu: int) -> None:
        """An action begins: is it alone? Those that run beside it no longer are."""
        others = [c for c, task in enumerate(self.machine.running) if task and c != cpu]
        for other in others:
            self.derived.put("alone", other, None)
        self.derived.put("alone", cpu, None if others else 1)

    # -- at rest ---------------------------------------------------------------------------

    def places(self, touched: Iterable[int]) -> None:
        """I-55, I-57 and I-58 for what was touched."""
        kinds = self.machine.memory.kinds
        for addr in touched:
            kind = kinds[addr]
            if kind == FOLIO_KIND:
                self.place_of_folio(Folio(self.cells[addr + COMPOUND_HEAD]))
            elif kind == MM_KIND and not self.cells[Mm(addr).flags] & MMF_DEAD:
                self.entries_in_vmas(Mm(addr))

    def mm_is_empty(self, cpu: int, mm: Mm) -> None:
        """I-55 for an mm that is given back, unless another thread may still be in a fault."""
        if self.alone.get(cpu):
            self.entries_in_vmas(mm)

    def entries_in_vmas(self, mm: Mm) -> None:
        """I-55 for one mm."""
        name = self.ledger.process_of(mm)
        stray = next(self.strays(mm), None)
        if stray is None:
            self.engine.holds("I-55", mm)
        else:
            addr, word = stray
            region, page = self.ledger.region_of(addr)
            text = f"an entry of {region} {page} lies in no VMA"
            self.engine.fails("I-55", mm, name, text, (word,))

    def strays(self, mm: Mm) -> Iterator[tuple[int, int]]:
        """(virtual page, word) of entries of an mm outside its VMAs."""
        yield from self.left_in_tables(mm)
        cells = self.cells
        vmas = [(cells[v.vm_start], cells[v.vm_end]) for v in self.ledger.vmas(mm)]
        starts = [start for start, _ in vmas]
        for first, word in self.pmds.get(mm, {}).items():
            at, last = bisect_right(starts, first) - 1, first + 512
            if at >= 0 and vmas[at][1] >= last:
                continue
            begin = first
            for start, end in (*vmas[max(at, 0) :], (last, last)):
                if begin < min(start, last):
                    yield from self.filled(word, first, begin, min(start, last))
                begin = max(begin, end)
                if begin >= last:
                    break

    def left_in_tables(self, mm: Mm) -> Iterator[tuple[int, int]]:
        """(virtual page, word) of entries in tables that an mm has no more."""
        kinds = self.machine.memory.kinds
        for table, (owner, first) in self.loose.items():
            if owner != mm:
                continue
            entries = self.cells[table : table + PTRS_PER_PTE]
            if kinds[table : table + 1] == _PTE and any(entries):
                yield from ((first + i, table + i) for i, entry in enumerate(entries) if entry)

    def filled(self, word: int, first: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(virtual page, word) of what is not empty of [start, end) under one PMD word."""
        value = self.cells[word]
        if value & PTE_HUGE:
            yield start, word
            return
        table = (value >> PFN_SHIFT) + start - first
        entries = self.cells[table : table + end - start]
        if any(entries):
            yield from ((start + i, table + i) for i, entry in enumerate(entries) if entry)

    def range_is_empty(self, cpu: int, ret: int) -> None:
        """I-56: an action ends that was alone; markers of userfaultfd may stay."""
        task = self.machine.running[cpu]
        if ret or task is None or not self.alone.get(cpu):
            return
        if task.call.function != "sys_madvise" or task.call.args[3] != "dontneed":
            return
        args: tuple[Any, ...] = task.call.args
        mm, start, end = args[:3]
        for first, word in self.pmds.get(mm, {}).items():
            lo, hi = max(first, start), min(first + 512, end)
            for addr, entry in self.filled(word, first, lo, hi) if lo < hi else ():
                if not self.cells[entry] & PTE_MARKER:
                    region, page = self.ledger.region_of(addr)
                    text = f"{region} {page} has an entry after MADV_DONTNEED"
                    self.engine.fails("I-56", mm, self.ledger.process_of(mm), text, (entry,))
                    return
        self.engine.holds("I-56", mm)

    # -- folios ----------------------------------------------------------------------------

    def place_of_folio(self, folio: Folio) -> None:
        """I-57 for a folio of a file, I-58 for one that is mapped."""
        head = folio & ADDR_MASK
        flags = self.cells[head]
        leaves = self.ledger.leaves.get(head, 0)
        if not flags & (PG_anon | PG_buddy):
            self.place_in_file(folio, leaves)
        if leaves and not flags & PG_ksm:
            found = self.found_by_rmap(folio, leaves)
            if found < leaves:
                leaves -= self.left_by_the_dead(head)
            ok = found >= leaves
            text = f"{leaves} entries map it, rmap finds {found}"
            self.report(ok, "I-58", folio, text, folio.mapping, folio.index, deficit=leaves - found)
        elif self.engine.now:
            self.engine.holds("I-58", head)

    def left_by_the_dead(self, head: int) -> int:
        """Entries for a folio in mms that are gone: a fault of another thread was in flight."""
        owners = self.ledger.owners[head]
        return sum(n for mm, n in owners.items() if self.cells[Mm(mm).flags] & MMF_DEAD)

    def place_in_file(self, folio: Folio, leaves: int) -> None:
        """I-57: the slots of the file's cache have the folio."""
        mapping = Mapping(self.cells[folio.mapping])
        if self.machine.memory.kinds[mapping] != MAPPING_KIND:
            self.report(not leaves, "I-57", folio, "mapped, and in no file", folio.mapping)
            return
        first = self.cells[mapping.i_pages] + self.cells[folio.index]
        slots = self.cells[first : first + folio.nr_pages]
        other = next((slot for slot in slots if slot != folio), folio)
        text = f"index {self.cells[folio.index]} of its file has " + (
            self.ledger.name_of(other) if other else "no folio"
        )
        self.report(other == folio, "I-57", folio, text, folio.index, first)

    def mapping_changed(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """I-57: a folio leaves its file after its slots."""
        if new or self.machine.memory.kinds[old] != MAPPING_KIND:
            return
        folio = Folio(self.cells[addr - MAPPING + COMPOUND_HEAD])
        first = self.cells[Mapping(old).i_pages] + self.cells[folio.index]
        left = folio in self.cells[first : first + folio.nr_pages]
        text = f"out of its file, whose index {self.cells[folio.index]} still has it"
        self.report(not left, "I-57", folio, text, addr, first)

    def found_by_rmap(self, folio: Folio, enough: int) -> int:
        """How many entries for the folio a walk of its VMAs finds; it stops at *enough*."""
        cells, mapping = self.cells, self.cells[folio.mapping]
        if not mapping:
            return 0
        anon = cells[folio.flags] & PG_anon
        pgoff = self.anon_pgoff if anon else Vma(0).vm_pgoff
        index, nr, pfn, found = cells[folio.index], folio.nr_pages, folio.pfn, 0
        for vma in self.of_anon_vma(mapping) if anon else self.of_file(mapping):
            base = cells[vma.vm_start] + index - cells[vma + pgoff]
            lo, hi = max(base, cells[vma.vm_start]), min(base + nr, cells[vma.vm_end])
            while lo < hi:
                pmds = cells[Mm(cells[vma.vm_mm]).pud(lo)]
                pmd = cells[pmds + (lo >> 9 & LAST_ENTRY)] if pmds else 0
                end = min((lo | LAST_ENTRY) + 1, hi)
                if pmd & PTE_HUGE:
                    found += (
                        bool(pmd & PRESENT)
                        and (pmd >> PFN_SHIFT) - pfn == (lo & ~LAST_ENTRY) - base
                    )
                elif pmd:
                    table = (pmd >> PFN_SHIFT) + (lo & LAST_ENTRY)
                    for i, pte in enumerate(cells[table : table + end - lo], pfn + lo - base):
                        if pte >> PFN_SHIFT == i and pte & PRESENT:
                            found += 1
                lo = end
            if found >= enough:
                break
        return found

    def of_anon_vma(self, anon_vma: int) -> Iterator[Vma]:
        """The VMAs in the tree of an anon_vma, each once."""
        cells, seen = self.cells, set()
        avc = Avc(cells[AnonVma(anon_vma).rb_root])
        while avc:
            vma = Vma(cells[avc.vma])
            if vma not in seen:
                seen.add(vma)
                yield vma
            avc = Avc(cells[avc.rb_next])

    def of_file(self, mapping: int) -> Iterator[Vma]:
        """The VMAs that map a file."""
        vma = Vma(self.cells[Mapping(mapping).i_mmap])
        while vma:
            yield vma
            vma = Vma(self.cells[vma.shared_next])


def less(counts: dict[int, int], key: int) -> None:
    """Take one from a count, and forget it at 0."""
    count = counts.get(key, 0) - 1
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)
