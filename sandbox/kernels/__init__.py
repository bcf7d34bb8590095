"""The modelled kernels by their ids, and a person's own by the file and class that they named.

Importing this module imports only the registry; a kernel's own module is imported when it is
asked for, so that headless commands start fast.  The file of a person's own kernel is run, and
that of an installed distribution imported, by `name_kernel` alone, never because a document or a
recording has its name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from sandbox.errors import UnknownKernelError
from sandbox.printable import short

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel
    from sandbox.kernels.installed import Installed


class KernelEntry(NamedTuple):
    """One line of the registry."""

    id: str
    module: str
    cls: str
    title: str


REGISTRY: tuple[KernelEntry, ...] = (
    KernelEntry("6.6", "linux_6_6", "Linux66", "Linux 6.6: per-page rmap, per-entry fork"),
    KernelEntry(
        "ryan-v2", "ryan_v2", "RyanV2", "contpte v2 01/14: mapcounts first, references last"
    ),
    KernelEntry(
        "ryan-v3", "ryan_v3", "RyanV3", "contpte v3: references first, the rest given back"
    ),
    KernelEntry(
        "david-batch", "david_batch", "DavidBatch", "references first, a batch whole or not at all"
    ),
    KernelEntry(
        "barry-entire", "barry_entire", "BarryEntire", "a wholly CONT-mapped folio counts once"
    ),
    KernelEntry("6.9", "linux_6_9", "Linux69", "Linux 6.9: batched fork, zap and rmap; contpte"),
    KernelEntry("6.12", "linux_6_12", "Linux612", "Linux 6.12: _large_mapcount, partially_mapped"),
    KernelEntry(
        "6.15", "linux_6_15", "Linux615", "Linux 6.15: MM owner tracking, large-folio reuse"
    ),
    KernelEntry("7.2", "linux_7_2", "Linux72", "Linux 7.2: batched mprotect and mremap"),
    KernelEntry(
        "7.2-nopm", "linux_7_2", "Linux72NoPageMapcount", "Linux 7.2 with CONFIG_NO_PAGE_MAPCOUNT"
    ),
    KernelEntry("7.3", "linux_7_3", "Linux73", "Linux 7.3"),
    # 6.8 and what presets 11, 21 and 22 are about
    KernelEntry("6.8", "linux_6_8", "Linux68", "Linux 6.8: mTHP, per-entry fork, no contpte"),
    KernelEntry("ryan-v2-free", "ryan_free", "RyanV2Free", "contpte v2 + lazyfreeing of 6.10"),
    KernelEntry("ryan-v3-free", "ryan_free", "RyanV3Free", "contpte v3 + lazyfreeing of 6.10"),
    KernelEntry("6.15-smmu", "smmu", "Linux615Smmu", "Linux 6.15 and a device"),
    KernelEntry("7.2-smmu", "smmu", "Linux72Smmu", "Linux 7.2 and a device"),
    KernelEntry("6.10-rc2", "linux_6_10_rc2", "Linux610Rc2", "Linux 6.10-rc2: bytes for entries"),
    KernelEntry("cow-5.7", "cow_eras", "Cow57", "Linux 5.7: reuse by mapcount"),
    KernelEntry("cow-5.9", "cow_eras", "Cow59", "Linux 5.9: reuse by refcount"),
    KernelEntry("no-seqcount", "no_seqcount", "NoSeqcount", "7.2, GUP-fast blind to fork"),
    KernelEntry("6.15-rc1", "linux_6_15_rc1", "Linux615Rc1", "6.15-rc1: an inverted assertion"),
    KernelEntry("xen-overbatch", "xen_overbatch", "XenOverbatch", "6.15-rc: batches on XEN PV"),
    KernelEntry(
        "lazyfree-batch", "lazyfree_batch", "LazyfreeBatch", "7.2, node reclaim in batches"
    ),
    KernelEntry(
        "lazyfree-restore", "lazyfree_batch", "LazyfreeRestore", "batches that mix permissions"
    ),
    KernelEntry("stale-nr-pages", "lazyfree_batch", "StaleNrPages", "a batch size used again"),
    KernelEntry("past-page-table", "lazyfree_batch", "PastPageTable", "a batch scan without end"),
    KernelEntry("rfc26", "rfc26", "Rfc26", "RFC of April 2026: total mapped pages"),
    KernelEntry("pin-bias-16", "pin_bias_16", "PinBias16", "7.2, a pin is 16 references"),
)
KERNEL_IDS: tuple[str, ...] = tuple(e.id for e in REGISTRY)
DEFAULT_KERNEL = "7.2"


HWAF = "-hwaf"
"""Suffix of a kernel's id for a CPU that sets the access flag and dirty state itself."""


