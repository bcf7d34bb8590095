"""Kernels that no package has: built from Debian's source, with a configuration of our own.

Fetching, configuring and compiling are each done once: what was interrupted goes on where it
stopped, the compiling at the file it was at.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rig.archive import Archive
from rig.errors import CannotError
from rig.programs import run, run_telling
from rig.work import SOURCES, Kernel, Narrate, Work

__all__ = ["FROM_SOURCE", "Recipe", "build_from_source"]


class Recipe(NamedTuple):
    """What a kernel is built of."""

    package: str
    version: str
    """Of the kernel that the recordings are of, without Debian's revision."""
    config: str
    """A file in `configs/`: what is not allnoconfig."""
    lines: int
    """That make says of a whole build, about; to say how far it is."""


FROM_SOURCE = {"7.2-nopm": Recipe("linux-source-7.2", "7.2.12", "nopm.config", 1400)}
"""By name: 7.2 without per-page mapcounts and with DEBUG_VM."""

_TOOLS = (
    *("gcc", "libc6-dev", "flex", "bison", "bc", "perl", "python3-minimal"),
    *("libelf-dev", "libssl-dev"),
)
"""That building a whole kernel needs, in the chroot."""
_ROOM = 4 << 30
"""Bytes of disk that a tree takes, with its package while it is unpacked."""
_QUIET = 120.0
"""Seconds after which it is said how far the build is, though it is no tenth further."""


def build_from_source(work: Work, archive: Archive, kernel: Kernel, narrate: Narrate) -> Path:
    """Build a kernel of `FROM_SOURCE` in the chroot, and return its tree.

    Raises:
        GoneError: the archive does not have this version of the source any more.
        CannotError: there is not enough room.
        RigError: a step failed; the same again goes on from there.
    """
    recipe = FROM_SOURCE[kernel.name]
    tree = work.chroot / "build" / recipe.package
    _fetch(work, archive, recipe, tree, narrate)
    chroot = ["chroot", str(work.chroot)]
    narrate("installing what building a kernel needs in the chroot")
    install = [*chroot, "apt-get", "install", "-y", "--no-install-recommends", *_TOOLS]
    run(install, doing="installing in the chroot")
    _configure(recipe, tree, chroot, narrate)
    narrate(f"building {kernel.name}; it goes on where it was if it is interrupted")
    make = _make(recipe, 'nice make -j"$(nproc)" Image modules')
    meter = _meter(kernel.name, recipe.lines, narrate)
    run_telling([*chroot, "sh", "-ec", make], meter, doing=f"building {kernel.name}")
    return tree


def _fetch(work: Work, archive: Archive, recipe: Recipe, tree: Path, narrate: Narrate) -> None:
    """Fetch the source and unpack it, unless that was done."""
    if tree.exists():
        return
    version = archive.version(recipe.package, recipe.version)
    half, debs = tree.with_name(f"{tree.name}.half"), work.root / "debs" / tree.name
    for left in (half, debs):
        shutil.rmtree(left, ignore_errors=True)
    half.mkdir(parents=True)
    free = shutil.disk_usage(half).free
    if free < _ROOM:
        message = f"{recipe.package} needs {_ROOM >> 30} GB in {work.root}"
        raise CannotError(f"{message}, which has {free / (1 << 30):.1f}")
    (deb,) = archive.download([f"{recipe.package}={version}"], debs)
    narrate(f"unpacking {recipe.package} (1.8 GB)")
    run(["dpkg", "-x", deb, half])
    shutil.rmtree(debs)
    run(["tar", "-C", half, "-xJf", half / "usr/src" / f"{recipe.package}.tar.xz"])
    (half / recipe.package).rename(tree)
    shutil.rmtree(half)


def _configure(recipe: Recipe, tree: Path, chroot: list[str], narrate: Narrate) -> None:
    """Configure the tree, unless it was with this configuration."""
    wanted, there = SOURCES / "configs" / recipe.config, tree / recipe.config
    if there.exists() and there.read_bytes() == wanted.read_bytes():
        return
    narrate(f"configuring {recipe.package} by {recipe.config}")
    half = there.with_suffix(".half")
    shutil.copy(wanted, half)
    made = f"make -s allnoconfig KCONFIG_ALLCONFIG={half.name}; make -s olddefconfig"
    run([*chroot, "sh", "-ec", _make(recipe, made)], doing=f"configuring {recipe.package}")
    _check_taken(recipe, wanted.read_text(encoding="utf-8"), (tree / ".config").read_text())
    half.rename(there)


def _check_taken(recipe: Recipe, wanted: str, config: str) -> None:
    """Refuse a kernel that came out otherwise: an option that was renamed is dropped in silence.

    Raises:
        CannotError: an option did not come out as it was asked for.
    """
    lines = set(config.split("\n"))
    for line in wanted.split("\n"):
        option, _, value = line.partition("=")
        if not option.startswith("CONFIG_") or line in lines:
            continue
        if value == "n" and not any(each.startswith(f"{option}=") for each in lines):
            continue
        raise CannotError(f"{recipe.package} {recipe.version} does not take {line}")


def _make(recipe: Recipe, command: str) -> str:
    tree = f"/build/{recipe.package}"
    return f"cd {tree}; export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-; {command}"


def _meter(name: str, total: int, narrate: Narrate) -> Callable[[str], None]:
    """Make what counts make's lines, and says every tenth of them, or how far it is meanwhile."""
    began = told = time.monotonic()
    done = tenths = 0

    def said(line: str) -> None:
        nonlocal done, tenths, told
        if not line.startswith("  "):  # make's own words
            return
        done += 1
        now = time.monotonic()
        if done * 10 // total == tenths and now - told < _QUIET:
            return
        told, tenths = now, done * 10 // total
        part = min(100 * done // total, 99)
        narrate(
            f"{name}: {part} % built, {(now - began) / 60:.0f} min, {line.rsplit(maxsplit=1)[-1]}"
        )

    return said
