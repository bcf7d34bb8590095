"""The comparison of benches that the attacks rest on sees what it must see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.ends import FOUR
from tests.attack.sessions import bench_after, complete, differences, reopen, save

MOVES = (*FOUR, "N", "N", "write A R 0 1", "N")


def test_the_same_moves_make_the_same_bench_however_they_are_written() -> None:
    typed = ["mmap A R 4p" if line == "mmap A R 16K" else line for line in MOVES]
    one, other = complete(bench_after(MOVES)), complete(bench_after(typed))
    assert not differences(one, other)


@pytest.mark.parametrize(
    ("moves", "kernel"),
    [
        ((*FOUR, "N", "N", "write A R 0 1"), None),
        ((*FOUR, "N", "N", "write A R 1 2", "N"), None),
        ((*FOUR, "N", "write A R 0 1", "N"), None),
        (("mmap A R 64K", "touch A R 0 16 w", "fork A C", "write C R 3 4", *MOVES[4:]), None),
        (MOVES, "7.2-nopm"),
    ],
)
def test_other_moves_or_another_kernel_make_another_bench(
    moves: tuple[str, ...], kernel: str | None
) -> None:
    assert differences(complete(bench_after(MOVES)), complete(bench_after(moves, kernel)))


def test_a_session_brings_back_the_line_the_branches_the_position_and_the_kernel(
    tmp_path: Path,
) -> None:
    bench = bench_after(MOVES, "6.12")
    save(bench, tmp_path / "session.scn")
    assert not differences(complete(bench), complete(reopen(tmp_path / "session.scn")))
