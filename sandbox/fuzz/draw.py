"""What every drawer draws with: choices of a seed, the world they are about, fresh names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.fuzz.chance import Chance
from sandbox.fuzz.world import MAX_PROCESSES

if TYPE_CHECKING:
    from sandbox.fuzz.families import Family

__all__ = ["Draw", "Drawer"]


class Draw(Chance):
    """Draws actions, and keeps the world up to date."""

    def __init__(self, seed: str, family: Family) -> None:
        super().__init__(seed, family)
        self.numbers = 0

    def name(self, prefix: str) -> str:
        """A name that nothing has yet."""
        self.numbers += 1
        return f"{prefix}{self.numbers}"

    def flags(self, *, longterm: bool) -> str:
        """Flags of a hold."""
        often = (8, 6, 1, 1, 4 * longterm, 2 * longterm)
        (flags,) = self.random.choices(("w", "-", "wf", "f", "wl", "l"), often)
        return flags

    def ends(self, proc: str) -> list[str]:
        """What must be done before a process ends: when the pins of a ring go is not certain."""
        found = [owner for owner, sharing in self.world.rings.items() if proc in sharing]
        for owner in found:
            del self.world.rings[owner]
        return [f"unuring {owner}" for owner in found]

    def fresh_process(self) -> str | None:
        """A name for one more process."""
        if len(self.world.born) == MAX_PROCESSES:
            return None
        return "ABCDEFGHIJ"[len(self.world.born)]


Drawer = Callable[[Draw], list[str]]
"""Draws one action of a verb, with what must be done before it; nothing if it fits nowhere."""
