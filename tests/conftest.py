"""Isolation: no test sees the user's home, settings, terminal or time zone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sandbox.conform.states import ConformReport, conform_paths

# How long a draw takes says how much else the machine does, not what is wrong with a strategy.
settings.register_profile("loaded", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")

RECORDINGS = Path(__file__).parent / "recordings"
STATES = sorted(f for f in RECORDINGS.glob("*/*.json") if not f.parent.name.endswith("-micro"))
"""Recordings of states; the folders KERNEL-micro hold orders of stores."""
SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.fixture(scope="session")
def conformance() -> ConformReport:
    """Compare all recordings once: it takes seconds, and several tests read the result."""
    return conform_paths([RECORDINGS])


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
    yield home
    reports = [path.read_text(encoding="utf-8") for path in home.rglob("*crash-*.txt")]
    assert not reports or request.node.get_closest_marker("reports"), reports[0]
