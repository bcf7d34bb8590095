"""`mmtui record`: scenarios played on a real kernel, and what it did, as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtui.exit_codes import ExitCode
from mmtui.headless.rig import meter, narrate, summary
from mmtui.headless.run import choose
from mmtui.model.documents import open_document
from sandbox.errors import UsageError
from sandbox.printable import printable

if TYPE_CHECKING:
    from rig.record import Recording
    from sandbox.scenario.language import Scenario

__all__ = ["HWAF", "Own", "record", "scenarios_of"]

HWAF = "-hwaf"
"""What the folder's name ends with where the CPU sets access and dirty bits itself."""

Own = tuple[str | None, str | None]
"""The image and the build tree of a person's own kernel, or neither."""


def record(
    targets: Sequence[str],
    kernel: str,
    *,
    scenario: str | None,
    stores: bool,
    hwaf: bool,
    directory: str,
    own: Own,
    as_json: bool,
) -> ExitCode:
    """Record scenarios on a kernel; FAILED if one was not played whole or the kernel complained.

    Raises:
        CannotError: this machine, or this kernel as it is set up, cannot.
        SandboxError: no such document, or a scenario that the guest cannot play, with the place.
    """
    # Imported here: only these commands know the rig.
    from rig.boot import Guest
    from rig.emulator import HWAF_CPU, PLAIN_CPU
    from rig.guest import translate
    from rig.ready import make_ready
    from rig.record import Recorder
    from rig.work import work_directory

    chosen = scenarios_of(targets, kernel, scenario)
    todo = [translate(each, stores=stores) for each in chosen]
    work = work_directory()
    real = make_ready(work, kernel, narrate, image=own[0], build=own[1], plugins=stores)
    narrate(f"{kernel} ({real.release}): {len(todo)} scenarios")
    guest = Guest(work, real, HWAF_CPU if hwaf else PLAIN_CPU)
    recorder = Recorder(guest, narrate, meter(len(todo), "scenarios"), stores=stores)
    done = 0
    for recording in recorder.record(todo):
        done += 1
        _write(recording, kernel + HWAF * hwaf, Path(directory), as_json)
    per_minute = 60 * done / recorder.seconds if recorder.seconds else 0
    narrate(f"{done} of {len(todo)} in {recorder.seconds:.1f} s, {per_minute:.0f} a minute")
    return summary(recorder.failed, recorder.complaints)


def _write(recording: Recording, kernel: str, directory: Path, as_json: bool) -> None:
    """Write what was recorded, and name the files."""
    from rig.results import MICRO, write

    parts: list[tuple[str, dict[str, Any]]] = [(kernel, recording.states)]
    if recording.stores is not None:
        parts.append((kernel + MICRO, recording.stores))
    for folder, part in parts:
        if as_json:
            sys.stdout.write(json.dumps(part) + "\n")
        else:
            sys.stdout.write(f"{printable(str(write(directory, folder, part)))}\n")
    sys.stdout.flush()


def scenarios_of(targets: Sequence[str], kernel: str, name: str | None) -> list[Scenario]:
    """The scenarios of some documents, or the one of a name.

    Raises:
        SandboxError: there is no such document or scenario, or one name is there twice.
    """
    found: dict[str, Scenario] = {}
    for target, scenario in _all_of(targets, kernel, name):
        if scenario.name in found:
            message = f"{target} has a second scenario {scenario.name!r}"
            raise UsageError(message, scenario.where, "a name of its own for each recording")
        found[scenario.name] = scenario
    return list(found.values())


def _all_of(
    targets: Sequence[str], kernel: str, name: str | None
) -> Iterator[tuple[str, Scenario]]:
    for target in targets:
        document = open_document(target)
        for scenario in choose(document.name, document.scenarios(kernel), name):
            yield target, scenario
