"""A person's own kernel: an image, and the tree (or headers) that it was built from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from rig.errors import CannotError, RigError
from rig.image import unpack_image
from rig.work import Kernel, Work

__all__ = ["own_kernel"]

NEEDED = (
    *("MODULES", "KPROBES", "KALLSYMS", "PROC_FS", "SYSFS", "DEBUG_FS", "TMPFS", "DEVTMPFS"),
    *("BLK_DEV_INITRD", "VIRTIO_PCI", "VIRTIO_CONSOLE", "VIRTIO_BLK", "PCI_HOST_GENERIC"),
    *("SERIAL_AMBA_PL011_CONSOLE",),
)
"""Options without which the guest does not come up or cannot be looked at."""


def own_kernel(work: Work, name: str, image: str, build: str) -> Kernel:
    """Take a person's kernel into the work directory, under its name in recordings.

    Modules (zram, XFS) are looked for in the build tree; what is built in needs none.

    Raises:
        RigError: the image is none for arm64, or the tree is no kernel's.
        CannotError: the kernel was configured without something that the rig needs.
    """
    tree, file = Path(build).absolute(), Path(image).absolute()
    if not file.is_file():
        raise RigError(f"there is no kernel image {image}")
    config = _config(tree)
    missing = [option for option in NEEDED if not _has(config, option)]
    if missing:
        message = f"the kernel of {build} was configured without CONFIG_{missing[0]}"
        rest = ", ".join(f"CONFIG_{option}" for option in missing[1:])
        raise CannotError(message + (f" (nor {rest})" if rest else ""))
    facts = f"{file}\0{file.stat().st_mtime_ns}\0{file.stat().st_size}\0{tree}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:16]
    kernel = Kernel(name, work.root / "own" / digest)
    if kernel.is_set_up:
        return kernel
    shutil.rmtree(kernel.folder, ignore_errors=True)
    kernel.folder.mkdir(parents=True)
    inside = os.path.relpath(tree, work.chroot) if tree.is_relative_to(work.chroot) else None
    where = f"chroot:/{inside}" if inside is not None else str(tree)
    (kernel.folder / "build").write_text(f"{where}\n", encoding="utf-8")
    (kernel.folder / "config").write_text(config, encoding="utf-8")
    (kernel.folder / "release").write_text(_release(tree) + "\n", encoding="utf-8")
    kernel.modules.symlink_to(tree)
    half = kernel.folder / "image.half"
    half.write_bytes(unpack_image(file.read_bytes(), image))
    half.rename(kernel.image)
    return kernel


def _config(tree: Path) -> str:
    for place in (".config", "include/config/auto.conf"):
        if (tree / place).is_file():
            return (tree / place).read_text(encoding="utf-8", errors="replace")
    message = f"{tree} is no tree that a kernel was built in, nor headers of one"
    raise RigError(message, expected="a folder with .config in it")


def _has(config: str, option: str) -> bool:
    return re.search(rf"^CONFIG_{option}=[ym]$", config, re.MULTILINE) is not None


def _release(tree: Path) -> str:
    file = tree / "include/config/kernel.release"
    if not file.is_file():
        raise RigError(f"{tree} was never built: it has no include/config/kernel.release")
    return file.read_text(encoding="utf-8").strip()
