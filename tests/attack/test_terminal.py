"""The application in a terminal: ends, saves, and random hands, several terminals at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.attack import ends, fuzz, saves
from tests.attack.homes import why_no_terminal
from tests.attack.report import Report
from tests.attack.terminal import PATIENCE

pytestmark = [
    pytest.mark.skipif(bool(why_no_terminal()), reason=why_no_terminal() or "terminals are there"),
    pytest.mark.timeout(600),
]

SEEDS = {1: (80, 24), 2: (120, 40)}
LIVES, MOVES = 3, 50

LEAVINGS = ("two branches, the first again, q", "A, K, K, q", "A, L, Enter")
"""Those of the ways to leave work behind that the longer target has too."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Report]]]:
    """The three tables, filled side by side: they wait for the screen most of the time."""
    folder = tmp_path_factory.mktemp("attack")
    jobs = {
        "ends": lambda report: ends.try_ends(report, folder / "ends"),
        "leavings": lambda report: ends.try_leavings(report, folder / "leavings", LEAVINGS),
        "saves": lambda report: saves.try_saves(report, folder / "saves"),
    }
    with ThreadPoolExecutor(len(jobs)) as pool:
        yield {name: pool.submit(_filled, name, job) for name, job in jobs.items()}


def _filled(name: str, job: object) -> Report:
    report = Report(name)
    assert callable(job)
    job(report)
    return report


def test_after_every_end_nothing_is_lost_and_the_terminal_is_clean(
    tables: dict[str, Future[Report]],
) -> None:
    report = tables["ends"].result()
    assert report.tried == 9
    assert report.ok, str(report)


def test_whatever_leads_away_from_work_keeps_it(tables: dict[str, Future[Report]]) -> None:
    report = tables["leavings"].result()
    assert report.tried == len(LEAVINGS)
    assert report.ok, str(report)


def test_saving_destroys_nothing_and_tells_the_truth(tables: dict[str, Future[Report]]) -> None:
    report = tables["saves"].result()
    assert report.tried > 35
    assert report.ok, str(report)


def test_random_hands_do_not_end_it_hang_it_or_lose_work(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    reports = {seed: Report("fuzz", seed, folder) for seed in SEEDS}
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        jobs = [
            pool.submit(
                fuzz.fuzz, reports[seed], folder, seed, size,
                lives=LIVES, moves=MOVES, patience=PATIENCE,
            )
            for seed, size in SEEDS.items()
        ]  # fmt: skip
        for job in jobs:
            job.result()
    for report in reports.values():
        assert report.ok, str(report)
        assert report.counts["starts"] == LIVES
        assert report.counts["probes"] > LIVES
