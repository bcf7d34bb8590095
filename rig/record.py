"""Recording scenarios on a kernel: the state after every action, and every store of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rig import storelog
from rig.compile import plugin
from rig.console import RawScenario
from rig.follow import Follower
from rig.guest import GuestScenario
from rig.naming import Naming
from rig.playing import Player
from rig.states import Names, check_room
from rig.symbols import read_layout, read_symbols

__all__ = ["BATCH", "Recorder", "Recording"]

BATCH = 200
BATCH_WITH_STORES = 50
"""Scenarios of one boot: a log has 1 to 2 MB for each."""
Logs = Iterator[list[storelog.Record]]


@dataclass(slots=True)
class Recording:
    """What was recorded of a scenario."""

    states: dict[str, Any]
    """As `KERNEL/NAME.json`."""
    stores: dict[str, Any] | None = None
    """As `KERNEL-micro/NAME.json`."""


@dataclass(slots=True)
class Recorder(Player[GuestScenario, Recording]):
    """Records scenarios on one kernel, as many as it can in each boot."""

    stores: bool = False

    @property
    def batch(self) -> int:
        """How many are played in a boot: a log has 1 to 2 MB for each."""
        return BATCH_WITH_STORES if self.stores else BATCH

    def record(self, scenarios: Sequence[GuestScenario]) -> Iterator[Recording]:
        """Record scenarios; one that the guest hangs or dies in is left out, and the rest goes on.

        Raises:
            RigError: the guest does not come up.
        """
        return self.play(scenarios)

    def lost(self, item: GuestScenario, why: str) -> None:
        """Note a scenario that was not recorded, and say so."""
        name = item.scenario.name
        self.failed[name] = why
        self.narrate(f"{name}: {why}; going on behind it")

    def play_batch(self, batch: Sequence[GuestScenario]) -> tuple[int, list[Recording]]:
        """One boot; how many of the scenarios it came through, and what was recorded."""
        text = "".join(scenario.text for scenario in batch)
        follower, hooks = self._follower() if self.stores else (None, "")
        with_plugin = (plugin(self.guest.work, "stores"), {"hooks": hooks})
        booted, found = self.boot(text, with_plugin if self.stores else None)
        logs = storelog.steps(booted.log)
        recordings = []
        done = 0
        for scenario in batch:
            raw = found.scenarios.get(scenario.scenario.name)
            if raw is None or not raw.complete:
                break
            done += 1
            recordings.append(self._recording(scenario, raw, follower, logs))
        return done, recordings

    def _follower(self) -> tuple[Follower, str]:
        symbols = read_symbols(self.guest.kernel)
        hooks, names = storelog.hooks(symbols)
        return Follower(symbols, read_layout(self.guest.kernel), names), hooks

    def _recording(
        self, scenario: GuestScenario, raw: RawScenario, follower: Follower | None, logs: Logs
    ) -> Recording:
        names = Names(scenario.regions, scenario.holds)
        head = self._head(scenario)
        steps: list[dict[str, Any]] = []
        micro: list[dict[str, Any]] = []
        for index, step in enumerate(raw.steps):
            action = scenario.scenario.steps[index].text
            out: dict[str, Any] = {"step": step.number, "action": action, "ret": step.ret}
            if step.out:
                out["out"] = step.out
            before = names.spans
            out.update(names.state(step))
            check_room(step, self.narrate)
            steps.append(out)
            if scenario.traced[index] and follower is not None:
                records = next(logs, None)
                if records is None:
                    self.failed[raw.name] = "the log of stores ends before it does"
                    break
                events = follower.events(records, before, names.spans)
                named = Naming(names, before, names.spans).events(events)
                micro.append({"step": step.number, "action": action, "events": named})
        for problem in raw.problems:
            self.narrate(f"{raw.name}: {problem}")
        states = {**head, "source": scenario.scenario.source, "steps": steps}
        states["complete"] = raw.name not in self.failed
        return Recording(states, {**head, "steps": micro} if self.stores else None)

    def _head(self, scenario: GuestScenario) -> dict[str, Any]:
        return {
            "scenario": scenario.scenario.name,
            "about": scenario.scenario.about,
            "kernel": self.guest.kernel.release,
            "cpu": self.guest.cpu,
        }
