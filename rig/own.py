"""A person's own kernel: an image, and the tree (or headers) that it was built from."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from rig.errors import CannotError, RigError
from rig.image import find_modules, unpack_image
from rig.initramfs import MODULES
from rig.work import Kernel, Work

__all__ = ["own_kernel"]

NEEDED = (
    *("MODULES", "KPROBES", "KALLSYMS", "PROC_FS", "SYSFS", "DEBUG_FS", "TMPFS", "DEVTMPFS"),
    *("BLK_DEV_INITRD", "VIRTIO_PCI", "VIRTIO_CONSOLE", "VIRTIO_BLK", "PCI_HOST_GENERIC"),
    *("SERIAL_AMBA_PL011_CONSOLE", "ARM64_4K_PAGES"),
)
"""Options without which the guest does not come up or cannot be looked at."""


def own_kernel(work: Work, name: str, image: str, build: str) -> Kernel:
    """Take a person's kernel into the work directory, under its name in recordings.

    Modules (zram, XFS) are looked for in the build tree; what is built in needs none.  A kernel or
    module that was built again since is taken again.

    Raises:
        RigError: the image is none for arm64, or the tree is no kernel's, or not wholly built.
        CannotError: the kernel was configured without something that the rig needs.
    """
    tree, file = Path(build).resolve(), Path(image).absolute()
    if not file.is_file():
        raise RigError(f"there is no kernel image {image}")
    config = _config(tree)
    missing = [option for option in NEEDED if not _has(config, option)]
    if missing:
        message = f"the kernel of {build} was configured without CONFIG_{missing[0]}"
        rest = ", ".join(f"CONFIG_{option}" for option in missing[1:])
        raise CannotError(message + (f" (nor {rest})" if rest else ""))
    release, modules = _release(tree), find_modules(tree, MODULES)
    facts = "\0".join([str(tree), *(_facts(each) for each in (file, *modules.values()))])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:16]
    kernel = Kernel(name, work.root / "own" / digest)
    if not kernel.is_set_up:
        shutil.rmtree(kernel.folder, ignore_errors=True)
        kernel.modules.mkdir(parents=True)
        for each in modules.values():
            shutil.copy(each, kernel.modules)
        for fact, text in (("config", config), ("release", release), ("build", _place(work, tree))):
            (kernel.folder / fact).write_text(f"{text}\n", encoding="utf-8")
        half = kernel.folder / "image.half"
        half.write_bytes(unpack_image(file.read_bytes(), image))
        half.rename(kernel.image)
    return kernel


def _place(work: Work, tree: Path) -> str:
    """Where modules are built: a tree in the chroot was built by the compiler there."""
    chroot = work.chroot.resolve()
    return f"chroot:/{tree.relative_to(chroot)}" if tree.is_relative_to(chroot) else str(tree)


def _facts(file: Path) -> str:
    """By which it is seen that a file is another one than it was."""
    stat = file.stat()
    return f"{file}\0{stat.st_mtime_ns}\0{stat.st_size}"


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
    if not (tree / "Module.symvers").is_file():  # what the rig's module may call
        message = f"{tree} has no Module.symvers, which building modules writes"
        raise RigError(message, expected="`make modules` there first")
    return file.read_text(encoding="utf-8").strip()
