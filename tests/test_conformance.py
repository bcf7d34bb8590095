"""The engine against every recording of the real kernels: each cell and each order must match."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sandbox.conform.states import ConformReport
from sandbox.conform.text import text_report
from tests.conftest import RECORDINGS, SCENARIOS


class Recorded(NamedTuple):
    """How much there is to compare: fewer would mean that something is left out."""

    scenarios: int
    states: int
    cells: int


class Orders(NamedTuple):
    """How many actions were traced, and how many stores they made."""

    actions: int
    stores: int


EXPECTED = {
    "6.12": Recorded(150, 970, 142_303),
    "6.12-hwaf": Recorded(5, 33, 1_923),
    "7.2": Recorded(150, 970, 144_725),
    "7.2-hwaf": Recorded(3, 17, 999),
    "7.2-nopm": Recorded(129, 887, 115_758),
    "7.3": Recorded(150, 970, 144_725),
}
EXPECTED_ORDERS = {
    "6.12": Orders(44, 3105),
    "7.2": Orders(44, 3106),
    "7.2-nopm": Orders(20, 2081),
    "7.3": Orders(42, 3085),
}


def test_every_folder_of_recordings_is_compared(conformance: ConformReport) -> None:
    folders = {folder.name for folder in RECORDINGS.iterdir()}
    assert folders == set(EXPECTED) | {f"{kernel}-micro" for kernel in EXPECTED_ORDERS}
    assert list(conformance.kernels) == list(EXPECTED)
    assert list(conformance.orders) == list(EXPECTED_ORDERS)
    assert not conformance.skipped


def test_every_group_of_scenarios_is_recorded() -> None:
    names = {
        line.split()[1]
        for file in SCENARIOS.glob("*.scn")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("scenario ")
    }
    assert names == {file.stem for file in (RECORDINGS / "7.2").glob("*.json")}


@pytest.mark.parametrize("kernel", EXPECTED)
def test_every_recorded_cell_matches(kernel: str, conformance: ConformReport) -> None:
    found = conformance.kernels[kernel]
    assert not list(found.mismatches), "\n".join(list(text_report(conformance))[:40])
    counted = Recorded(len(found.scenarios), found.total("states"), found.total("cells"))
    assert counted == EXPECTED[kernel]
    assert found.total("states_matching") == counted.states
    assert found.total("cells_matching") == counted.cells


@pytest.mark.parametrize("kernel", EXPECTED_ORDERS)
def test_every_traced_action_stores_in_the_recorded_order(
    kernel: str, conformance: ConformReport
) -> None:
    found = conformance.orders[kernel]
    assert [(order.scenario, order.mismatch) for order in found if order.mismatch] == []
    counted = Orders(len(found), sum(order.stores for order in found))
    assert counted == EXPECTED_ORDERS[kernel]
