"""Commands with closed, full and missing streams, and with SIGINT: the status of each."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from pathlib import Path
from random import Random

from sandbox.scenario.library import list_cards
from tests.attack.homes import Home, command
from tests.attack.report import Report

__all__ = ["COMMANDS", "STREAMS", "try_interrupts", "try_json", "try_streams"]

COMMANDS = (
    "run 3", "run 3 --json", "run 3 --events", "check 3", "proc 3 smaps", "kernels",
    "kernels --json", "rules", "rules I-05", "presets", "presets --json", "conform RECORDING",
    "conform RECORDING --markdown", "--help", "run --help", "--version",
)  # fmt: skip
STREAMS: dict[str, tuple[int, ...]] = {
    "| head -1": (0, 141),
    "| true": (0, 141),
    ">&-": (0, 2, 141),
    ">/dev/full": (2,),
    "2>&- >/dev/null": (0,),
    "2>/dev/full >/dev/null": (0, 2),
    "<&- >/dev/null": (0,),
    "<&- >&- 2>&-": (0, 2, 141),
}
"""What is done to the streams, and the statuses that may follow."""
RECORDING = min((Path(__file__).parent.parent / "recordings" / "7.2").glob("*.json.xz"))


def try_streams(report: Report, folder: Path) -> None:
    """All commands with all streams; never a traceback, and always a documented status."""
    home = Home(folder)
    for words in COMMANDS:
        for streams, allowed in STREAMS.items():
            line = words.replace("RECORDING", shlex.quote(str(RECORDING)))
            status, err = _in_shell(home, line, streams)
            report.tried += 1
            label = f"mmtui {words} {streams}"
            report.expect(status in allowed, "status", f"{label}: {status}, not {allowed}: {err}")
            report.expect("Traceback" not in err, "traceback", f"{label}: {err}")


def _in_shell(home: Home, line: str, streams: str) -> tuple[int, str]:
    """The status of the command itself and what came on the shell's stderr."""
    script = f"{shlex.join(command())} {line} {streams}"
    if streams.startswith("|"):
        script += "; exit ${PIPESTATUS[0]}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=home.path, env=home.environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr[-200:]


_LISTS = ("kernels --json", "presets --json", "rules --json")


def try_json(report: Report, folder: Path) -> None:
    """Whatever writes JSON writes one valid object a line."""
    home = Home(folder)
    runs = [f"run {card.slug} --json" for card in list_cards()]
    runs += [f"{line} --events" for line in runs[:8]]
    for line in (*_LISTS, *runs):
        argv = [*command(), *line.split()]
        done = subprocess.run(
            argv, cwd=home.path, env=home.environment, capture_output=True, text=True, check=False
        )
        report.tried += 1
        try:
            objects = [json.loads(row) for row in done.stdout.splitlines()]
        except ValueError as error:
            report.fault("JSON", f"mmtui {line}: {error}")
            continue
        right = bool(objects) and all(isinstance(each, dict) for each in objects)
        report.expect(right and done.returncode == 0, "JSON", f"mmtui {line}: {done.returncode}")


_LONG = ("run 11", "check", "conform RECORDINGS", "proc 11 smaps", "run 40 --events")


def try_interrupts(report: Report, folder: Path, seed: int, count: int) -> None:
    """SIGINT at a random moment: 130, or the end came first; one line at most."""
    random, home = Random(seed), Home(folder)
    for number in range(count):
        words = _LONG[number % len(_LONG)]
        line = words.replace("RECORDINGS", str(RECORDING.parent))
        process = subprocess.Popen(
            [*command(), *line.split()], cwd=home.path, env=home.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            process.wait(random.uniform(0.05, 2.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        report.tried += 1
        status = process.returncode
        report.expect(status in (0, 130), "status", f"mmtui {words}: {status}: {err[-200:]}")
        report.expect("Traceback" not in err, "traceback", f"mmtui {words}: {err[-300:]}")
