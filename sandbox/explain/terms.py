"""What there is to say of a word, flag or field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Kind", "Term"]


class Kind(StrEnum):
    """Headings of the reference, in its order."""

    COUNTER = "Counters of folios and pages"
    PAGE_FLAG = "Flags of folios and pages"
    ENTRY = "Entries of page tables"
    VMA = "Mappings (VMAs)"
    PROCESS = "Processes"
    BATCH = "Batches and queues"
    SWAP = "Swap"
    LOCK = "Locks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word, flag or field: what it is, by whom it is read and changed, since when."""

    name: str
    """As the kernel calls it, or as a pane does."""
    kind: Kind
    what: str
    """One full sentence."""
    more: str = ""
    """What else helps to read it."""
    bias: str = ""
    """How the raw value differs from the number that is meant."""
    since: str = ""
    """The release that brought it; empty: it is older than 5.7, the oldest one modelled."""
    source: str = ""
    """Where the kernel has it."""
    aliases: tuple[str, ...] = ()
    """Other words for it in panes."""
    symbols: tuple[str, ...] = ()
    """What stands for it in the formulas of rules."""
    writes: tuple[str, ...] = ()
    """Names in the kernels' text by which an event is known to change it; empty: no word."""
