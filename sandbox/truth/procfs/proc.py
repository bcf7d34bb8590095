"""/proc as text: pagemap, kpagecount, kpageflags, smaps and status of a machine's state.

The binary files are written out, one line per run of pages that say the same; smaps and status
look as the kernel writes them.  Lines that begin with `#` say what the release is known for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_HUGE,
    PTE_MIGRATION,
    PTE_SPECIAL,
    PTE_SWP,
    PTE_UFFD_WP,
    pte_present,
)
from sandbox.errors import UsageError
from sandbox.machine.memory import PAGE_WORDS, Folio, Mapping, Mm, Page, Vma
from sandbox.mm import flags as f
from sandbox.truth.procfs.pages import (
    KPF,
    kpagecount,
    kpageflags,
    maybe_mapped_shared,
    precise_mapcount,
)
from sandbox.truth.procfs.smaps import smaps
from sandbox.truth.text import wrap

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["WHATS", "PagemapEntry", "pagemap", "proc_text", "status"]


@dataclass(frozen=True, slots=True)
class PagemapEntry:
    """One word of /proc/PID/pagemap, taken apart; guard and soft-dirty are not modelled."""

    address: int
    """Virtual page."""
    present: bool
    """Bit 63."""
    swap: bool
    """Bit 62: a swap or migration entry."""
    file: bool
    """Bit 61: a page of a file or of shared memory."""
    uffd_wp: bool
    """Bit 57."""
    exclusive: bool
    """Bit 56: mapped once."""
    frame: int
    """Bits 0-54: the frame, or the swap slot."""
    kind: str
    """What `frame` is: pfn, zero (the page all may share), swap, migration; or marker: nothing."""


def pagemap(session: Session, mm: Mm) -> Iterator[PagemapEntry]:
    """Words of a process's pagemap that are not 0, in address order.

    Bit 56 by release: up to 6.9 the page's mapcount is 1; since 6.12 its precise mapcount, for
    present entries; since 6.15 all of a PMD-mapped range repeats the answer of its first page;
    without page mapcounts the folio is not marked shared.
    """
    for addr, _word, pte in session.ledger.leaf_entries(mm):
        nr = 512 if pte & PTE_HUGE else 1
        for i in range(nr):
            yield _pagemap_entry(session, addr + i, pte, i)


def _pagemap_entry(session: Session, addr: int, pte: int, index: int) -> PagemapEntry:
    frame, present = (pte >> PFN_SHIFT) + index, pte_present(pte)
    uffd_wp = bool(pte & PTE_UFFD_WP)
    kind = "pfn" if present else "migration" if pte & PTE_MIGRATION else "swap"
    if pte & PTE_SPECIAL and not pte & PTE_HUGE:
        kind = "zero"
    elif not pte & (PTE_SWP | PTE_MIGRATION) and not present:
        kind = "marker"
    if pte & PTE_SPECIAL or kind in ("swap", "marker"):
        return PagemapEntry(addr, present, not present, False, uffd_wp, False, frame, kind)
    page = Page(frame << 4)
    folio = session.ledger.folio(page)
    file = not session.ledger.cells[folio.flags] & f.PG_anon
    asked = Page(page - PAGE_WORDS * index) if session.kernel.has_mm_id else page
    exclusive = present and _mapped_once(session, folio, asked)
    return PagemapEntry(addr, present, not present, file, uffd_wp, exclusive, frame, kind)


def _mapped_once(session: Session, folio: Folio, page: Page) -> bool:
    if session.kernel.has_page_mapcount:
        return precise_mapcount(session, page) == 1
    return not maybe_mapped_shared(session, folio)


def status(session: Session, mm: Mm) -> dict[str, int]:
    """The memory lines of /proc/PID/status in kB, from the mm's own counters."""
    cells = session.ledger.cells
    vmas = session.ledger.vmas(mm)
    anon, file, shmem, swap = (
        cells[mm.rss_stat(member)]
        for member in (f.MM_ANONPAGES, f.MM_FILEPAGES, f.MM_SHMEMPAGES, f.MM_SWAPENTS)
    )
    pages = {
        "VmSize": sum(cells[vma.vm_end] - cells[vma.vm_start] for vma in vmas),
        "VmLck": cells[mm.locked_vm],
        "VmPin": cells[mm.pinned_vm],
        "VmRSS": anon + file + shmem,
        "RssAnon": anon,
        "RssFile": file,
        "RssShmem": shmem,
        "VmSwap": swap,
    }
    return {name: 4 * count for name, count in pages.items()}


# -- text ----------------------------------------------------------------------------------


def proc_text(session: Session, what: str, process: str | None = None) -> list[str]:
    """The lines of one file: *what* is one of `WHATS`, of one process or of all.

    kpagecount and kpageflags belong to no process; with one, they are limited to the folios it
    maps.  Raises `UsageError` for an unknown file or process.
    """
    if what not in _WRITERS:
        raise UsageError(f"no file {what!r} in /proc", expected="one of " + ", ".join(WHATS))
    processes = session.ledger.processes()
    if process is not None and process not in processes:
        raise UsageError(
            f"there is no process {process!r}", expected="one of " + " ".join(processes)
        )
    return list(_WRITERS[what](session, process))


