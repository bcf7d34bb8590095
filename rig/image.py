"""Kernel images and modules, in whatever form they come: unpacked on the host.

QEMU 7.2 boots a bare arm64 `Image` and one in gzip, but not one that unpacks itself by EFI
(`vmlinuz.efi`), as distributions begin to ship; modules are plain or packed by xz, gzip or zstd.
"""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

from rig.errors import CannotError, RigError

__all__ = ["find_modules", "unpack_image", "unpack_module"]

_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_ARM64 = b"ARM\x64"
"""At byte 56 of an `Image` (Documentation/arch/arm64/booting.rst)."""


def unpack_image(data: bytes, name: str) -> bytes:
    """Return the bare `Image` of a kernel for arm64.

    Raises:
        RigError: it is none, or packed in a way that is not known.
        CannotError: it needs a program that is not here.
    """
    for _ in range(3):  # an EFI image holds a packed one, which might be packed again
        if data[56:60] == _ARM64 and data[4:8] != b"zimg":
            return data
        if data[:2] == b"MZ" and data[4:8] == b"zimg":  # CONFIG_EFI_ZBOOT
            offset, size = struct.unpack_from("<II", data, 8)
            data = data[offset : offset + size]
        data = _unpack(data, name)
    if data[56:60] == _ARM64:
        return data
    raise RigError(f"{name} is no kernel for arm64", expected="an Image, Image.gz or vmlinuz")


def _unpack(data: bytes, name: str) -> bytes:
    try:
        if data.startswith(_GZIP):
            return zlib.decompressobj(wbits=31).decompress(data)  # what follows is not ours
        if data.startswith(_XZ):
            return lzma.decompress(data)
    except (zlib.error, lzma.LZMAError) as error:
        raise RigError(f"{name} cannot be unpacked: {error}") from error
    if data.startswith(_ZSTD):
        return _zstd(data, name)
    expected = "an Image, Image.gz or vmlinuz of arm64"
    raise RigError(f"{name} is no kernel for arm64, or packed in a way that is not known",
                   expected=expected)  # fmt: skip


def _zstd(data: bytes, name: str) -> bytes:
    try:
        done = subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise CannotError(f"{name} is packed by zstd", expected="Debian's package zstd") from error
    if done.returncode and not done.stdout:
        raise RigError(f"{name} cannot be unpacked by zstd")
    return done.stdout


def find_modules(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Find modules by their names below a folder; those that are built in are not there."""
    wanted = {f"{name}.ko{ending}": name for name in names for ending in ("", ".xz", ".gz", ".zst")}
    found: dict[str, Path] = {}
    for top, _folders, files in os.walk(folder):
        for file in wanted.keys() & set(files):
            found.setdefault(wanted[file], Path(top, file))
    return found


def unpack_module(file: Path) -> bytes:
    """Read a module.

    Raises:
        RigError, CannotError: it cannot be unpacked.
    """
    data = file.read_bytes()
    if file.suffix == ".xz":
        return lzma.decompress(data)
    if file.suffix == ".gz":
        return gzip.decompress(data)
    return _zstd(data, file.name) if file.suffix == ".zst" else data
