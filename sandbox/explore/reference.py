"""Every interleaving on the machine itself: what each faster search is held against.

No table is learned here, nothing is reduced, and states are told apart by all their words, what
derived words remember, and the whole list of answers of each CPU.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sandbox.errors import KernelBug
from sandbox.run.model import Model

__all__ = ["Reached", "explore_machine", "replayed"]


@dataclass
class Reached:
    """What a search came to."""

    finals: set[Hashable] = field(default_factory=set)
    """States at rest, addresses being names."""
    broken: set[str] = field(default_factory=set)
    """Rules that no window of upstream's own covers, at any event or at rest."""
    deadlocks: int = 0
    bugs: int = 0
    """Events after which a function misbehaves."""
    states: int = 1
    transitions: int = 0
    complete: bool = True


def explore_machine(start: Model, most: int = 1 << 62, *, remember: bool = True) -> Reached:
    """All interleavings from a state, which is left as it is, or until there are *most* states.

    Without `remember` every path is walked, also one that comes to a state seen before.
    """
    out = Reached()
    seen = {hash(start.identity())}
    stack = [start.clone()]
    while stack:
        model = stack.pop()
        enabled = model.enabled()
        if model.resting:
            out.finals.add(model.canonical())
        elif not enabled:
            out.deadlocks += 1
        for left, cpu in enumerate(reversed(enabled), 1 - len(enabled)):
            after = model.clone() if left else model
            out.transitions += 1
            try:
                broken = after.apply(cpu)
            except KernelBug:
                out.bugs += 1
                continue
            out.broken |= {one.rule for one in broken if one.known_window is None}
            if remember:
                key = hash(after.identity())
                if key in seen:
                    continue
                seen.add(key)
                out.states = len(seen)
            stack.append(after)
        if out.states > most:
            out.complete = False
            return out
    return out


def replayed(start: Model, schedule: Sequence[int]) -> Model:
    """The state that a schedule leads to on the machine itself."""
    model = start.clone()
    for cpu in schedule:
        model.apply(cpu)
    return model
