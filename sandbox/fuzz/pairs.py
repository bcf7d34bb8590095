"""Random pairs of actions for two CPUs, in a place where they are likely to meet."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from sandbox.fuzz.drawing import DRAWERS, Draw
from sandbox.fuzz.families import Family
from sandbox.fuzz.world import World
from sandbox.scenario.language import parse_action

__all__ = ["RACED", "pair_name", "pair_text"]

RACED: Mapping[str, int] = {
    "write": 6, "touch": 2, "read": 1, "populate_write": 4, "populate_read": 2, "pin": 8, "get": 4,
    "fork": 8, "munmap": 5, "dontneed": 5, "free": 3, "cold": 2, "pageout": 5, "mlock": 4,
    "munlock": 2, "mprotect": 4, "mremap": 4, "split": 3, "exit": 1, "kill": 1, "collapse": 1,
    "unpin": 2, "poke": 1, "clearrefs": 1, "remove": 1,
}  # fmt: skip
"""Verbs that are raced, and how often."""
_SCENE = {"mmap": 2, "write": 8, "fork": 5, "exit": 2, "munmap": 2, "mprotect": 1, "pin": 1,
          "touch": 2, "pageout": 1, "dontneed": 1, "mlock": 1}  # fmt: skip
_UNMAPS = frozenset({"munmap", "mprotect", "mremap", "exit", "kill", "remove", "dontneed"})
"""Beside them a plain access of the same memory may end its process, in the one order alone."""
_ACCESSES = frozenset({"write", "touch", "read"})
_ENDS = frozenset({"exit", "kill"})
_BY_AGENT = frozenset({"unpin", "split", "poke", "clearrefs"})
"""Verbs that the rig has a worker of its own for."""
MORE = 0.3
"""Part of the pairs in which a CPU has a second action."""
TRIES = 200
MEETING = 0.8
"""Part of the pairs that are about memory that both can reach."""


def pair_name(seed: int, number: int) -> str:
    """The name of the n-th pair of a seed."""
    return f"race-{seed}-{number:04}"


def pair_text(seed: int, number: int, family: Family | None) -> str:
    """The n-th pair of a seed, behind what comes before it, as a block of a scenario file.

    A family gives the weights of the verbs that are raced, other verbs of it are left out.
    """
    weights = dict(RACED)
    if family is not None:
        weights = {verb: n for verb, n in family.weights.items() if verb in RACED} or weights
    for attempt in range(TRIES):
        scene = Family("race", _SCENE, (2, 6), 16, odd=0.0)
        draw = Draw(f"{seed}/{number}/{attempt}/race", scene)
        lines = _scene(draw)
        pair = _pair(draw, weights)
        if pair is not None:
            block = [f"cpu{cpu}: {line}" for cpu, line in pair]
            name = f"scenario {pair_name(seed, number)}"
            return "\n".join([name, *lines, *block, "end", ""])
    raise AssertionError("no pair could be drawn")  # not even a fork beside a fork


def _scene(draw: Draw) -> list[str]:
    lines = ["mthp 16K madvise"] if draw.flip(0.6) else []
    lines += ["mthp 64K madvise"] if draw.flip(0.25) else []
    if draw.flip(0.25):
        lines += DRAWERS["swap"](draw)
    lines += DRAWERS["mmap"](draw)
    for _ in range(draw.random.randint(*draw.family.length)):
        (verb,) = draw.random.choices(list(_SCENE), list(_SCENE.values()))
        if draw.world.spaces:
            lines += DRAWERS[verb](draw)
    return lines


def _pair(draw: Draw, weights: Mapping[str, int]) -> list[tuple[int, str]] | None:
    """Actions of two CPUs that may begin together, one or two of each; None if there are none.

    A CPU's second action is of the process of its first one (the rig has one worker for each).
    """
    before, worlds = draw.world, list[World]()
    if not before.spaces:
        return None
    drawn: list[tuple[int, str]] = []
    for cpu in (0, 1):
        line = _drawn(draw, weights, before)
        if line is None:
            return None
        drawn.append((cpu, line))
        worlds.append(draw.world)
    (_, first), (_, second) = drawn
    if not _may_meet(first, second, before) or (draw.flip(MEETING) and not _meet(first, second)):
        return None
    cpu = draw.random.randrange(2)
    if draw.flip(MORE):
        later = _drawn(draw, weights, worlds[cpu])
        if later is not None and _may_follow(drawn[cpu][1], later, drawn[1 - cpu][1], before):
            drawn.insert(cpu + 1, (cpu, later))
    return drawn


def _drawn(draw: Draw, weights: Mapping[str, int], before: World) -> str | None:
    """An action for the world as it was *before*, with names that nothing drawn since has."""
    world = copy.deepcopy(before)
    world.holds, world.born = dict(draw.world.holds), list(draw.world.born)
    draw.world = world
    (verb,) = draw.random.choices(list(weights), list(weights.values()))
    lines = DRAWERS[verb](draw)
    return lines[0] if len(lines) == 1 else None


def _may_follow(first: str, later: str, beside: str, world: World) -> bool:
    """Whether a CPU can go on with another action, whatever the other CPU has done by then."""
    one, other = parse_action(first), parse_action(later)
    if {one.verb, other.verb} & (_BY_AGENT | _ENDS):
        return False
    return one.args["proc"] == other.args["proc"] and _may_meet(later, beside, world)


def _may_meet(first: str, second: str, world: World) -> bool:
    """Whether two actions can be raced: both say what comes of them whatever comes first."""
    one, other = parse_action(first), parse_action(second)
    if one.verb == other.verb == "unpin" and one.args == other.args:
        return False
    same = one.args.get("proc") is not None and one.args.get("proc") == other.args.get("proc")
    for action, beside in ((one, other), (other, one)):
        if same and beside.verb in _ENDS:
            return False
        if same and action.verb in _ACCESSES and beside.verb in _UNMAPS:
            return False
        if action.verb in _ENDS and action.args["proc"] in world.rings:
            return False
    return True


def _meet(first: str, second: str) -> bool:
    """Whether two actions name pages that may be the same."""
    one, other = parse_action(first).args, parse_action(second).args
    if "start" not in one or "start" not in other:
        return True
    overlap = one["start"] < other["end"] + 1 and other["start"] < one["end"] + 1
    return bool(one["region"] == other["region"] and overlap)
