"""QEMU: which versions the plugins work on, and how a guest is started."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from rig.errors import CannotError
from rig.programs import run
from rig.work import Kernel, Work

__all__ = ["HWAF_CPU", "PLAIN_CPU", "arguments", "check_version"]

QEMU = "qemu-system-aarch64"
PLUGIN_VERSIONS = ("7.2",)
"""Versions whose insides the plugins know: they call functions that are not public."""
NEEDED = (
    "aarch64_cpu_gdb_read_register",
    "cpu_memory_rw_debug",
    "qemu_get_cpu",
    "cpu_physical_memory_map",
    "cpu_get_phys_page_debug",
    "cpu_stop_current",
    "cpu_resume",
    "cpu_loop_exit_noexc",
    "singlestep",
)
"""What the plugins take from the program beside the public interface."""

PLAIN_CPU, HWAF_CPU = "cortex-a72", "cortex-a76"
"""CPUs without and with access and dirty bits set by hardware."""

_CLOCK = "shift=4,sleep=off"
"""The guest's clock goes by its instructions, 16 ns each, and where nothing is to be done until its
next timer: by a host's clock it would be busy with ticks alone where others keep the host busy, and
what falls between two of them would be another matter in every boot."""
_APPEND = (
    "console=ttyAMA0 nokaslr loglevel=5 panic=-1 oops=panic mitigations=off "
    "transparent_hugepage=madvise "
    # init goes from its data to its heap page by page, and every boot is to be the same.
    "norandmaps "
    # Debian's 7.x: it clears access flags behind the scenario's back.
    "damon_stat.enabled=N"
)
_APPEND_TWO = " isolcpus=domain,1 nowatchdog nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"


def check_version(plugins: bool) -> str:
    """Return QEMU's version, if the rig works with it.

    Raises:
        CannotError: there is no QEMU for arm64, or (for stores and races) the plugins do not know
            this version.
    """
    said = run([QEMU, "--version"])
    found = re.search(r"version (\d+\.\d+)\.(\d+)", said)
    version = found[1] if found else said.split("\n")[0]
    if plugins and version not in PLUGIN_VERSIONS:
        known = " and ".join(PLUGIN_VERSIONS)
        message = f"stores and races need QEMU {known} (Debian 12 has it); this is {version}"
        raise CannotError(message)
    if plugins:
        _check_symbols()
    return f"{found[1]}.{found[2]}" if found else version


def _check_symbols() -> None:
    """Refuse a build whose program does not export what the plugins call."""
    which = shutil.which(QEMU) or QEMU
    exported = {line.split()[-1].partition("@")[0] for line in _symbols(which)}
    missing = [name for name in NEEDED if name not in exported]
    if missing:
        message = f"this build of {QEMU} does not export {missing[0]}, which the plugins call"
        raise CannotError(message, expected="Debian 12's build")


def _symbols(program: str) -> list[str]:
    lines = run(["nm", "-D", "--defined-only", program]).splitlines()
    return [line for line in lines if line.strip()]


def arguments(
    work: Work, kernel: Kernel, folder: Path, *, cpu: str, smp: int = 1, extra: Sequence[str] = ()
) -> list[str]:
    """Write the command line of a guest whose files are in a folder.

    init's lines go to a file: QEMU drops what a full pipe does not take.  /x is never written to
    (`snapshot=on`).  With two CPUs one host thread runs both, so that order is total.
    """
    single = ",thread=single" if smp > 1 else ""
    return [
        *(QEMU, "-M", "virt,gic-version=3", "-cpu", cpu, "-smp", str(smp), "-m", "1G"),
        *("-accel", f"tcg,tb-size=256{single}", "-display", "none", "-no-reboot"),
        *("-icount", _CLOCK, "-monitor", "none", "-nic", "none", "-kernel", str(kernel.image)),
        *("-initrd", str(folder / "initrd"), "-serial", f"file:{folder / 'serial'}"),
        *("-device", "virtio-serial-pci", "-chardev", f"file,id=out,path={folder / 'console'}"),
        *("-device", "virtconsole,chardev=out"),
        *("-drive", f"file={work.xfs},format=raw,if=none,id=x,snapshot=on"),
        *("-device", "virtio-blk-pci,drive=x"),
        *("-append", _APPEND + (_APPEND_TWO if smp > 1 else "")),
        *extra,
    ]
