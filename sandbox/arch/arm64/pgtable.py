"""arm64 page-table entry values: pure functions on integers.

Source: arch/arm64/include/asm/pgtable.h (7.2).  The layout is ours: flag bits below
`PFN_SHIFT`, the frame number above.  Hardware-dirty is "PTE_WRITE and not PTE_RDONLY".
"""

from __future__ import annotations

from sandbox.machine.fields import ENTRIES, Struct, field
from sandbox.machine.handles import Page, page_of_pfn

PTE_VALID = 1
PTE_WRITE = 2
"""The DBM bit: writable as far as software is concerned."""
PTE_RDONLY = 4
PTE_DIRTY = 8
"""Software dirty."""
PTE_AF = 16
"""Access flag (young)."""
PTE_CONT = 32
PTE_SPECIAL = 64
PTE_PRESENT_INVALID = 128
"""Present for software, invalid for hardware (PROT_NONE, NUMA hint)."""
PTE_UFFD_WP = 256
PTE_SWP = 512
"""A swap entry: the slot is where the frame number would be."""
PTE_SWP_EXCLUSIVE = 1024
PTE_MIGRATION = 2048
PTE_MIGRATION_WRITE = 4096
PTE_MIGRATION_EXCLUSIVE = 8192
PTE_MARKER = 16384
UFFD_WP_MARKER = PTE_MARKER | PTE_UFFD_WP
"""Entry of an empty place that is write-protected (PTE_MARKER_UFFD_WP)."""
PTE_HUGE = 32768
"""In a PMD word: a leaf; a PMD word with neither VALID nor HUGE points to a table."""
PFN_SHIFT = 16
FLAGS_MASK = (1 << PFN_SHIFT) - 1
PTE_ONE_PFN = 1 << PFN_SHIFT
PTRS_PER_PTE = 512
HPAGE_PMD_ORDER = 9
HPAGE_PMD_NR = 512
CONT_PTES = 16
"""Entries of a contpte block with 4K pages."""

PROT_MASK = PTE_RDONLY | PTE_PRESENT_INVALID | PTE_VALID | PTE_WRITE
"""What `pte_modify` replaces."""
PAGE_READONLY = PTE_VALID | PTE_AF | PTE_RDONLY
PAGE_SHARED = PTE_VALID | PTE_AF | PTE_RDONLY | PTE_WRITE
PAGE_NONE = PTE_PRESENT_INVALID | PTE_AF | PTE_RDONLY


def pte_present(pte: int) -> bool:
    """Present for software: valid, or PROT_NONE."""
    return bool(pte & (PTE_VALID | PTE_PRESENT_INVALID))


def pte_protnone(pte: int) -> bool:
    """Present but invalid for hardware."""
    return pte & (PTE_VALID | PTE_PRESENT_INVALID) == PTE_PRESENT_INVALID


def pte_pfn(pte: int) -> int:
    """Frame number."""
    return pte >> PFN_SHIFT


def pte_page(pte: int) -> Page:
    """The page of the entry's frame."""
    return page_of_pfn(pte >> PFN_SHIFT)


def pte_index(addr: int) -> int:
    """Which entry of its table translates a virtual page (or stands at an address)."""
    return addr & (PTRS_PER_PTE - 1)


def pmd_index(addr: int) -> int:
    """Which entry of its PMD table translates a virtual page."""
    return addr >> HPAGE_PMD_ORDER & (PTRS_PER_PTE - 1)


def pmd_table(pmd: int) -> int:
    """Address of the table that an entry of the middle level leads to (`pmd_page_vaddr`)."""
    return pmd >> PFN_SHIFT


def pfn_pte(pfn: int, prot: int) -> int:
    """Entry for a frame with protection *prot* (`mk_pte`)."""
    return pfn << PFN_SHIFT | prot


def pte_advance_pfn(pte: int, nr: int) -> int:
    """The same entry *nr* frames on."""
    return pte + nr * PTE_ONE_PFN


