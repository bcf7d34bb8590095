"""Recordings as files: JSON, or JSON packed by xz (`NAME.json.xz`), a tenth of the size."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.printable import short
from sandbox.reading import MAX_BYTES, decoded, read_bytes, read_text

__all__ = ["PACKED", "beside", "name_of", "packed", "read_packed", "recordings_in"]

PACKED = ".json.xz"
"""What the name of a packed recording ends in."""

_KINDS = ("*.json", f"*{PACKED}")


def name_of(file: Path) -> str:
    """Return what a recording's file is called, without its ending."""
    return file.name.removesuffix(PACKED).removesuffix(".json")


def recordings_in(folder: Path) -> Iterator[Path]:
    """Yield the recordings of a folder by name; of one that is there twice the JSON alone."""
    found: dict[str, Path] = {}
    for kind in _KINDS:
        for file in folder.glob(kind):
            found.setdefault(name_of(file), file)
    yield from (found[name] for name in sorted(found))


def beside(file: Path, folder: str) -> Path:
    """Return the recording of the same name in a folder beside its own, packed or not."""
    name = name_of(file)
    place = file.parent.with_name(folder)
    return next((f for f in recordings_in(place) if name_of(f) == name), place / f"{name}.json")


def packed(text: str) -> bytes:
    """Pack a recording; the same text gives the same bytes."""
    return lzma.compress(text.encode("utf-8"), preset=9)


def read_packed(file: str, expected: str) -> str:
    """Read the text of a recording, packed or not, by what its name ends in.

    Raises:
        SandboxError: as `read_text`; or the data is not of xz, is cut off, or holds more than
            `MAX_BYTES`.
    """
    if not file.endswith(PACKED):
        return read_text(file, expected)
    data = read_bytes(file)
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=4 * MAX_BYTES + (16 << 20))
    try:
        text = unpacker.decompress(data, MAX_BYTES + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise SandboxError(f"{short(file, 200)} is not packed by xz", expected=expected) from error
    if len(text) > MAX_BYTES:
        limit = f"at most {MAX_BYTES >> 20} MB"
        raise SandboxError(f"{short(file, 200)} holds too much", expected=limit)
    if not unpacker.eof or unpacker.unused_data:
        raise SandboxError(f"{short(file, 200)} is cut off, or goes on", expected=expected)
    return decoded(file, text, expected)