def _of_each(
    session: Session, process: str | None, name: str, lines: Callable[[Mm], Iterable[str]]
) -> Iterator[str]:
    """One file per process, each under its path."""
    for i, (who, mm) in enumerate(session.ledger.processes().items()):
        if process in (None, who):
            if i and process is None:
                yield ""
            yield f"/proc/{who}/{name}"
            yield from lines(mm)


def _note(*words: str) -> Iterator[str]:
    return wrap("# ", " ".join(words).split(), "# ")


def _pagemap_text(session: Session, process: str | None) -> Iterator[str]:
    def lines(mm: Mm) -> Iterator[str]:
        yield "region     pages   63 62 61 57 56  frames"
        for first, nr in _runs(pagemap(session, mm)):
            region, page = session.ledger.region_of(first.address)
            bits = (first.present, first.swap, first.file, first.uffd_wp, first.exclusive)
            shown = "  ".join(str(int(bit)) for bit in bits)
            pages = f"{page}" if nr == 1 else f"{page}-{page + nr - 1}"
            yield f"{region:<10} {pages:<8} {shown}  {_frames(first, nr)}"

    yield from _of_each(session, process, "pagemap", lines)
    kernel = session.kernel
    if not kernel.has_page_mapcount:
        yield from _note("Bit 56: the folio is not marked as mapped by several processes.")
    elif kernel.has_mm_id:
        yield from _note("Bit 56: the page is mapped once. In a PMD-mapped range all entries",
                         "repeat the answer of its first page.")  # fmt: skip
    else:
        yield from _note("Bit 56: the page is mapped once.")


def _runs(entries: Iterable[PagemapEntry]) -> Iterator[tuple[PagemapEntry, int]]:
    """(first, how many) of entries that follow one another and say the same."""
    first: PagemapEntry | None = None
    nr = 0
    for entry in entries:
        if first is not None and _continues(first, nr, entry):
            nr += 1
            continue
        if first is not None:
            yield first, nr
        first, nr = entry, 1
    if first is not None:
        yield first, nr


def _continues(first: PagemapEntry, nr: int, entry: PagemapEntry) -> bool:
    same = (first.present, first.file, first.uffd_wp, first.exclusive, first.kind)
    return (
        entry.address == first.address + nr
        and entry.frame == first.frame + (0 if first.kind in ("zero", "marker") else nr)
        and same == (entry.present, entry.file, entry.uffd_wp, entry.exclusive, entry.kind)
    )


def _span(first: int, nr: int) -> str:
    return f"{first:#x}" if nr == 1 else f"{first:#x}-{first + nr - 1:#x}"


def _frames(first: PagemapEntry, nr: int) -> str:
    if first.kind == "zero":
        return f"{first.frame:#x} (zero page)"
    if first.kind == "marker":
        return "none"
    if first.kind == "swap":
        return f"swap {first.frame}" + (f"-{first.frame + nr - 1}" if nr > 1 else "")
    return _span(first.frame, nr) + " (migrating)" * (first.kind == "migration")


def _page_runs(
    session: Session, process: str | None, word: Callable[[Session, Page], int]
) -> Iterator[tuple[Folio, int, int, int]]:
    """(folio, its first page, how many, word) by frame, for live folios."""
    ledger = session.ledger
    mm = ledger.processes()[process] if process else None
    for folio in sorted(ledger.live_folios()):
        if mm is not None and not ledger.owners[folio & ~15].get(mm, 0):
            continue
        start, value = 0, word(session, folio.page(0))
        for i in range(1, folio.nr_pages + 1):
            now = word(session, folio.page(i)) if i < folio.nr_pages else -1
            if now != value:
                yield folio, start, i - start, value
                start, value = i, now


def _kpagecount_text(session: Session, process: str | None) -> Iterator[str]:
    yield "/proc/kpagecount"
    yield "frames             count  folio"
    for folio, first, nr, count in _page_runs(session, process, kpagecount):
        name = session.ledger.name_of(folio)
        pages = f"{first}" if nr == 1 else f"{first}-{first + nr - 1}"
        yield f"{_span(folio.pfn + first, nr):<18} {count:>5}  {name} {pages}"
    if not session.kernel.has_page_mapcount:
        yield from _note(
            "There are no page mapcounts: a large folio shows its average, at least 1."
        )


