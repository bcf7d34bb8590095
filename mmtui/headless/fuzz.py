"""`mmtui fuzz`: random scenarios on two sides, and what differs, made small."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmtui.exit_codes import ExitCode
from mmtui.headless.record import HWAF, Own
from mmtui.headless.rig import narrate
from sandbox.conform.states import RACE
from sandbox.errors import UsageError
from sandbox.printable import printable

if TYPE_CHECKING:
    from sandbox.fuzz.asking import Asked

__all__ = ["Fuzz", "fuzz"]


class Fuzz(NamedTuple):
    """What a command line asks for."""

    kernel: str
    against: str | None
    """Another modelled kernel in the place of the real one."""
    reorder: bool
    """The model against itself, with independent actions in another order."""
    seed: int
    total: int
    family: str | None
    shrink: int | None
    """How many of each group are made small; None for all."""
    jobs: int
    limit: int
    """Seconds for each scenario."""
    hwaf: bool
    stores: bool
    races: bool
    schedules: int
    """Of each pair that is raced."""
    directory: str
    own: Own


def fuzz(asked: Fuzz, *, as_json: bool) -> ExitCode:
    """Run the loop; FAILED if anything differs or hung, BOUND if the model would take too long.

    Raises:
        CannotError: this machine, or this kernel as it is set up, cannot.
        SandboxError: no such kernel or family, or the folder is of another run.
    """
    from rig.results import dumps
    from sandbox.fuzz.families import family_of
    from sandbox.fuzz.groups import report_json, report_text
    from sandbox.fuzz.loop import Plan
    from sandbox.fuzz.loop import fuzz as run
    from sandbox.kernels import name_kernel

    family = family_of(asked.family) if asked.family else None
    model = asked.kernel + HWAF * asked.hwaf
    for kernel in (model, asked.against or model):
        name_kernel(kernel)
    if asked.races and asked.schedules < 2:
        raise UsageError("a pair has two orders at least", expected="--schedules from 2")
    if asked.jobs < 1:
        raise UsageError("no job does nothing", expected="--jobs from 1")
    other, name = _other_side(asked)
    plan = Plan(
        *(other, name, model, asked.seed, asked.total, family),
        races=asked.schedules if asked.races else 0,
        stores=asked.stores,
        shrink=asked.shrink,
        dumps=dumps,
    )
    folder = Path(asked.directory)
    summary = run(plan, folder, jobs=asked.jobs, narrate=narrate)
    sys.stdout.write(report_json(summary) if as_json else _text(report_text(summary)))
    if summary.cases or summary.lost or summary.complaints:
        return ExitCode.FAILED
    return ExitCode.BOUND if summary.long else ExitCode.OK


def _other_side(asked: Fuzz) -> tuple[Asked, str]:
    """What the model is held against, and the name of its folder of recordings."""
    if (asked.against is not None or asked.reorder) and asked.stores:
        raise UsageError("a model has no recorded stores", expected="a real kernel")
    if asked.races and (asked.stores or asked.reorder or asked.hwaf):
        raise UsageError("races are compared by their outcomes alone", expected="--races alone")
    if asked.reorder:
        from sandbox.fuzz.reorder import Reordered

        return Reordered(asked.kernel), f"{asked.kernel.rpartition(':')[2]}-reordered"
    if asked.against is not None:
        from sandbox.fuzz.asking import ModelKernel

        name = asked.against.rpartition(":")[2]
        if asked.races:
            from sandbox.fuzz.races import ModelRaces

            return ModelRaces(asked.against, asked.schedules), name + RACE
        return ModelKernel(asked.against), name
    # Imported here: only these commands know the rig.
    from rig.asking import RacedKernel, RealKernel
    from rig.boot import Guest
    from rig.emulator import HWAF_CPU, PLAIN_CPU
    from rig.ready import make_ready
    from rig.work import work_directory

    work = work_directory()
    image, build = asked.own
    real = make_ready(
        work, asked.kernel, narrate, image=image, build=build, plugins=asked.stores or asked.races
    )
    if asked.races:
        raced = Guest(work, real, smp=2)
        return RacedKernel(raced, float(asked.limit), asked.schedules), asked.kernel + RACE
    guest = Guest(work, real, HWAF_CPU if asked.hwaf else PLAIN_CPU)
    return RealKernel(guest, float(asked.limit), asked.stores), asked.kernel + HWAF * asked.hwaf


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)
