"""The folios kept from look to look are those that the ledger finds."""

from __future__ import annotations

import random

import pytest

from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from sandbox.errors import SandboxError

STORIES = ("presets/06-seed-partial-dontneed.md", "tests/scenarios/10-fork.scn", "3")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("story", STORIES)
def test_the_roll_is_what_the_ledger_says(story: str, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(open_source(story), chance.choice(["6.9", "7.2"]))
    moves = (bench.step_event, bench.back_event, bench.step_function, bench.step_action)
    for _ in range(300):
        try:
            chance.choices(moves, (6, 4, 2, 2))[0](chance.randint(1, 4))
        except SandboxError:
            bench.goto(chance.randint(0, bench.end))
        if chance.random() < 0.8:  # not every move is looked at
            roll = bench.living()
            assert list(roll.folios) == bench.session.ledger.live_folios()
            assert [folio.order for folio in roll.folios] == [
                folio.order for folio in bench.session.ledger.live_folios()
            ]
