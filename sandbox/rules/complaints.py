"""The kernel's own complaints: what its checks would print, named as it prints them.

A check of the kernel reads words that it has at hand and says so in the log; here the same words
are read at the event after which the kernel's function would have looked, so that no event is
needed for it.  A kernel that is right complains of nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sandbox.machine.fields import Struct, field
from sandbox.machine.frames import calls_of
from sandbox.machine.memory import ADDR_MASK, Event, Folio, Mm
from sandbox.machine.offsets import COMPOUND_HEAD, MAPCOUNT, MAPPING, REFCOUNT
from sandbox.mm.flags import MMF_DEAD, PG_anon, PG_anon_exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.kernels.base import Kernel
    from sandbox.machine.machine import Machine
    from sandbox.rules.engine import RuleEngine
    from sandbox.truth.ledger import Ledger

__all__ = ["Complaint", "ComplaintChecks"]


class Complaint(NamedTuple):
    """One line that the kernel would print."""

    name: str
    """What it begins with, e.g. ``BUG: Bad page state``."""
    text: str
    """The line, with what it is about."""
    subject: str
    """The folio or the process."""
    event: int
    """Index of the event after which the check would see it."""
    action: int
    """Index (from 0) of the action in flight."""
    function: str
    """Kernel function the event belongs to."""


class KernelCheck(NamedTuple):
    """A check that tells just what a rule tells, where the function is on the stack."""

    rule: str
    function: str
    prints: str
    applies: Callable[[type[Kernel]], bool]


def always(kernel: type[Kernel]) -> bool:
    """In every release that is modelled."""
    return True


def since_6_11(kernel: type[Kernel]) -> bool:
    """Zero pages are looked for since 6.11."""
    return kernel.has_large_mapcount


_ZERO = "WARNING: __folio_rmap_sanity_checks: VM_WARN_ON_FOLIO(is_zero_folio(folio), folio)"
_PUT = "kernel BUG: put_page_testzero: VM_BUG_ON_PAGE(page_ref_count(page) == 0, page)"
CHECKS = (
    KernelCheck("I-01", "folio_get",
                "kernel BUG: folio_get: VM_BUG_ON_FOLIO(folio_ref_zero_or_close_to_overflow"
                "(folio), folio)",
                always),
    KernelCheck("I-01", "folio_put", _PUT, always),
    KernelCheck("I-01", "release_pages", _PUT, always),
    KernelCheck("I-17", "folio_dup_file_rmap_ptes", _ZERO, since_6_11),
    KernelCheck("I-17", "folio_add_anon_rmap_ptes", _ZERO, since_6_11),
    KernelCheck("I-17", "folio_add_file_rmap_ptes", _ZERO, since_6_11),
    KernelCheck("I-17", "folio_remove_rmap_ptes", _ZERO, since_6_11),
    KernelCheck("I-18", "wp_page_reuse",
                "kernel BUG: wp_page_reuse: VM_BUG_ON(PageAnon(page) && !PageAnonExclusive(page))",
                always),
    KernelCheck("I-46", "_wp_can_reuse_large_anon_folio",
                "WARNING: __wp_can_reuse_large_anon_folio: VM_WARN_ON_ONCE_FOLIO("
                "folio_large_mapcount(folio) > folio_nr_pages(folio), folio)",
                always),
)  # fmt: skip
BY_RULE: dict[str, list[KernelCheck]] = {}
for _check in CHECKS:
    BY_RULE.setdefault(_check.rule, []).append(_check)

BAD_PAGE = "BUG: Bad page state"
BAD_MAP = "BUG: Bad page map"
BAD_RSS = "BUG: Bad rss-counter state"
PINNED = "WARNING: sanity_check_pinned_pages"
UNFREEZE = "kernel BUG: page_ref_unfreeze"
RSS_NAMES = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SWAPENTS", "MM_SHMEMPAGES")


class ComplaintChecks:
    """Where the kernel looks; `complain` puts a line into the engine's list."""

    engine: RuleEngine
    machine: Machine
    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Any]
    mapped: Callable[[Folio], int]
    mm_is_empty: Callable[[int, Mm], None]

    def start_complaints(self) -> None:
        """Look when an mm is given back."""
        self.machine.check(field(Struct.MM, "flags"), self.mm_dies)

    def complain(self, name: str, text: str, subject: str) -> None:
        """The kernel would print *name*, and *text* after it."""
        self.engine.complain(name, f"{name}{text}", subject)

    def current(self) -> str:
        """The process that runs, as far as the call tells; ``swapper`` otherwise."""
        task = self.machine.running[self.machine.acting]
        mm = next((arg for arg in task.call.args if isinstance(arg, Mm)), None) if task else None
        return self.ledger.process_of(mm) if mm is not None else "swapper"

    # -- freeing ---------------------------------------------------------------------------

    def bad_page_state(self, folio: Folio) -> None:
        """A folio goes to the allocator: page_bad_reason(), free_tail_page_prepare()."""
        for page, reason in self.bad_reasons(folio):
            text = f" in process {self.current()}  pfn:{page >> 4:05x}: page dumped because: "
            self.complain(BAD_PAGE, text + reason, self.ledger.name_of(folio))

    def bad_reasons(self, folio: Folio) -> Iterator[tuple[int, str]]:
        """(page, what is wrong with it); of several reasons the kernel prints the last."""
        cells, head = self.cells, folio & ADDR_MASK
        if folio.large:
            words = [("entire_mapcount", folio._entire_mapcount, -1)]
            if self.kernel.has_large_mapcount:
                words.append(("large_mapcount", folio._large_mapcount, -1))
            words.append(("nr_pages_mapped", folio._nr_pages_mapped, 0))
            words.append(("pincount", folio._pincount, 0))
            for name, word, free in words:
                if cells[word] != free:
                    yield folio.page(1), f"nonzero {name}"
                    break
            if folio.order > 1 and cells[folio._deferred_list] == 1:
                yield folio.page(2), "on deferred list"
        end = head + 16 * folio.nr_pages
        mapped = cells[head + MAPCOUNT : end : 16].count(-1) != folio.nr_pages
        if not mapped and not cells[head + MAPPING] and not any(cells[head + REFCOUNT : end : 16]):
            return
        for page in range(head, end, 16):
            if cells[page + REFCOUNT]:
                yield page, "nonzero _refcount"
            elif page == head and cells[page + MAPPING]:
                yield page, "non-NULL mapping"
            elif cells[page + MAPCOUNT] != -1:
                yield page, "nonzero mapcount"

    # -- mappings --------------------------------------------------------------------------

    def bad_page_map(self, packed: int, count: int) -> None:
        """A mapcount is below none: zap looks, print_bad_pte() prints.

        6.9 and later look at the folio's mapcount, 6.6 at the page's, which is *count*.
        """
        folio = Folio(packed)
        task = self.machine.running[self.machine.acting]
        stack = [gen.gi_code.co_name for gen in calls_of(task.gen)] if task else []
        if "zap_present_ptes" not in stack:
            return
        name, told = self.ledger.name_of(folio), self.engine.complaints
        if hasattr(self.kernel, "zap_present_folio_ptes"):
            count = self.mapped(folio)
            of_batch = BAD_MAP, name, self.machine.action_in_flight()
            if told and (told[-1].name, told[-1].subject, told[-1].action) == of_batch:
                return  # of a batch the kernel tells once
        if count < 0:
            self.complain(BAD_MAP, f" in process {self.current()}: {name}", name)

    def mm_dies(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """check_mm(): the counters of an mm that is given back are 0; I-55."""
        if not new & ~old & MMF_DEAD:
            return
        mm = Mm(addr)
        self.mm_is_empty(cpu, mm)
        for member, name in enumerate(RSS_NAMES):
            value = self.cells[mm.rss_stat(member)]
            if value:
                text = f" mm:{mm:#x} type:{name} val:{value}"
                self.complain(BAD_RSS, text, self.ledger.process_of(mm))

    # -- pins and freezing -----------------------------------------------------------------

    def sanity_check_pinned_pages(self, page: int) -> None:
        """An anonymous page that is being pinned or unpinned is exclusive, or its folio is."""
        folio = Folio(self.cells[page + COMPOUND_HEAD])
        head = self.cells[folio.flags]
        if head & PG_anon and not (head | self.cells[page]) & PG_anon_exclusive:
            text = ": VM_WARN_ON_ONCE_PAGE(!PageAnonExclusive(page), page)"
            name = f"{self.ledger.name_of(folio)} page {folio.index_of(page)}"
            self.complain(PINNED, text, name)

    def page_ref_unfreeze(self, folio: Folio, refs: int) -> None:
        """A count that is stored was 0."""
        if refs:
            text = ": VM_BUG_ON_PAGE(page_ref_count(page) != 0, page)"
            self.complain(UNFREEZE, text, self.ledger.name_of(folio))


def told_by(rule: str, kernel: type[Kernel], gen: Any) -> Iterator[str]:  # noqa: ANN401  # a generator
    """What checks that are just a rule print, in the function that runs."""
    found = BY_RULE.get(rule)
    if found is None or gen is None:
        return
    stack = {inner.gi_code.co_name for inner in calls_of(gen)}
    for check in found:
        if check.function in stack and check.applies(kernel):
            yield check.prints
