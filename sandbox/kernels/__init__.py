"""The modelled kernels by their ids, and loading a person's own from a file.

Importing this module imports only the registry; a kernel's own module is imported when it is
asked for, so that headless commands start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from sandbox.errors import UnknownKernelError

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel


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
    KernelEntry("6.15-smmu", "smmu", "Linux615Smmu", "Linux 6.15, CPU 1 is a device"),
    KernelEntry("7.2-smmu", "smmu", "Linux72Smmu", "Linux 7.2, CPU 1 is a device"),
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


def kernel_by_name(name: str) -> type[Kernel]:
    """The kernel class for an id, or for ``file.py:Class``; raises `UnknownKernelError`."""
    for entry in REGISTRY:
        if entry.id == name:
            module = importlib.import_module(f"sandbox.kernels.{entry.module}")
            return getattr(module, entry.cls)
    if name.endswith(HWAF):
        base = kernel_by_name(name.removesuffix(HWAF))
        extra = {"id": name, "title": f"{base.title}, hardware AF/DBM", "hw_afdbm": True}
        return type(f"{base.__name__}Hwaf", (base,), extra)
    if ":" in name:
        return _kernel_from_file(*name.rsplit(":", 1))
    raise UnknownKernelError(
        f"unknown kernel '{name}'", expected="one of " + ", ".join(KERNEL_IDS) + " or FILE.py:Class"
    )


def _kernel_from_file(path: str, cls: str) -> type[Kernel]:
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    from sandbox.foreign import check_kernel
    from sandbox.kernels.base import Kernel

    file = Path(path)
    if not file.is_file():
        raise UnknownKernelError(
            f"no file '{path}'", expected="FILE.py:Class with an existing file"
        )
    spec = spec_from_file_location(f"mmtui_kernel_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UnknownKernelError(f"'{path}' is not a Python file", expected="FILE.py:Class")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a person's own file may raise anything
        raise UnknownKernelError(f"{path}: {type(error).__name__}: {error}") from error
    found = getattr(module, cls, None)
    if not (isinstance(found, type) and issubclass(found, Kernel)):
        names = [
            n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Kernel)
        ]
        raise UnknownKernelError(
            f"{path} has no kernel class '{cls}'", expected="one of " + ", ".join(names)
        )
    check_kernel(found)
    return found