def _kpageflags_text(session: Session, process: str | None) -> Iterator[str]:
    yield "/proc/kpageflags"
    for folio, first, nr, flags in _page_runs(session, process, kpageflags):
        names = [_flag_name(session, bit).lower() for bit in KPF if flags >> bit & 1]
        name = session.ledger.name_of(folio)
        pages = f"{first}" if nr == 1 else f"{first}-{first + nr - 1}"
        head = f"{_span(folio.pfn + first, nr)}  {name} {pages}  {flags:#x} "
        yield from wrap(head, names, "    ")
    if session.kernel.has_large_mapcount:
        yield from _note("Bit 34 (owner_2) is PG_anon_exclusive of the head: the tails repeat it.")
    else:
        yield from _note("Bit 34 (mappedtodisk) is PG_anon_exclusive, of each page its own.")


def _flag_name(session: Session, bit: KPF) -> str:
    if bit is KPF.OWNER_2 and not session.kernel.has_large_mapcount:
        return "MAPPEDTODISK"
    return bit.name


SMAPS_LINES = (
    ("Size", "size"),
    ("Rss", "resident"),
    ("Pss", "pss"),
    ("Pss_Dirty", "pss_dirty"),
    ("Shared_Clean", "shared_clean"),
    ("Shared_Dirty", "shared_dirty"),
    ("Private_Clean", "private_clean"),
    ("Private_Dirty", "private_dirty"),
    ("Referenced", "referenced"),
    ("Anonymous", "anonymous"),
    ("KSM", "ksm"),
    ("LazyFree", "lazyfree"),
    ("AnonHugePages", "anonymous_thp"),
    ("Swap", "swap"),
    ("SwapPss", "swap_pss"),
    ("Locked", "pss_locked"),
)
VM_FLAGS = (
    ("rd", f.VM_READ),
    ("wr", f.VM_WRITE),
    ("ex", f.VM_EXEC),
    ("sh", f.VM_SHARED),
    ("mw", f.VM_MAYWRITE),
    ("ms", f.VM_MAYSHARE),
    ("lo", f.VM_LOCKED),
    ("dc", f.VM_DONTCOPY),
    ("ac", f.VM_ACCOUNT),
    ("wf", f.VM_WIPEONFORK),
    ("uw", f.VM_UFFD_WP),
    ("hg", f.VM_HUGEPAGE),
    ("nh", f.VM_NOHUGEPAGE),
    ("mg", f.VM_MERGEABLE),
)


def _smaps_text(session: Session, process: str | None) -> Iterator[str]:
    def lines(mm: Mm) -> Iterator[str]:
        for stats in smaps(session, mm):
            yield _vma_line(session, stats.vma)
            for label, name in SMAPS_LINES:
                yield f"{label + ':':<16}{stats.kilobytes(name):>8} kB"
            flags = session.ledger.cells[stats.vma.vm_flags]
            yield "VmFlags: " + " ".join(name for name, bit in VM_FLAGS if flags & bit)

    yield from _of_each(session, process, "smaps", lines)
    if not session.kernel.has_page_mapcount:
        yield from _note("Pss: by the average mapcount of a large folio; private or shared:",
                         "by its shared bit.")  # fmt: skip


def _vma_line(session: Session, vma: Vma) -> str:
    """As in /proc/PID/maps; the region's name stands where the kernel puts that of the mapping."""
    ledger, cells = session.ledger, session.ledger.cells
    start, end, flags = cells[vma.vm_start], cells[vma.vm_end], cells[vma.vm_flags]
    perms = "".join(
        letter if flags & bit else "-"
        for letter, bit in (("r", f.VM_READ), ("w", f.VM_WRITE), ("x", f.VM_EXEC))
    )
    mapping = Mapping(cells[vma.vm_file])
    offset = cells[vma.vm_pgoff] << 12 if mapping else 0
    region, first = ledger.region_of(start)
    files = {int(file.mapping): name for name, file in ledger.book.files.items()}
    name = f"[anon:{region}]" if not mapping else files.get(mapping, "/dev/zero (deleted)")
    shared = "s" if flags & f.VM_SHARED else "p"
    return (
        f"{start << 12:08x}-{end << 12:08x} {perms}{shared} {offset:08x} 00:00 0"
        f"  {name} {first}-{first + end - start - 1}"
    )


def _status_text(session: Session, process: str | None) -> Iterator[str]:
    def lines(mm: Mm) -> Iterator[str]:
        yield f"Name:   {session.ledger.process_of(mm)}"
        for name, value in status(session, mm).items():
            yield f"{name + ':':<12}{value:>8} kB"

    yield from _of_each(session, process, "status", lines)
    if not session.kernel.has_large_mapcount:
        yield from _note("The counters are kept per CPU: before the exact sums of later releases",
                         "a real file may be off by a batch for each CPU.")  # fmt: skip


_WRITERS: dict[str, Callable[[Session, str | None], Iterator[str]]] = {
    "pagemap": _pagemap_text,
    "kpagecount": _kpagecount_text,
    "kpageflags": _kpageflags_text,
    "smaps": _smaps_text,
    "status": _status_text,
}
WHATS = tuple(_WRITERS)
"""The files there are."""
