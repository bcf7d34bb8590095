"""The machine as one JSON object, in the shape of the recordings (the state format)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_NR,
    PTE_HUGE,
    PTE_MARKER,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_UFFD_WP,
    pte_page,
    pte_pfn,
)
from sandbox.machine.memory import Folio, Mapping, Mm, Vma
from sandbox.machine.offsets import TABLE_MAP
from sandbox.mm import flags as f
from sandbox.truth.ledger import Ledger, entry_kind
from sandbox.truth.names.values import FLAG_NAMES, VMA_NOTES, pte_letters

if TYPE_CHECKING:
    from sandbox.run.session import Session

Leaf = tuple[int, int, int]
"""A leaf entry: (virtual page, word, value)."""


def run_lengths(values: Iterable[Any]) -> list[list[Any]]:
    """``[[value, count], ...]`` of consecutive equal values."""
    out: list[list[Any]] = []
    for value in values:
        if out and out[-1][0] == value:
            out[-1][1] += 1
        else:
            out.append([value, 1])
    return out


def machine_state(session: Session) -> dict[str, Any]:
    """`procs`, `folios` and, if any, `holds` of the state format."""
    ledger = session.ledger
    state: dict[str, Any] = {
        "procs": {name: process_state(ledger, mm) for name, mm in ledger.processes().items()},
        "folios": {
            ledger.name_of(folio): folio_state(session, folio) for folio in ledger.live_folios()
        },
    }
    holds = holds_state(ledger)
    if holds:
        state["holds"] = holds
    return state


def holds_state(ledger: Ledger) -> dict[str, Any]:
    """Pins and gets alive, by id."""
    out: dict[str, dict[str, Any]] = {}
    for hold in ledger.book.holds:
        if hold.kind == "uring":
            continue
        names = []
        for page in hold.pages[:1] if hold.repeated else hold.pages:
            folio = ledger.folio(page)
            names.append(f"{ledger.name_of(folio)}.{folio.index_of(page)}")
        times = {"times": len(hold.pages)} if hold.repeated else {}
        out[hold.id] = {"kind": hold.kind, **times, "pages": names}
    return out


def process_state(ledger: Ledger, mm: Mm) -> dict[str, Any]:
    """One process: VMAs, entries, rss."""
    cells = ledger.cells
    rss = {
        n: cells[mm.rss_stat(m)] for n, m in (("anon", 1), ("file", 0), ("shmem", 3), ("swap", 2))
    }
    entries = list(ledger.leaf_entries(mm))
    return {
        "vmas": [vma_state(ledger, vma) for vma in ledger.vmas(mm)],
        "ptes": pte_runs(ledger, entries),
        "uffd_wp": uffd_wp_runs(ledger, entries),
        "rss": rss,
        "has_pinned": int(bool(cells[mm.flags] & f.MMF_HAS_PINNED)),
        "pinned_vm": cells[mm.pinned_vm],
        "locked_vm": cells[mm.locked_vm],
    }


def uffd_wp_runs(ledger: Ledger, entries: Iterable[Leaf]) -> list[list[Any]]:
    """Runs ``[region, first page, count]`` of entries that userfaultfd protects, of any kind."""
    out: list[list[Any]] = []
    next_addr = -1
    for addr, _word, pte in entries:
        if not pte & PTE_UFFD_WP:
            continue
        region, page = ledger.region_of(addr)
        count = HPAGE_PMD_NR if pte & PTE_HUGE else 1
        if out and addr == next_addr and out[-1][0] == region:
            out[-1][2] += count
        else:
            out.append([region, page, count])
        next_addr = addr + count
    return out


def vma_state(ledger: Ledger, vma: Vma) -> list[Any]:
    """``[region, from, to, rwxs, notes, has anon_vma]``."""
    cells = ledger.cells
    region, start = ledger.region_of(cells[vma.vm_start])
    flags = cells[vma.vm_flags]
    perms = "".join(
        letter if flags & bit else "-"
        for letter, bit in (
            ("r", f.VM_READ),
            ("w", f.VM_WRITE),
            ("x", f.VM_EXEC),
            ("s", f.VM_SHARED),
        )
    )
    notes = " ".join(name for name, bit in VMA_NOTES if flags & bit)
    end = start + cells[vma.vm_end] - cells[vma.vm_start]
    return [region, start, end, perms, notes, bool(cells[vma.anon_vma])]


def pte_runs(ledger: Ledger, entries: Iterable[Leaf]) -> list[list[Any]]:
    """Runs ``[region, first page, count, kind, folio, page in folio, flags]``."""
    out: list[list[Any]] = []
    next_addr = -1
    cells = ledger.cells
    for addr, _word, pte in entries:
        region, page = ledger.region_of(addr)
        kind, letters = entry_kind(pte), pte_letters(pte)
        folio: str | None = None
        index = 0
        if pte & PTE_SWP:
            index = pte_pfn(pte)
            folio = f"count {cells[ledger.slot_word(TABLE_MAP, index)]}"
        elif pte & PTE_HUGE or not pte & (PTE_SPECIAL | PTE_MARKER):
            frame = pte_page(pte)
            target = ledger.folio(frame)
            folio, index = ledger.name_of(target), target.index_of(frame)
        count = HPAGE_PMD_NR if pte & PTE_HUGE else 1
        last = out[-1] if out else None
        same = last is not None and addr == next_addr and last[0] == region
        if (
            last is not None
            and same
            and last[3] == kind
            and last[4] == folio
            and last[6] == letters
            and (kind in ("zero", "special") or last[5] + last[2] == index)
        ):
            last[2] += count
        else:
            out.append([region, page, count, kind, folio, index, letters])
        next_addr = addr + count
    return out


def folio_state(session: Session, folio: Folio) -> dict[str, Any]:
    """One folio's words, raw; fields the kernel does not have are absent."""
    ledger, kernel = session.ledger, session.kernel
    cells = ledger.cells
    flags = cells[folio.flags]
    out: dict[str, Any] = {"order": folio.order, "refcount": cells[folio._refcount]}
    pages = [folio.page(i) for i in range(folio.nr_pages)]
    if folio.large:
        out |= large_state(session, folio)
    anon = bool(flags & f.PG_anon)
    out["mapping"] = "anon" if anon else _host(ledger, folio)
    out["index"] = _index(ledger, folio, anon)
    out["flags"] = [name for name, bit in FLAG_NAMES if flags & bit]
    if kernel.has_page_mapcount or not folio.large:
        out["mapcount"] = run_lengths(cells[p._mapcount] for p in pages)
    if anon:
        out["exclusive"] = run_lengths(
            int(bool(cells[p.flags] & f.PG_anon_exclusive)) for p in pages
        )
    out["data"] = run_lengths(cells[p.data] for p in pages)
    return out


