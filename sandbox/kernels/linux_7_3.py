"""Linux 7.3: accounting as in 7.2."""

from __future__ import annotations

from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Vma


class Linux73(Linux72):
    """Linux 7.3.4 (arm64, 4K pages)."""

    id = "7.3"
    title = "Linux 7.3"
    summary = "Accounting as in 7.2; CONT is for valid entries only again."
    contpte_set_invalid = False
    merge_by_anon_pgoff = True
    swapin_drains = False
    knows_kernel_pages = True
    uffd_move_tries_held = False

    def anon_pgoff_word(self, vma: Vma) -> int:
        """Anonymous pages are numbered by address everywhere (linear_anon_page_index)."""
        return vma.vm_anon_pgoff
