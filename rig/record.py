"""Recording scenarios on a kernel: the state after every action, and every store of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rig import storelog
from rig.boot import Booted, Guest, boot
from rig.compile import plugin
from rig.console import RawScenario, read_transcript
from rig.errors import RigError
from rig.follow import Follower
from rig.guest import GuestScenario
from rig.naming import Naming
from rig.states import Names, check_room
from rig.symbols import read_layout, read_symbols
from rig.work import Narrate

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
class Recorder:
    """Records scenarios on one kernel, as many as it can in each boot."""

    guest: Guest
    stores: bool = False
    narrate: Narrate = field(default=lambda _line: None)
    progress: Callable[[str], None] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    """By scenario that was not recorded whole, why."""
    complaints: list[str] = field(default_factory=list)
    """What the kernel's log has that should not be there."""
    seconds: float = 0.0
    """That guests ran."""

    def record(self, scenarios: Sequence[GuestScenario]) -> Iterator[Recording]:
        """Record scenarios; one that the guest hangs or dies in is left out, and the rest goes on.

        Raises:
            RigError: the guest does not come up.
        """
        todo = list(scenarios)
        size = BATCH_WITH_STORES if self.stores else BATCH
        while todo:
            batch, todo = todo[:size], todo[size:]
            while batch:
                done, recordings = self._boot(batch)
                yield from recordings
                if done < len(batch):
                    name = batch[done].scenario.name
                    self.failed[name] = "the guest hung or died in it"
                    self.narrate(f"{name}: the guest hung or died in it; going on behind it")
                batch = batch[done + 1 :]

    def _boot(self, batch: Sequence[GuestScenario]) -> tuple[int, list[Recording]]:
        """One boot; how many of the scenarios it came through, and what was recorded."""
        text = "".join(scenario.text for scenario in batch)
        follower, hooks = self._follower() if self.stores else (None, "")
        with_plugin = (plugin(self.guest.work, "stores"), {"hooks": hooks})
        booted = boot(
            self.guest,
            text,
            plugin=with_plugin if self.stores else None,
            progress=self.progress,
        )
        self.seconds += booted.seconds
        self.complaints += booted.complaints
        found = read_transcript(booted.console)
        if not found.scenarios:
            raise RigError(f"kernel {self.guest.kernel.name} does not come up: {_last(booted)}")
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


def _last(booted: Booted) -> str:
    """What the kernel said last."""
    lines = [line for line in (booted.console + booted.serial).split("\n") if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
