"""One case in a process of its own, with limits; what is wrong with its answer, in words."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.corpus import Case

__all__ = ["faults_of", "faults_of_answer"]

ROOT = Path(__file__).parent.parent.parent
MEMORY = 1 << 30
SECONDS_TO_START = 8
"""Of processor time: starting, and what the two seconds a megabyte are not meant for."""

ACTED_UPON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def faults_of(case: Case, folder: Path) -> list[str]:
    """Run a case under its limits and return what is wrong, if anything."""
    data = case.data.encode() if isinstance(case.data, str) else case.data
    if case.path is not None:
        case.path.write_bytes(data)
    seconds = SECONDS_TO_START + 2 * (len(data) >> 20)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    done = subprocess.run(
        [sys.executable, "-m", "mmtui", *map(os.fsencode, case.arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=limit,
        timeout=600,  # a machine with other work on it
        check=False,
    )
    return list(faults_of_answer(case, done.returncode, done.stdout.decode(), done.stderr.decode()))


def faults_of_answer(case: Case, status: int, out: str, err: str) -> Iterator[str]:
    """Yield what is wrong with an answer."""
    if status not in case.statuses:
        yield f"status {status}, not {case.statuses}: {err[-200:]!r}"
    if "Traceback" in err:
        yield "a traceback"
    if status == 2 and err.count("mmtui: ") != 1:
        yield f"not one line: {err[:200]!r}"
    longest = max(map(len, err.splitlines()), default=0)
    if longest > 520:
        yield f"a line of {longest} characters on stderr"
    for name, text in (("stdout", out), ("stderr", err)):
        if found := ACTED_UPON.search(text):
            yield f"{found[0]!r} on {name}"
