"""`mmtui check`: presets against the expectations written in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from mmtui.exit_codes import ExitCode
from mmtui.headless.documents import open_preset
from mmtui.headless.working import WatchedRun
from sandbox.scenario.check import PresetCheck, check_preset
from sandbox.scenario.presets import list_presets

__all__ = ["check"]


def check(targets: Sequence[str], kernel: str | None) -> ExitCode:
    """Check the presets named, or the library, on the kernels they name or on one.

    A line for each preset and kernel goes to stdout, and one for each
    expectation that fails: `FILE:LINE:COLUMN: EXPECTED: got FOUND`.

    Raises:
        SandboxError: no such preset or kernel, or a malformed document.
    """
    presets = [open_preset(target) for target in targets] if targets else list_presets()
    failed = 0
    for preset in presets:
        for name in preset.kernels if kernel is None else (kernel,):
            result = check_preset(preset, name, WatchedRun)
            failed += not result.ok
            for line in _lines(result):
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    presets_text = "1 preset" if len(presets) == 1 else f"{len(presets)} presets"
    failures = "1 failure" if failed == 1 else f"{failed or 'no'} failures"
    sys.stderr.write(f"{presets_text}, {failures}\n")
    return ExitCode.FAILED if failed else ExitCode.OK


def _lines(result: PresetCheck) -> Iterator[str]:
    held = len(result.results) - len(result.failures)
    verdict = "ok" if result.ok else "FAILED"
    yield f"{verdict} {result.preset} on {result.kernel}: {held} of {len(result.results)} hold"
    for failure in result.failures:
        yield f"  {failure.where}: {failure.text}: got {failure.got}"
