"""What the guest's init says, as records: one for each scenario, with its steps.

A line begins with `@` and a letter (the head of guest/init.c lists them); what does not is noise.
A guest that was ended may stop in the middle of a line, which is then left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RawScenario", "RawStep", "Transcript", "read_transcript"]


@dataclass(slots=True)
class RawStep:
    """A step as the guest says it, frames and addresses unnamed."""

    number: int
    ret: int
    out: str
    microseconds: int
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The module's `dump` of each process."""
    folios: dict[str, Any] | None = None
    """The module's `folios`; None if the guest was ended before."""


@dataclass(slots=True)
class RawScenario:
    """A scenario as far as it was played."""

    name: str
    steps: list[RawStep] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = False


@dataclass(slots=True)
class Transcript:
    """All that a guest said in one boot."""

    version: str = ""
    """/proc/version."""
    layout: dict[str, Any] | None = None
    scenarios: dict[str, RawScenario] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    """Lines that are none of init's, and problems outside a scenario."""


def read_transcript(text: str) -> Transcript:
    """Read the console of a guest."""
    found = Transcript()
    current: RawScenario | None = None
    *lines, _cut = text.split("\n")
    for line in lines:
        tag, _, rest = line.partition(" ")
        if tag == "@B":
            current = found.scenarios[rest] = RawScenario(rest)
        elif tag == "@E" and current is not None:
            current.complete, current = True, None
        elif tag == "@V":
            found.version = rest
        elif tag == "@T":
            found.layout = json.loads(rest)
        elif tag == "@X":
            (found.noise if current is None else current.problems).append(rest)
        elif tag in ("@S", "@P", "@F") and current is not None:
            _step_line(current, tag, rest)
        elif line.strip() and tag != "@Q":
            found.noise.append(line)
    return found


def _step_line(scenario: RawScenario, tag: str, rest: str) -> None:
    """Take a line of a step."""
    if tag == "@S":
        said = json.loads(rest)
        step = RawStep(said["step"], said["ret"], said["out"], said["us"])
        scenario.steps.append(step)
    elif tag == "@P":
        name, _, body = rest.partition(" ")
        scenario.steps[-1].processes[name] = json.loads(body)
    else:
        scenario.steps[-1].folios = json.loads(rest)
