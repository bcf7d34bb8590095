"""`mmtui race`: two calls on two CPUs of a real kernel, in chosen orders."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmtui.exit_codes import ExitCode
from mmtui.headless.record import Own, scenarios_of
from mmtui.headless.rig import meter, narrate, summary
from sandbox.errors import UsageError
from sandbox.printable import printable

if TYPE_CHECKING:
    from rig.boot import Guest
    from rig.races import Play, Played, Racer
    from sandbox.scenario.language import Scenario

__all__ = ["Schedules", "race"]


class Schedules(NamedTuple):
    """Which schedules are played; the file's own, if neither is asked for."""

    sweep: bool = False
    """Every single switch."""
    randoms: int = 0
    """So many with two to five switches."""
    seed: int = 1


def race(
    targets: Sequence[str],
    kernel: str,
    *,
    scenario: str | None,
    schedules: Schedules,
    directory: str,
    own: Own,
    as_json: bool,
) -> ExitCode:
    """Play races on a kernel; FAILED if one came to no end or the kernel complained.

    Raises:
        CannotError: this machine, or this kernel as it is set up, cannot.
        SandboxError: no such document, or a block that the rig cannot play, with the place.
    """
    # Imported here: only these commands know the rig.
    from rig.boot import Guest
    from rig.guest import translate
    from rig.races import Racer, block_of
    from rig.ready import make_ready
    from rig.work import work_directory

    chosen = scenarios_of(targets, kernel, scenario)
    for each in chosen:  # what cannot be played is refused before anything is booted
        translate(each, races={block_of(each)[0]: 1})
    work = work_directory()
    real = make_ready(work, kernel, narrate, image=own[0], build=own[1], plugins=True)
    narrate(f"{kernel} ({real.release}): {len(chosen)} scenarios")
    racer = Racer(Guest(work, real, smp=2), narrate)
    plays = _plays(racer, chosen, schedules)
    racer.progress = meter(len(plays), "races")
    seconds = racer.seconds
    played = list(racer.race(plays))
    for each in chosen:
        _write([one for one in played if one.play.scenario == each], racer.guest, each,
               None if as_json else Path(directory))  # fmt: skip
    spent = racer.seconds - seconds
    per_minute = 60 * len(played) / spent if spent else 0
    narrate(f"{len(played)} of {len(plays)} races in {spent:.1f} s, {per_minute:.0f} a minute")
    return summary(racer.failed, racer.complaints)


def _plays(racer: Racer, chosen: Sequence[Scenario], schedules: Schedules) -> list[Play]:
    """The races to play; how long the calls are is asked of the kernel first."""
    from rig.races import Play, block_of
    from rig.sweep import both_orders, randoms, singles

    blocks = [(each, *block_of(each)) for each in chosen]
    if not schedules.sweep and not schedules.randoms:
        return [Play(each, index, block.schedule) for each, index, block in blocks]
    orders = both_orders()
    first = [Play(each, index, turns) for each, index, _ in blocks for turns in orders]
    lengths: dict[str, tuple[list[int], list[int]]] = {}
    for one in racer.race(first):
        cpu = one.play.turns[0].cpu
        stores, sequences = lengths.setdefault(one.play.scenario.name, ([0, 0], [0, 0]))
        stores[cpu], sequences[cpu] = one.stores[cpu], one.sequences[cpu]
    plays = []
    for each, index, _ in blocks:
        if each.name not in lengths:
            raise UsageError(f"{each.name} could not be played in either order", each.where)
        stores, sequences = lengths[each.name]
        narrate(f"{each.name}: {stores[0]} and {stores[1]} stores")
        turns = list(singles(stores, sequences)) if schedules.sweep else []
        turns += randoms(stores, schedules.randoms, schedules.seed)
        plays += [Play(each, index, schedule) for schedule in turns]
    return plays


def _write(
    played: Sequence[Played], guest: Guest, scenario: Scenario, directory: Path | None
) -> None:
    """Write the races of a scenario, to stdout without a directory, and say what came of them."""
    from rig.races import recorded
    from rig.results import RACE, write

    found = recorded(scenario, guest.kernel.release, guest.cpu, played)
    if directory is None:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        file = write(directory, guest.kernel.name + RACE, found)
        sys.stdout.write(f"{printable(str(file))}\n")
    waits = sum(bool(one.race["waits"]) for one in played)
    outcomes = ", ".join(str(len(each["schedules"])) for each in found["outcomes"])
    narrate(f"{scenario.name}: {len(played)} races, {len(found['outcomes'])} outcomes "
            f"({outcomes}), a CPU waited in {waits}")  # fmt: skip
