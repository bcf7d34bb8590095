"""One command under limits: its status, its time, its memory, and what it wrote."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.attack.homes import Home, command
from tests.attack.report import Report

__all__ = ["GIB", "Outcome", "judge", "run_limited", "unprintable"]

GIB = 1 << 30
_SPACE = 6 * GIB
"""Address space of a command; it is stopped by `GIB` of memory that it really uses."""
_LIMITS = """\
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
os.nice(5)
os.execvp(sys.argv[2], sys.argv[2:])
"""
_LONG = 600


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    status: int
    seconds: float
    memory: int
    """Bytes at its highest."""
    out: str
    """The first MiB of stdout."""
    err: str
    stopped: bool
    """Whether it had to be killed when its time was over."""


def run_limited(
    home: Home, arguments: Sequence[str], seconds: float = 20.0, stdin: Path | None = None,
    space: int = _SPACE,
) -> Outcome:  # fmt: skip
    """Run mmtui with limits of time and memory, and with nothing to read."""
    out, err = home.path / "tmp" / "out", home.path / "tmp" / "err"
    argv = [sys.executable, "-I", "-S", "-c", _LIMITS, str(space), *command(), *arguments]
    started = time.monotonic()
    with (
        open(stdin or os.devnull, "rb") as given,
        out.open("wb") as to,
        err.open("wb") as errors,
    ):
        process = subprocess.Popen(
            argv, stdin=given, stdout=to, stderr=errors, cwd=home.path, env=home.environment
        )
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - started
    return Outcome(
        process.returncode, took, _bytes(used), _first(out), _first(err),
        process.returncode == -9 and took >= seconds - 0.2,
    )  # fmt: skip


def _bytes(used: resource.struct_rusage) -> int:
    return used.ru_maxrss * 1024


def _first(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1 << 20).decode("utf-8", "replace")


def unprintable(text: str) -> str:
    """The first character that would do something to a terminal; empty if there is none."""
    for letter in text:
        code = ord(letter)
        control = code < 32 and letter not in "\n\t"
        if control or 0x7F <= code < 0xA0 or letter in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068":
            return repr(letter)
    return ""


def judge(report: Report, label: str, outcome: Outcome, allowed: Sequence[int]) -> None:
    """Hold an outcome against what every command must keep to."""
    report.tried += 1
    err, wrong = outcome.err, []
    if outcome.stopped:
        wrong.append(("hang", f"after {outcome.seconds:.0f} s"))
    elif outcome.status not in allowed:
        wrong.append(("status", f"{outcome.status}, not one of {list(allowed)}: {err[:200]!r}"))
    if "Traceback" in err or outcome.status == 70:
        wrong.append(("internal error", err[-200:]))
    if outcome.memory > GIB:
        wrong.append(("memory", f"{outcome.memory / GIB:.1f} GiB"))
    if outcome.status == 2 and (err.count("\n") != 1 or len(err) > _LONG) and "usage:" not in err:
        wrong.append(
            ("message", f"{err.count(chr(10))} lines, {len(err)} characters: {err[:200]!r}")
        )
    for stream, text in (("stdout", outcome.out), ("stderr", err)):
        if letter := unprintable(text):
            wrong.append(("control character", f"{letter} on {stream}"))
    for kind, text in wrong:
        report.fault(kind, f"{label}: {text}")
