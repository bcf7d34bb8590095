"""Independent actions in another order."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmtui.cli import dispatch
from sandbox.fuzz import reorder
from sandbox.fuzz.asking import Question, ask_and_judge
from sandbox.fuzz.generate import family_at, scenario_text
from sandbox.fuzz.reorder import Reordered, orders_of
from sandbox.scenario.language import Action, Scenario, parse_scenarios
from tests.rig.samples import one


def orders(text: str) -> list[str]:
    """The other orders, each as the first letters of its lines."""
    actions = [step for step in one(text).steps if isinstance(step, Action)]
    found = orders_of(actions, [0] * len(actions))
    return ["".join(actions[at].verb[0] for at in order) for order in found]


@pytest.mark.parametrize(
    "text",
    [
        "mmap A R 4p\nwrite A R 0 1\nread A R 1 2",
        "mmap A R 4p\nfork A B\nwrite B R 0 1\npin A R 0 1 1 w",
        "mthp 16K madvise\nmmap A R 4p\nmthp 64K madvise\nmmap B S 4p",
        "memfd F 4p\nmmap A R 4p fd=F\nmmap B S 4p fd=F\nremove A R 0 1\nwrite B S 0 1",
        "mmap A R 4p\nmremap A R 0 2 S 0\nwrite A S 0 1\ncold A R 2 3",
        "mmap A R 4p\npin A R 0 1 1 w\nunpin 1\nwrite A R 0 1",
        "autodrain off\nmmap A R 4p\nmmap B S 4p\nwrite A R 0 1\nfree B S 0 1",
    ],
)
def test_what_has_to_do_with_each_other_stays_in_order(text: str) -> None:
    assert orders(text) == []


def test_what_has_nothing_to_do_with_each_other_is_moved() -> None:
    assert orders("mmap A R 4p\nwrite A R 0 1\nmmap B S 4p\nfree B S 0 1")[0] == "mfmw"
    assert orders("mmap A R 4p\nmmap A S 4p\nread A R 0 1\ncold A S 0 1")[0] == "mcmr"
    assert "fork" not in orders("mmap A R 4p\nmmap A S 4p\nfork A B")


def test_an_access_that_fails_is_about_the_whole_process() -> None:
    actions = [s for s in one("mmap A R 4p\nmmap A S 4p\nwrite A R 3 5\nread A S 0 1").steps
               if isinstance(s, Action)]  # fmt: skip
    assert all(order[-2:] == [2, 3] for order in orders_of(actions, [0, 0, -130, 0]))
    assert any(order[-2:] != [2, 3] for order in orders_of(actions, [0, 0, 0, 0]))


def drawn(count: int) -> list[Scenario]:
    texts = [scenario_text(11, n, family_at(n, None)) for n in range(count)]
    return [parse_scenarios(text, "drawn")[0] for text in texts]


def test_another_order_comes_to_the_same_end() -> None:
    kernel, moved = Reordered("7.2"), 0
    for scenario in drawn(16):
        ((verdict, answer),), _ = ask_and_judge(kernel, "7.2", [Question(scenario)])
        assert verdict.kind in ("same", "refused"), (scenario.source, verdict)
        assert answer is not None
        assert answer.recording is not None
        states = answer.recording["steps"]
        actions = [s for s in scenario.steps[: len(states)] if isinstance(s, Action)]
        moved += bool(list(orders_of(actions, [state["ret"] for state in states])))
    assert moved > 5


def test_a_dependence_that_was_overlooked_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reorder, "EVERYTHING", reorder.EVERYTHING - {"mthp"})
    monkeypatch.setattr(reorder._Touched, "by", _by)
    words = ["fuzz", "-k", "7.2", "--reorder", "--count", "3", "--family", "core", "--shrink", "1"]
    assert dispatch([*words, "-o", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "in another order" in said
    assert "mthp" in said


_whole = reorder._Touched.by


def _by(self: reorder._Touched, action: Action, ret: int) -> set[reorder.Token] | None:
    """A mistake: folio sizes have nothing to do with what is mapped."""
    return {("", "sizes")} if action.verb == "mthp" else _whole(self, action, ret)
