"""One boot of a guest: started, followed, ended when it says nothing more, and read."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rig.emulator import PLAIN_CPU, arguments
from rig.errors import CannotError, RigError
from rig.initramfs import initramfs
from rig.work import Kernel, Work
from sandbox.printable import one_line, short

__all__ = ["PATIENCE", "Booted", "Guest", "boot"]

COMING_UP = 300.0
"""Seconds that a guest may take to its first word, on a machine that others keep busy."""
PATIENCE = 90.0
"""Seconds without a word of the guest after which it is ended; a busy machine is slow."""
_LOOK = 0.05
_SPLAT = ("WARNING", "BUG", "Oops", "Bad page", "Unable to handle", "panic", "stall", "lockup")


class Guest(NamedTuple):
    """What is booted, and how."""

    work: Work
    kernel: Kernel
    cpu: str = PLAIN_CPU
    smp: int = 1


class Booted(NamedTuple):
    """What came of a boot."""

    console: str
    """init's lines."""
    serial: str
    """The kernel's own log."""
    log: bytes
    """The plugin's log, if there was a plugin."""
    seconds: float
    ended: bool
    """Whether the guest came to its end by itself."""

    @property
    def complaints(self) -> list[str]:
        """Lines of the kernel's log that should not be there."""
        return [line for line in self.serial.split("\n") if any(w in line for w in _SPLAT)]


def boot(
    guest: Guest,
    scenarios: str,
    *,
    marks: Sequence[str] = (),
    plugin: tuple[Path, Mapping[str, str]] | None = None,
    patience: float = PATIENCE,
    progress: Callable[[str], None] | None = None,
) -> Booted:
    """Boot a guest, let it play the scenarios, and return what was said and logged.

    `plugin` is a plugin with the text of its files by option; `progress` is told the name of each
    scenario that has ended.

    Raises:
        CannotError: there is no QEMU.
        RigError: QEMU would not start.
    """
    scratch = guest.work.root / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        root = initramfs(guest.work, guest.kernel, scenarios, marks)
        (folder / "initrd").write_bytes(root)
        extra: list[str] = []
        if plugin is not None:
            options = [f"file={plugin[0]}", f"log={folder / 'log'}"]
            for option, text in plugin[1].items():
                (folder / option).write_text(text, encoding="utf-8")
                options.append(f"{option}={folder / option}")
            extra += ["-plugin", ",".join(options)]
        command = arguments(
            guest.work, guest.kernel, folder, cpu=guest.cpu, smp=guest.smp, extra=extra
        )
        return _follow(command, folder, patience, progress)


def _follow(
    command: list[str], folder: Path, patience: float, progress: Callable[[str], None] | None
) -> Booted:
    began = time.monotonic()
    if shutil.which("setpriv"):  # a guest ends with who plays on it, also by SIGKILL
        command = ["setpriv", "--pdeathsig", "KILL", *command]
    errors = folder / "errors"
    with open(errors, "wb") as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
        except FileNotFoundError as error:
            raise CannotError(f"there is no {command[0]}", expected="`mmtui rig setup`") from error
        try:
            _wait(process, folder / "console", patience, progress)
        finally:
            process.kill()
            process.wait()
    console = _text(folder / "console")
    told = _text(errors).strip()
    if not console and told:
        raise RigError(f"QEMU did not start: {short(one_line(told.splitlines()[-1]), 300)}")
    log = (folder / "log").read_bytes() if (folder / "log").exists() else b""
    ended = any(line == "@Q" for line in console.rsplit("\n", 3))
    serial = _text(folder / "serial") + told
    return Booted(console, serial, log, time.monotonic() - began, ended)


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "replace").replace("\r", "") if file.exists() else ""


def _wait(
    process: subprocess.Popen[bytes],
    console: Path,
    patience: float,
    progress: Callable[[str], None] | None,
) -> None:
    """Wait until QEMU ends, or the guest has said nothing for too long."""
    heard, since, tail = 0, time.monotonic(), b""
    while True:
        try:
            process.wait(timeout=_LOOK)
            return
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        size = console.stat().st_size if console.exists() else 0
        if size == heard:
            if now - since > (patience if heard else max(patience, COMING_UP)):
                return
            continue
        since = now
        if progress is not None:
            with open(console, "rb") as file:
                file.seek(heard)
                *lines, tail = (tail + file.read(size - heard)).split(b"\n")
            for line in lines:
                if line.startswith(b"@E "):
                    progress(line[3:].decode("utf-8", "replace").strip())
        heard = size
