"""The guest's root: a newc archive with init, the modules and the scenarios."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rig.image import find_modules, unpack_module
from rig.work import Kernel, Work

__all__ = ["MODULES", "initramfs"]

MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("virtio_console", "libcrc32c", "xfs", "virtio_blk"),
    *("zsmalloc", "lz4_compress", "lz4hc_compress", "zram"),
)
"""What is loaded, in this order, where the kernel has it as a module."""


class _Entry(NamedTuple):
    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def _file(name: str, data: bytes, mode: int = 0o644) -> _Entry:
    return _Entry(name, stat.S_IFREG | mode, data)


def initramfs(work: Work, kernel: Kernel, scenarios: str, marks: Sequence[str] = ()) -> bytes:
    """Pack the guest's root; `marks` are the empty files by which init knows what is wanted."""
    entries = [
        _Entry("dev", stat.S_IFDIR | 0o755),
        _Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        _file("init", work.init.read_bytes(), 0o755),
        _file("scenarios.txt", scenarios.encode()),
    ]
    found = find_modules(kernel.modules, MODULES)
    order = [f"/{name}.ko\n" for name in MODULES if name in found]
    entries += [_file(f"{name}.ko", unpack_module(file)) for name, file in found.items()]
    entries.append(_file("mmoracle.ko", kernel.module.read_bytes()))
    order.append("/mmoracle.ko\n")
    entries.append(_file("modules.txt", "".join(order).encode()))
    entries += [_file(mark, b"") for mark in marks]
    return _newc(entries)


def _newc(entries: Iterable[_Entry]) -> bytes:
    """Write an archive in the format of Documentation/driver-api/early-userspace."""
    out = io.BytesIO()
    for number, entry in enumerate([*entries, _Entry("TRAILER!!!", 0)], 1):
        head = [number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0]
        head += [*entry.device, len(entry.name) + 1, 0]
        out.write(b"070701" + b"".join(b"%08X" % word for word in head))
        out.write(entry.name.encode() + b"\0")
        out.write(b"\0" * (-out.tell() % 4))
        out.write(entry.data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()
