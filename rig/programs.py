"""Running other programs: what they said is one sentence, when they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.errors import CannotError, RigError
from sandbox.printable import one_line, short

__all__ = ["run"]

PACKAGES = {
    "qemu-system-aarch64": "qemu-system-arm",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-strip": "binutils-aarch64-linux-gnu",
    "gcc": "gcc",
    "mkfs.xfs": "xfsprogs",
    "debootstrap": "debootstrap",
    "make": "make",
    "nm": "binutils",
    "zstd": "zstd",
}
"""Debian's package of each program that may be missing."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end, and return what it wrote.

    Raises:
        CannotError: there is no such program; the package that has it is named.
        RigError: it failed, with the last it said.
    """
    program = str(command[0])
    try:
        done = subprocess.run(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env=env,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        package = PACKAGES.get(program)
        wanted = f"Debian's package {package}" if package else None
        raise CannotError(f"there is no {program} on this machine", expected=wanted) from error
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{program} did not end within {timeout:.0f} s") from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or line.startswith("E: ")]
        told = short(one_line((errors or lines or ["it said nothing"])[-1]), 300)
        raise RigError(f"{' '.join(map(str, command[:4]))} failed: {told}")
    return said
