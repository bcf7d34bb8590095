"""What recording and racing have in common: many plays a boot, and going on behind a lost one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rig.boot import PATIENCE, Booted, Guest, boot
from rig.console import Transcript, read_transcript
from rig.errors import RigError
from rig.work import Narrate

__all__ = ["Player"]

Item = TypeVar("Item")
"""What is played."""
Outcome = TypeVar("Outcome")
"""What came of it."""


@dataclass(slots=True)
class Player(Generic[Item, Outcome]):
    """Plays on one kernel as much as it can in each boot."""

    guest: Guest
    narrate: Narrate = field(default=lambda _line: None)
    progress: Callable[[str], None] | None = None
    patience: float = PATIENCE
    """Seconds without a word of the guest after which it is taken for hung."""
    failed: dict[str, str] = field(default_factory=dict)
    """By what was not played whole, why."""
    complaints: list[str] = field(default_factory=list)
    """What the kernel's log has that should not be there."""
    seconds: float = 0.0
    """That guests ran."""

    @property
    def batch(self) -> int:
        """How many are played in a boot."""
        raise NotImplementedError

    def play(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Play; one that the guest hangs or dies in is left out.

        Raises:
            RigError: the guest does not come up.
        """
        size = self.batch
        for first in range(0, len(items), size):
            batch = items[first : first + size]
            while batch:
                done, outcomes = self.play_batch(batch)
                yield from outcomes
                if done < len(batch):
                    self.lost(batch[done], "the guest hung or died in it")
                batch = batch[done + 1 :]

    def play_batch(self, batch: Sequence[Item]) -> tuple[int, list[Outcome]]:
        """One boot; how many it came through, and what came of them."""
        raise NotImplementedError

    def lost(self, item: Item, why: str) -> None:
        """Note what was not played whole."""
        raise NotImplementedError

    def boot(
        self, scenarios: str, plugin: tuple[Path, Mapping[str, str]] | None
    ) -> tuple[Booted, Transcript]:
        """Boot the guest with scenarios; what came of it, and what it said of them.

        Raises:
            RigError: it does not come up.
        """
        booted = boot(
            self.guest,
            scenarios,
            plugin=plugin,
            patience=self.patience,
            progress=self.progress,
        )
        self.seconds += booted.seconds
        self.complaints += booted.complaints
        found = read_transcript(booted.console)
        if not found.scenarios:
            raise RigError(f"kernel {self.guest.kernel.name} does not come up: {_last(booted)}")
        return booted, found


def _last(booted: Booted) -> str:
    """What the kernel said last."""
    lines = [line for line in (booted.console + booted.serial).split("\n") if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
