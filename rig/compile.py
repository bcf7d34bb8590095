"""What is built from the sources of the tree: the guest's init, the rig's module, the plugins.

Each is built anew when its source has changed; the digest of what it was built from lies beside it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rig.errors import CannotError
from rig.programs import run
from rig.work import SOURCES, Kernel, Narrate, Work

__all__ = ["PLUGINS", "build_init", "build_module", "build_plugins", "plugin"]

PLUGINS = ("stores", "two")
"""`stores` logs every store on one CPU; `two` plays chosen interleavings on two."""
_CROSS = "aarch64-linux-gnu-"


def build_init(work: Work, narrate: Narrate) -> None:
    """Build the guest's only program.

    Raises:
        CannotError: there is no compiler for arm64.
        RigError: it does not compile.
    """
    source = SOURCES / "guest/init.c"
    if _is_fresh(work.init, [source]):
        return
    narrate("building the guest's init")
    flags = ["-static", "-no-pie", "-pthread", "-O1", "-Wall"]
    run([f"{_CROSS}gcc", *flags, "-o", work.init, source])
    _stamp(work.init, [source])


def plugin(work: Work, name: str) -> Path:
    """Where a plugin of QEMU is."""
    return work.root / f"{name}.so"


def build_plugins(work: Work, narrate: Narrate) -> None:
    """Build QEMU's plugins; they need no headers.

    Raises:
        CannotError: there is no compiler.
        RigError: one does not compile.
    """
    for name in PLUGINS:
        source, target = SOURCES / f"plugins/{name}.c", plugin(work, name)
        sources = [source, SOURCES / "plugins/qemu.h", SOURCES / "plugins/shadow.h"]
        if _is_fresh(target, sources):
            continue
        narrate(f"building the plugin {name}")
        flags = ["-O2", "-Wall", "-Wno-unused", "-fPIC", "-shared", "-fvisibility=hidden"]
        run(["gcc", *flags, "-o", target, source])
        _stamp(target, sources)


def build_module(work: Work, kernel: Kernel, narrate: Narrate) -> None:
    """Build the rig's module for a kernel.

    Raises:
        CannotError: a compiler is missing, or building in the chroot needs root.
        RigError: it does not compile against this kernel.
    """
    sources = [SOURCES / "guest/mmoracle.c", SOURCES / "guest/Kbuild"]
    if _is_fresh(kernel.module, sources):
        return
    narrate(f"building the module for {kernel.name} ({kernel.release})")
    inside = kernel.build_tree.startswith("chroot:")
    if inside and os.geteuid() != 0:
        raise CannotError("building the module for a kernel of Debian's needs root (a chroot)")
    parent = work.chroot / "build" if inside else None
    if parent is not None:
        parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for source in sources:
            shutil.copy(source, folder)
        here = "/" + os.path.relpath(folder, work.chroot) if inside else folder
        tree = kernel.build_tree.removeprefix("chroot:")
        make = ["make", "-C", tree, f"M={here}", "ARCH=arm64", *_compiler(kernel)]
        run([*(("chroot", str(work.chroot)) if inside else ()), *make, "modules"])
        target = kernel.module.with_suffix(".half")
        run([f"{_CROSS}strip", "-g", "-o", target, Path(folder, "mmoracle.ko")])
        target.rename(kernel.module)
    _stamp(kernel.module, sources)
    for learnt in ("kallsyms", "layout.json"):  # the layout is the module's word
        (kernel.folder / learnt).unlink(missing_ok=True)


def _compiler(kernel: Kernel) -> list[str]:
    """How make is told the compiler: a kernel built by clang wants clang again."""
    config = kernel.folder / "config"
    if "CONFIG_CC_IS_CLANG=y" in config.read_text(encoding="utf-8", errors="replace"):
        return ["LLVM=1"]
    return [f"CROSS_COMPILE={os.environ.get('CROSS_COMPILE', _CROSS)}"]


def _digest(sources: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _stamp_of(target: Path) -> Path:
    return target.with_name(target.name + ".made-of")


def _is_fresh(target: Path, sources: Sequence[Path]) -> bool:
    stamp = _stamp_of(target)
    made_of = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
    return target.exists() and made_of == _digest(sources)


def _stamp(target: Path, sources: Sequence[Path]) -> None:
    _stamp_of(target).write_text(_digest(sources), encoding="utf-8")
