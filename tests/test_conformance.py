"""The engine against recordings of the real kernels: each cell and each order must match.

What does not match yet is named in `recordings/differ.txt`, and must not match: what has been put
right leaves the list.  The gate compares a sample (`conftest.sampled`), MMTUI_ALL=1 everything.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sandbox.conform.packed import name_of, recordings_in
from sandbox.conform.states import ConformReport
from sandbox.conform.text import markdown_report
from tests.conftest import FOLDERS, RECORDINGS, SCENARIOS, WHOLE, sampled

README = Path(__file__).parent.parent / "README.md"
STATES_OF = [folder.name for folder in FOLDERS if not folder.name.endswith("-micro")]
ORDERS_OF = [folder.name.removesuffix("-micro") for folder in FOLDERS if "-micro" in folder.name]
DIFFER = {
    tuple(line.split(" ", 1))
    for line in (RECORDINGS / "differ.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
}
"""Folder and scenario of a state that differs; folder, scenario and action of an order."""


def table_of_readme() -> list[str]:
    begin, end = "<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"
    return README.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].splitlines()


def differing(folder: str) -> set[str]:
    """What the list has for a folder, as far as it is compared here."""
    compared = {name_of(f) for f in recordings_in(RECORDINGS / folder) if sampled(f)}
    return {what for where, what in DIFFER if where == folder and what.split()[0] in compared}


def test_every_folder_of_recordings_is_compared(conformance: ConformReport) -> None:
    assert list(conformance.kernels) == STATES_OF
    assert list(conformance.orders) == ORDERS_OF
    assert not conformance.skipped


def test_every_recording_is_of_a_scenario_in_the_tree() -> None:
    names = {
        line.split()[1]
        for file in SCENARIOS.glob("*.scn")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("scenario ")
    }
    assert names == {name_of(file) for file in recordings_in(RECORDINGS / "7.2")}


def test_the_list_of_what_differs_names_recordings() -> None:
    for folder, what in DIFFER:
        assert any(what.split()[0] == name_of(f) for f in recordings_in(RECORDINGS / folder)), what


@pytest.mark.parametrize("kernel", STATES_OF)
def test_every_recorded_cell_matches(kernel: str, conformance: ConformReport) -> None:
    found = conformance.kernels[kernel]
    compared = [f for f in recordings_in(RECORDINGS / kernel) if sampled(f)]
    assert [report.scenario for report in found.scenarios] == [name_of(f) for f in compared]
    wrong = {report.scenario: report.mismatches[:3] for report in found.scenarios if not report.ok}
    assert {k: v for k, v in wrong.items() if k not in differing(kernel)} == {}
    assert set(wrong) == differing(kernel), "put right: take it off the list"


@pytest.mark.parametrize("kernel", ORDERS_OF)
def test_every_traced_action_stores_in_the_recorded_order(
    kernel: str, conformance: ConformReport
) -> None:
    found = conformance.orders[kernel]
    assert {order.scenario for order in found} == {
        name_of(file) for file in recordings_in(RECORDINGS / f"{kernel}-micro")
    }
    assert sum(order.stores for order in found) > 50 * len(found)
    wrong = {
        f"{order.scenario} {order.action}": order.mismatch for order in found if order.mismatch
    }
    listed = differing(f"{kernel}-micro")
    assert {k: v for k, v in wrong.items() if k not in listed} == {}
    assert set(wrong) == listed, "put right: take it off the list"


def test_the_table_of_the_readme_is_what_the_command_writes(conformance: ConformReport) -> None:
    written = [*itertools.takewhile(lambda row: row[:1] != "#", markdown_report(conformance))]
    table = table_of_readme()
    assert [row.split(" | ")[0] for row in table] == [row.split(" | ")[0] for row in written][
        : len(table)
    ]
    same = written[: len(table)] if WHOLE else [row for row in written if row.startswith("| 7.2 ")]
    assert set(same) <= set(table)
