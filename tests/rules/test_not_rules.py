"""States that contradict a false invariant: they are reached, and no rule raises an alarm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox.arch.arm64.pgtable import PTE_AF, PTE_CONT, PTE_WRITE, pte_dirty
from sandbox.memory import Folio
from sandbox.mm.flags import (
    MM_ID_MASK,
    MM_ID_SHARED,
    MMF_HAS_PINNED,
    PG_anon_exclusive,
    PG_dirty,
    PG_partially_mapped,
    PG_swapbacked,
)
from sandbox.rules.not_rules import NOT_RULES
from sandbox.run.session import Session
from sandbox.truth.ledger import entry_kind
from tests.engine.support import FORK_64K, explain, run

LARGE = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w"
SMALL = "mmap A R 16K nohuge\ntouch A R 0 4 w"
THREE = f"{LARGE}\nfork A B\nfork A C"


def folio_of(session: Session, name: str = "F1") -> Folio:
    """A folio by its name."""
    head = next(head for head, known in session.ledger.names.items() if known == name)
    return session.ledger.folio(head)


def exclusive(session: Session, folio: Folio, page: int) -> bool:
    return bool(session.machine.peek(folio.page(page).flags) & PG_anon_exclusive)


def leaves(session: Session, folio: Folio, page: int) -> int:
    return session.ledger.page_leaves.get(folio.page(page), 0)


def entry(session: Session, process: str, page: int) -> int:
    """Entry of a page of region R."""
    ledger = session.ledger
    entries = ledger.leaf_entries(ledger.processes()[process])
    return next(pte for addr, _, pte in entries if ledger.region_of(addr) == ("R", page))


def exclusive_and_unmapped(session: Session) -> bool:
    folio = folio_of(session)
    return exclusive(session, folio, 3) and not leaves(session, folio, 3)


def alone_and_not_exclusive(session: Session) -> bool:
    folio = folio_of(session)
    return leaves(session, folio, 0) == 1 and not exclusive(session, folio, 0)


def exclusive_and_read_only(session: Session) -> bool:
    return exclusive(session, folio_of(session), 0) and not entry(session, "A", 0) & PTE_WRITE


def shared_by_one(session: Session) -> bool:
    folio = folio_of(session)
    owners = [mm for mm, n in session.ledger.owners[folio & ~15].items() if n]
    return len(owners) == 1 and bool(session.machine.peek(folio._mm_id(1)) & MM_ID_SHARED)


def without_slot(session: Session) -> bool:
    folio, peek = folio_of(session), session.machine.peek
    slots = {peek(folio._mm_id(k)) & MM_ID_MASK for k in (0, 1)}
    ids = {peek(mm.mm_id) for mm in session.ledger.processes().values()}
    return len(ids) == 3 and len(ids - slots) == 1


def queued_and_whole(session: Session) -> bool:
    folio, peek = folio_of(session), session.machine.peek
    flagged = peek(folio.flags) & PG_partially_mapped
    return (
        peek(folio._deferred_list) == 1 and not flagged and session.ledger.leaves[folio & ~15] > 0
    )


def old_again(session: Session) -> bool:
    return not entry(session, "A", 0) & PTE_AF


def dirty_and_read_only(session: Session) -> bool:
    pte = entry(session, "A", 0)
    return pte_dirty(pte) and not pte & PTE_WRITE


def clean_and_writable(session: Session) -> bool:
    pte = entry(session, "A", 0)
    return not pte_dirty(pte) and bool(pte & PTE_WRITE)


def pinned_and_unmapped(session: Session) -> bool:
    folio = folio_of(session)
    return session.machine.peek(folio._pincount) == 1 and not session.ledger.leaves[folio & ~15]


def many_references_no_pin(session: Session) -> bool:
    return session.machine.peek(folio_of(session)._refcount) >= 1024


def marked_without_pin(session: Session) -> bool:
    mm = session.ledger.processes()["A"]
    none_held = not list(session.book.holds)
    return none_held and bool(session.machine.peek(mm.flags) & MMF_HAS_PINNED)


def more_references_than_mappings(session: Session) -> bool:
    folio = folio_of(session)
    return session.machine.peek(folio._refcount) > session.ledger.leaves[folio & ~15]


def whole_and_not_folded(session: Session) -> bool:
    ledger = session.ledger
    ptes = [pte for _, _, pte in ledger.leaf_entries(ledger.processes()["A"])]
    frames = [pte >> 16 for pte in ptes]
    ordered = frames == list(range(frames[0], frames[0] + 16))
    return ordered and not any(pte & PTE_CONT for pte in ptes)


def file_page_twice_in_one_mm(session: Session) -> bool:
    ledger = session.ledger
    entries = list(ledger.leaf_entries(ledger.processes()["A"]))
    frames = [pte >> 16 for _, _, pte in entries if entry_kind(pte) == "present"]
    return len(frames) == 2 and len(set(frames)) == 1


def lazyfree_and_dirty(session: Session) -> bool:
    flags = session.machine.peek(folio_of(session).flags)
    return not flags & (PG_swapbacked | PG_dirty) and pte_dirty(entry(session, "A", 0))


CASES: tuple[tuple[str, str, str, Callable[[Session], bool]], ...] = (
    ("N-01", "7.2", f"{LARGE}\ndontneed A R 3 4", exclusive_and_unmapped),
    ("N-02", "7.2", f"{FORK_64K}\nexit B", alone_and_not_exclusive),
    ("N-03", "7.2", f"{LARGE}\nmprotect A R 0 16 r", exclusive_and_read_only),
    ("N-04", "7.2", f"{THREE}\nexit A\nexit B", shared_by_one),
    ("N-05", "7.2", THREE, without_slot),
    ("N-06", "6.12", "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w", queued_and_whole),
    ("N-07", "7.2", f"{SMALL}\ncold A R 0 4", old_again),
    ("N-08", "7.2", f"{SMALL}\nfork A B", dirty_and_read_only),
    ("N-08", "7.2", f"{SMALL}\nfree A R 0 4", clean_and_writable),
    ("N-09", "7.2", f"{LARGE}\npin A R 5 6 p wl\ndontneed A R 0 16", pinned_and_unmapped),
    ("N-10", "7.2", "mmap A R 8M nohuge\ntouch A R 0 1 w\nrepeat A R 0 1100 g -",
     many_references_no_pin),
    ("N-11", "7.2", f"{LARGE}\npin A R 5 6 p wl\nunpin p", marked_without_pin),
    ("N-12", "7.2", f"{LARGE}\nget A R 5 6 g -", more_references_than_mappings),
    ("N-12", "7.2", f"autodrain off\n{SMALL}", more_references_than_mappings),
    ("N-12", "7.2", "mmap A R 16K shared\ntouch A R 0 4 w", more_references_than_mappings),
    ("N-13", "7.2", f"{LARGE}\nmremap A R 0 16 S 3", whole_and_not_folded),
    ("N-14", "7.2", "memfd F 4K\nmmap A R 4K shared fd=F\nmmap A S 4K shared fd=F\n"
     "touch A R 0 1 w\ntouch A S 0 1 r", file_page_twice_in_one_mm),
    ("N-15", "7.2", f"{SMALL}\nfree A R 0 4\nwrite A R 0 1", lazyfree_and_dirty),
)  # fmt: skip


@pytest.mark.parametrize(("name", "kernel", "lines", "reached"), CASES)
def test_the_state_is_reached_and_nothing_alarms(
    name: str, kernel: str, lines: str, reached: Callable[[Session], bool]
) -> None:
    assert name in NOT_RULES
    session = run(kernel, lines)
    assert reached(session)
    assert not session.rules.violations, explain(session)


def test_each_false_invariant_has_a_state_that_contradicts_it() -> None:
    assert [name for name in NOT_RULES if name not in {case[0] for case in CASES}] == []


@pytest.mark.parametrize("item", NOT_RULES.values(), ids=lambda item: item.id)
def test_each_says_why(item: object) -> None:
    assert getattr(item, "statement", "").endswith(".")
    assert getattr(item, "reason", "").endswith(".")
