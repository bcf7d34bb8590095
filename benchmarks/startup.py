"""Start-up: commands against an empty interpreter, the application against an empty one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.report import Section
from benchmarks.terminal import Terminal
from benchmarks.timing import alternate, seconds

__all__ = ["commands", "first_paint"]

ROOT = Path(__file__).parent.parent
EMPTY_APP = "from textual.app import App; App().run()"
PYTHON = sys.executable
MMTUI = (PYTHON, "-m", "mmtui")
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "NO_COLOR")


def commands(preset: str, runs: int) -> Section:
    """Measure headless commands as multiples of ``python -c pass``."""
    lines = {
        "pass": (PYTHON, "-c", "pass"),
        "version": (*MMTUI, "--version"),
        "run": (*MMTUI, "run", preset),
        "json": (*MMTUI, "run", preset, "--json", "--events"),
        "help": (*MMTUI, "--help"),
    }
    times = alternate({name: partial(run_time, line) for name, line in lines.items()}, runs)
    section = Section("Start-up of commands, as multiples of `python -c pass`")
    section.add("python -c pass", times["pass"] * 1e3, "ms")
    section.add("mmtui --version", times["version"] / times["pass"], "x", 6.0, 3.0)
    section.add("mmtui --help", times["help"] / times["pass"], "x")
    section.add(f"mmtui run {preset}", times["run"] / times["pass"], "x", 6.0, 3.0)
    section.add(f"mmtui run {preset} --json --events", times["json"] / times["pass"], "x")
    return section


def run_time(argv: tuple[str, ...]) -> float:
    """Time a program from start to end; its output is thrown away."""
    nowhere, env = subprocess.DEVNULL, environment()
    return seconds(
        lambda: subprocess.run(argv, cwd=ROOT, env=env, stdout=nowhere, stderr=nowhere, check=True)
    )


def environment() -> dict[str, str]:
    """Return the environment of what is measured: compiled modules are kept, as usual."""
    return {name: value for name, value in os.environ.items() if name not in UNWANTED}


def first_paint(preset: str, runs: int) -> Section:
    """Measure the application's first screen against that of an empty Textual application."""
    section = Section("Start-up of the application, against an empty Textual application")
    programs = {
        "empty": (PYTHON, "-c", EMPTY_APP),
        "library": MMTUI,
        "preset": (*MMTUI, preset),
    }
    for name, argv in programs.items():
        if not paints(argv):
            section.notes.append(f"{name}: no frame was painted; nothing measured")
            return section
    calls: dict[str, Callable[[], float]] = {}
    for name, argv in programs.items():
        calls[f"{name} first"] = partial(start_time, argv, settled=False)
        calls[f"{name} settled"] = partial(start_time, argv, settled=True)
    times = alternate(calls, runs)
    section.add("empty application, first cell", times["empty first"] * 1e3, "ms")
    for name, title in (("library", "mmtui"), ("preset", f"mmtui {preset}")):
        first = times[f"{name} first"] / times["empty first"]
        settled = times[f"{name} settled"] / times["empty settled"]
        section.add(f"{title}, first cell", first, "x", 1.3, 1.1)
        section.add(f"{title}, screen complete", settled, "x")
    return section


def paints(argv: tuple[str, ...]) -> bool:
    """Whether a program paints a frame and stays."""
    with Terminal(argv, environment()) as terminal:
        return terminal.start_up().first < float("inf") and terminal.alive


def start_time(argv: tuple[str, ...], *, settled: bool) -> float:
    """Time from the start of a program to its first painted cell, or to its complete screen."""
    with Terminal(argv, environment()) as terminal:
        frames = terminal.start_up()
        return frames.settled if settled else frames.first
