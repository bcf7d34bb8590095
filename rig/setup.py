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
from rig.symbols import learn
from rig.work import SOURCES, Kernel, Narrate, Work

__all__ = ["DEFAULT", "NOPM", "set_up"]

DEFAULT = ("6.12", "7.2")
"""Kernels that are set up when none is named."""
NOPM = "7.2-nopm"
"""7.2 without per-page mapcounts and with DEBUG_VM: built from source, about an hour."""

_HOST = (
    *("qemu-system-arm", "gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
    *("debootstrap", "xfsprogs", "xz-utils"),
)
_INSIDE = "gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,make,xz-utils,kmod,ca-certificates"
_FOR_SOURCE = (
    *("gcc", "libc6-dev", "flex", "bison", "bc", "perl", "python3-minimal"),
    *("libelf-dev", "libssl-dev"),
)


def set_up(work: Work, names: Sequence[str], narrate: Narrate) -> list[str]:
    """Set up the kernels named, and all that they need; what is there already is kept.

    Returns a sentence for each kernel that has left the archive; the others are set up.

    Raises:
        CannotError: this machine is no Debian, or we are not root.
        RigError: something failed on the way; the same again goes on from there.
    """
    _check_machine()
    gone: list[str] = []
    with work.locked():
        _install(narrate)
        narrate(f"QEMU {check_version(plugins=True)}; everything else goes to {work.root}")
        archive = Archive(work, narrate)
        archive.update()
        _make_chroot(work, archive, narrate)
        build_init(work, narrate)
        build_plugins(work, narrate)
        _make_xfs(work)
        for name in names or DEFAULT:
            kernel = work.kernel(name)
            try:
                if not kernel.is_set_up:
                    (_build_nopm if name == NOPM else _fetch)(work, archive, kernel, narrate)
            except GoneError as error:
                gone.append(str(error))
                narrate(str(error))
                continue
            build_module(work, kernel, narrate)
            learn(work, kernel, narrate)
            narrate(f"kernel {name} is ready: {kernel.release}")
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
    run(["apt-get", "install", "-y", "--no-install-recommends", *missing], env=environment)


def _make_chroot(work: Work, archive: Archive, narrate: Narrate) -> None:
    """Make the small Debian 13 in which modules are built."""
    if work.chroot.exists():
        return
    narrate("making a small Debian 13 to build modules in (some 900 MB, a few minutes)")
    half = work.root / "chroot.half"  # what a run before this one left unfinished
    shutil.rmtree(half, ignore_errors=True)
    variant = ["--variant=minbase", f"--include={_INSIDE}"]
    run(["debootstrap", *variant, SUITE, half, archive.mirror])
    suites = [f"deb {archive.mirror} {suite} main\n" for suite in (SUITE, f"{SUITE}-backports")]
    (half / "etc/apt/sources.list").write_text("".join(suites), encoding="utf-8")
    if os.path.exists("/etc/resolv.conf"):
        shutil.copy("/etc/resolv.conf", half / "etc/resolv.conf")
    run(["chroot", str(half), "apt-get", "update", "-qq"])
    half.rename(work.chroot)


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
    run([*chroot, "install", "-y", "--no-install-recommends", f"linux-kbuild-{base}"])
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


def _build_nopm(work: Work, archive: Archive, kernel: Kernel, narrate: Narrate) -> None:
    """Build 7.2 without per-page mapcounts from Debian's source."""
    source, inside = "linux-source-7.2", work.chroot / "build"
    if not archive.has(source):
        raise GoneError(f"{source}, of which {NOPM} is built, is not in the archive (any more)")
    narrate(f"building {kernel.name} from {source}: about an hour on two cores")
    chroot = ["chroot", str(work.chroot)]
    run([*chroot, "apt-get", "install", "-y", "--no-install-recommends", *_FOR_SOURCE])
    inside.mkdir(exist_ok=True)
    if not (inside / source).exists():
        fetch = (
            f"cd /build && apt-get download -oAPT::Sandbox::User=root {source} && "
            f"dpkg-deb --fsys-tarfile {source}_*.deb | tar x ./usr/src/{source}.tar.xz && "
            f"tar xJf usr/src/{source}.tar.xz && rm -rf usr {source}_*.deb"
        )
        run([*chroot, "sh", "-ec", fetch])
    shutil.copy(SOURCES / "configs/nopm.config", inside / source)
    make = (
        f"cd /build/{source}; export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-; "
        "make -s allnoconfig KCONFIG_ALLCONFIG=nopm.config; make -s olddefconfig; "
        "nice make -j$(nproc) Image modules"
    )
    run([*chroot, "sh", "-ec", make])
    shutil.rmtree(kernel.folder, ignore_errors=True)
    kernel.modules.mkdir(parents=True)
    tree = inside / source
    release = (tree / "include/config/kernel.release").read_text(encoding="utf-8").strip()
    image = tree / "arch/arm64/boot/Image"
    _install_kernel(kernel, image, tree / ".config", release, f"chroot:/build/{source}")
