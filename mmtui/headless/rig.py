"""`mmtui rig`: the recording rig set up, and what is there of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from mmtui.exit_codes import ExitCode
from sandbox.errors import CannotError
from sandbox.printable import one_line, printable

__all__ = ["meter", "narrate", "rig", "summary"]


def rig(what: str, kernels: Sequence[str]) -> ExitCode:
    """Set up kernels and all that they need, or list what is set up.

    Raises:
        CannotError: this machine cannot; one sentence says what is missing.
        SandboxError: a step failed; the same again goes on from there.
    """
    # Imported here: only these commands know the rig.
    from rig.setup import set_up
    from rig.work import work_directory

    work = work_directory()
    if what == "setup":
        gone = set_up(work, kernels, narrate)
        return ExitCode.CANNOT if gone else ExitCode.OK
    return _check()


def _check() -> ExitCode:
    """List the kernels, and say what is missing for stores and races."""
    from rig.emulator import check_version
    from rig.work import work_directory

    work = work_directory()
    try:
        sys.stdout.write(f"QEMU {check_version(plugins=True)}\n")
        status = ExitCode.OK
    except CannotError as error:
        sys.stdout.write(f"QEMU: {one_line(str(error))}\n")
        status = ExitCode.CANNOT
    sys.stdout.write(f"work directory {printable(str(work.root))}\n")
    kernels = work.kernels()
    for kernel in kernels:
        ready = "ready" if (kernel.folder / "layout.json").exists() else "to be built for"
        sys.stdout.write(f"kernel {kernel.name}  {kernel.release}  {ready}\n")
    if not kernels:
        sys.stdout.write("no kernels; `mmtui rig setup` fetches and builds\n")
        status = ExitCode.CANNOT
    return status


def narrate(line: str) -> None:
    """Say on stderr what is done."""
    sys.stderr.write(f"{one_line(line)}\n")
    sys.stderr.flush()


def meter(total: int, what: str) -> Callable[[str], None] | None:
    """Make what counts on a terminal what has been played; None where nobody looks."""
    if not sys.stderr.isatty():
        return None
    done = 0

    def played(name: str) -> None:
        nonlocal done
        done += 1
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{done} of {total} {what}: {printable(name)[:60]}\x1b[K{end}")
        sys.stderr.flush()

    return played


def summary(failed: dict[str, str], complaints: Sequence[str]) -> ExitCode:
    """Say what went wrong on the kernel's side, and what that means for the exit status."""
    for name, why in failed.items():
        narrate(f"{name}: {why}")
    for line in complaints[:5]:
        narrate(f"the kernel complained: {line}")
    return ExitCode.FAILED if failed or complaints else ExitCode.OK
