"""Write which presets were played on real kernels, action by action: `presets/recorded.txt`.

    python -m tests.recorded_presets

A preset counts for a kernel when a recorded scenario begins with all its actions, and nothing of
that recording differs from the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sandbox.scenario.language import Action, CpuBlock, parse_scenarios
from sandbox.scenario.library import list_presets

HERE = Path(__file__).parent
TABLE = HERE.parent / "presets" / "recorded.txt"
KERNELS = ("6.12", "7.2", "7.2-nopm", "7.3")


def _texts(steps: tuple[Action | CpuBlock, ...]) -> tuple[str, ...]:
    return tuple(step.source if isinstance(step, CpuBlock) else step.text for step in steps)


def _played(kernel: str) -> Iterator[tuple[str, ...]]:
    """The actions of every recording that matches."""
    differ = {
        tuple(line.split()[:2]) for line in (HERE / "recordings/differ.txt").read_text().split("\n")
    }
    recorded = {
        path.name.partition(".json")[0] for path in (HERE / f"recordings/{kernel}").iterdir()
    }
    for path in sorted((HERE / "scenarios").glob("*.scn")):
        for scenario in parse_scenarios(path.read_text("utf-8"), path.name):
            if scenario.name in recorded and (kernel, scenario.name) not in differ:
                yield _texts(scenario.steps)


def table() -> str:
    """The text of the table: a preset a line, with the kernels that it was recorded on."""
    played = {kernel: list(_played(kernel)) for kernel in KERNELS}
    lines = []
    for preset in list_presets():
        kernels = []
        for kernel in filter(KERNELS.__contains__, preset.kernels):
            wanted = _texts(preset.scenario(kernel).steps)
            if any(texts[: len(wanted)] == wanted for texts in played[kernel]):
                kernels.append(kernel)
        if kernels:
            lines.append(" ".join([preset.slug, *sorted(kernels)]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
