"""Rules about contiguous blocks: sixteen entries that the TLB may hold as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.arch.arm64.pgtable import (
    PFN_SHIFT,
    PTE_AF,
    PTE_CONT,
    PTE_DIRTY,
    PTE_RDONLY,
    PTE_VALID,
    PTE_WRITE,
)
from sandbox.machine.handles import PFN_TO_ADDR
from sandbox.machine.memory import Word
from sandbox.machine.offsets import COMPOUND_HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sandbox.truth.ledger import Ledger

AGREEING = ((1 << PFN_SHIFT) - 1) & ~(PTE_AF | PTE_DIRTY | PTE_RDONLY | PTE_WRITE)
"""Bits that entries of a block have in common."""


class BlockChecks:
    """I-38 and I-39."""

    ledger: Ledger
    cells: list[Word]
    now: Mapping[Any, Any]
    block: int
    """Entries of a block."""
    report: Callable[..., None]

    def contiguous(self, addr: int, old: int, new: int) -> None:
        """I-38 against the neighbours in the block, I-39 for the entry itself.

        Called for a valid entry when it or one beside it is CONT.
        """
        cells, n = self.cells, self.block
        index = addr & (n - 1)
        if new & PTE_CONT:
            folio = cells[(new >> PFN_SHIFT << PFN_TO_ADDR) + COMPOUND_HEAD]
            ok = (new >> PFN_SHIFT) % n == index and 1 << (folio & 15) >= n
            if not ok or self.now:
                text = f"PTE_CONT on a misaligned entry of an order-{folio & 15} folio"
                self.report(ok, "I-39", folio, text, addr)
        if index:
            value = cells[addr - 1]
            if value & PTE_VALID and (value | new) & PTE_CONT:
                self.agree(addr, new, addr - 1, value)
        if index < n - 1:
            value = cells[addr + 1]
            if value & PTE_VALID and (value | new) & PTE_CONT:
                self.agree(addr, new, addr + 1, value)

    def agree(self, addr: int, new: int, other: int, value: int) -> None:
        """Two valid neighbours of a block of which one is CONT."""
        step = (new >> PFN_SHIFT) - (value >> PFN_SHIFT)
        ok = not (new ^ value) & AGREEING and step == addr - other
        if ok and not self.now:
            return
        folio = self.ledger.folio(new >> PFN_SHIFT << PFN_TO_ADDR)
        self.report(
            ok, "I-38", folio, "neighbouring entries of a contiguous block disagree", addr, other
        )