def pte_write(pte: int) -> bool:
    """PTE_WRITE set."""
    return bool(pte & PTE_WRITE)


def pte_hw_dirty(pte: int) -> bool:
    """Dirtied by hardware (or marked so): writable and not read-only."""
    return pte & (PTE_WRITE | PTE_RDONLY) == PTE_WRITE


def pte_dirty(pte: int) -> bool:
    """Dirty by either bit."""
    return bool(pte & PTE_DIRTY) or pte_hw_dirty(pte)


def pte_young(pte: int) -> bool:
    """Access flag set."""
    return bool(pte & PTE_AF)


def pte_mkyoung(pte: int) -> int:
    """Set the access flag."""
    return pte | PTE_AF


def pte_mkold(pte: int) -> int:
    """Clear the access flag."""
    return pte & ~PTE_AF


def pte_mkdirty(pte: int) -> int:
    """Set software dirty, and hardware dirty where writable."""
    pte |= PTE_DIRTY
    return pte & ~PTE_RDONLY if pte & PTE_WRITE else pte


def pte_mkclean(pte: int) -> int:
    """Clear both dirty notions."""
    return (pte & ~PTE_DIRTY) | PTE_RDONLY


def pte_mkwrite(pte: int) -> int:
    """Make writable; a software-dirty entry becomes hardware-dirty too."""
    pte |= PTE_WRITE
    return pte & ~PTE_RDONLY if pte & PTE_DIRTY else pte


def pte_wrprotect(pte: int) -> int:
    """Remove write permission, keeping dirtiness in the software bit."""
    if pte_hw_dirty(pte):
        pte |= PTE_DIRTY
    return (pte & ~PTE_WRITE) | PTE_RDONLY


def pte_mkuffd_wp(pte: int) -> int:
    """Write-protect for userfaultfd: the bit, and no write permission (arm64: 6.10)."""
    return pte_wrprotect(pte | PTE_UFFD_WP)


def pte_clear_uffd_wp(pte: int) -> int:
    """Clear userfaultfd's bit; write permission does not come back by itself."""
    return pte & ~PTE_UFFD_WP


def pte_modify(pte: int, newprot: int) -> int:
    """Change the protection, keeping the rest (`pte_modify`)."""
    if pte_hw_dirty(pte):
        pte |= PTE_DIRTY
    pte = (pte & ~PROT_MASK) | (newprot & PROT_MASK)
    return pte_mkdirty(pte) if pte & PTE_DIRTY else pte


def pte_mknoncont(pte: int) -> int:
    """Clear the contiguous hint."""
    return pte & ~PTE_CONT


def pte_valid_cont(pte: int) -> bool:
    """Valid and part of a contiguous block."""
    return pte & (PTE_VALID | PTE_CONT) == PTE_VALID | PTE_CONT


def access_flags(old: int, entry: int) -> int:
    """What `__ptep_set_access_flags` makes of *old* when asked for *entry* (mm/fault.c)."""
    keep = entry & (PTE_AF | PTE_WRITE | PTE_DIRTY)
    rdonly = old & entry & PTE_RDONLY
    return ((old | keep) & ~PTE_RDONLY) | rdonly


def ptes_differ(a: int, b: int) -> int:
    """The flag bits in which two entries differ (0 when equal)."""
    return (a ^ b) & FLAGS_MASK


def _pte_leads_to(pte: int) -> tuple[int, bool] | None:
    mapped = pte & (PTE_VALID | PTE_PRESENT_INVALID) and not pte & PTE_SPECIAL
    return (pte >> PFN_SHIFT << 4, False) if mapped or pte & PTE_HUGE else None


def _pmd_leads_to(pmd: int) -> tuple[int, bool] | None:
    table = pmd and not pmd & PTE_HUGE
    return (pmd >> PFN_SHIFT, True) if table else _pte_leads_to(pmd)


ENTRIES[field(Struct.PTE_TABLE, "pte")] = _pte_leads_to
ENTRIES[field(Struct.PMD_TABLE, "pmd")] = _pmd_leads_to
