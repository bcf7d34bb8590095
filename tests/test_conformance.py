"""The engine against recordings of four real kernels: every compared cell must match."""

from __future__ import annotations

import pytest

from sandbox.conform import conform_paths
from sandbox.conform_text import text_report
from tests.conftest import RECORDINGS


@pytest.mark.parametrize("kernel", ["6.12", "7.2", "7.2-nopm", "7.3"])
def test_every_recorded_cell_matches(kernel: str) -> None:
    report = conform_paths([RECORDINGS / kernel])
    assert len(report.kernels[kernel].scenarios) == 94
    assert report.ok, "\n".join(list(text_report(report))[:40])
