"""Running other programs: what they said is one sentence, when they fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rig.errors import CannotError, RigError
from sandbox.printable import one_line, short

__all__ = ["run", "run_telling"]

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
_KEPT = 400
"""Last lines of what a program says, to look for an error in."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    doing: str | None = None,
) -> str:
    """Run a program to its end, and return what it wrote.

    `doing` is what the sentence calls it when it fails, where the command itself says little.

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
        raise _absent(program) from error
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{program} did not end within {timeout:.0f} s") from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise _failure(doing or _short(command), said.splitlines())
    return said


def run_telling(command: Sequence[str | Path], told: Callable[[str], None], *, doing: str) -> None:
    """Run a program that takes long to its end; `told` is given what it says, line by line.

    What it has started ends with it: when we are interrupted, all of its group is told to end.

    Raises:
        CannotError, RigError: as `run`.
    """
    last: deque[str] = deque(maxlen=_KEPT)
    try:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise _absent(str(command[0])) from error
    with process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip("\n"))
                told(last[-1])
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode:
        raise _failure(doing, last)


def _absent(program: str) -> CannotError:
    package = PACKAGES.get(program)
    wanted = f"Debian's package {package}" if package else None
    return CannotError(f"there is no {program} on this machine", expected=wanted)


def _short(command: Sequence[str | Path]) -> str:
    return " ".join(map(str, command[:4]))


def _failure(doing: str, said: Iterable[str]) -> RigError:
    """The sentence for a program that failed: what a compiler or apt calls an error, or the last.

    make's own last words are only that something failed.
    """
    lines = [line for line in said if line.strip()]
    told = [line for line in lines if re.search(r"\berror:|^E: ", line)]
    errors = [line for line in lines if "error" in line.lower()]
    words = short(one_line(told[0] if told else (errors or lines or ["it said nothing"])[-1]), 300)
    return RigError(f"{doing} failed: {words.removeprefix('E: ')}")
