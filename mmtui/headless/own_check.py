"""`mmtui check --kernel MINE`: a person's own kernel beside the model that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmtui.exit_codes import ExitCode
from mmtui.headless.working import WatchedRun
from sandbox.errors import KernelBug
from sandbox.kernels import kernel_by_name, model_of
from sandbox.kernels.overrides import noted, overrides
from sandbox.rules import Violation
from sandbox.run.check import PresetCheck, check_preset
from sandbox.run.runner import ScenarioRun
from sandbox.run.stacks import Level, own_first, stack_at
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.presets import Preset
from sandbox.truth.events import short_path
from sandbox.truth.text import wrap

__all__ = ["Compared", "compare_with_base", "finish", "summary"]


Seen = Callable[[int, str], None]


@dataclass(slots=True)
class Compared:
    """What became of presets on a kernel and on its base."""

    kernel: str
    base: str
    causes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By `new`, `gone`, `same`: causes of failures, each with the presets it fails."""
    reached: dict[str, list[str]] = field(default_factory=dict)
    """By override, the presets that come to it."""
    failed: list[bool] = field(default_factory=list)
    """Of each preset checked, whether something in it fails on the kernel."""

    @property
    def ok(self) -> bool:
        """Whether nothing fails that does not fail on the base."""
        return not self.causes.get("new")


class _Kept(WatchedRun):
    """A run that is there afterwards."""

    last: _Kept

    def __init__(self, kernel: str) -> None:
        super().__init__(kernel)
        self.bug: KernelBug | None = None
        """What a function of the kernel did that no event is, if it did."""
        _Kept.last = self

    def do(self, step: Action | CpuBlock, seen: Seen | None = None) -> dict[str, Any]:
        """Do a step, and keep what its functions did wrong."""
        try:
            return super().do(step, seen)
        except KernelBug as bug:
            self.bug = self.bug or bug
            raise


def compare_with_base(
    presets: Sequence[Preset], kernel: str, write: Callable[[PresetCheck], None]
) -> Compared:
    """Check the presets that are meant for the base on both; *write* is told the kernel's own."""
    base, mine_alone = model_of(kernel), overrides(kernel_by_name(kernel))
    found = Compared(kernel, base, reached={name: [] for name in mine_alone})
    for preset in presets:
        if base not in preset.kernels and kernel not in preset.kernels:
            continue
        with noted(mine_alone) as called:
            mine = check_preset(preset, kernel, _Kept)
        run = _Kept.last
        broke = _first(run.violations())
        cause = _cause(run, broke) if broke is not None else ""
        if run.bug is not None and not cause:
            cause = run.bug.message.partition(": ")[2]  # without the action
        theirs = check_preset(preset, base, _Kept)
        write(mine)
        found.failed.append(not mine.ok)
        for name in called:
            found.reached[name].append(preset.slug)
        _sort(found, preset, mine, theirs, cause)
    return found


def _first(violations: Sequence[Violation]) -> Violation | None:
    return next((v for v in violations if v.known_window is None), None)


def _sort(
    found: Compared, preset: Preset, mine: PresetCheck, theirs: PresetCheck, broke: str
) -> None:
    """Put the failures of a preset with those of their cause."""
    failed, before = ({(r.where, r.text) for r in check.failures} for check in (mine, theirs))
    for kind, which in (("new", failed - before), ("gone", before - failed),
                        ("same", failed & before)):  # fmt: skip
        if which:
            cause = broke if broke and kind == "new" else _said(mine, theirs, which)
            found.causes.setdefault(kind, {}).setdefault(cause, []).append(preset.slug)


def _cause(run: ScenarioRun, violation: Violation) -> str:
    """The rule that broke, and where: the person's line first, then those that it led to."""
    levels = stack_at(run.session, violation.event)
    told = own_first(levels)[: 1 + next((n for n, at in enumerate(levels) if at.own), 2)]
    told = told or [Level(violation.function, violation.file, violation.line)]
    places = [f"{each.function} ({short_path(each.filename)}:{each.line})" for each in told]
    return f"{violation.rule} at {', '.join(places)}"


def _said(mine: PresetCheck, theirs: PresetCheck, which: set[Any]) -> str:
    """The first of the expectations, where no rule broke."""
    for result in (*mine.failures, *theirs.failures):
        if (result.where, result.text) in which:
            return f"{result.text}: got {result.got}"
    return "nothing is expected"


def summary(found: Compared) -> Iterator[str]:
    """Yield what is new, gone and the same, by cause, and what came to each override."""
    counts = {kind: len(found.causes.get(kind, {})) for kind in ("new", "gone", "same")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    yield f"compared with {found.base}, causes of failures: {told}"
    for kind, causes in found.causes.items():
        for cause, slugs in causes.items():
            yield from wrap(f"{kind}: ", f"{cause} [{', '.join(slugs)}]".split(), "  ")
    for name, slugs in found.reached.items():
        if slugs:
            count = f"{len(slugs)} {'preset' if len(slugs) == 1 else 'presets'}"
            yield from wrap(f"{name}: reached by {count}: ", ", ".join(slugs).split(), "  ")
        else:
            yield f"{name}: reached by no preset"


def finish(found: Compared, *, as_json: bool) -> ExitCode:
    """Write the summary, as the last object of JSON; FAILED if something new fails."""
    if as_json:
        import json

        last = {"kernel": found.kernel, "base": found.base, "causes": found.causes,
                "reached": found.reached}  # fmt: skip
        sys.stdout.write(json.dumps(last) + "\n")
    else:
        for line in summary(found):
            sys.stdout.write(line.replace("\n", "\\n") + "\n")
    count, failures = len(found.failed), sum(found.failed)
    told = f"{count} {'preset' if count == 1 else 'presets'}"
    sys.stderr.write(f"{told}, {failures or 'no'} {'failure' if failures == 1 else 'failures'}\n")
    return ExitCode.OK if found.ok else ExitCode.FAILED
