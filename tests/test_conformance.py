"""The engine against recordings of four real kernels: every compared cell must match."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sandbox.conform import conform_paths
from sandbox.conform_text import text_report
from tests.conftest import RECORDINGS


class Recorded(NamedTuple):
    """How much there is to compare: fewer would mean that something is left out."""

    scenarios: int
    states: int
    cells: int


EXPECTED = {
    "6.12": Recorded(94, 657, 60_413),
    "7.2": Recorded(94, 657, 61_225),
    "7.2-nopm": Recorded(94, 657, 52_541),
    "7.3": Recorded(94, 657, 61_225),
}


def test_every_folder_of_recordings_is_compared() -> None:
    assert {folder.name for folder in RECORDINGS.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("kernel", EXPECTED)
def test_every_recorded_cell_matches(kernel: str) -> None:
    report = conform_paths([RECORDINGS / kernel])
    assert report.ok, "\n".join(list(text_report(report))[:40])
    found = report.kernels[kernel]
    counted = Recorded(len(found.scenarios), found.total("states"), found.total("cells"))
    assert counted == EXPECTED[kernel]
    assert found.total("cells_matching") == counted.cells
    assert not report.skipped
