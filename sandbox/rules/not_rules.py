"""What looks like an invariant and is none: kept out of the rules, with the reason.

Measured on a 6.18 kernel or read in the source; each has a test that reaches a state which
contradicts it and sees that no rule raises an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotRule:
    """A statement that does not always hold."""

    id: str
    statement: str
    """The false invariant."""
    reason: str
    """When it does not hold, and why that is in order."""


_LIST = (
    NotRule("N-01", "An exclusive page is mapped.",
            "PG_anon_exclusive stays set on a page that was unmapped from a folio that lives on."),
    NotRule("N-02", "A page that one process alone maps is exclusive.",
            "fork clears the bit on both sides; when the other side is gone the survivor gets it back at its next write."),
    NotRule("N-03", "An entry for an exclusive page is writable.",
            "mprotect takes the write bit and leaves the page exclusive, to give the bit back without a fault."),
    NotRule("N-04", "The shared bit means more than one mm.",
            "Three processes, two slots: when both owners of a slot leave, the third owns the folio alone, the bit stays."),
    NotRule("N-05", "Every mm that maps a large folio has a slot.",
            "There are two slots. An mm without one is counted in the total only, and the shared bit is set."),
    NotRule("N-06", "A folio on the deferred list is partially mapped.",
            "From 6.12 a PMD-sized folio is queued when it is born, for the scan of underused ones; up to 6.9 one "
            "that was unmapped whole is queued too."),
    NotRule("N-07", "The access flag of an entry stays set.",
            "Reclaim, MADV_COLD and fork's copies make entries old; the hardware sets the flag again."),
    NotRule("N-08", "A dirty entry is writable, and a writable one dirty.",
            "fork's write protection keeps the dirty state; MADV_FREE cleans entries and leaves them writable."),
    NotRule("N-09", "A pinned page is mapped.",
            "MADV_DONTNEED and munmap take the entries; the reference of the pin keeps the folio alive."),
    NotRule("N-10", "A refcount of 1024 or more means a pin.",
            "A small folio with that many plain references looks pinned, and fork copies it: more work, no harm."),
    NotRule("N-11", "MMF_HAS_PINNED means that something is pinned.",
            "The flag is never cleared while the mm lives."),
    NotRule("N-12", "The references of a folio are its mappings.",
            "The page cache, LRU batches, FOLL_GET and pins hold some as well."),
    NotRule("N-13", "A folio that is mapped whole, in order, is mapped by contiguous blocks.",
            "After a move to an odd address or the reuse of single pages, no block is made of it again."),
    NotRule("N-14", "A process maps a page at most once.",
            "True of anonymous pages. A file can be mapped at two places of one process."),
    NotRule("N-15", "A lazyfree page is clean.",
            "A write after MADV_FREE dirties the entry; reclaim sees that and keeps the page."),
)  # fmt: skip

NOT_RULES: dict[str, NotRule] = {item.id: item for item in _LIST}
"""All of them by id, in order."""
