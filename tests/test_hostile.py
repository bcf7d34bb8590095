"""A sample of the hostile inputs; `python -m tests.hostile` runs all of them."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.corpus import Case, corpus
from tests.hostile.limits import faults_of, faults_of_answer

_EACH = 41
"""Of the corpus, by its order: some of every kind."""


def test_a_sample_of_the_corpus_is_answered_within_bounds(tmp_path: Path) -> None:
    wrong = {
        case.label: faults
        for number, case in enumerate(corpus(tmp_path))
        if number % _EACH == 0 and (faults := faults_of(case, tmp_path))
    }
    assert not wrong


def test_what_is_wrong_with_an_answer_is_found() -> None:
    case = Case("x", [], (2,))
    assert not list(faults_of_answer(case, 2, "", "mmtui: no\n"))
    for status, out, err in (
        (0, "", "mmtui: no\n"),
        (2, "", "mmtui: no\nmmtui: no\n"),
        (2, "", "mmtui: " + "x" * 1000),
        (2, "\x1b[31m", "mmtui: no\n"),
        (2, "", "mmtui: \u202e\n"),
        (2, "", "mmtui: Traceback\n"),
    ):
        assert list(faults_of_answer(case, status, out, err)), (status, out, err)
