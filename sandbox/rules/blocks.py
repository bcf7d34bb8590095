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
from sandbox.machine.memory import Folio, Page, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sandbox.kernels.base import Kernel
    from sandbox.truth.ledger import Ledger


class BlockChecks:
    """I-38 and I-39."""

    ledger: Ledger
    kernel: type[Kernel]
    cells: list[Word]
    now: Mapping[Any, Any]
    report: Callable[..., None]

    def contiguous(self, addr: int, old: int, new: int) -> None:
        """I-38 against the neighbours in the block, I-39 for the entry itself.

        Called for a valid entry when it or one beside it is CONT.
        """
        n = getattr(self.kernel, "CONT_PTES", 16)
        index = addr & (n - 1)
        if new & PTE_CONT:
            page = Page(new >> PFN_SHIFT << PFN_TO_ADDR)
            folio = Folio(self.cells[page.compound_head])
            ok = (new >> PFN_SHIFT) % n == index and folio.nr_pages >= n
            self.report(
                ok,
                "I-39",
                folio,
                f"PTE_CONT on a misaligned entry of an order-{folio.order} folio",
                addr,
            )
        for other in ([addr - 1] if index else []) + ([addr + 1] if index < n - 1 else []):
            value = self.cells[other]
            if value & PTE_VALID and (value | new) & PTE_CONT:
                self.agree(addr, new, other, value)

    def agree(self, addr: int, new: int, other: int, value: int) -> None:
        """Two valid neighbours of a block of which one is CONT."""
        ignore = PTE_AF | PTE_DIRTY | PTE_RDONLY | PTE_WRITE
        mask = ((1 << PFN_SHIFT) - 1) & ~ignore
        step = (new >> PFN_SHIFT) - (value >> PFN_SHIFT)
        ok = not (new ^ value) & mask and step == addr - other
        if ok and not self.now:
            return
        folio = self.ledger.folio(new >> PFN_SHIFT << PFN_TO_ADDR)
        self.report(
            ok, "I-38", folio, "neighbouring entries of a contiguous block disagree", addr, other
        )
