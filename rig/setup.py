"""Setting the rig up: QEMU, a small Debian to build in, kernels, and what is built for them.

All of it is for Debian 12 on amd64, as root.  Foreign packages are unpacked, never installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rig.archive import SUITE, Archive
from rig.compile import build_init, build_module, build_plugins
from rig.emulator import check_version
from rig.errors import CannotError, GoneError, RigError
from rig.image import unpack_image
from rig.programs import run
from rig.source import FROM_SOURCE, build_from_source
from rig.symbols import learn
from rig.work import Kernel, Narrate, Work

__all__ = ["DEFAULT", "set_up"]

DEFAULT = ("6.12", "7.2")
"""Kernels that are set up when none is named."""

_HOST = (
    *("qemu-system-arm", "gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
    *("debootstrap", "xfsprogs", "xz-utils"),
)
_INSIDE = "gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,make,xz-utils,kmod,ca-certificates"


def set_up(work: Work, names: Sequence[str], narrate: Narrate) -> list[str]:
    """Set up the kernels named, and all that they need; what is there already is kept.

    Returns a sentence for each kernel that has left the archive; the others are set up.

    Raises:
        CannotError: this machine is no Debian, or we are not root.
        RigError: something failed on the way; the same again goes on from there.
    """
    _check_machine()
    with work.locked():
        _install(narrate)
        narrate(f"QEMU {check_version(plugins=True)}; everything else goes to {work.root}")
        archive = Archive(work, narrate)
        kernels = [work.kernel(name) for name in dict.fromkeys(names or DEFAULT)]
        gone = _gone(archive, kernels, narrate)
        kernels = [kernel for kernel in kernels if kernel.name not in gone]
        if kernels:
            _make_chroot(work, archive, narrate)
            build_init(work, narrate)
            build_plugins(work, narrate)
            _make_xfs(work)
        for kernel in kernels:
            if not kernel.is_set_up:
                (_build if kernel.name in FROM_SOURCE else _fetch)(work, archive, kernel, narrate)
            build_module(work, kernel, narrate)
            learn(work, kernel, narrate)
            narrate(f"kernel {kernel.name} is ready: {kernel.release}")
    return list(gone.values())


def _gone(archive: Archive, kernels: Sequence[Kernel], narrate: Narrate) -> dict[str, str]:
    """Say, before anything large is fetched, which kernels that are wanted the archive lacks."""
    wanted = [kernel.name for kernel in kernels if not kernel.is_set_up]
    gone: dict[str, str] = {}
    if wanted:
        archive.update()
    for name in wanted:
        try:
            if name in FROM_SOURCE:
                archive.version(FROM_SOURCE[name].package, FROM_SOURCE[name].version)
            else:
                archive.release(name)
        except GoneError as error:
            gone[name] = str(error)
            narrate(gone[name])
    return gone


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise CannotError("setting the rig up needs root: it installs packages and makes a chroot")
    if shutil.which("apt-get") is None or not os.path.exists("/etc/debian_version"):
        raise CannotError("the rig is set up from Debian's packages; this machine has no apt")


def _install(narrate: Narrate) -> None:
    """Install what the host lacks."""
    missing = []
    for package in _HOST:
        try:
            state = run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package])
        except RigError:
            state = ""
        if state != "installed":
            missing.append(package)
    if not missing:
        return
    narrate(f"installing {', '.join(missing)}")
    run(["apt-get", "update", "-qq"])
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    run(command, env=environment, doing=f"installing {', '.join(missing)}")


def _make_chroot(work: Work, archive: Archive, narrate: Narrate) -> None:
    """Make the small Debian 13 in which modules are built."""
    if work.chroot.exists():
        return
    narrate("making a small Debian 13 to build modules in (some 900 MB, a few minutes)")
    half = work.root / "chroot.half"  # what a run before this one left unfinished
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    for mount in reversed(_mounts_below(half, mounts)):
        run(["umount", mount])
    shutil.rmtree(half, ignore_errors=True)
    variant = ["--variant=minbase", f"--include={_INSIDE}"]
    command = ["debootstrap", *variant, SUITE, str(half), archive.mirror]
    run(command, doing="making the small Debian 13")
    suites = [f"deb {archive.mirror} {suite} main\n" for suite in (SUITE, f"{SUITE}-backports")]
    (half / "etc/apt/sources.list").write_text("".join(suites), encoding="utf-8")
    if os.path.exists("/etc/resolv.conf"):
        shutil.copy("/etc/resolv.conf", half / "etc/resolv.conf")
    run(["chroot", str(half), "apt-get", "update", "-qq"])
    half.rename(work.chroot)


def _mounts_below(folder: Path, mounts: str) -> list[str]:
    """What debootstrap has mounted and, when it was killed, left so: nothing of it is ours."""
    places = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines()]
    return sorted(place for place in places if place.startswith(f"{folder}/"))


def _make_xfs(work: Work) -> None:
    if work.xfs.exists():
        return
    half = work.xfs.with_suffix(".half")
    half.unlink(missing_ok=True)
    with open(half, "wb") as file:
        file.truncate(400 << 20)
    run(["mkfs.xfs", "-q", half])
    half.rename(work.xfs)


def _fetch(work: Work, archive: Archive, kernel: Kernel, narrate: Narrate) -> None:
    """Fetch a kernel of Debian's and unpack it into its folder."""
    release = archive.release(kernel.name)
    base = release.removesuffix("-cloud-arm64")
    packages = [f"linux-headers-{release}", f"linux-headers-{base}-common"]
    if archive.has(f"linux-modules-{release}"):
        packages += [f"linux-{part}-{release}" for part in ("base", "binary", "modules")]
    else:
        packages.append(f"linux-image-{release}")
    debs, root = work.root / "debs" / kernel.name, work.root / f"root-{kernel.name}"
    for folder in (debs, root, kernel.folder):
        shutil.rmtree(folder, ignore_errors=True)
    root.mkdir()
    for deb in archive.download(packages, debs):
        run(["dpkg", "-x", deb, root])
    shutil.copytree(root / "usr/src", work.chroot / "usr/src", symlinks=True, dirs_exist_ok=True)
    narrate(f"installing linux-kbuild-{base} in the chroot")
    chroot = ["chroot", str(work.chroot), "apt-get"]
    command = [*chroot, "install", "-y", "--no-install-recommends", f"linux-kbuild-{base}"]
    run(command, doing="installing in the chroot")
    kernel.folder.mkdir(parents=True)
    modules = root / "usr/lib/modules" / release
    image, config = modules / "vmlinuz", modules / "config"
    if not image.exists():
        image, config = root / "boot" / f"vmlinuz-{release}", root / "boot" / f"config-{release}"
    _install_kernel(kernel, image, config, release, f"chroot:/usr/src/linux-headers-{release}")
    modules.rename(kernel.modules)
    shutil.rmtree(root)
    shutil.rmtree(debs)


def _install_kernel(kernel: Kernel, image: Path, config: Path, release: str, tree: str) -> None:
    """Put a kernel's files into its folder; the image last, for it says that all is there."""
    shutil.copy(config, kernel.folder / "config")
    (kernel.folder / "release").write_text(release + "\n", encoding="utf-8")
    (kernel.folder / "build").write_text(tree + "\n", encoding="utf-8")
    half = kernel.folder / "image.half"
    half.write_bytes(unpack_image(image.read_bytes(), image.name))
    half.rename(kernel.image)


def _build(work: Work, archive: Archive, kernel: Kernel, narrate: Narrate) -> None:
    """Build a kernel from source and put it into its folder; all its modules are built in."""
    tree = build_from_source(work, archive, kernel, narrate)
    shutil.rmtree(kernel.folder, ignore_errors=True)
    kernel.modules.mkdir(parents=True)
    release = (tree / "include/config/kernel.release").read_text(encoding="utf-8").strip()
    image, inside = tree / "arch/arm64/boot/Image", f"chroot:/build/{tree.name}"
    _install_kernel(kernel, image, tree / ".config", release, inside)
