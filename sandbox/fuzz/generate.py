"""Random scenarios in the documented language: the same seed gives the same text, everywhere.

No kernel, model or clock is asked; `world` knows what is mapped.
"""

from __future__ import annotations

from sandbox.fuzz.drawing import DRAWERS, Draw
from sandbox.fuzz.families import FAMILIES, MIXED, Family

__all__ = ["family_at", "name_of", "scenario_text"]

TRIES = 60
"""Draws that may come to nothing one after the other before a scenario ends short."""


def family_at(number: int, family: Family | None) -> Family:
    """The family of the n-th scenario: the one that is asked for, or whose turn it is."""
    return family or FAMILIES[MIXED[number % len(MIXED)]]


def name_of(seed: int, number: int, family: Family) -> str:
    """The name of the n-th scenario of a seed."""
    return f"{family.name}-{seed}-{number:04}"


def scenario_text(seed: int, number: int, family: Family) -> str:
    """The n-th scenario of a seed, as a block of a scenario file."""
    lines = _lines(Draw(f"{seed}/{number}/{family.name}", family))
    return "\n".join([f"scenario {name_of(seed, number, family)}", *lines, "end", ""])


def _lines(draw: Draw) -> list[str]:
    """The actions of one scenario."""
    weights = draw.family.weights
    verbs = list(weights)
    length = draw.random.randint(*draw.family.length)
    lines = _scene(draw)
    for _ in range(3):
        lines += DRAWERS["mmap"](draw)
    goal, failed = len(lines) + length, 0
    while len(lines) < goal and failed < TRIES:
        (verb,) = draw.random.choices(verbs, list(weights.values()))
        if not draw.world.spaces and verb not in ("mmap", "proc"):
            verb = "mmap"
        drawn = DRAWERS[verb](draw)
        failed = 0 if drawn else failed + 1
        lines += drawn
    return lines


def _scene(draw: Draw) -> list[str]:
    """What is set before the first mapping: folio sizes, swap, files, and who drains."""
    lines: list[str] = []
    for verb, chance in (("mthp", 0.8), ("mthp", 0.25), ("shmem", 0.3), ("memfd", 0.3),
                         ("file", 0.45), ("file", 0.15)):  # fmt: skip
        known = verb == "mthp" or draw.family.weights.get(verb)
        if draw.flip(chance) and known:
            lines += DRAWERS[verb](draw)
    weights = draw.family.weights
    if weights.get("pageout") and weights.get("swap") and draw.flip(0.4):
        lines += DRAWERS["swap"](draw)
    if draw.flip(draw.family.undrained):
        lines += DRAWERS["autodrain"](draw)
    return lines