_ENTRIES = {entry.id: entry for entry in REGISTRY}

_named: dict[str, type[Kernel]] = {}
"""Kernels of files that the person at this process named, by the name they typed."""

_marked: dict[type[Kernel], type[Kernel]] = {}
"""For each kernel, the same on a CPU that sets the bits itself."""


def kernel_by_name(name: str) -> type[Kernel]:
    """The kernel class for an id, or for a `FILE.py:CLASS` that `name_kernel` has loaded.

    Nothing but a module of the sandbox is imported: a name that stands in a document runs nothing.

    Raises:
        UnknownKernelError: there is no such kernel, or nobody named that file.
    """
    base = name.removesuffix(HWAF)
    kernel = _named.get(base)
    if kernel is None:
        entry = _ENTRIES.get(base)
        if entry is None:
            raise _unknown(name)
        module = importlib.import_module(f"sandbox.kernels.{entry.module}")
        kernel = getattr(module, entry.cls)
    return kernel if base == name else _with_hardware_marks(kernel)


def name_kernel(name: str, *, again: bool = True) -> type[Kernel]:
    """Take a kernel's name from the person: an id, or `FILE.py:CLASS`, whose file is run now.

    Or that of an installed distribution's entry point, whose module is imported now.  Only for
    what was given on the command line or typed; from now on `kernel_by_name` finds it under this
    name.  Naming a file again reads it again, unless `again` is False.

    Raises:
        UnknownKernelError: there is no such kernel, or its file cannot be read or is broken
            (with the place).
    """
    base = name.removesuffix(HWAF)
    if is_file_name(base) and (again or base not in _named):
        from sandbox.kernels.own import load_kernel

        _named[base] = load_kernel(*base.rsplit(":", 1))
    elif base not in _named and (entry := _installed(base)) is not None:
        from sandbox.kernels.installed import load_installed

        _named[base] = load_installed(entry)
    return kernel_by_name(name)


def must_be_named(name: str) -> bool:
    """Tell a kernel that only the person's naming loads: of a file, or of a distribution."""
    base = name.removesuffix(HWAF)
    return is_file_name(base) or _installed(base) is not None


def _installed(name: str) -> Installed | None:
    """The entry point of that name, unless a model has it.

    Raises:
        UnknownKernelError: two distributions have it.
    """
    if name in _ENTRIES or is_file_name(name):
        return None
    from sandbox.kernels.installed import installed

    found = [entry for entry in installed() if entry.name == name]
    if len(found) > 1:
        expected = "one of " + " and ".join(entry.distribution for entry in found) + " alone"
        raise UnknownKernelError(
            f"several kernels {short(name, 60)!r} are installed", None, expected
        )
    return found[0] if found else None


def model_of(name: str) -> str:
    """The id under which documents know a kernel: of a person's own, the model that it is made of.

    Raises:
        UnknownKernelError: there is no such kernel, or nobody named that file.
    """
    if name.removesuffix(HWAF) in _ENTRIES:
        return name
    ids = (vars(cls).get("id") for cls in kernel_by_name(name).__mro__)
    return next((str(each) for each in ids if each in _ENTRIES), name)


def named_kernels() -> tuple[str, ...]:
    """The names that the person gave at this process, in that order, as they were typed."""
    return tuple(_named)


def is_file_name(name: str) -> bool:
    """Tell `FILE.py:CLASS` from an id."""
    return ":" in name


def is_known(name: str) -> bool:
    """Tell whether `kernel_by_name` would find a kernel; nothing is imported."""
    base = name.removesuffix(HWAF)
    return base in _ENTRIES or base in _named


def _with_hardware_marks(base: type[Kernel]) -> type[Kernel]:
    if base not in _marked:
        extra = {"id": base.id + HWAF, "title": f"{base.title}, hardware AF/DBM", "hw_afdbm": True}
        _marked[base] = type(f"{base.__name__}Hwaf", (base,), extra)
    return _marked[base]


def _unknown(name: str) -> UnknownKernelError:
    expected = "one of " + ", ".join(KERNEL_IDS) + ", or FILE.py:CLASS"
    if is_file_name(name):
        # A document that names a file runs nothing; the person can, by naming it.
        expected = "an id of `mmtui kernels`; a file's class only if --kernel or :kernel names it"
    elif must_be_named(name):
        expected = "a model; an installed kernel only if --kernel or :kernel names it"
    return UnknownKernelError(f"unknown kernel {short(name, 60)!r}", expected=expected)
