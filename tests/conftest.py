"""Isolation: no test sees the user's home, settings, terminal or time zone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from mmtui.__main__ import main
from mmtui.views.glyphs import UNICODE
from sandbox.conform.packed import PACKED, name_of, read_packed, recordings_in
from sandbox.conform.states import ConformReport, conform_paths

# How long a draw takes says how much else the machine does, not what is wrong with a strategy.
settings.register_profile("loaded", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")

Mmtui = Callable[..., tuple[int, str, str]]
"""A command line, done: its status, stdout and stderr."""

RECORDINGS = Path(__file__).parent / "recordings"
FOLDERS = sorted(folder for folder in RECORDINGS.iterdir() if folder.is_dir())
STATES = [
    file
    for folder in FOLDERS
    if not folder.name.endswith("-micro")
    for file in recordings_in(folder)
]
"""Recordings of states; the folders KERNEL-micro hold orders of stores."""
WHOLE = bool(os.environ.get("MMTUI_ALL"))
"""Whether the gate's sample of recordings is all of them: minutes instead of one."""


def sampled(file: Path) -> bool:
    """Tell whether the gate compares a recording: all of 7.2, and a third of other kernels'."""
    whole = WHOLE or file.parent.name not in {"6.12", "7.2-nopm", "7.3"}
    return whole or crc32(name_of(file).encode()) % 3 == 0


def recorded(kernel: str, name: str) -> Path:
    """Return the file of a recording in the tree."""
    return RECORDINGS / kernel / f"{name}{PACKED}"


def read(file: Path) -> dict[str, Any]:
    """Read a recording, packed or not, without looking at its shape."""
    found: dict[str, Any] = json.loads(read_packed(str(file), "a recording"))
    return found


SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.fixture(scope="session")
def conformance() -> ConformReport:
    """Compare the recordings once: it takes most of a minute, and several tests read the result."""
    return conform_paths(f for folder in FOLDERS for f in recordings_in(folder) if sampled(f))


@pytest.fixture(autouse=True)
def isolation(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """Give the test an empty home and a plain terminal; yield the home.

    The application goes on after an error of its own: so that no test passes over one, there must
    be no report of any, except in tests that are marked `reports`.
    """
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.setattr("tempfile.tempdir", None)  # forget what was worked out before
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("NO_COLOR", "FORCE_COLOR", "LC_ALL", "COLUMNS", "LINES", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith(("TEXTUAL_", "MMTUI_"))]:
        monkeypatch.delenv(name)
    # Chosen once for a process: by what some test before had for an environment.
    monkeypatch.setattr("mmtui.views.glyphs._CHOSEN", [UNICODE])
    yield home
    reports = [path.read_text(encoding="utf-8") for path in home.rglob("*crash-*.txt")]
    assert not reports or request.node.get_closest_marker("reports"), reports[0]


@pytest.fixture
def mmtui(capsys: pytest.CaptureFixture[str]) -> Mmtui:
    """Return a function that runs a command line and gives status, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run
