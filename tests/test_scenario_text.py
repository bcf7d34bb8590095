"""States as text: what fits a mail, and how values are spelled."""

from __future__ import annotations

import pytest

from sandbox.truth.text import page_range, page_set, pte_words, step_lines, wrap
from tests.conftest import STATES, read, recorded


def test_every_recorded_state_fits_72_ascii_columns() -> None:
    for file in STATES:
        for step in read(file)["steps"]:
            for line in step_lines(step):
                assert len(line) <= 72, file
                assert line.isascii()
                assert line == line.rstrip()


def test_a_fork_reads_like_a_page_of_notes() -> None:
    recording = read(recorded("7.2", "seed-fork-64k"))
    assert list(step_lines(recording["steps"][3])) == [
        "step 4: fork A B",
        "  A  rss anon 16",
        "     vma R 0-15 rw-- hugepage",
        "     R 0-15         F1.0-15      RO D Y C",
        "  B  rss anon 16",
        "     vma R 0-15 rw-- hugepage",
        "     R 0-15         F1.0-15      RO D C",
        "  F1  order 4 anon R 0",
        "      refcount 32 large_mapcount 31 entire_mapcount -1",
        "      nr_pages_mapped 16 pincount 0 mm_ids A:15 B:15 maybe_shared",
        "      mapcount  0-15:1",
        "      data      0-15:3",
        "      exclusive {}",
    ]


@pytest.mark.parametrize(
    ("kind", "flags", "words"),
    [
        ("present", "wdyc", "RW D Y C"),
        ("present", "w", "RW D"),
        ("present", "wo", "RW"),
        ("present", "od", "RO D"),
        ("present", "oy", "RO Y"),
        ("swap", "e", "exclusive"),
        ("swap", "", ""),
    ],
)
def test_flags_are_spelled_as_in_mails(kind: str, flags: str, words: str) -> None:
    assert " ".join(pte_words(kind, flags)) == words


def test_ranges_and_sets_of_pages_include_their_end() -> None:
    assert [page_range(5, 1), page_range(0, 16)] == ["5", "0-15"]
    assert page_set([(0, 16)]) == "{}"
    assert page_set([(1, 5), (0, 1), (1, 3), (1, 7)]) == "{0-4,6-15}"


def test_a_word_longer_than_a_line_stays_whole() -> None:
    lines = list(wrap("  ", ["a" * 80, "b"], "    "))
    assert lines == ["  " + "a" * 80, "    b"]