def _index(ledger: Ledger, folio: Folio, anon: bool) -> object:
    """``[region, page]`` where the index is an address, else a page of the file."""
    index = ledger.cells[folio.index]
    region, page = ledger.region_of(index)
    return [region, page] if anon and region != "?" else index


def _host(ledger: Ledger, folio: Folio) -> str:
    """What the recordings call a page-cache folio's mapping."""
    mapping = Mapping(ledger.cells[folio.mapping])
    if not mapping:
        return "none"
    return "file" if ledger.cells[mapping.host] == f.HOST_XFS else "shmem"


def large_state(session: Session, folio: Folio) -> dict[str, Any]:
    """The words only a large folio has."""
    cells, kernel, ledger = session.ledger.cells, session.kernel, session.ledger
    out: dict[str, Any] = {}
    if kernel.has_large_mapcount:
        out["large_mapcount"] = cells[folio._large_mapcount]
    out["entire_mapcount"] = cells[folio._entire_mapcount]
    if kernel.has_page_mapcount:
        out["nr_pages_mapped"] = cells[folio._nr_pages_mapped]
    out["pincount"] = cells[folio._pincount]
    if kernel.has_mm_id:
        ids = {cells[mm.mm_id]: name for name, mm in ledger.processes().items()}
        out["mm_ids"] = [
            [ids.get(cells[folio._mm_id(k)] & f.MM_ID_MASK), cells[folio._mm_id_mapcount(k)]]
            for k in (0, 1)
        ]
        out["maybe_shared"] = bool(cells[folio._mm_id(1)] & f.MM_ID_SHARED)
    if folio.order > 1 and cells[folio.flags] & f.PG_large_rmappable:
        out["deferred"] = cells[folio._deferred_list] == 1
    return out
