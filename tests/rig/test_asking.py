"""A real kernel as the loop asks it, with a player in the place of QEMU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import rig.asking
from rig.asking import RacedKernel, RealKernel
from rig.boot import Guest
from rig.errors import RigError
from rig.guest import GuestScenario
from rig.record import Recording
from rig.work import Work
from sandbox.scenario.language import Scenario, parse_scenarios

WORK = Work(Path("nowhere"))
GUEST = Guest(WORK, WORK.kernel("7.2"))
TEXT = """\
scenario a
mmap A R 4p
end
scenario b
mmap A R 4p
end
scenario c
mmap A R 4p
fold A R 0 4
end
"""


def scenarios() -> list[Scenario]:
    return parse_scenarios(TEXT, "x")


class Player:
    """Plays what the list for its turn says: names that are lost, or None for no boot at all."""

    turns: list[set[str] | None] = []  # noqa: RUF012  # set anew by each test

    def __init__(self, _guest: Guest, **_more: object) -> None:
        self.lost = Player.turns.pop(0)
        self.failed: dict[str, str] = {}
        self.complaints = ["[    6.124216] WARNING: mm/gup.c:2536"]

    def play(self, items: Sequence[GuestScenario]) -> Iterator[Recording]:
        for item in items:
            name = item.scenario.name
            if self.lost is None:
                raise RigError("it does not come up")
            if name in self.lost:
                self.failed[name] = "the guest hung or died in it"
            else:
                yield Recording({"scenario": name, "steps": []})


@pytest.fixture(autouse=True)
def player(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.asking, "Recorder", Player)
    monkeypatch.setattr(rig.asking, "Racer", Player)


def asked(*turns: set[str] | None) -> dict[str, str]:
    """What came of each scenario: `played`, or why it was not."""
    Player.turns = list(turns)
    answers = RealKernel(GUEST, 5).ask(scenarios())
    assert not Player.turns
    assert set(answers.complaints) == {"WARNING: mm/gup.c:2536"}
    return {
        name: "played" if answer.recording else answer.why
        for name, answer in sorted(answers.by_name.items())
    }


UNPLAYABLE = "the rig: no real kernel is asked for 'fold' by the rig"


def test_what_the_rig_cannot_play_is_told_with_the_reason() -> None:
    assert asked(set()) == {"a": "played", "b": "played", "c": UNPLAYABLE}


def test_what_was_lost_is_played_once_more() -> None:
    assert asked({"b"}, set())["b"] == "played"
    assert asked({"b"}, {"b"}) == {
        "a": "played", "b": "the guest hung or died in it", "c": UNPLAYABLE,
    }  # fmt: skip


def test_a_guest_that_does_not_come_up_is_tried_again() -> None:
    assert asked(None, set())["a"] == "played"
    assert asked(None, {"a"}, None, None, set())["a"] == "played"
    with pytest.raises(RigError, match="does not come up"):
        asked(None, None, None)


def test_what_cannot_be_raced_is_told_with_the_reason() -> None:
    Player.turns = [set(), set()]
    answers = RacedKernel(GUEST, 5, 4).ask(scenarios())
    assert {answer.recording for answer in answers.by_name.values()} == {None}
    assert "0 blocks of CPUs" in answers.by_name["a"].why
